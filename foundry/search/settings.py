"""What a search is asked to do, what it shows while it works, and what it hands back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from foundry.search.budget import Budget
from foundry.search.workers import Job

STRATEGIES = ("evolve", "random", "numbers")


def proxy_job(job: Job) -> dict[str, Any]:
    """Evaluate a job by training its genome; torch is imported in the worker alone."""
    from foundry.evals.proxy import evaluate

    return asdict(
        evaluate(
            job.text,
            job.corpus,
            compute=job.compute,
            seed=job.seed,
            split=job.split,
            known=job.known,
            probe=job.probe,
            screen=job.screen,
            limits=job.limits,
        )
    )


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Settings:
    """A search.

    out: the run folder. resume: go on with the run that is there; budget, data, seed and strategy are
        then that run's own.
    data: as `load_corpus` takes it. seed: of proposals, initialisations and batch orders.
    workers: evaluations at a time. memory: bytes that one evaluation may keep resident.
    strategy: evolve; random, which draws fresh genomes and learns nothing; or numbers, which changes the
        numbers of the baselines alone, as Optuna proposes.
    control: random gives half of the search to a second arm that does as `strategy` random does, beside the
        first in one run; empty for none.
    baselines: genome text by name; None stands for the genomes that ship with foundry.
    run_job: evaluates a job in a worker; a module-level function. preload: modules it needs.
    began: the time.monotonic() from which the budget counts; None: when `evolve` is called.
    """

    out: str | Path
    budget: Budget = field(default_factory=lambda: Budget("seconds", 600.0))
    data: str | None = None
    seed: int = 0
    workers: int = field(default_factory=cores)
    resume: bool = False
    strategy: str = "evolve"
    control: str = ""
    memory: int = 2 << 30
    baselines: Mapping[str, str] | None = None
    run_job: Callable[[Job], dict[str, Any]] = proxy_job
    preload: tuple[str, ...] = ("foundry.search.warm",)
    began: float | None = None


@dataclass(frozen=True)
class Running:
    """An evaluation under way. purpose: baseline, noise, tune, variant, child, promote, finalist,
    confirm or reduce."""

    name: str
    purpose: str
    rung: int
    seconds: float


@dataclass(frozen=True)
class Score:
    """The standing of a genome: bits per byte on validation text at its highest rung."""

    name: str
    genome_hash: str
    bits_per_byte: float
    rung: int


@dataclass(frozen=True)
class Snapshot:
    """A run at a moment, for whoever watches.

    phase: starting, search, confirm, reduce or report. spent: of the budget, in its unit; seconds: by the clock.
    baselines: each at its best learning rate so far. best: the leading child.
    counts: evaluations by status. events: the last few, oldest first.
    """

    folder: Path
    phase: str
    budget: Budget
    spent: float
    seconds: float
    baselines: tuple[Score, ...] = ()
    best: Score | None = None
    running: tuple[Running, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    events: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """How a run ended.

    verdict: confirmed, no difference shown, or worse; of the winner against the best tuned baseline.
    difference, low, high: winner minus baseline in bits per byte of test text with its 95 % interval;
        None where fewer than two pairs were finished. pairs: how many.
    winner, baseline: genome hashes. report: the page that tells all of it.
    stopped: the user ended it before its budget was spent; it can be resumed.
    """

    folder: Path
    verdict: str
    winner: str
    baseline: str
    difference: float | None
    low: float | None
    high: float | None
    pairs: int
    report: Path
    warnings: tuple[str, ...] = ()
    stopped: bool = False
