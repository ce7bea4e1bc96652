"""Workers: one fresh process per evaluation, killed when it passes its time or its memory.

A fork server that has torch imported makes each process in milliseconds. A process leads its own
session, so that killing its group leaves nothing behind and Ctrl-C in the terminal does not reach it;
when the main process dies, it ends by itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.resource_tracker
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import psutil

from foundry.data.corpus import Corpus

LOOK_EVERY = 0.1  # seconds between looks at the time and memory of the running processes


@dataclass(frozen=True)
class Job:
    """An evaluation for a worker: train `text` on `corpus` with `compute` flop and this seed, and score it on `split`.

    seconds: its time limit. The rest is as in `foundry.evals.proxy.evaluate`: evaluations by fingerprint whose result
    this one may share, whether to take the fingerprint at all, what its signals must not say, and losses at which
    training is given up.
    """

    eval_id: str
    text: str
    corpus: Any
    compute: float
    seed: int
    split: str
    seconds: float
    known: Mapping[str, str] = field(default_factory=dict)
    probe: bool = False
    screen: Any = None
    limits: tuple[tuple[float, float], ...] = ()

    def __getstate__(self) -> dict[str, Any]:
        """What travels to the worker. Of a corpus that is the text to train on and the split to score, and no other:
        what is not scored on test text cannot see it."""
        if not isinstance(self.corpus, Corpus):
            return self.__dict__
        return self.__dict__ | {"corpus": self.corpus.showing("train", self.split)}


@dataclass(frozen=True)
class Finished:
    """What became of a job. `outcome` is what the evaluation gave, or None where `status` is timeout,
    out_of_memory or crashed; then `error_code` says more: a limit, a signal's name or an exception's.
    wall_s: seconds from the start of the process to the moment its answer was read."""

    job: Job
    status: str
    error_code: str
    outcome: dict[str, Any] | None
    wall_s: float
    cpu_s: float
    peak_rss: int


@dataclass
class _Process:
    job: Job
    process: Any  # of multiprocessing
    connection: Connection
    started: float
    peak_rss: int = 0
    cpu_s: float = 0.0
    ended: tuple[str, str, float] | None = None  # killed at a limit: status, error_code and seconds


class Workers:
    """Up to `count` evaluations at a time. A thread ends those that pass a limit.

    run: a module-level function from a Job to a dict; a `status` in it other than ok is respected.
    memory: bytes that one evaluation may keep resident.
    preload: modules that the fork server imports once.
    """

    def __init__(
        self, run: Callable[[Job], dict[str, Any]], count: int, memory: int = 2 << 30, preload: tuple[str, ...] = ()
    ):
        self.run, self.count, self.memory = run, count, memory
        self._context = multiprocessing.get_context("forkserver")
        self._running: list[_Process] = []
        self._guard: threading.Thread | None = None
        self._busy = 0.0
        self._since: float | None = None
        # What the main script imports is imported in the server too: each child reads that script again.
        ours = tuple(sorted(name for name in sys.modules if name.split(".")[0] == "foundry"))
        self._context.set_forkserver_preload([*preload, *ours])
        _start_server()

    @property
    def free(self) -> int:
        return self.count - len(self._running)

    @property
    def running(self) -> list[tuple[Job, float]]:
        """The jobs under way, each with its seconds so far."""
        now = time.monotonic()
        return [(p.job, now - p.started) for p in self._running]

    @property
    def busy_share(self) -> float:
        """The share of the workers' time, since the first started, that was spent inside evaluations
        that ended by themselves or are under way."""
        if self._since is None:
            return 0.0
        busy = self._busy + sum(seconds for _, seconds in self.running)
        return busy / (self.count * max(1e-9, time.monotonic() - self._since))

    def start(self, job: Job) -> None:
        """Begin a job. The first start waits until the fork server has imported what it preloads."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_evaluate, args=(theirs, self.run, job), daemon=True)
        process.start()
        theirs.close()
        now = time.monotonic()
        self._since = self._since or now
        self._running.append(_Process(job, process, ours, now))
        if self._guard is None:
            self._guard = threading.Thread(target=self._enforce, daemon=True)
            self._guard.start()

    def wait(self, timeout: float) -> list[Finished]:
        """What finished, or was killed at a limit, within `timeout` seconds; at once when something has."""
        deadline = time.monotonic() + timeout
        while True:
            finished = [f for f in map(self._look, list(self._running)) if f is not None]
            left = deadline - time.monotonic()
            if finished or left <= 0 or not self._running:
                return finished
            multiprocessing.connection.wait([p.connection for p in self._running], min(left, LOOK_EVERY))

    def close(self) -> None:
        """Kill what runs. Nothing of it is reported."""
        for process in list(self._running):
            self._end(process)

    def _look(self, p: _Process) -> Finished | None:
        if p.ended is not None:
            status, error_code, seconds = p.ended
            return self._kill(p, status, error_code, seconds)
        return self._collect(p) if p.connection.poll() else None

    def _enforce(self) -> None:
        """Kill what passes a limit, whatever the main thread is busy with; it collects them later."""
        while True:
            time.sleep(LOOK_EVERY)
            for p in list(self._running):
                with contextlib.suppress(OSError, ValueError):  # it was collected just now
                    self._end_at_limit(p)

    def _end_at_limit(self, p: _Process) -> None:
        if p.ended is not None or p.connection.poll():
            return  # its answer waits
        seconds = time.monotonic() - p.started
        self._measure(p)
        if seconds > p.job.seconds:
            p.ended = "timeout", f"over {p.job.seconds:.1f} s", seconds
        elif p.peak_rss > self.memory:
            p.ended = "out_of_memory", f"over {self.memory >> 20} MiB", seconds
        if p.ended is not None:
            _kill_group(p.process.pid)

    def _measure(self, p: _Process) -> None:
        try:
            process = psutil.Process(p.process.pid)
            p.peak_rss = max(p.peak_rss, process.memory_info().rss)
            times = process.cpu_times()
            p.cpu_s = times.user + times.system
        except psutil.Error:
            pass  # it ended just now; its message or the end of its pipe comes next

    def _kill(self, p: _Process, status: str, error_code: str, seconds: float) -> Finished:
        self._busy += seconds
        self._end(p)
        return Finished(p.job, status, error_code, None, seconds, p.cpu_s, p.peak_rss)

    def _collect(self, p: _Process) -> Finished:
        try:
            outcome, error, began, ended, cpu_s, peak_rss = p.connection.recv()
        except Exception:  # the pipe ended, or what came through it cannot be read
            p.process.join(1)
            code = p.process.exitcode
            return self._kill(p, "crashed", _exit_name(code), time.monotonic() - p.started)
        self._end(p)
        self._busy += ended - began
        seconds, peak_rss = time.monotonic() - p.started, max(peak_rss, p.peak_rss)
        if outcome is None:
            status = "out_of_memory" if error.startswith("MemoryError") else "crashed"
            return Finished(p.job, status, error, None, seconds, cpu_s, peak_rss)
        status, error_code = str(outcome.get("status", "ok")), str(outcome.get("error_code") or "")
        return Finished(p.job, status, error_code, outcome, seconds, cpu_s, peak_rss)

    def _end(self, p: _Process) -> None:
        """Kill the process with all that it started, and let go of it."""
        _kill_group(p.process.pid)
        p.process.join()
        p.process.close()
        p.connection.close()
        self._running.remove(p)


def _kill_group(pid: int) -> None:
    """Kill a process with all that it started."""
    for kill in (os.killpg, os.kill):  # it may not lead its group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(pid, signal.SIGKILL)


def _start_server() -> None:
    """Start the fork server where this process finds its modules, and deaf to Ctrl-C: the server and all that
    it forks inherit a blocked SIGINT, which is the main process's affair."""
    multiprocessing.resource_tracker.ensure_running()  # on its first start this unblocks SIGINT
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    path = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    try:
        multiprocessing.forkserver.ensure_running()
    finally:
        if path is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = path
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _exit_name(code: int | None) -> str:
    if code is None:
        return "no answer"
    if code < 0:
        try:
            return signal.Signals(-code).name
        except ValueError:
            return f"signal {-code}"
    return f"exit {code}"


def _evaluate(connection: Connection, run: Callable[[Job], dict[str, Any]], job: Job) -> None:
    """What the process of one evaluation does."""
    os.setsid()
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)  # the terminal belongs to the main process
    threading.Thread(target=_end_with_the_main_process, args=(connection,), daemon=True).start()
    began = time.monotonic()
    outcome, error = None, ""
    try:
        outcome = run(job)
    except Exception as problem:
        error = f"{type(problem).__name__}: {problem}".split("\n")[0][:120]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    connection.send((outcome, error, began, time.monotonic(), usage.ru_utime + usage.ru_stime, peak))
    connection.poll(None)  # until the main process has read it and ends this one


def _end_with_the_main_process(connection: Connection) -> None:
    """The main process sends nothing: whatever can be read is the end of the pipe."""
    connection.poll(None)
    os.killpg(0, signal.SIGKILL)
