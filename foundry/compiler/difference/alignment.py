"""Which element of one sequence corresponds to which of another, in order: the alignment with the largest score.

Needleman and Wunsch 1970, Journal of Molecular Biology 48(3), with gaps that cost nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from difflib import SequenceMatcher
from typing import TypeVar

T = TypeVar("T")
LARGEST = 40_000  # pairs of elements that are all compared

Pairs = list[tuple[int, int]]


def align(a: Sequence[T], b: Sequence[T], likeness: Callable[[T, T], float], same: Callable[[T], Hashable]) -> Pairs:
    """Pairs of positions that correspond, ascending.

    likeness: how well two elements correspond, at least 0; 0 where they do not.
    same: a key that is equal for elements that are equal, used alone where the sequences are long.
    """
    if len(a) * len(b) > LARGEST:
        return _by_key([same(x) for x in a], [same(y) for y in b])
    return _by_likeness(a, b, likeness)


def _by_key(a: Sequence[Hashable], b: Sequence[Hashable]) -> Pairs:
    blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
    return [(block.a + n, block.b + n) for block in blocks for n in range(block.size)]


def _by_likeness(a: Sequence[T], b: Sequence[T], likeness: Callable[[T, T], float]) -> Pairs:
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    scores = [[likeness(x, y) for y in b] for x in a]
    for i in range(len(a) - 1, -1, -1):
        for j in range(len(b) - 1, -1, -1):
            paired = best[i + 1][j + 1] + scores[i][j] if scores[i][j] > 0 else 0.0
            best[i][j] = max(paired, best[i + 1][j], best[i][j + 1])
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if scores[i][j] > 0 and best[i][j] == best[i + 1][j + 1] + scores[i][j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def gaps(pairs: Pairs, a: int, b: int) -> list[tuple[range, range]]:
    """The stretches between corresponding elements where a sequence has elements of its own, given both lengths."""
    ends = [*pairs, (a, b)]
    starts = [(-1, -1), *pairs]
    out = [(range(i + 1, k), range(j + 1, m)) for (i, j), (k, m) in zip(starts, ends, strict=True)]
    return [(x, y) for x, y in out if x or y]
