"""How well the workers are used: python bench/workers.py [SECONDS]

Prints the share of the time after start-up that two workers spend in training and evaluation, what two
workers get done against one, and how long a killed worker's place stays empty. The jobs are proxy
evaluations of a shipped baseline on the embedded text, so the machine should have nothing else to do.
"""

from __future__ import annotations

import sys
import time
from typing import Any

from foundry.data.corpus import Corpus, load_corpus
from foundry.search.candidates import shipped_baselines
from foundry.search.settings import proxy_job
from foundry.search.workers import Job, Workers

COMPUTE = 1.5e11  # flop: a few seconds, as at the first rung
WARM = ("foundry.search.warm",)


def throughput(count: int, seconds: float, corpus: Corpus) -> tuple[float, float]:
    """Evaluations finished per second by `count` workers, and the share of their time inside evaluations."""
    workers = Workers(proxy_job, count, preload=WARM)
    text = shipped_baselines()["llama"]
    started = finished = 0
    begin = last = 0.0
    while not last or last - begin < seconds:
        while workers.free:
            workers.start(Job(str(started), text, corpus, COMPUTE, started, "validation", 120.0))
            begin = begin or time.monotonic()  # the first start waits for the fork server
            started += 1
        if ended := workers.wait(1):
            finished, last = finished + len(ended), time.monotonic()
            share = workers.busy_share
    workers.close()
    return finished / (last - begin), share


def hang_or_answer(job: Job) -> dict[str, Any]:
    if job.text == "hang":
        time.sleep(60)
    return {"status": "ok"}


def replacement() -> float:
    """Seconds from the passing of a time limit to the first answer of the worker that takes the place."""
    workers = Workers(hang_or_answer, 1, preload=WARM)
    limit = 0.5
    workers.start(Job("hang", "hang", None, 0.0, 0, "validation", limit))
    begin = time.monotonic()
    while not workers.wait(1):
        pass
    workers.start(Job("next", "answer", None, 0.0, 0, "validation", 10.0))
    while not workers.wait(1):
        pass
    return time.monotonic() - begin - limit


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    corpus = load_corpus(None)
    one, _ = throughput(1, seconds, corpus)
    two, share = throughput(2, seconds, corpus)
    print(f"busy share of two workers: {share:.1%}")
    print(f"two workers against one: {two / one:.2f}")
    print(f"a killed worker is replaced in {replacement():.2f} s")


if __name__ == "__main__":
    main()
