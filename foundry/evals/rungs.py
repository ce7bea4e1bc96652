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
    Rung(compute=2.5e11, seconds=5),
    Rung(compute=8e11, seconds=15),
    Rung(compute=2.2e12, seconds=40),
)
