"""Jobs that look around them or misbehave, for worker processes: they import this file by its name."""

import os
import resource
import signal
import time
from pathlib import Path

import tiny

from foundry.search.settings import proxy_job

MIB = 1 << 20


def sees(job):
    """How much text of each split a job brings along, and which files of text this process has mapped."""
    mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if ".bin" in line}
    sizes = {split: len(getattr(job.corpus, split)) for split in ("train", "validation", "test")}
    return {"status": "ok", "bytes": sizes, "mapped": sorted(mapped)}


def hoard(job):
    """Takes memory for ever; the file `corpus` is as old as its last look that was below the limit of `compute` bytes.

    It looks before it takes more: whoever ends it may be sooner than a look afterwards.
    """
    kept = []
    while True:
        if resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 <= job.compute:
            Path(job.corpus).touch()
        kept.append(bytearray(os.urandom(MIB)) * 4)
        time.sleep(0.005)  # some 700 MiB a second


def slow(job):
    """Trains a real genome, and never comes to an end: torch holds the process."""
    import torch

    outcome = proxy_job(job)
    assert outcome["status"] == "ok", outcome
    while True:
        torch.ones(2000, 2000) @ torch.ones(2000, 2000)


def stubborn(job):
    """Runs for ever, and does not listen to signals that ask it to end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):
        signal.signal(number, signal.SIG_IGN)
    while True:
        time.sleep(0.01)


FATES = ("for ever", "memory", "signal")


def deadly(job):
    """The landscape of tiny.py, in which every second child ends badly."""
    fate = fate_of(job.text) if job.split == "validation" else ""
    if fate == "for ever":
        stubborn(job)
    if fate == "memory":
        kept = []
        while True:
            kept.append(b"x" * (32 * MIB))
    if fate == "signal":
        os.kill(os.getpid(), signal.SIGBUS)
    return tiny.landscape(job)


def fate_of(text):
    """What becomes of a genome: nothing where it has a comment, as baselines have."""
    number = sum(text.encode()) % 6
    return FATES[number] if number < len(FATES) and "#" not in text else ""
