"""Evaluations are isolated: whatever one does, it ends in time, its end is named, and the next can start."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import tiny

from foundry.data.corpus import load_corpus
from foundry.search import candidates
from foundry.search.settings import proxy_job
from foundry.search.workers import Job, Workers

HERE = str(Path(__file__).parent)


def job(what, seconds=20.0, seed=0, corpus=None, compute=0.0):
    return Job(f"{what}-{seed}", what, corpus, compute, seed, "validation", seconds)


@pytest.fixture
def workers():
    pool = Workers(tiny.evaluate, 2, memory=300 << 20, preload=("tiny",))
    yield pool
    pool.close()


def one(pool, task):
    pool.start(task)
    (finished,) = pool.wait(20)
    assert finished.job == task and pool.free == pool.count
    return finished


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_each_evaluation_has_a_process_and_a_session_of_its_own(workers):
    first, second = one(workers, job("answer", seed=4)), one(workers, job("answer", seed=6))
    assert (first.status, first.outcome["bits_per_byte"], second.outcome["bits_per_byte"]) == ("ok", 0.5, 0.75)
    assert len({first.outcome["pid"], second.outcome["pid"], os.getpid()}) == 3
    assert first.outcome["session"] == first.outcome["pid"]


def test_workers_run_side_by_side(workers):
    one(workers, job("answer"))
    start = time.monotonic()
    workers.start(job("nap", seed=1))
    workers.start(job("nap", seed=2))
    assert workers.free == 0 and len(workers.running) == 2
    finished = []
    while len(finished) < 2:
        finished += workers.wait(5)
    assert time.monotonic() - start < 0.39


def test_a_time_limit_ends_an_evaluation_within_a_second_and_a_new_one_starts_at_once(workers):
    one(workers, job("answer"))
    start = time.monotonic()
    late = one(workers, job("sleep", seconds=0.5))
    assert (late.status, late.error_code, late.outcome) == ("timeout", "over 0.5 s", None)
    assert one(workers, job("answer")).status == "ok"
    assert time.monotonic() - start < 1.5


def test_a_memory_limit_ends_an_evaluation(workers):
    one(workers, job("answer"))
    start = time.monotonic()
    assert one(workers, job("grow")).status == "out_of_memory"
    assert time.monotonic() - start < 5
    assert one(workers, job("swallow")).status == "out_of_memory"


@pytest.mark.parametrize(
    "what, code",
    [("fault", "SIGSEGV"), ("leave", "exit 7"), ("raises", "ValueError: the reason")],
)
def test_a_crash_is_named(workers, what, code):
    crashed = one(workers, job(what))
    assert (crashed.status, crashed.error_code) == ("crashed", code)


def test_an_outcome_that_cannot_travel_is_a_crash(workers):
    assert one(workers, job("unreadable")).status == "crashed"
    assert one(workers, job("answer")).status == "ok"


def test_what_an_evaluation_started_dies_with_it(workers, tmp_path):
    one(workers, job("answer"))
    assert one(workers, job("family", seconds=0.7, corpus=str(tmp_path / "pids"))).status == "timeout"
    parent, child = map(int, (tmp_path / "pids").read_text().split())
    assert wait_for(lambda: gone(parent) and gone(child))


MAIN = """
import sys, time
sys.path.insert(0, {here!r})
import tiny
from foundry.search.workers import Job, Workers
if __name__ == "__main__":
    pool = Workers(tiny.evaluate, 1, preload=("tiny",))
    try:
        pool.start(Job("a", "sleep", None, 0.0, 0, "validation", 60.0))
        print(pool._running[0].process.pid, flush=True)
        while True:
            pool.wait(1)
    except KeyboardInterrupt:
        print(len(pool.running), pool.wait(0.3), flush=True)
        pool.close()
"""


@pytest.fixture
def main_process(tmp_path):
    (tmp_path / "main.py").write_text(MAIN.format(here=HERE))
    process = subprocess.Popen(
        [sys.executable, tmp_path / "main.py"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def test_workers_end_when_the_main_process_is_killed(main_process):
    process, worker = main_process
    assert not gone(worker)
    process.kill()
    assert wait_for(lambda: gone(worker), 2)


def test_ctrl_c_reaches_the_main_process_alone(main_process):
    process, worker = main_process
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout.readline() == "1 []\n"
    assert wait_for(lambda: gone(worker), 2)


def test_a_worker_trains_a_real_genome():
    """The path of every evaluation of a real search; the default preload has torch in it."""
    text = candidates.shipped_baselines()["llama"]
    pool = Workers(proxy_job, 1, preload=("foundry.search.warm",))
    pool.start(Job("real", text, load_corpus(None), 3e10, 0, "validation", 120.0))
    finished = []
    while not finished:
        finished = pool.wait(1)
    pool.close()
    assert (finished[0].status, finished[0].error_code) == ("ok", "")
    assert 3 < finished[0].outcome["bits_per_byte"] < 8  # of the 8 bits that knowing nothing takes
