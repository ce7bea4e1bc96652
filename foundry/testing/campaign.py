"""A fuzzing campaign: workers draw cases and try the properties on them until the time is over.

This process only watches. It kills a worker in which a property hangs, starts another where one died, keeps one
failure of each kind, the smallest, and stores it in the corpus.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from foundry.testing.candidates import Candidate
from foundry.testing.corpus import encoded, read_corpus, write_case
from foundry.testing.failures import CRASHED, HANGS, LIMIT, Failure
from foundry.testing.tally import Tally
from foundry.testing.worker import Duty, asked, work

LOOK_EVERY = 0.25  # seconds
PATIENCE = 4 * LIMIT  # seconds of wall-clock time for a property before its process is killed
NUMBERS = 10_000_000  # of cases that a worker will never reach


@dataclass(frozen=True)
class Settings:
    """seconds: of wall-clock time. names: the properties to try, () for all. corpus: where found cases are kept and
    from where they are replayed first; None for nowhere. given: genomes to test in place of drawn ones."""

    seconds: float
    workers: int = 2
    seed: int = 0
    names: tuple[str, ...] = ()
    corpus: Path | None = None
    given: tuple[str, ...] = ()
    stop_at_first: bool = False


@dataclass(frozen=True)
class Found:
    """A failure, the file that has it (None without a corpus), and whether the corpus had it before."""

    failure: Failure
    path: Path | None = None
    known: bool = False


@dataclass
class State:
    """A campaign at a moment. `running` says what each worker is at."""

    settings: Settings
    began: float
    tally: Tally = field(default_factory=Tally)
    found: dict[tuple[str, str, str], Found] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    replayed: int = 0
    killed: int = 0
    stopped: bool = False
    ended: float | None = None

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.began


@dataclass
class _Worker:
    """A process, the case that it is at, and how many processes were in its place before it."""

    process: Any  # of multiprocessing
    connection: Connection
    clock: Any
    duty: Duty
    generation: int = 0
    candidate: Candidate | None = None


def run(settings: Settings, notify: Callable[[State], None] = lambda state: None) -> State:
    """Fuzz until the time is over, or until interrupted: then with what was found so far.

    Raises:
        CorpusError, OSError: the corpus cannot be read or written.
    """
    state = State(settings, time.monotonic())
    workers = [_start(duty) for duty in _duties(settings)]
    try:
        with contextlib.suppress(KeyboardInterrupt):
            _watch(state, workers, notify)
            state.stopped = False
    finally:
        for worker in workers:
            _end(worker)
        state.ended = time.monotonic()
    return state


def _duties(settings: Settings) -> Iterator[Duty]:
    stored = read_corpus(settings.corpus) if settings.corpus else ()
    replays = [
        (case.property, Candidate(f"corpus {case.path.name}", case.content, case.seed))
        for case in stored
        if not settings.names or case.property in settings.names
    ]
    for index in range(settings.workers):
        own = tuple(replays[index :: settings.workers])
        yield Duty(settings.seed, index, settings.workers, settings.names, given=settings.given, replays=own)


def _start(duty: Duty, generation: int = 0) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    clock = context.Array("d", 2, lock=False)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    process = context.Process(target=work, args=(theirs, clock, duty), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, clock, duty, generation)


def _watch(state: State, workers: list[_Worker], notify: Callable[[State], None]) -> None:
    state.stopped = True  # until the end is reached undisturbed
    shown = 0.0
    while state.seconds < state.settings.seconds:
        if state.settings.stop_at_first and any(not found.known for found in state.found.values()):
            return
        left = state.settings.seconds - state.seconds
        ready = wait([worker.connection for worker in workers], max(0.0, min(LOOK_EVERY, left)))
        for index, worker in enumerate(workers):
            alive = _listen(state, worker) if worker.connection in ready else True
            if not alive or _hangs(worker):
                workers[index] = _replaced(state, worker, CRASHED if not alive else HANGS)
        state.running = [worker.candidate.origin if worker.candidate else "starting" for worker in workers]
        if time.monotonic() - shown > LOOK_EVERY:
            shown = time.monotonic()
            notify(state)


def _listen(state: State, worker: _Worker) -> bool:
    """Take what a worker has to say; whether it is alive."""
    try:
        while worker.connection.poll():
            kind, *rest = worker.connection.recv()
            if kind == "case":
                worker.candidate = rest[0]
            elif kind == "tally":
                state.tally.add(rest[0])
            elif kind == "replayed":
                state.replayed += rest[0]
            else:
                _keep(state, rest[0])
    except (EOFError, ConnectionResetError):
        return False
    return True


def _hangs(worker: _Worker) -> bool:
    """Whether a property goes on so long that the alarm inside the process did not help."""
    began = worker.clock[0]
    return bool(began) and time.monotonic() - began > PATIENCE


def _replaced(state: State, worker: _Worker, kind: str) -> _Worker:
    """A new worker in the place of one that died, which is a failure of the case that it was at."""
    worker.process.join(1)
    code = worker.process.exitcode
    _end(worker)
    state.killed += 1
    candidate = worker.candidate or Candidate("the worker's start", "", worker.duty.seed)
    message = f"over {PATIENCE:g} s" if kind == HANGS else f"the process ended with {code}"
    name = asked(worker.duty.names)[int(worker.clock[1])]
    _keep(state, Failure(name, kind, "nowhere", message, candidate.content, candidate.seed, candidate.origin))
    generation = worker.generation + 1
    if worker.candidate is None and generation > 3:
        raise RuntimeError(f"workers do not start: {message}")
    duty = replace(worker.duty, begin=generation * NUMBERS * worker.duty.count, replays=())
    return _start(duty, generation)


def _keep(state: State, failure: Failure) -> None:
    """Remember a failure where it is the first of its kind or smaller than that, and store it."""
    before = state.found.get(failure.key)
    known = failure.origin.startswith("corpus ")
    if before is not None and (before.known or len(encoded(failure.content)) >= len(encoded(before.failure.content))):
        return
    path = before.path if before else None
    if known:
        path = state.settings.corpus / failure.origin.removeprefix("corpus ") if state.settings.corpus else None
    elif state.settings.corpus:
        new = write_case(state.settings.corpus, failure)
        if path is not None and path != new:
            path.unlink(missing_ok=True)
        path = new
    state.found[failure.key] = Found(failure, path, known)


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.connection.close()
