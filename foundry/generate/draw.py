"""Where a generator's decisions come from: random numbers here, a property-testing engine elsewhere."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Draw(Protocol):
    """The decisions a generator asks for. Lists of choices put the simplest first, so that an engine
    which shrinks its choices shrinks the genome."""

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, which is not empty."""
        ...

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`, both included."""
        ...

    def number(self, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        ...

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        ...

    def whole(self, make: Callable[[], T]) -> T:
        """What `make` gives; all that it draws belongs together, so that an engine can leave it out as a whole."""
        ...


class RandomDraw:
    """Decisions from `random.Random`: the same seed draws the same genome."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def choice(self, items: Sequence[T]) -> T:
        return self.rng.choice(items)

    def integer(self, low: int, high: int) -> int:
        return self.rng.randint(low, high)

    def number(self, low: float, high: float) -> float:
        return self.rng.uniform(low, high)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def whole(self, make: Callable[[], T]) -> T:
        return make()


def drawing(source: random.Random | Draw) -> Draw:
    """`source` as a Draw."""
    return RandomDraw(source) if isinstance(source, random.Random) else source


def weighted(draw: Draw, options: Sequence[tuple[float, T]]) -> T:
    """One of `options`, each a (weight, item), in proportion to the weights, which are not all zero."""
    total = sum(weight for weight, _ in options)
    point = draw.number(0, total)
    for weight, item in options:
        point -= weight
        if point < 0 and weight > 0:
            return item
    return max(options, key=lambda option: option[0])[1]


def shuffled(draw: Draw, items: Sequence[T]) -> list[T]:
    """The items in a drawn order."""
    rest, out = list(items), []
    while rest:
        out.append(rest.pop(draw.integer(0, len(rest) - 1)))
    return out


def several(draw: Draw, make: Callable[[], T], most: int, share: float = 0.5) -> list[T]:
    """Up to `most` things, each there with a chance of its own, so that any of them can be left out."""
    return [draw.whole(make) for _ in range(most) if draw.chance(share)]
