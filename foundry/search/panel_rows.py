"""What a panel keeps: a folder like that of a run, and a row in it for each evaluation."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path

import psutil

import foundry
from foundry.data.corpus import Corpus
from foundry.search.archive import SCHEMA_VERSION, Archive, ArchiveError, Row
from foundry.search.standings import score
from foundry.search.study import Measured
from foundry.search.workers import Finished

OPERATOR = "panel"  # in the rows of a panel, which no search made


def opened(folder: Path, corpora: Iterable[Corpus]) -> Archive:
    """The folder of a panel, new or begun, locked.

    Raises:
        ArchiveError: it holds something else, such as a search, or another process writes there.
    """
    if (folder / "run.json").exists():
        archive = Archive(folder)
        if archive.read_run().get("state") != OPERATOR:
            raise ArchiveError(f"{folder}: holds a search; name another folder")
        archive.lock()
        return archive
    about = {
        "run_id": uuid.uuid4().hex,
        "schema_version": SCHEMA_VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()},
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "memory_bytes": psutil.virtual_memory().total,
        },
        "settings": {},
        "data": {corpus.hash: corpus.name for corpus in corpora},
        "baselines": {},
        "state": OPERATOR,
        "rungs": [],
    }
    return Archive.create(folder, about)


def row_of(archive: Archive, genome_hash: str, finished: Finished, measured: Measured) -> Row:
    """The row of an archive. Its rung is an index into the computes that this folder has seen."""
    job, outcome, run = finished.job, finished.outcome or {}, archive.read_run()
    computes = [rung["compute"] for rung in run["rungs"]]
    if job.compute not in computes:
        computes.append(job.compute)
        archive.write_run({**run, "rungs": [{"compute": compute} for compute in computes]})
    return {
        **{name: value for name, value in asdict(measured).items() if name not in ("message", "bits_per_byte")},
        "eval_id": job.eval_id,
        "run_id": run["run_id"],
        "genome_hash": genome_hash,
        "behaviour_hash": "",
        "parent_hashes": [],
        "operator": OPERATOR,
        "arm": "search",
        "proposal": -1,
        "fingerprint": "",
        "shared_with": "",
        "signals": {},
        "rung": computes.index(job.compute),
        "seed": job.seed,
        "compute_budget": job.compute,
        "compute_spent": measured.compute,
        "val_bpb": measured.bits_per_byte if job.split == "validation" else None,
        "test_bpb": measured.bits_per_byte if job.split == "test" else None,
        "train_curve": [list(point) for point in outcome.get("train_curve") or ()],
        "data_hash": job.corpus.hash,
        **_versions(),
        "schema_version": SCHEMA_VERSION,
        "finished_at": datetime.datetime.now(datetime.UTC),
    }


def measured_by(finished: Finished) -> Measured:
    """What came of a job."""
    outcome = finished.outcome or {}
    figures = {f.name: outcome[f.name] for f in fields(Measured) if f.name in outcome}
    used = {"cpu_s": finished.cpu_s, "wall_s": finished.wall_s, "peak_rss": finished.peak_rss}
    measured = Measured(**{**figures, **used, "status": finished.status, "error_code": finished.error_code})
    return measured if measured.status == "ok" else replace(measured, bits_per_byte=None)


def from_row(row: Row) -> Measured:
    """What a row of an archive says came of an evaluation."""
    known = {f.name: row[f.name] for f in fields(Measured) if f.name in row}
    found = score(row) if row["status"] == "ok" else None
    return Measured(**known, bits_per_byte=found, compute=row["compute_spent"])


def of_these_versions(row: Row) -> bool:
    """Whether the foundry and the torch that are installed found what a row says."""
    return all(row[name] == version for name, version in _versions().items())


@lru_cache(maxsize=1)
def _versions() -> Mapping[str, str]:
    return {"foundry_version": foundry.__version__, "torch_version": importlib.metadata.version("torch")}
