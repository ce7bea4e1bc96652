"""Folders that are built once and then only read: whole or not there, by any number of processes at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

LEFTOVER_AGE = 3600  # seconds without a write after which an unfinished build belongs to a process that died
BLOCK, BLOCKS = 1 << 18, 64  # bytes in a block, and how many blocks of a large array are checked at opening


def cache_folder(given: str | Path | None) -> Path:
    """`given`, else `$FOUNDRY_CACHE`, else `$XDG_CACHE_HOME/foundry`, else `~/.cache/foundry`."""
    if given is not None:
        return Path(given)
    if own := os.environ.get("FOUNDRY_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foundry"


def build_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder of our own, then move it to `folder` in one step, unless another process got there
    first. What stood there before was damaged, and goes.

    Raises:
        OSError: the disk will not have it.
    """
    parent = folder.parent
    parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(parent)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=parent) as space:
        with contextlib.suppress(FileNotFoundError):
            folder.rename(Path(space, "damaged"))
        building = Path(space, "new")
        building.mkdir()
        write(building)
        while True:
            try:
                building.rename(folder)
                return
            except OSError as error:
                if folder.exists():
                    return
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # else another stood there and has just gone
                    raise


def checksum(data: np.ndarray) -> str:
    """Of the length in bytes and of evenly spaced blocks: all of an array up to 16 MiB, a sample of a larger one."""
    data = data.view(np.uint8)
    digest = hashlib.sha256(str(len(data)).encode())
    for start in range(0, len(data), max(BLOCK, len(data) // BLOCKS)):
        digest.update(data[start : start + BLOCK].data)
    return digest.hexdigest()


def _clear_leftovers(parent: Path) -> None:
    for leftover in parent.glob(".building-*"):
        try:
            written = max(path.stat().st_mtime for path in (leftover, *leftover.rglob("*")))
        except FileNotFoundError:
            continue
        if time.time() - written > LEFTOVER_AGE:
            shutil.rmtree(leftover, ignore_errors=True)
