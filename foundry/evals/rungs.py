"""The rungs: how much compute each level of evaluation spends on training."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rung:
    """compute: training flop-equivalents (see `foundry.compiler.cost`). seconds: about what the proxy llama
    takes, training and evaluation together, on one core of a server of the 2020s."""

    compute: float
    seconds: float


RUNGS: tuple[Rung, ...] = (
    Rung(compute=4e11, seconds=5),
    Rung(compute=1.2e12, seconds=15),
    Rung(compute=3.2e12, seconds=40),
)
