"""The place in a row of sizes where a model comes to a number of parameters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from foundry.compiler.scale.candidates import Candidate

GUESSES = 6  # before the rest is halved


def around(items: Sequence[int], made: Callable[[int], Candidate | None], parameters: int) -> list[Candidate]:
    """The candidates next below and above a number of parameters, among widths or layers in order.

    Parameters grow about as a power of the item, which is measured on the way; so each guess is where that would come
    to the number. Items without a candidate are stepped over.
    """
    low, high = -1, len(items)
    known: dict[int, int] = {}
    for tries in range(2 * GUESSES + len(items).bit_length()):
        if high - low <= 1 or (tries == GUESSES and not known):
            break
        middle = (low + high) // 2
        index = _guess(items, known, parameters) if known and tries < GUESSES else middle
        index = index if low < index < high else middle
        step = next((i for i in range(index, min(high, index + 4)) if made(items[i]) is not None), None)
        found = made(items[step]) if step is not None else None
        if step is None or found is None:
            high = index
        elif found.parameters < parameters:
            known[step], low = found.parameters, step
        else:
            known[step], high = found.parameters, index if step > index else step
    return [found for item in items[max(0, low - 1) : low + 3] if (found := made(item)) is not None]


def _guess(items: Sequence[int], known: dict[int, int], parameters: int) -> int:
    """Where the two known counts nearest to a number would have it."""
    a, *others = sorted(known, key=lambda i: abs(math.log(known[i] / parameters)))[:2]
    power = 2.0
    for b in others:
        if known[a] != known[b]:
            power = max(0.5, math.log(known[a] / known[b]) / math.log(items[a] / items[b]))
    return bisect_left(items, items[a] * (parameters / known[a]) ** (1 / power))
