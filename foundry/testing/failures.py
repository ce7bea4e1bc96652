"""One property tried on one case: nothing, or a failure that says where it came from."""

from __future__ import annotations

import contextlib
import os
import signal
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from foundry.testing.case import Broken, Case, Property, Skipped

LIMIT = 30.0  # seconds of processor time for one property of one case: more is a failure
HANGS = "hangs"
CRASHED = "crashed"

Content = str | bytes
_ROOM = Path(__file__).resolve().parent.parent
_LONGEST_MESSAGE = 400


class Hangs(BaseException):
    """A property took longer than it may. Not an Exception: what is under test must not swallow it."""


@dataclass(frozen=True)
class Failure:
    """A property, by its name, that does not hold of a case.

    kind: the type of what was raised, or `hangs`, or `crashed` where the process ended. place: `file:line` of the
    innermost line of this package that was running. origin: how the case was drawn, enough to draw it again.
    """

    name: str
    kind: str
    place: str
    message: str
    content: Content
    seed: int
    origin: str = ""

    @property
    def key(self) -> tuple[str, str, str]:
        """What makes two failures the same one.

        A crash of the compiler is one failure however many properties meet it; a broken promise is told by its name.
        """
        return ("" if self.kind not in (Broken.__name__, HANGS, CRASHED) else self.name, self.kind, self.place)


def attempt(tested: Property, case: Case, limit: float = LIMIT) -> Failure | None:
    """The failure of a property on a case, or None where it holds.

    Raises:
        Skipped: the case says nothing about it.
    """
    return observe(tested.name, lambda: tested.holds(case), case.text, case.seed, limit)


def spent() -> float:
    """Seconds of processor time that this process and those that it waited for have used."""
    return sum(os.times()[:4])


def observe(name: str, act: Callable[[], object], content: Content, seed: int, limit: float = LIMIT) -> Failure | None:
    """The failure of an act that should raise nothing and end within so many seconds of processor time."""
    try:
        with within(limit):
            act()
    except Skipped:
        raise
    except Hangs as error:
        return Failure(name, HANGS, _place(error), f"over {limit:g} s", content, seed)
    except Exception as error:
        message = f"{error}".strip()[:_LONGEST_MESSAGE]
        return Failure(name, type(error).__name__, _place(error), message, content, seed)
    return None


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `Hangs` in what runs here for more processor time than that; only in a process's main thread."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise Hangs

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _place(error: BaseException) -> str:
    """`file:line`, or for code that we emitted the name of its function."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOM)]
    if not ours:
        return "nowhere"
    innermost = ours[-1]
    place = f"{Path(innermost.filename).relative_to(_ROOM.parent).as_posix()}:{innermost.lineno}"
    behind = frames[frames.index(innermost) + 1 :]
    emitted = [frame.name for frame in behind if frame.filename.startswith("<")]
    return f"{place} ({emitted[-1]})" if emitted else place
