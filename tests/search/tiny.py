"""Evaluations that do one thing, for worker processes: they import this file by its name."""

import math
import os
import random
import re
import signal
import time


def evaluate(job):
    """Do what the text of the job says."""
    return globals()[job.text](job)


def answer(job):
    return {"status": "ok", "bits_per_byte": job.seed / 8, "pid": os.getpid(), "session": os.getsid(0)}


def nap(job):
    time.sleep(0.2)
    return {"status": "ok"}


def sleep(job):
    time.sleep(60)


def spin(job):
    """Busy until its compute in milliseconds is spent."""
    end = time.process_time() + job.compute / 1000
    while time.process_time() < end:
        pass
    return {"status": "ok"}


def grow(job):
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1 << 20)) * 8)


def swallow(job):
    bytearray(1 << 60)


def fault(job):
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(job):
    os._exit(7)


def raises(job):
    raise ValueError("the reason\nand more")


def unreadable(job):
    return {"status": "ok", "value": lambda: 0}


def diverge(job):
    return {"status": "diverged", "error_code": "loss"}


def suspect(job):
    return {"status": "quarantined", "error_code": "leak", "bits_per_byte": 0.1}


def family(job):
    """A child process of its own, whose number is left in the file that `corpus` names."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    with open(job.corpus, "w") as file:
        file.write(f"{os.getpid()} {child}")
    time.sleep(60)


def landscape(job):
    """A score that follows from the text: learning rates near 0.01 and squared ReLU help, seeds make noise,
    and more compute helps everyone. Takes 20 ms; one text in fifty fails in some way."""
    time.sleep(0.02)
    rates = [float(rate) for rate in re.findall(r"\blr = ([0-9.e-]+)", job.text)] or [3e-3]
    luck = random.Random(f"{job.text}{job.seed}")
    structure = random.Random(job.text).random()
    if random.Random(job.text[::-1]).random() < 0.02:
        return {"status": "diverged", "error_code": "loss"}
    score = 2.5 + 0.4 * abs(math.log10(rates[0] / 1e-2)) - 0.3 * ("relu2" in job.text) + 0.3 * structure
    score += luck.gauss(0, 0.02) - 0.1 * math.log10(job.compute / 1e11)
    return {
        "status": "ok",
        "bits_per_byte": score,
        "tokens": 1000,
        "steps": 10,
        "train_curve": ((0.5, score + 1), (1.0, score)),
        "flops_per_token": 1.0,
        "bytes_per_token": 2.0,
        "cache_bytes_per_token": 3.0,
    }


def plain(job):
    """A score on a straight line of compute's logarithm, from which squared ReLU saves 0.3 and doubling compute 0.12;
    the same seeds make the same noise."""
    luck = random.Random(f"{job.text}{job.seed}")
    common = random.Random(job.seed).gauss(0, 0.05)
    score = 3 + common - 0.3 * ("relu2" in job.text) - 0.4 * math.log10(job.compute / 1e12) + luck.gauss(0, 0.01)
    return {
        "status": "ok",
        "bits_per_byte": score,
        "tokens": 1000,
        "steps": 10,
        "parameters": 5,
        "compute": job.compute,
    }
