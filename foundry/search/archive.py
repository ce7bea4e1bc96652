"""The run folder: settings, one Parquet row per evaluation, and every genome as text.

    run.json                 settings and state of the run, rewritten whole
    evals/part-*.parquet     rows in the order in which they were finished
    genomes/HASH.genome      every genome that was ever started
    lock                     held by the process that writes

Every file is written beside its place, forced to disk and renamed, so that a reader sees it whole
or not at all, and what was reported as done survives the death of the process.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.parse import parse
from foundry.dsl.render import visible
from foundry.dsl.source import read_genome
from foundry.search.shape import AMOUNT, COUNT, HASH, POSITIVE, RUNG, SEED, Between, Every, Maybe, Named, complaint

NEEDED = ("settings", "data", "versions", "machine", "baselines")  # what run.json always has
SCHEMA_VERSION = 2
STATUSES = ("ok", "abandoned", "diverged", "timeout", "out_of_memory", "crashed", "rejected", "quarantined")

COLUMNS: tuple[tuple[str, pa.DataType, str], ...] = (
    ("eval_id", pa.string(), "genome_hash-rung-seed; each stands in an archive once"),
    ("run_id", pa.string(), "hexadecimal"),
    ("genome_hash", pa.string(), "16 hexadecimal digits of the canonical form"),
    ("behaviour_hash", pa.string(), "16 hexadecimal digits of the results at this rung and seed"),
    ("parent_hashes", pa.list_(pa.string()), "genome_hash of each parent"),
    ("operator", pa.string(), "how the genome came to be"),
    ("arm", pa.string(), "whose share of the budget paid: search or control"),
    ("proposal", pa.int64(), "number of the proposal that made the genome; -1 where none did"),
    ("rung", pa.int32(), "index into the rungs of run.json; the last is confirmation"),
    ("seed", pa.int64(), "of initialisation and batch order"),
    ("status", pa.string(), "one of " + ", ".join(STATUSES)),
    ("error_code", pa.string(), "empty unless the status is not ok"),
    ("compute_budget", pa.float64(), "flop: training, bytes moved counted at their worth"),
    ("compute_spent", pa.float64(), "flop: less than the budget where training ended early"),
    ("tokens", pa.int64(), "tokens trained on"),
    ("steps", pa.int64(), "optimizer steps"),
    ("val_bpb", pa.float64(), "bits per byte on the validation split"),
    ("test_bpb", pa.float64(), "bits per byte on the test split; confirmation alone has it"),
    ("fingerprint", pa.string(), "16 hexadecimal digits of what the untrained genome computes; empty if unknown"),
    ("shared_with", pa.string(), "eval_id of the evaluation whose result this is, without training; or empty"),
    ("signals", pa.map_(pa.string(), pa.float64()), "what is cheap to know of a genome, by name"),
    ("train_curve", pa.list_(pa.list_(pa.float64())), "pairs of progress (0 to 1) and bits per byte in training"),
    ("parameters", pa.int64(), "parameters"),
    ("flops_per_token", pa.float64(), "flop/token, forward"),
    ("bytes_per_token", pa.float64(), "bytes/token moved, forward"),
    ("cache_bytes_per_token", pa.float64(), "bytes/token that the decoder keeps, float32"),
    ("peak_rss", pa.int64(), "bytes resident, at most"),
    ("cpu_s", pa.float64(), "seconds of processor time"),
    ("wall_s", pa.float64(), "seconds"),
    ("data_hash", pa.string(), "hexadecimal, of the corpus and its split"),
    ("foundry_version", pa.string(), "version"),
    ("torch_version", pa.string(), "version"),
    ("schema_version", pa.int32(), "version of these columns"),
    ("finished_at", pa.timestamp("us", tz="UTC"), "time, UTC"),
)
SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"unit": unit}) for name, kind, unit in COLUMNS],
    metadata={"schema_version": str(SCHEMA_VERSION)},
)
NAMES = tuple(name for name, _, _ in COLUMNS)
# What version 1 did not have, and what its rows say there. A name stands for that row's own value.
ADDED: dict[str, Any] = {
    "arm": "search",
    "proposal": -1,
    "compute_spent": "compute_budget",
    "fingerprint": "",
    "shared_with": "",
    "signals": [],
}


def _is_curve(value: Any) -> bool:
    return value is None or all(point is not None and len(point) == 2 and None not in point for point in value)


ROW = {  # what everybody who reads a row may count on
    "eval_id": str,
    "genome_hash": HASH,
    "parent_hashes": Every(HASH),
    "operator": str,
    "rung": RUNG,
    "seed": SEED,
    "status": re.compile("|".join(STATUSES)),
    "arm": re.compile("search|control"),
    "proposal": Between(-1, 2**63 - 1),
    "compute_budget": AMOUNT,
    "compute_spent": POSITIVE,
    "shared_with": str,
    "fingerprint": str,
    "signals": Named(Maybe(float)),
    "tokens": COUNT,
    "val_bpb": Maybe(float),
    "test_bpb": Maybe(float),
    "train_curve": _is_curve,
    "parameters": COUNT,
    "flops_per_token": Maybe(POSITIVE),
    "bytes_per_token": Maybe(POSITIVE),
    "cache_bytes_per_token": Maybe(POSITIVE),
    "wall_s": POSITIVE,
}

Row = dict[str, Any]


class ArchiveError(Exception):
    """A run folder that cannot be used. The message is one line: which, why, and what to do."""


class Archive:
    """A run folder, for reading; `lock` it to write.

    `warnings` collects a line for each damaged part that was set aside while reading.

    Raises:
        ArchiveError: `folder` is not a run folder.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.warnings: list[str] = []
        self._lock: int | None = None  # a file descriptor
        self._parts: dict[str, list[Row]] = {}
        if not self.folder.is_dir():
            raise ArchiveError(f"{folder}: no such run folder")
        if not (self.folder / "run.json").is_file():
            raise ArchiveError(f"{folder}: not a run folder (it has no run.json); name another")
        self.read_run()

    @classmethod
    def create(cls, folder: str | Path, run: Mapping[str, Any]) -> Archive:
        """A new run folder, locked, with `run` as its run.json. An empty folder may exist already.

        Raises:
            ArchiveError: the folder holds something else, is in use, or cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_taken(folder)
            lock = _take_lock(folder)
        except OSError as error:
            raise ArchiveError(_cannot("make a run folder", error, folder)) from None
        try:
            _refuse_taken(folder)  # another process may have made a run in between
            for part in ("evals", "genomes"):
                (folder / part).mkdir(exist_ok=True)
            _write(folder / "run.json", _json(run))
            archive = cls(folder)
        except BaseException as error:
            os.close(lock)
            if isinstance(error, OSError):
                raise ArchiveError(_cannot("make a run folder", error, folder)) from None
            raise
        archive._lock = lock
        return archive

    def lock(self) -> None:
        """Become the process that writes, until `close` or death.

        Raises:
            ArchiveError: another process writes here, or nobody can.
        """
        if self._lock is None:
            try:
                self._lock = _take_lock(self.folder)
                self._parts.clear()  # what was damaged for a reader is set aside by the writer
                for part in ("evals", "genomes"):
                    (self.folder / part).mkdir(exist_ok=True)
                    for leftover in (self.folder / part).glob(".*.tmp"):
                        leftover.unlink()
            except OSError as error:
                raise ArchiveError(_cannot("write", error, self.folder)) from None

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows as one new part. When this returns, they are on disk.

        Raises:
            ArchiveError: the disk is full, or refuses otherwise; no row of these was kept.
        """
        self._require_lock()
        table = pa.Table.from_pylist([_full(row) for row in rows], SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        number = 1 + max((_number(path) for path in (self.folder / "evals").glob("part-*")), default=0)
        name = f"part-{number:06d}.parquet"
        _write(self.folder / "evals" / name, sink.getvalue().to_pybytes())
        self._parts[name] = [_told(row) for row in table.to_pylist()]

    def rows(self) -> list[Row]:
        """Every row, in the order of writing; `finished_at` is a datetime.

        A part that cannot be read is named in `warnings`; whoever writes renames it to `*.damaged`.
        """
        out: dict[str, Row] = {}
        for path in sorted((self.folder / "evals").glob("part-*.parquet"), key=_number):
            for row in self._part(path):
                out.setdefault(row["eval_id"], row)
        return list(out.values())

    def _part(self, path: Path) -> list[Row]:
        if path.name not in self._parts:
            try:
                table = _with_added(pq.read_table(path, partitioning=None))
                missing = [name for name in NAMES if name not in table.column_names]
                if missing:
                    raise ValueError(f"it lacks the column {missing[0]}")
                rows = [_told(row) for row in table.select(NAMES).cast(SCHEMA).to_pylist()]
                if wrong := complaint(rows, Every(ROW), "its rows"):
                    raise ValueError(wrong)
                self._parts[path.name] = rows
            except FileNotFoundError:
                return []
            except (OSError, ValueError, pa.ArrowException) as error:
                self._set_aside(path, error)
                self._parts[path.name] = []
        return self._parts[path.name]

    def _set_aside(self, path: Path, error: Exception) -> None:
        reason = " ".join(str(error).split())[:120]
        aside = path.with_name(path.name + ".damaged")
        done = "left in place"
        if self._lock is not None:  # who only reads changes nothing
            with contextlib.suppress(OSError):
                path.rename(aside)
                done = f"set aside as {aside.name}"
        self.warnings.append(f"{path}: damaged ({reason}); {done}, its evaluations are missing")

    def read_run(self) -> dict[str, Any]:
        """The content of run.json.

        Raises:
            ArchiveError: it is damaged.
        """
        path = self.folder / "run.json"
        try:
            run = json.loads(path.read_bytes())
            if not (isinstance(run, dict) and isinstance(run.get("run_id"), str)):
                raise ValueError("it has no run_id")
            lacking = [key for key in NEEDED if not isinstance(run.get(key), dict)]
            if lacking:
                raise ValueError(f"it lacks {lacking[0]}")
            return run
        except (OSError, ValueError, RecursionError) as error:
            raise ArchiveError(f"{path}: not the description of a run ({error}); name another folder") from None

    def write_run(self, run: Mapping[str, Any]) -> None:
        """Replace run.json."""
        self._require_lock()
        _write(self.folder / "run.json", _json(run))

    def write_genome(self, genome_hash: str, text: str) -> None:
        """Keep the text of a genome, once."""
        self._require_lock()
        path = self.folder / "genomes" / f"{genome_hash}.genome"
        if not path.exists():
            _write(path, text.encode())

    def genome(self, genome_hash: str) -> str:
        """The text of a genome.

        Raises:
            ArchiveError: it is not there, or what is there does not read as a genome.
        """
        path = self.folder / "genomes" / f"{genome_hash}.genome"
        try:
            text = read_genome(str(path))
            parse(text)
            return text
        except OSError as error:
            raise ArchiveError(f"{path}: the genome is lost ({error.strerror or error}); bring the file back") from None
        except GenomeError as error:
            raise self.damaged(genome_hash, error) from None

    def damaged(self, genome_hash: str, error: GenomeError) -> ArchiveError:
        """What to raise where the text of a genome is not the one that was written."""
        wrong = visible(error.diagnostics[0].message)
        path = self.folder / "genomes" / f"{genome_hash}.genome"
        return ArchiveError(f"{path}: damaged, it is no genome that checks clean ({wrong}); bring the file back")

    def write_file(self, name: str, text: str) -> None:
        """Write `best.genome` or `best.py`."""
        self._require_lock()
        _write(self.folder / name, text.encode())

    def _require_lock(self) -> None:
        if self._lock is None:
            raise ArchiveError(f"{self.folder}: open for reading only")


def _full(row: Row) -> Row:
    """A row with every column, its signals as pairs."""
    full = {name: row.get(name) for name in NAMES}
    for name, value in ADDED.items():
        if full[name] is None:
            full[name] = row.get(value) if value in NAMES else value
    return {**full, "signals": list(dict(full["signals"] or ()).items())}


def _with_added(table: pa.Table) -> pa.Table:
    """A part of version 1 with the columns that came later."""
    for name, value in ADDED.items():
        if name not in table.column_names and "compute_budget" in table.column_names:
            kind = SCHEMA.field(name).type
            copied = isinstance(value, str) and value in table.column_names
            known = table.column(value) if copied else pa.array([value] * table.num_rows, kind)
            table = table.append_column(name, known)
    return table


def _told(row: Row) -> Row:
    """A row as everybody reads it: its signals as a dictionary."""
    return {**row, "signals": dict(row["signals"] or ())}


def _refuse_taken(folder: Path) -> None:
    """Raise where a folder holds anything but what a process leaves that is killed while it makes a run there.

    Raises:
        ArchiveError: it does.
    """
    if (folder / "run.json").exists():
        raise ArchiveError(f"{folder}: holds a run already; go on with it by --resume, or name another folder")
    if any(map(_is_foreign, folder.iterdir())):
        raise ArchiveError(f"{folder}: not a run folder (it holds other files); name a new one")


def _is_foreign(path: Path) -> bool:
    if path.name in ("evals", "genomes"):
        return not path.is_dir() or any(path.iterdir())
    return path.name not in ("lock", ".run.json.tmp")


def _number(path: Path) -> int:
    digits = path.name.removeprefix("part-").split(".")[0]
    return int(digits) if digits.isdecimal() else 0


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


def _take_lock(folder: Path) -> int:
    file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise ArchiveError(f"{folder}: another process is writing this run; wait for it, or end it") from None
    return file


def _write(path: Path, data: bytes) -> None:
    """Put `data` at `path`, whole and on disk, or leave what was there.

    Raises:
        ArchiveError: the disk is full, or refuses otherwise.
    """
    building = path.with_name(f".{path.name}.tmp")
    try:
        with _removed_on_error(building), building.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise ArchiveError(_cannot("write", error, path)) from None


@contextlib.contextmanager
def _removed_on_error(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _cannot(what: str, error: Exception, path: Path) -> str:
    reason = getattr(error, "strerror", None) or str(error)
    return f"{path}: cannot {what} ({reason}); make room there or name another folder"
