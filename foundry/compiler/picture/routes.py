"""The ranks of a picture, the lines through them, and what stands left of what."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from foundry.compiler.picture.columns import Item
from foundry.compiler.picture.scene import Box, Scene

LANE = 14.0  # beside lines on their way through


@dataclass(eq=False)
class Route:
    """A connection: where it comes from, which input of its target it is, the items that stand for it in the ranks
    between, and whether it enters its target from the side."""

    source: Box
    target: Box
    entry: int
    stops: list[Item] = field(default_factory=list)
    side: bool = False


def ranked(scene: Scene) -> dict[Box, int]:
    """Ranks by the longest path from the inputs; what has no input stands just above what reads it."""
    rank: dict[Box, int] = dict.fromkeys(scene.ports, 0)
    readers: dict[Box, list[Box]] = defaultdict(list)
    for box in scene.boxes:
        rank[box] = max((rank[i] + 1 for i in box.inputs), default=1 if scene.ports else 0)
        for i in box.inputs:
            readers[i].append(box)
    for box in reversed(scene.boxes):
        if not box.inputs and readers[box]:
            rank[box] = min(rank[r] for r in readers[box]) - 1
    rank[scene.end] = max(rank.values(), default=0) + 1
    return rank


def routes(scene: Scene, rank: dict[Box, int]) -> list[Route]:
    """Every connection. Where values meet, the one that went around comes in from the side; if neither did, both do."""
    out = []
    for box in (*scene.boxes, scene.end):
        straight = _main_input(box, rank) if box.shape == "circle" else None
        for n, source in enumerate(box.inputs):
            side = box.shape == "circle" and n != straight
            stops = [Item(r, 0.0, 0.0, LANE) for r in range(rank[source] + 1, rank[box] + side)]
            out.append(Route(source, box, n, stops, side))
    return out


def _main_input(box: Box, rank: dict[Box, int]) -> int | None:
    """Of the values that meet, the one that came through more than the others, which it depends on, if there is one."""
    for n, source in enumerate(box.inputs):
        others = [other for m, other in enumerate(box.inputs) if m != n]
        if rank[source] == rank[box] - 1 and all(_is_behind(other, source, rank) for other in others):
            return n
    return None


def _is_behind(early: Box, late: Box, rank: dict[Box, int]) -> bool:
    """Whether a box depends on another one."""
    stack, seen = [late], {late}
    while stack:
        for box in stack.pop().inputs:
            if box is early:
                return True
            if box not in seen and rank[box] > rank[early]:
                seen.add(box)
                stack.append(box)
    return False


def ordered(scene: Scene, connections: list[Route], items: dict[Box, Item]) -> list[list[Item]]:
    """Each rank from left to right: what comes first as an argument stands on the left."""
    into: dict[Box, list[Route]] = defaultdict(list)
    for route in connections:
        into[route.target].append(route)
    ranks: list[list[Item]] = [[] for _ in range(items[scene.end].rank + 1)]
    seen: set[Box] = set()
    stack: list[Box | Item] = [scene.end]
    while stack:
        thing = stack.pop()
        if isinstance(thing, Item):
            ranks[thing.rank].append(thing)
        elif thing not in seen:
            seen.add(thing)
            left = [route for route in into[thing] if route.side and route.entry == 0]
            upward: list[Box | Item] = [items[thing]]
            for route in into[thing]:
                way: list[Box | Item] = [*reversed(route.stops), route.source]
                upward = [*way, *upward] if route in left else [*upward, *way]
            stack += reversed(upward)
    for port in scene.ports:
        if port not in seen:
            ranks[0].append(items[port])
    return ranks
