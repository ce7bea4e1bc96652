"""What each process of test_devices.py does."""

import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from foundry.train.devices import machine
from foundry.train.run import Stopped, run
from foundry.train.terms import Asked, RunError


class StopAt:
    """Interrupts the process that shows the run, after a step."""

    def __init__(self, step):
        self.step = step

    def __call__(self, steps):
        return self

    def row(self, row):
        if row.step == self.step:
            os.kill(os.getpid(), signal.SIGINT)

    def sample(self, step, text): ...

    def say(self, text): ...

    def close(self): ...


def work(folder: Path, data: Path, other: Path, genomes: list[Path]) -> None:
    """Two runs of every genome, with whole and with shared weights, by all processes together."""
    signal.alarm(120)  # which ends a process that waits in vain
    with machine("cpu") as here:
        for genome in genomes:
            for shard in ("ddp", "fsdp"):
                name = f"{genome.stem}-{shard}"
                asked = Asked(folder / name, genome.read_text(), data=str(data), unit="steps", amount=8)
                asked = replace(asked, validations=2, sample=4, micro=64)
                with contextlib.suppress(Stopped):
                    run(asked, replace(here, shard=shard), StopAt(5 if name == "adamw-fsdp" else 0))
        data_of_their_own = replace(asked, out=folder / "strange", data=str(other if here.rank else data))
        one_without_the_run = replace(asked, out=folder / ("strange" if here.rank else name), resume=True)
        for strange in (data_of_their_own, one_without_the_run):
            with pytest.raises(RunError, match="the processes do not have the same run, text or tokenizer before them"):
                run(strange, here)
