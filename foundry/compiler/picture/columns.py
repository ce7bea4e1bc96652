"""Horizontal places for items in ranks: chains that are to be straight are, the rest comes as near as there is room.

After Brandes and Köpf 2001, "Fast and simple horizontal coordinate assignment": items that are to stand above one
another form blocks, which are packed, and then each is moved to the median of what it is connected with.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 16  # of moving every block to where its neighbours are


@dataclass(eq=False)
class Item:
    """Something in a rank: a box, or a line on its way through. left, right: the room that it takes on either side."""

    rank: int
    left: float
    right: float
    gap: float
    box: object = None
    block: _Block | None = None
    offset: float = 0.0  # from the place of its block


@dataclass(eq=False)
class Link:
    """A piece of a line between items of adjacent ranks: where it leaves and where it enters, from their middles."""

    upper: Item
    lower: Item
    leaves: float = 0.0
    enters: float = 0.0


@dataclass(eq=False)
class _Block:
    items: list[Item]
    x: float = 0.0
    before: dict[_Block, float] = field(default_factory=dict)  # blocks on its left, and the least distance
    after: dict[_Block, float] = field(default_factory=dict)
    pulls: list[tuple[_Block, float]] = field(default_factory=list)  # where it would be straight: a block, a distance


def columns(
    ranks: Sequence[Sequence[Item]], links: Sequence[Link], straight: Sequence[Link], level: Sequence[tuple[Item, Item]]
) -> dict[Item, float]:
    """The middle of every item.

    ranks: items from left to right. links: what pulls items together. straight: links that are to be vertical, the
    most important first; those that cross an earlier one are not. level: items of one rank that pull each other.
    """
    blocks = _blocks(ranks, _without_crossings(ranks, straight))
    for rank in ranks:
        for left, right in pairwise(rank):
            a, b = left.block, right.block
            assert a is not None and b is not None
            distance = left.offset + left.right + max(left.gap, right.gap) + right.left - right.offset
            b.before[a] = max(distance, b.before.get(a, distance))
            a.after[b] = b.before[a]
    for link in links:
        _pull(link.upper, link.leaves, link.lower, link.enters)
    for one, other in level:
        _pull(one, 0.0, other, 0.0)
    _pack(blocks)
    for sweep in range(SWEEPS):
        for block in sorted(blocks, key=lambda b: b.x, reverse=sweep % 2 == 0):
            _settle(block)
    return {item: item.block.x + item.offset for rank in ranks for item in rank if item.block is not None}


def _without_crossings(ranks: Sequence[Sequence[Item]], straight: Sequence[Link]) -> list[Link]:
    """The links that can be vertical together: one up and one down from each item, none across another."""
    place = {item: n for rank in ranks for n, item in enumerate(rank)}
    taken: dict[int, list[tuple[int, int]]] = defaultdict(list)
    up: set[Item] = set()
    down: set[Item] = set()
    out = []
    for link in straight:
        a, b = place[link.upper], place[link.lower]
        others = taken[link.upper.rank]
        if link.upper in down or link.lower in up or any((a - p) * (b - q) <= 0 for p, q in others):
            continue
        others.append((a, b))
        down.add(link.upper)
        up.add(link.lower)
        out.append(link)
    return out


def _blocks(ranks: Sequence[Sequence[Item]], straight: Sequence[Link]) -> list[_Block]:
    above = {link.lower: link for link in straight}
    blocks = []
    for rank in ranks:
        for item in rank:
            link = above.get(item)
            if link is None or link.upper.block is None:
                item.block, item.offset = _Block([item]), 0.0
                blocks.append(item.block)
            else:
                item.block = link.upper.block
                item.offset = link.upper.offset + link.leaves - link.enters
                item.block.items.append(item)
    return blocks


def _pull(a: Item, leaves: float, b: Item, enters: float) -> None:
    if a.block is b.block or a.block is None or b.block is None:
        return
    distance = (a.offset + leaves) - (b.offset + enters)
    b.block.pulls.append((a.block, distance))
    a.block.pulls.append((b.block, -distance))


def _pack(blocks: list[_Block]) -> None:
    """Every block as far to the left as those on its left allow."""
    waiting = {block: len(block.before) for block in blocks}
    ready = [block for block, count in waiting.items() if not count]
    while ready:
        block = ready.pop()
        block.x = max((a.x + distance for a, distance in block.before.items()), default=0.0)
        for other in block.after:
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)


def _settle(block: _Block) -> None:
    """Move a block to the median of where it is pulled, as far as its neighbours let it."""
    if not block.pulls:
        return
    wanted = sorted(other.x + distance for other, distance in block.pulls)
    middle = len(wanted) // 2
    target = wanted[middle] if len(wanted) % 2 else (wanted[middle - 1] + wanted[middle]) / 2
    low = max((a.x + distance for a, distance in block.before.items()), default=-1e9)
    high = min((b.x - distance for b, distance in block.after.items()), default=1e9)
    block.x = min(max(target, low), max(low, high))
