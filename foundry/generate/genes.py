"""The numbers of a genome by the name of the argument that they are given to: usual values, and steps between them."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.dsl.registry import OPTIMIZERS, PRIMITIVES, TRAIN, Arg
from foundry.dsl.rules import divisors
from foundry.generate.draw import Draw, weighted
from foundry.generate.trees import rounded


@dataclass(frozen=True)
class Gene:
    """A ladder of usual values, ascending, for a number; `free` where values between the rungs are as good."""

    ladder: tuple[float, ...]
    free: bool = False


_LR = Gene((1e-4, 3e-4, 5e-4, 1e-3, 2e-3, 3e-3, 5e-3, 7e-3, 1e-2, 1.5e-2, 2e-2, 3e-2, 5e-2), free=True)

# By "callee.argument" where one callee means something of its own by a name, else by the argument's name.
GENES: dict[str, Gene] = {
    "theta": Gene((30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 5e5)),
    "eps": Gene((1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)),
    "adamw.eps": Gene((1e-12, 1e-10, 1e-9, 1e-8, 1e-7, 1e-6)),
    "kernel": Gene((2, 3, 4, 5, 7, 8, 12, 16)),
    "by": Gene((1, 2, 3, 4)),
    "size": Gene((4, 8, 12, 16, 24, 32, 48, 64, 96, 128)),
    # experts: how many there are, and how many of them a token uses; a router that renormalises needs two to choose
    "count": Gene((2, 3, 4, 6, 8)),
    "active": Gene((2, 3, 4)),
    "top.count": Gene((1, 2, 3, 4)),
    "attend.top": Gene((2, 4, 8, 16, 32, 64)),
    "sink": Gene((-2, -1, 0, 1, 2)),
    # recurrent memories: a constant decay must stay below 1, or nothing is forgotten
    "linear_attend.decay": Gene((0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)),
    "delta_attend.decay": Gene((0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995)),
    "state": Gene((2, 4, 8, 16)),
    "rank": Gene((4, 8, 12, 16, 24, 32, 48)),
    "rope_dim": Gene((2, 4, 8, 16)),
    "value_dim": Gene((8, 16, 24, 32)),
    # rotary positions
    "rotary": Gene((2, 4, 6)),
    "factor": Gene((1.5, 2, 4, 8, 16)),
    "original": Gene((16, 32, 64, 128, 256, 1024, 4096)),
    "low": Gene((0.5, 1, 2)),
    "high": Gene((3, 4, 8, 16)),
    "fast": Gene((4, 8, 16, 32)),
    "slow": Gene((0.5, 1, 2)),
    "start": Gene((0.1, 0.2, 0.35, 0.5, 1, 2, 4), free=True),
    "step": Gene((2, 3, 4, 6, 8)),
    "cap": Gene((5, 10, 15, 20, 30, 50, 100)),
    "warmup": Gene((0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)),
    "floor": Gene((0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)),
    "trapezoid.decay": Gene((0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0)),
    "decay": Gene((0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.5)),
    "weight": Gene((1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3)),
    "init": Gene((-1.0, 0.0, 0.1, 0.25, 0.5, 1.0, 2.0), free=True),
    "scale": Gene((0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 1.0)),
    "lr": _LR,
    "adamw_lr": _LR,
    "momentum": Gene((0.8, 0.85, 0.9, 0.95, 0.97, 0.98)),
    "batch": Gene((256, 512, 768, 1024, 1536, 2048, 4096)),
    "clip": Gene((0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)),
    "transfer": Gene((16, 32, 64, 128, 256)),
}
FLAGS = ("bias", "out_bias", "tied", "interleaved", "learn", "whole")
GENES |= dict.fromkeys(FLAGS, Gene((0, 1)))
# Sizes that follow from others: to change one alone is never right.
LINKED = frozenset({("channel_index", "count"), ("slice", "start"), ("slice", "stop")})
BETAS = (Gene((0.8, 0.85, 0.9, 0.95)), Gene((0.9, 0.95, 0.97, 0.98, 0.99, 0.999)))
FACTORS = (0.5, 0.6, 0.75, 0.8, 1.25, 1.3, 1.5, 2.0)

_LIMITS: dict[tuple[str, str], Arg] = {
    (name, arg.name): arg
    for name, args in [*((p.name, p.args) for p in PRIMITIVES.values()), *OPTIMIZERS.items(), ("train", TRAIN)]
    for arg in args
}


def gene(callee: str, argument: str) -> Gene | None:
    """The gene of an argument, or None where its values follow from sizes or are unknown."""
    if (callee, argument) in LINKED:
        return None
    return GENES.get(f"{callee}.{argument}") or GENES.get(argument)


def limits(callee: str, argument: str) -> Arg | None:
    """The registry's entry for the argument of a primitive, an optimizer or `train`."""
    return _LIMITS.get((callee, argument))


def step(draw: Draw, ladder: Gene, value: float) -> float | None:
    """Another value, near rather than far; None where there is none."""
    others = [rung for rung in ladder.ladder if rung != value]
    if not others:
        return None
    if ladder.free and value > 0 and draw.chance(0.5):
        moved = rounded(value * draw.choice(FACTORS))
        return min(max(moved, ladder.ladder[0]), ladder.ladder[-1])
    order = sorted(others, key=lambda rung: (abs(ladder.ladder.index(rung) - _place(ladder, value)), rung))
    return weighted(draw, [(0.5**index, rung) for index, rung in enumerate(order)])


def _place(ladder: Gene, value: float) -> float:
    """Where a value stands on the ladder, between rungs where it is none."""
    below = sum(rung < value for rung in ladder.ladder)
    return below if value in ladder.ladder else below - 0.5


def like(value: float, old: int | float) -> int | float:
    """`value` as a whole number where the old one was."""
    return round(value) if isinstance(old, int) else value


def resized(draw: Draw, old: int, multiple: int = 8, low: int = 8, high: int = 4096) -> int | None:
    """A size times a factor, rounded to a multiple; None where that changes nothing."""
    options = sorted({max(low, min(high, round(old * factor / multiple) * multiple)) for factor in FACTORS} - {old})
    return draw.choice(options) if options else None


def head_counts(width: int) -> list[int]:
    """Numbers of heads for a width: the head dimension is even and at least 8."""
    return [d for d in divisors(width) if (width // d) % 2 == 0 and width // d >= 8 and d <= 32]
