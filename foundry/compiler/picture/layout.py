"""Where everything in a picture stands: layers from top to bottom, lines that run straight where they can.

After Sugiyama, Tagawa and Toda 1981, "Methods for visual understanding of hierarchical system structures": ranks by
the longest path, lines through the ranks between, an order within each rank, then coordinates.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

from foundry.compiler.picture.columns import Item, Link, columns
from foundry.compiler.picture.routes import Route, ordered, ranked, routes
from foundry.compiler.picture.scene import Box, Scene
from foundry.compiler.picture.sizes import STRIP, Size, exit_label, frame_height, size_of

CHANNEL, TRACK = 14.0, 8.0  # between ranks: of itself, and for each line that runs across
BESIDE = 22.0  # between boxes
CORNER = 6.0  # of a line that turns
Point = tuple[float, float]


@dataclass(eq=False)
class Placed:
    """A box with its place: its left and upper edge in the coordinates of the scene around it, and what is inside."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    inner: Arranged | None = None
    inner_at: Point = (0.0, 0.0)


@dataclass(eq=False)
class Line:
    """A connection from box to box by its corners. arrow: whether it ends in one."""

    source: Box
    target: Box
    points: list[Point]
    arrow: bool


@dataclass(eq=False)
class Label:
    """The type of a value, beside the line that carries it: where its left end stands, and its base line."""

    text: str
    x: float
    y: float


@dataclass(eq=False)
class Arranged:
    """A scene with places. Inputs come in at the upper edge and the result leaves at the lower one, so far from the
    left."""

    width: float
    height: float
    placed: list[Placed]
    lines: list[Line]
    labels: list[Label]
    ports: dict[Box, float]
    end: float


def arrange(scene: Scene, inside: bool = False) -> Arranged:
    """Places for everything in a scene, from the inside out. inside: whether it is within a frame."""
    inner = {box: arrange(box.inner, inside=True) for box in scene.boxes if box.inner is not None}
    return _Arrangement(scene, inner, inside).arranged()


class _Arrangement:
    def __init__(self, scene: Scene, inner: dict[Box, Arranged], inside: bool):
        self.scene, self.inner, self.inside = scene, inner, inside
        self.boxes = [*scene.ports, *scene.boxes, scene.end]
        self.sizes = {box: self.size(box) for box in self.boxes}
        rank = ranked(scene)
        self.item = {box: self.standing(box, rank[box]) for box in self.boxes}
        self.lines = routes(scene, rank)
        self.ranks = ordered(scene, self.lines, self.item)

    def size(self, box: Box) -> Size:
        inside = self.inner.get(box)
        if inside is None:
            return size_of(box)
        return size_of(box, inside.width, inside.height, list(inside.ports.values()), inside.end)

    def standing(self, box: Box, rank: int) -> Item:
        size = self.sizes[box]
        label = max(0.0, size.exit + exit_label(box))
        return Item(rank, size.width / 2, max(size.width / 2, label), BESIDE, box)

    def links(self) -> tuple[list[Link], list[Link], list[tuple[Item, Item]]]:
        """Pieces of lines, those that are to be straight, and what meets from the side."""
        pieces: list[Link] = []
        lanes: list[Link] = []
        level = []
        down: dict[Item, list[Link]] = defaultdict(list)
        up: dict[Item, list[Link]] = defaultdict(list)
        for line in self.lines:
            start, goal = self.item[line.source], self.item[line.target]
            path = [start, *line.stops] if line.side else [start, *line.stops, goal]
            for a, b in pairwise(path):
                leaves = self.sizes[line.source].exit if a is start else 0.0
                enters = self.sizes[line.target].entries.get(line.entry, 0.0) if b is goal else 0.0
                link = Link(a, b, leaves, enters)
                pieces.append(link)
                down[a].append(link)
                up[b].append(link)
                if a.box is None and b.box is None:
                    lanes.append(link)
            if line.side:
                level.append((path[-1], goal))
        place = {item: n for rank in self.ranks for n, item in enumerate(rank)}
        main_down = {item: _main_down(sorted(found, key=lambda k: place[k.lower])) for item, found in down.items()}
        main_up = {item: _middle(sorted(found, key=lambda link: link.enters)) for item, found in up.items()}
        chains = [link for link in pieces if main_down[link.upper] is link and main_up[link.lower] is link]
        return pieces, [*lanes, *(link for link in chains if link not in lanes)], level

    def arranged(self) -> Arranged:
        pieces, straight, level = self.links()
        x = columns(self.ranks, pieces, straight, level)
        if self.scene.ports and self.inside:  # so that what is around it is in one line
            x[self.item[self.scene.end]] = x[self.item[self.scene.ports[0]]]
        left = min(x[i] - i.left for rank in self.ranks for i in rank)
        x = {item: value - left for item, value in x.items()}
        total = max(x[i] + i.right for rank in self.ranks for i in rank)
        tops, heights, tracks = self.vertical(x)
        placed = [self.place(box, x, tops, heights) for box in self.scene.boxes]
        where = {p.box: p for p in placed}
        lines = _once([self.drawn(line, x, tops, heights, tracks, where) for line in self.lines])
        ports = {port: x[self.item[port]] for port in self.scene.ports}
        height = tops[-1]
        labels = [
            Label(p.box.label, p.x + p.width / 2 + self.sizes[p.box].exit + 5, p.y + p.height + STRIP - 4)
            for p in placed if p.box.label
        ] + [Label(port.label, at + 5, STRIP - 4) for port, at in ports.items() if port.label]  # fmt: skip
        return Arranged(total, height, placed, lines, labels, ports, x[self.item[self.scene.end]])

    def vertical(self, x: dict[Item, float]) -> tuple[list[float], list[float], dict[tuple[int, Box], float]]:
        """The top and the height of each rank, and how far below a rank each source's line runs across."""
        heights = [max((self.height(i) for i in rank), default=0.0) for rank in self.ranks]
        spans: dict[int, dict[Box, list[float]]] = defaultdict(lambda: defaultdict(list))
        for line in self.lines:
            points = self.stops(line, x)
            for (rank, a), (_, b) in pairwise(points):
                if abs(a - b) > 0.5:
                    spans[rank][line.source] += [a, b]
        tops, tracks, y = [], {}, 0.0
        for rank, height in enumerate(heights):
            tops.append(y)
            used: list[list[tuple[float, float]]] = []
            for source, ends in sorted(spans[rank].items(), key=lambda e: max(e[1]) - min(e[1])):
                span = (min(ends) - 4, max(ends) + 4)
                free = next((n for n, t in enumerate(used) if all(span[1] < a or b < span[0] for a, b in t)), len(used))
                if free == len(used):
                    used.append([])
                used[free].append(span)
                tracks[rank, source] = CHANNEL / 2 + TRACK * free
            y += height + (
                CHANNEL + TRACK * max(0, len(used) - 1) + (4 if used else 0) if rank < len(heights) - 1 else 0
            )
        return tops, heights, tracks

    def height(self, item: Item) -> float:
        if not isinstance(item.box, Box):
            return 0.0
        strip = STRIP if item.box.label else 0.0
        return self.sizes[item.box].height + strip

    def stops(self, line: Route, x: dict[Item, float]) -> list[tuple[int, float]]:
        """The ranks that a line passes and where, from its source to its target."""
        source, target = self.item[line.source], self.item[line.target]
        out = [(source.rank, x[source] + self.sizes[line.source].exit)]
        out += [(stop.rank, x[stop]) for stop in line.stops]
        if not line.side:
            out.append((target.rank, x[target] + self.sizes[line.target].entries.get(line.entry, 0.0)))
        return out

    def place(self, box: Box, x: dict[Item, float], tops: list[float], heights: list[float]) -> Placed:
        size, item = self.sizes[box], self.item[box]
        rank = item.rank
        y = tops[rank] + (heights[rank] - self.height(item)) / 2
        placed = Placed(box, x[item] - size.width / 2, y, size.width, size.height, self.inner.get(box))
        placed.inner_at = (size.inside, frame_height(box))
        return placed

    def drawn(
        self,
        line: Route,
        x: dict[Item, float],
        tops: list[float],
        heights: list[float],
        tracks: dict[tuple[int, Box], float],
        where: dict[Box, Placed],
    ) -> Line:
        """The corners of a line."""
        stops = self.stops(line, x)
        source, target = where.get(line.source), where.get(line.target)
        points = [(stops[0][1], source.y + source.height if source is not None else 0.0)]
        for (rank, a), (_, b) in pairwise(stops):
            if abs(a - b) > 0.5:
                level = tops[rank] + heights[rank] + tracks[rank, line.source]
                points += [(a, level), (b, level)]
        last = stops[-1][1]
        if target is None:
            points.append((last, tops[-1]))
        elif line.side:
            middle = target.y + target.height / 2
            edge = target.x if last < target.x else target.x + target.width
            points += [(last, middle), (edge, middle)]
        else:
            points.append((last, target.y))
        into_frame = target is not None and target.inner is not None and line.entry < len(target.inner.ports)
        return Line(line.source, line.target, points, target is not None and not into_frame)


def _once(lines: list[Line]) -> list[Line]:
    """Lines that leave one box together: what they share is drawn once, by the longest of them."""
    reached: dict[Box, float] = {}
    for line in sorted(lines, key=lambda line: -line.points[1][1]):
        (x, top), (_, bottom) = line.points[:2]
        if reached.get(line.source, top) >= bottom and len(line.points) > 2:
            line.points[0] = (x, max(top, bottom - CORNER))
        reached.setdefault(line.source, bottom)
    return lines


def _main_down(links: list[Link]) -> Link | None:
    """Which of the lines that leave an item goes on straight: the middle one, those that go around left aside."""
    boxes = [link for link in links if link.lower.box is not None]
    return _middle(boxes or links)


def _middle(links: list[Link]) -> Link | None:
    return links[len(links) // 2] if len(links) % 2 else None
