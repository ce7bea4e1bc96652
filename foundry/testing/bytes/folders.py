"""Bytes as parts of a run folder: its run.json, its rows, and the genomes that it keeps."""

from __future__ import annotations

import datetime
import json
import random
import shutil
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from foundry.search.archive import SCHEMA, STATUSES, Archive, ArchiveError, Row
from foundry.search.description import GOES_ON, require
from foundry.search.evolve import plan_from
from foundry.search.report import report_page
from foundry.search.schedule import Schedule
from foundry.search.standings import standings
from foundry.search.state import open_state
from foundry.testing.bytes.documents import parquet
from foundry.testing.bytes.mutators import changed
from foundry.testing.case import Broken

DRAWN = 8  # one in so many tables of rows is drawn, which takes a third of a second
BASE, CHILD, CONTROL = (digit * 16 for digit in "abc")
GENOME = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = SIZE);
model = embed(vocab = 256, width = 8) >> layer >> unembed(tied = 1);
"""


def description() -> dict[str, Any]:
    """The run.json of a finished run."""
    interval = {"mean": -0.2, "low": -0.25, "high": -0.15, "p": 0.003, "freedom": 2.0, "n": 3}
    plan = {"rung": 1, "finalists": [CHILD], "baseline": BASE, "compute": 1e12, "finalist_seed": 110,
            "seeds": [111, 112, 113], "winner": CHILD, "control": CONTROL}  # fmt: skip
    return {
        "run_id": "feed",
        "schema_version": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"foundry": "0.1.0", "torch": "2.8.0", "python": "3.11.7"},
        "machine": {"system": "Linux", "cores": 2, "memory_bytes": 8 << 30},
        "settings": {"budget": {"kind": "evals", "amount": 60.0}, "data": None, "seed": 0, "workers": 2,
                     "strategy": "evolve", "memory": 2 << 30},
        "data": {"name": "python", "hash": "0123456789abcdef"},
        "baselines": {"base": BASE},
        "state": "finished",
        "rungs": [{"compute": 1e11}],
        "speed": 8e10,
        "noise": {"sigma": 0.021, "values": [2.5, 2.51, 2.49]},
        "sessions": [{"started": "2026-01-02T03:04:05+00:00", "seconds": 593.0}],
        "proposals": 3,
        "running": [],
        "rounds": 0,
        "confirmation": plan,
        "result": {
            "verdict": "confirmed", "winner": CHILD, "baseline": BASE, "control": CONTROL, "difference": interval,
            "recipe_alone": interval, "architecture_alone": interval, "sigma": 0.02, "rung": 1, "compute": 1e12,
            "seeds": [111, 112, 113],
            "test_bpb": {"winner": [2.1, 2.12, 2.14], "baseline": [2.3, 2.31, 2.3], "control": [2.2, 2.2, None]},
        },
        "busy_share": 0.97,
    }  # fmt: skip


def table() -> list[Row]:
    """The rows of that run."""
    rows = [row(BASE, 0, 0, 2.5), row(CHILD, 0, 0, 2.3), row(CHILD, 0, 1, None)]
    return [*rows, *(row(h, 1, seed, 2.2) for h in (BASE, CHILD, CONTROL) for seed in (111, 112, 113))]


def row(genome_hash: str, rung: int, seed: int, score: float | None) -> Row:
    """An evaluation: of a baseline, or of a child of it; one without a score has failed."""
    return {
        "eval_id": f"{genome_hash}-{rung}-{seed}",
        "run_id": "feed",
        "genome_hash": genome_hash,
        "behaviour_hash": "0" * 16,
        "parent_hashes": [] if genome_hash == BASE else [BASE],
        "operator": {BASE: "seed", CHILD: "number", CONTROL: "control"}[genome_hash],
        "rung": rung,
        "seed": seed,
        "status": "ok" if score is not None else "diverged",
        "error_code": "" if score is not None else "loss",
        "compute_budget": 1e11,
        "tokens": 1000,
        "steps": 10,
        "val_bpb": score if rung == 0 else None,
        "test_bpb": score if rung else None,
        "train_curve": [[0.5, 4.0], [1.0, 3.0]],
        "parameters": 2000,
        "flops_per_token": 1e4,
        "bytes_per_token": 1e5,
        "cache_bytes_per_token": 0.0,
        "peak_rss": 1 << 28,
        "cpu_s": 3.0,
        "wall_s": 3.1,
        "data_hash": "0123456789abcdef",
        "foundry_version": "0.1.0",
        "torch_version": "2.8.0",
        "schema_version": 1,
        "finished_at": datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    }


# The readers --------------------------------------------------------------------------------------------------------


def described(folder: Path) -> Callable[[bytes], None]:
    """The run.json of a run folder."""
    return _part_of(folder, "run.json", without_figures(table()))


def part(folder: Path) -> Callable[[bytes], None]:
    """The rows of a run folder."""
    return _part_of(folder, "evals/part-000001.parquet", table())


def stored(folder: Path) -> Callable[[bytes], None]:
    """A genome that a run folder keeps."""
    return _part_of(folder, f"genomes/{CHILD}.genome", without_figures(table()))


def without_figures(rows: list[Row]) -> list[Row]:
    """Rows of which a report draws nothing, which takes long and is the same whatever run.json holds."""
    return [row | {"train_curve": [], "val_bpb": None} for row in rows]


def _part_of(folder: Path, name: str, rows: list[Row]) -> Callable[[bytes], None]:
    """A finished run with these rows, of which one file is replaced: it is listed, reported and gone on with.

    The reader raises Broken where the complaint is not one line that names the folder.
    """
    shutil.rmtree(folder, ignore_errors=True)
    archive = Archive.create(folder, description())
    archive.append(rows)
    for size, genome_hash in enumerate((BASE, CHILD, CONTROL), start=1):
        archive.write_genome(genome_hash, GENOME.replace("SIZE", str(8 * size)))
    archive.close()
    figures = name.startswith("evals")

    def read(data: bytes) -> None:
        (folder / name).write_bytes(data)
        for use in (_list, _go_on, _report):
            if use is _report and figures and zlib.crc32(data) % DRAWN:
                continue
            try:
                use(folder)
            except ArchiveError as error:
                if len(str(error).splitlines()) != 1 or str(folder) not in str(error):
                    raise Broken(f"no clear error: {error}") from None

    return read


def _list(folder: Path) -> None:
    archive = Archive(folder)
    standings(archive.rows())
    if any(len(warning.splitlines()) != 1 for warning in archive.warnings):
        raise Broken(f"no clear warning: {archive.warnings}")


def _report(folder: Path) -> None:
    report_page(Archive(folder)).encode()


def _go_on(folder: Path) -> None:
    """What a resumed run reads of its folder before it does anything."""
    archive = Archive(folder)
    run = archive.read_run()
    require(run, GOES_ON, archive.folder / "run.json")
    state = open_state(archive, run, time.monotonic())
    plan_from(run["confirmation"])
    Schedule(state, run["running"]).over  # noqa: B018
    for genome_hash in state.population.individuals:
        state.name(genome_hash)


# What they begin with -----------------------------------------------------------------------------------------------


def run_seeds() -> list[bytes]:
    """The description of a run that is finished, of one under way, and of one that has just begun."""
    begun = {"state": "search", "result": None, "confirmation": None}
    task = {"genome_hash": CHILD, "rung": 0, "seed": 0, "compute": 1e11, "purpose": "child", "split": "validation",
            "operator": "number", "parents": [BASE]}  # fmt: skip
    runs = (description(), description() | begun | {"running": [task]}, description() | begun | {"rungs": []})
    return [json.dumps(run).encode() for run in runs]


@cache
def part_seeds() -> list[bytes]:
    """Parts with the right rows; with columns missing, added, of other types; with nothing in them; of other files."""
    whole = pa.Table.from_pylist(table(), schema=SCHEMA)
    return [
        parquet(whole),
        parquet(whole, compression="none", use_dictionary=False, write_statistics=False),
        parquet(whole.slice(0, 0)),
        parquet(whole.append_column("more", pa.array(["x"] * len(whole)))),
        parquet(whole.drop_columns(["operator"])),
        parquet(pa.Table.from_pylist(json.loads(json.dumps(table(), default=str)))),
        b"PAR1PAR1",
    ]


def stored_seeds() -> list[bytes]:
    return [GENOME.replace("SIZE", "16").encode()]


def change_rows(data: bytes, rng: random.Random) -> bytes:
    """Rows of which one is changed: a value that is absent, odd, or another's."""
    try:
        rows = pq.read_table(pa.BufferReader(data)).to_pylist() or table()
    except (OSError, ValueError, pa.ArrowException):
        rows = table()
    changed(rows, rng)
    rows = [row for row in rows if isinstance(row, dict)]
    for row in rows:
        if rng.random() < 0.1:
            row["status"] = rng.choice(STATUSES)
    try:
        return parquet(pa.Table.from_pylist(rows, schema=SCHEMA if rng.random() < 0.7 else None))
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, pa.ArrowException):
        return data
