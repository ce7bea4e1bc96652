"""Evaluations that do one thing, for worker processes: they import this file by its name."""

import os
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


def family(job):
    """A child process of its own, whose number is left in the file that `corpus` names."""
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    with open(job.corpus, "w") as file:
        file.write(f"{os.getpid()} {child}")
    time.sleep(60)
