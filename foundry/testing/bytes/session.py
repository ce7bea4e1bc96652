"""Exploring a reader for some time: one process after another, since an input may end the one that reads it."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from foundry.testing.bytes.target import HANGING, SLOWEST, Target, failure_of, file_name
from foundry.testing.failures import CRASHED, HANGS, Failure

LAST = "last-input"  # in a process's room: what it was reading when it ended
STUCK = 4 * HANGING  # seconds with one input, after which the process is killed
TICK = 0.2  # seconds
_STATUS = re.compile(r"#(\d+)\s+[A-Z]\w*\s+cov: (\d+)")

# Only modules that are imported inside are watched for the lines that they reach.
BEGIN = """
import sys, atheris
with atheris.instrument_imports(include=sys.argv.pop(1).split(",")):
    from foundry.testing.bytes.explore import main
main()
"""


class Unavailable(Exception):
    """Exploring is not possible here; the message is one line that says what to do."""


@dataclass(frozen=True)
class Found:
    """A failure, and where its input is stored."""

    path: Path
    kind: str
    place: str
    message: str


@dataclass(frozen=True)
class Exploration:
    """What came of exploring a reader. runs: inputs that were read. reached: branches of foundry's code."""

    target: str
    seconds: float = 0.0
    runs: int = 0
    reached: int = 0
    found: tuple[Found, ...] = field(default=())


def replay(target: Target, folder: Path, slowest: float = SLOWEST) -> Iterator[tuple[Path, Failure | None]]:
    """Every stored input of a target, and how it fails; None where it no longer does.

    folder: of a corpus; the inputs stand in its `bytes/TARGET`.
    """
    paths = sorted(path for path in stored(target, folder).glob("*") if path.is_file())
    if not paths:
        return
    with tempfile.TemporaryDirectory(prefix="foundry-bytes-") as room:
        read = target.open(Path(room, "folder"))
        for path in paths:
            yield path, failure_of(target, read, path.read_bytes(), slowest)


def stored(target: Target, folder: Path) -> Path:
    """Where a corpus keeps the inputs of a target."""
    return folder / "bytes" / target.name


def explore(
    target: Target,
    seconds: float,
    corpus: Path,
    inputs: Path | None = None,
    seed: int = 0,
    notify: Callable[[Exploration], None] = lambda exploration: None,
) -> Exploration:
    """Explore a reader for some seconds, and store what fails in a corpus.

    inputs: a folder of what reached new code, to begin with and to add to; none for a folder of the session's own.

    Raises:
        Unavailable: atheris is not installed, or does not start.
    """
    if importlib.util.find_spec("atheris") is None:
        raise Unavailable("exploring bytes needs the extra: pip install 'foundry[fuzz]'")
    began = time.monotonic()
    out = Exploration(target.name)
    end = time.time() + seconds
    while time.time() < end:
        with tempfile.TemporaryDirectory(prefix="foundry-bytes-") as space:
            room = Path(space)
            kept = inputs or room / "inputs"
            command = [sys.executable, "-c", BEGIN, ",".join(target.watched), target.name]
            process = _Process([*command, str(stored(target, corpus)), str(kept), space, str(end), str(seed)], room)
            with process:
                while process.runs_on():
                    notify(_with(out, process, began))
            out = _with(out, process, began)
            if process.stopped_short:
                out = replace(out, found=(*out.found, _ended(target, room, corpus, process)))
        seed += 1
    notify(out)
    return out


def _with(before: Exploration, process: _Process, began: float) -> Exploration:
    known = {(found.kind, found.place) for found in before.found}
    fresh = [found for found in list(process.found) if (found.kind, found.place) not in known]
    return replace(
        before,
        seconds=time.monotonic() - began,
        runs=before.runs + process.runs,
        reached=max(before.reached, process.reached),
        found=(*before.found, *fresh),
    )


def _ended(target: Target, room: Path, corpus: Path, process: _Process) -> Found:
    """The failure that ended a process: the input that it was reading.

    Raises:
        Unavailable: it had not begun to read.
    """
    last = room / LAST
    if not last.exists() or not process.runs:
        reason = next((line for line in reversed(process.told) if line.strip()), "it said nothing")
        raise Unavailable(f"the process that explores ended before it began: {reason.strip()[:200]}")
    message = f"over {STUCK:.0f} s" if process.stuck else f"the process ended with {process.code}"
    failure = Failure(target.name, HANGS if process.stuck else CRASHED, "", message, last.read_bytes(), 0)
    path = stored(target, corpus) / file_name(failure)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert isinstance(failure.content, bytes)
    path.write_bytes(failure.content)
    return Found(path, failure.kind, failure.place, failure.message)


class _Process:
    """A process that explores, what it has said so far, and whether it is stuck."""

    def __init__(self, command: list[str], room: Path):
        self.last = room / LAST
        self.runs = self.reached = 0
        self.stuck = False
        self.told: list[str] = []
        self.found: list[Found] = []
        environment = os.environ | {"PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, start_new_session=True, text=True,
            errors="replace",
        )  # fmt: skip
        self._readers = [threading.Thread(target=t, daemon=True) for t in (self._read_found, self._read_status)]

    def __enter__(self) -> _Process:
        for reader in self._readers:
            reader.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self._process.stdout, self._process.stderr):
            assert stream is not None
            stream.close()

    @property
    def code(self) -> int | None:
        return self._process.returncode

    @property
    def stopped_short(self) -> bool:
        """Whether it ended otherwise than by its time."""
        return self.code != 0

    def runs_on(self) -> bool:
        """Wait for a moment; whether it is still at work. One that is stuck is killed."""
        try:
            self._process.wait(TICK)
            return False
        except subprocess.TimeoutExpired:
            pass
        if self.last.exists() and time.time() - self.last.stat().st_mtime > STUCK:
            self.stuck = True
            return False
        return True

    def _read_found(self) -> None:
        for line in self._process.stdout or ():
            try:
                told = json.loads(line)
                self.found.append(Found(Path(told["file"]), told["kind"], told["place"], told["message"]))
            except (ValueError, KeyError, TypeError):
                continue  # something that a reader printed

    def _read_status(self) -> None:
        for line in self._process.stderr or ():
            self.told = [*self.told[-20:], line]
            if status := _STATUS.match(line):
                self.runs, self.reached = int(status[1]), int(status[2])
