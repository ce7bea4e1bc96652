"""A reader of untrusted bytes, as something to be fuzzed."""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foundry.testing.failures import Failure, observe

SLOWEST = 1.0  # seconds of processor time that any input may take
HANGING = 15.0  # seconds after which it is interrupted


@dataclass(frozen=True)
class Target:
    """A reader under test.

    name: for the command line, and for the folder of stored cases. statement: one sentence that is true of every input.
    open: given a folder of its own, a function that reads bytes as the reader would: it returns where they are
        accepted, or refused as documented, and raises where the statement does not hold.
    watched: packages whose lines guide the exploring; the fewer, the faster.
    seeds: inputs to begin with. words: pieces of the format. mutate: a change that keeps the format, where bytes
        changed at random would rarely get far.
    """

    name: str
    statement: str
    open: Callable[[Path], Callable[[bytes], object]]
    watched: tuple[str, ...]
    seeds: Callable[[], list[bytes]]
    words: Callable[[], list[bytes]] = list
    mutate: Callable[[bytes, random.Random], bytes] | None = None


class Slow(Exception):
    """An input that takes longer than any may; the message says how long."""


def failure_of(target: Target, read: Callable[[bytes], object], data: bytes, slowest: float) -> Failure | None:
    """What goes wrong when some bytes are read; None where nothing does.

    read: what `target.open` gave. slowest: seconds of processor time that it may take.
    """

    def act() -> None:
        began = time.process_time()
        read(data)
        seconds = time.process_time() - began
        if seconds > slowest:
            raise Slow(f"{seconds:.1f} s of processor time")

    return observe(target.name, act, data, 0, HANGING)


def file_name(failure: Failure) -> str:
    """Where a failure's input is stored: `keyerror-search-history-47-1f09ac3b`."""
    assert isinstance(failure.content, bytes)
    place = failure.place.split(" ")[0].removeprefix("foundry/").replace(".py", "").replace("/", "-").replace(":", "-")
    return f"{failure.kind}-{place}-{hashlib.sha256(failure.content).hexdigest()[:8]}".lower()
