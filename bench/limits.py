"""How soon an evaluation ends that passes a limit: `python bench/limits.py [TIMES]`.

Three kinds are started side by side with honest work on all cores: one that takes for ever, one that eats memory, and
one that dies by a signal. Prints for each the seconds between the limit (or the death) and the moment at which it is
recorded, at most and in the middle.
"""

from __future__ import annotations

import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil

from foundry.search.settings import cores
from foundry.search.workers import Job, Workers

LIMIT = 1.0  # seconds
MEMORY = 400 << 20  # bytes
RECORDED = 1.0  # seconds after its limit, at most


def doom(job: Job) -> dict:
    """Do what the job's text says; the moment of passing a limit goes into the file that its corpus names."""
    if job.text == "for ever":
        while True:
            pass
    if job.text == "memory":
        kept, note = [], Path(job.corpus)
        while True:
            kept.append(bytearray(os.urandom(1 << 20)))
            if psutil.Process().memory_info().rss > MEMORY and not note.exists():
                note.write_text(str(time.monotonic()))
            time.sleep(0.02)
    if job.text == "signal":
        Path(job.corpus).write_text(str(time.monotonic()))
        os.kill(os.getpid(), signal.SIGSEGV)
    end = time.monotonic() + job.compute
    while time.monotonic() < end:
        sum(range(1000))
    return {"status": "ok"}


def late(kind: str, folder: Path, workers: Workers, number: int) -> float:
    """Seconds from the limit of one doomed evaluation to its record."""
    note = folder / f"{kind}-{number}"
    began = time.monotonic()
    seconds = LIMIT if kind == "for ever" else 60.0
    workers.start(Job(kind, kind, str(note), 0.0, number, "validation", seconds))
    while True:
        for finished in workers.wait(5):
            if finished.job.eval_id == kind:
                now = time.monotonic()
                if kind == "for ever":
                    return now - began - LIMIT
                return now - float(note.read_text()) if note.exists() else 0.0  # it ended before it could look


def main(times: int) -> int:
    workers = Workers(doom, cores() + 1, MEMORY)
    worst = 0.0
    try:
        with tempfile.TemporaryDirectory() as name:
            for other in range(cores()):
                workers.start(Job(f"work-{other}", "work", "", 1e9, other, "validation", 1e9))
            late("signal", Path(name), workers, -1)  # the first one waits for the fork server
            print("| an evaluation that | seconds until it is recorded, median | at most |\n|---|--:|--:|")
            for kind, what in (("for ever", "takes for ever"), ("memory", "eats memory"), ("signal", "dies")):
                found = [late(kind, Path(name), workers, number) for number in range(times)]
                worst = max(worst, *found)
                print(f"| {what} | {statistics.median(found):.2f} | {max(found):.2f} |")
    finally:
        workers.close()
    return 0 if worst < RECORDED else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10))
