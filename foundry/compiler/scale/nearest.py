"""The place in a row of sizes where a model comes to a number of parameters."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence

from foundry.compiler.scale.candidates import Candidate

GUESSES = 6  # before the rest is halved


def around(
    items: Sequence[int], made: Callable[[int], Candidate | None], parameters: int, start: float, power: float
) -> list[Candidate]:
    """The candidates next below and above a number of parameters, among widths or layers in order.

    start: about which item that should be. power: of the item, as which parameters grow about it; the counts on the way
    correct it. Items without a candidate are stepped over.
    """
    low, high = -1, len(items)
    known: dict[int, Candidate] = {}
    index = bisect_left(items, start)
    for tries in range(2 * GUESSES + len(items).bit_length()):
        if high - low <= 1 or (tries == GUESSES and not known):
            break
        index = index if low < index < high else (low + high) // 2
        step = next((i for i in range(index, min(high, index + 4)) if made(items[i]) is not None), None)
        found = made(items[step]) if step is not None else None
        if step is None or found is None:
            high, index = index, (low + index) // 2
            continue
        known[step] = found
        low, high = (step, high) if found.parameters < parameters else (low, index)
        index = _guess(items, known, parameters, power) if tries < GUESSES else (low + high) // 2
    below = max((i for i in known if known[i].parameters < parameters), default=None)
    above = min((i for i in known if known[i].parameters >= parameters), default=None)
    return [known[i] for i in (below, above) if i is not None]


def _guess(items: Sequence[int], known: dict[int, Candidate], parameters: int, power: float) -> int:
    """Where the two known counts nearest to a number would have it."""
    far = {i: abs(math.log(candidate.parameters / parameters)) for i, candidate in known.items()}
    a, *others = sorted(far, key=lambda i: far[i])[:2]
    for b in others:
        growth = math.log(known[a].parameters / known[b].parameters)
        power = max(0.5, growth / math.log(items[a] / items[b])) if growth else power
    return bisect_left(items, items[a] * (parameters / known[a].parameters) ** (1 / power))
