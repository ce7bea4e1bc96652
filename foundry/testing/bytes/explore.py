"""A process that explores one reader, guided by the lines that its inputs reach (atheris, which is libFuzzer).

`session.explore` starts it with the arguments TARGET FOUND INPUTS ROOM END SEED.

What fails is stored in the folder FOUND, one input for each kind and place of a failure, made small; a line of JSON on
standard output tells of it. INPUTS keeps what reached new lines, and ROOM is an empty folder of the process's own.
END is a time in seconds since 1970. Standard error is libFuzzer's.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

import atheris

from foundry.testing import survival
from foundry.testing.bytes.session import LAST
from foundry.testing.bytes.target import HANGING, SLOWEST, Target, failure_of, file_name
from foundry.testing.bytes.targets import BY_NAME
from foundry.testing.failures import Failure

BURDEN = 10.0  # times longer than usual may be, while lines are being watched
LARGEST = 1 << 16  # bytes of an input
SHRINKING = 10.0  # seconds
FORMATTED = 0.7  # of the changes keep the format, where the target has such

LONGEST_WORD = 60  # bytes


class Explorer:
    """What has failed so far, and what reads the next input."""

    def __init__(self, target: Target, read: Callable[[bytes], object], found: Path, last: Path):
        self.target, self.read, self.found, self.last = target, read, found, last
        self.known: set[tuple[str, str, str]] = set()

    def one(self, data: bytes) -> None:
        """Read an input; store it where it fails in a way that no other did."""
        self.last.write_bytes(data)
        failure = self._failure(data)
        if failure is None or failure.key in self.known:
            return
        self.known.add(failure.key)
        key = failure.key
        failure = self._failure(shrunk(data, lambda candidate: self._fails_with(candidate, key))) or failure
        path = self.found / file_name(failure)
        self.found.mkdir(parents=True, exist_ok=True)
        assert isinstance(failure.content, bytes)
        path.write_bytes(failure.content)
        told = {"file": str(path), "kind": failure.kind, "place": failure.place, "message": failure.message}
        print(json.dumps(told), flush=True)

    def _failure(self, data: bytes) -> Failure | None:
        return failure_of(self.target, self.read, data, SLOWEST * BURDEN)

    def _fails_with(self, data: bytes, key: tuple[str, str, str]) -> bool:
        failure = self._failure(data)
        return failure is not None and failure.key == key


def shrunk(data: bytes, fails: Callable[[bytes], bool], seconds: float = SHRINKING) -> bytes:
    """A smaller input that fails too: halves, quarters and so on are left out while it still fails."""
    end = time.monotonic() + seconds
    size = max(1, len(data) // 2)
    while size:
        at = 0
        while at < len(data) and time.monotonic() < end:
            candidate = data[:at] + data[at + size :]
            if fails(candidate):
                data = candidate
            else:
                at += size
        size //= 2
    return data


def mutator(target: Target) -> Callable[[bytes, int, int], bytes]:
    """libFuzzer's own changes to bytes, and the target's, which keep the format."""

    def mutate(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if target.mutate is not None and rng.random() < FORMATTED:
            changed = target.mutate(data, rng)
            if len(changed) <= largest:
                return changed
        return bytes(atheris.Mutate(data, largest))

    return mutate


def dictionary(target: Target) -> str:
    """Pieces of the format, as libFuzzer reads them."""
    escaped = ["".join(f"\\x{byte:02x}" for byte in word) for word in target.words() if len(word) <= LONGEST_WORD]
    return "".join(f'"{word}"\n' for word in escaped)


def main() -> None:
    name, found, inputs, room, end, seed = sys.argv[1:]
    target, space = BY_NAME[name], Path(room)
    survival.SECONDS *= BURDEN
    seeds = space / "seeds"
    for folder in (Path(inputs), seeds):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(target.seeds()):
        (seeds / f"{number:03}").write_bytes(data)
    explorer = Explorer(target, target.open(space / "folder"), Path(found), space / LAST)
    settings = [
        f"-max_total_time={max(1, round(float(end) - time.time()))}", f"-seed={seed}", f"-max_len={LARGEST}",
        f"-artifact_prefix={space}/", "-rss_limit_mb=4096", f"-timeout={10 * HANGING:.0f}",
    ]  # fmt: skip
    if words := dictionary(target):
        (space / "words").write_text(words)
        settings.append(f"-dict={space / 'words'}")
    changes = {} if target.mutate is None else {"custom_mutator": mutator(target)}
    atheris.Setup([sys.argv[0], *settings, inputs, str(seeds)], explorer.one, **changes)
    atheris.Fuzz()
