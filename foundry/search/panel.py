"""A panel: evaluations that somebody wants, done by workers side by side and kept as they come.

A search decides what to evaluate next; a panel is told. `foundry eval`, `confirm`, `minimal`, `multiplier` and
`compare --again` are panels. One with a folder keeps a row for each evaluation there, as a run does, so that Ctrl-C
loses nothing and whoever asks again pays only for what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from foundry.data.corpus import Corpus
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.evals.rungs import RUNGS
from foundry.search.archive import Archive, Row
from foundry.search.panel_rows import from_row, measured_by, of_these_versions, opened, row_of
from foundry.search.settings import cores, proxy_job
from foundry.search.study import Measured, Scores, Study, Wanted
from foundry.search.workers import Finished, Job, Workers

__all__ = ["Measured", "Panel", "Scores", "Study", "Tell", "Wanted"]

PATIENCE = 8.0  # an evaluation may take this many times what the usual machine takes, plus GRACE
GRACE = 20.0  # seconds
TICK = 0.5  # seconds
MACHINES = ("timeout", "out_of_memory", "crashed")  # failures that may be the machine's, and are tried again when asked
AGAIN = "~"  # behind the name of an evaluation and before the number of its repetition

T = TypeVar("T")
Tell = Callable[[int, int], None]  # evaluations done, and of how many as far as is known


class Panel:
    """Workers and what they found. A context manager: on leaving, no worker is left and the folder is free.

    corpora: the texts to train on. folder: where rows are kept; None: nowhere.

    Raises:
        ArchiveError: the folder cannot be used; while measuring, its disk is full.
    """

    def __init__(
        self,
        corpora: Sequence[Corpus],
        folder: str | Path | None = None,
        workers: int = 0,
        run_job: Callable[[Job], dict[str, Any]] = proxy_job,
        preload: tuple[str, ...] = ("foundry.search.warm",),
    ):
        self.corpora = {corpus.hash: corpus for corpus in corpora}
        self.folder = folder
        self.count = workers or cores()
        self.known: dict[str, Measured] = {}  # by the name of the evaluation
        self._archive = opened(Path(folder), corpora) if folder is not None else None
        self._ids: set[str] = set()
        if self._archive is not None:
            self._recall(self._archive)
        self._run_job, self._preload = run_job, preload
        self._workers: Workers | None = None

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._workers is not None:
            self._workers.close()
        if self._archive is not None:
            self._archive.close()

    @property
    def warnings(self) -> list[str]:
        """A line for each damaged part of the folder that was set aside."""
        return [] if self._archive is None else self._archive.warnings

    def measure(self, wanted: Sequence[Wanted], tell: Tell = lambda done, total: None) -> list[Measured]:
        """What came of each, in order. What is known already is not done again, and genomes that mean the same and
        are wanted with equal conditions are evaluated once.

        Raises:
            GenomeError: a text has errors.
            KeyError: `data` names none of the corpora.
        """
        names = [self._name(one) for one in wanted]
        waiting = {name: one for name, one in zip(names, wanted, strict=True) if name not in self.known}
        jobs = sorted(waiting.items(), key=lambda job: -job[1].compute)  # the longest first, so that all end together
        total, left = len(set(names)), len(jobs)
        tell(total - left, total)
        while left:
            while jobs and self.workers.free:
                name, one = jobs.pop(0)
                self.workers.start(self._job(self._unused(name), one))
            for finished in self.workers.wait(TICK):
                self._keep(finished)
                left -= 1
                tell(total - left, total)
        return [self.known[name] for name in names]

    def follow(self, study: Study[T], tell: Tell = lambda done, total: None) -> T:
        """Give a study what it wants until it has its result.

        Raises:
            GenomeError, KeyError: as `measure` does.
        """
        before = 0
        try:
            wanted = next(study)
            while True:
                measured = self.measure(wanted, partial(_further, tell, before))
                before += len(set(map(self._name, wanted)))
                wanted = study.send([one.bits_per_byte for one in measured])
        except StopIteration as end:
            return end.value

    def learn(self, rows: Iterable[Row]) -> None:
        """Know what a run has found, so that it need not be paid for again, if these versions of everything did."""
        for row in rows:
            if row["status"] == "ok" and not row["shared_with"] and of_these_versions(row):
                split = "validation" if row["test_bpb"] is None else "test"
                name = _name(row["genome_hash"], row["compute_budget"], row["seed"], split, row["data_hash"])
                self.known[name] = from_row(row)

    def speed(self, text: str) -> float:
        """Flop per second of one worker while all of them train a genome; the usual machine's where that fails."""
        compute = RUNGS[0].compute / 4
        for number in range(self.count):
            self.workers.start(
                self._job(f"speed-{number}", Wanted(text, compute, number, data=next(iter(self.corpora))))
            )
        found: list[Finished] = []
        while len(found) < self.count:
            found += self.workers.wait(TICK)
        return min((compute / f.wall_s for f in found if f.status == "ok"), default=usual_speed())

    def note(self, name: str, value: Any) -> Any:
        """Keep something in the folder's run.json, or bring back what was kept under its name before."""
        known = self.noted(name)
        if known is not None or self._archive is None:
            return value if known is None else known
        self._archive.write_run({**self._archive.read_run(), name: value})
        return value

    def noted(self, name: str) -> Any:
        """What was kept in the folder under a name, or None."""
        return None if self._archive is None else self._archive.read_run().get(name)

    @property
    def workers(self) -> Workers:
        """The workers, which begin with the first evaluation that is needed."""
        if self._workers is None:
            self._workers = Workers(self._run_job, self.count, preload=self._preload)
        return self._workers

    # ---- what is known ------------------------------------------------------------------------------------------

    def _name(self, wanted: Wanted) -> str:
        return _name(_hash(wanted.text), wanted.compute, wanted.seed, wanted.split, self._corpus(wanted).hash)

    def _unused(self, name: str) -> str:
        """The name with a number behind it where a row has it already: of a failure that may have been the machine's,
        or one that other versions found."""
        numbered = (f"{name}{AGAIN}{number}" for number in range(2, 10**6))
        return next(one for one in (name, *numbered) if one not in self._ids)

    def _corpus(self, wanted: Wanted) -> Corpus:
        if not wanted.data and len(self.corpora) == 1:
            return next(iter(self.corpora.values()))
        return self.corpora[wanted.data]

    def _job(self, name: str, wanted: Wanted) -> Job:
        limit = PATIENCE * wanted.compute / usual_speed() + GRACE
        return Job(name, wanted.text, self._corpus(wanted), wanted.compute, wanted.seed, wanted.split, limit)

    def _keep(self, finished: Finished) -> None:
        """Write the row first: what is reported as done is on disk."""
        name, measured = finished.job.eval_id, measured_by(finished)
        if self._archive is not None:
            genome_hash = _hash(finished.job.text)
            self._archive.write_genome(genome_hash, finished.job.text)
            self._archive.append([row_of(self._archive, genome_hash, finished, measured)])
        self._ids.add(name)
        self.known[name.partition(AGAIN)[0]] = measured

    def _recall(self, archive: Archive) -> None:
        """Know what stands in the panel's own rows, failures of genomes included."""
        for row in archive.rows():
            self._ids.add(row["eval_id"])
            if row["status"] not in MACHINES and of_these_versions(row):
                self.known[row["eval_id"].partition(AGAIN)[0]] = from_row(row)


def _further(tell: Tell, before: int, done: int, total: int) -> None:
    tell(before + done, before + total)


def _name(genome_hash: str, compute: float, seed: int, split: str, data: str) -> str:
    """The name of an evaluation: two that must give the same have one."""
    return f"{genome_hash}-{compute:.6g}-{seed}-{split}-{data}"


@lru_cache(maxsize=4096)
def _hash(text: str) -> str:
    return canonical_hash(load_program(text))


def usual_speed() -> float:
    """Flop per second of one core, as the table of rungs has it."""
    return RUNGS[0].compute / RUNGS[0].seconds
