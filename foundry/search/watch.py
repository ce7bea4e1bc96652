"""A run that another process writes, as it is seen from its folder: `snapshots(folder)`, until the run ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from foundry.search.archive import Archive
from foundry.search.budget import Budget
from foundry.search.description import REPORTS, TASK, require
from foundry.search.history import names
from foundry.search.settings import Running, Score, Snapshot
from foundry.search.shape import Every, Optional
from foundry.search.standings import Lead, leaders, score

EVERY = 1.0  # seconds between looks
QUIET = 20.0  # seconds without a word in run.json, which a live run writes every five, before its lock is tried
EVENTS = 12
OVER = ("finished", "stopped")
INTERRUPTED = "interrupted"
WATCHED = REPORTS | {"running": Optional(Every(TASK))}

Row = Mapping[str, Any]


def snapshots(folder: str | Path, every: float = EVERY) -> Iterator[Snapshot]:
    """How a run stands, again and again; the last snapshot is of its end. Nothing in the folder is changed.

    A run whose process has died is told as `interrupted`, and is over as well.

    Raises:
        ArchiveError: it is no run folder, or is one no longer.
    """
    archive = Archive(folder)
    seen: dict[str, float] = {}  # when each evaluation under way was seen first, time.monotonic()
    known: tuple[int, dict[str, str]] = (-1, {})
    while True:
        run = archive.read_run()
        require(run, WATCHED, archive.folder / "run.json")
        rows = archive.rows()
        if len(rows) != known[0]:
            known = (len(rows), names(archive))
        now = time.monotonic()
        running = [f"{task['genome_hash']}-{task['rung']}-{task['seed']}" for task in run.get("running") or ()]
        seen = {eval_id: seen.get(eval_id, now) for eval_id in running}
        shown = snapshot(
            archive.folder, run, rows, known[1], _silence(archive.folder), {e: now - seen[e] for e in seen}
        )
        yield shown
        if shown.phase in (*OVER, INTERRUPTED):
            return
        time.sleep(every)


def snapshot(
    folder: Path, run: Mapping[str, Any], rows: Sequence[Row], names: Mapping[str, str], silence: float,
    seconds: Mapping[str, float],
) -> Snapshot:  # fmt: skip
    """A run at a moment, from its run.json and its rows.

    names: of genomes. silence: seconds since run.json was written, infinite where its process has died.
    seconds: for how long each evaluation has been under way, by eval_id.
    """
    budget = Budget(**run["settings"]["budget"])
    dead = silence == float("inf")
    elapsed = sum(session["seconds"] for session in run["sessions"])
    elapsed += 0 if dead or run["state"] in OVER else silence
    done = {row["eval_id"] for row in rows}
    tasks = {f"{task['genome_hash']}-{task['rung']}-{task['seed']}": task for task in run.get("running") or ()}
    tasks = {eval_id: task for eval_id, task in tasks.items() if eval_id not in done and not dead}
    baselines, child = leaders(rows, run["baselines"].values())
    return Snapshot(
        folder=folder,
        phase=_phase(run, dead),
        budget=budget,
        spent=_spent(budget, elapsed, rows, list(tasks.values())),
        seconds=elapsed,
        baselines=tuple(_score(lead, names) for lead in baselines),
        best=_score(child, names) if child else None,
        running=tuple(
            Running(_name(task["genome_hash"], names), task["purpose"], task["rung"], seconds.get(eval_id, 0.0))
            for eval_id, task in tasks.items()
        ),
        counts=dict(Counter(row["status"] for row in rows)),
        events=tuple(_event(row, names) for row in rows[-EVENTS:]),
    )


def _phase(run: Mapping[str, Any], dead: bool) -> str:
    if run["state"] in OVER:
        return str(run["state"])
    if dead:
        return INTERRUPTED
    return "starting" if run["state"] == "search" and not run["rungs"] else str(run["state"])


def _spent(budget: Budget, elapsed: float, rows: Sequence[Row], running: Sequence[Row]) -> float:
    """What is spent of a budget in its unit; what is under way counts."""
    match budget.kind:
        case "evals":
            return len(rows) + len(running)
        case "flop":
            return sum(row["compute_spent"] for row in rows) + sum(task["compute"] for task in running)
    return elapsed


def _event(row: Row, names: Mapping[str, str]) -> str:
    """A line about an evaluation that has ended."""
    name, value = _name(row["genome_hash"], names), score(row)
    if row["status"] != "ok" or value is None:
        said = f"{row['status']} ({row['error_code']})" if row.get("error_code") else row["status"]
    else:
        said = f"{value:.3f} at rung {row['rung']}" + (" on test text" if row.get("test_bpb") is not None else "")
    return f"{name}: {said}, by {row['operator']}"


def _score(lead: Lead, names: Mapping[str, str]) -> Score:
    return Score(_name(lead.genome_hash, names), lead.genome_hash, lead.bits_per_byte, lead.rung)


def _name(genome_hash: str, names: Mapping[str, str]) -> str:
    return names.get(genome_hash, genome_hash[:8])


def _silence(folder: Path) -> float:
    """Seconds since a run's process last wrote run.json; infinite where nobody is writing the run."""
    silent = max(0.0, time.time() - (folder / "run.json").stat().st_mtime)
    return float("inf") if silent > QUIET and not _is_held(folder / "lock") else silent


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock of a run. Trying takes it for a moment, so it is tried on silent runs alone."""
    try:
        file = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(file)
