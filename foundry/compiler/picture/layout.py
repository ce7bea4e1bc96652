"""Where everything in a picture stands: layers from top to bottom, lines that run straight where they can.

After Sugiyama, Tagawa and Toda 1981, IEEE Transactions on Systems, Man, and Cybernetics 11(2): ranks by the longest
path, lines through the ranks between, an order within each rank, then coordinates.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from foundry.compiler.picture.columns import Item, columns
from foundry.compiler.picture.scene import Box, Scene
from foundry.compiler.picture.text import compact, mono, width

TITLE, DETAIL, LABEL = 13.0, 11.0, 10.0  # sizes of text
PAD, LINE, BAR = 12.0, 15.0, 32.0  # inside of boxes; of a line of text; of a frame's title
CIRCLE, PILL = 22.0, 24.0
STRIP = 15.0  # below a box, for the type of what it gives
CHANNEL, TRACK = 20.0, 9.0  # between ranks: of itself, and for each line that runs across
MARGIN = 18.0  # of a frame

Point = tuple[float, float]


@dataclass
class Placed:
    """A box with its place: the left and upper edge, in the coordinates of the scene around it."""

    box: Box
    x: float
    y: float
    width: float
    height: float
    inner: Arranged | None = None


@dataclass
class Line:
    """A connection: its corners, and whether it ends in an arrow. label: what flows, at its start."""

    points: list[Point]
    arrow: bool
    source: Box
    target: Box


@dataclass
class Arranged:
    """A scene with places. Ports lie on its upper edge and the end on its lower one, at the given distances from the
    left."""

    width: float
    height: float
    placed: list[Placed]
    lines: list[Line]
    ports: dict[Box, float]
    end: float


@dataclass(eq=False)
class _Size:
    width: float
    height: float
    entries: dict[int, float]  # where inputs enter, from the middle
    exit: float = 0.0  # where the result leaves, from the middle
    inner: Arranged | None = None


def arrange(scene: Scene) -> Arranged:
    """Places for everything in a scene."""
    return _Arrangement(scene).arranged()


def label_width(box: Box) -> float:
    return mono(box.label, LABEL) + 8 if box.label else 0.0


def size_of(box: Box) -> _Size:
    """The room that a box takes, with what is inside."""
    if box.shape == "circle":
        return _Size(CIRCLE, CIRCLE, {})
    if box.shape in ("port", "end"):
        return _Size(0, 0, {})
    if box.inner is not None:
        return _frame_size(box, arrange(box.inner))
    if box.shape == "pill":
        return _spread(box, _Size(max(width(box.title, DETAIL) + 20, 36), PILL, {}))
    top = width(box.title, TITLE, bold=True) + (mono(compact(box.parameters), LABEL) + 14 if box.parameters else 0)
    wide = max([top + (mono(box.badge, LABEL) + 20 if box.badge else 0), *(width(d, DETAIL) for d in box.details)])
    names = LINE - 3 if len(box.inputs) > 1 else 0
    return _spread(box, _Size(max(wide + 2 * PAD, 24.0 * len(box.inputs)), 22 + LINE * (len(box.details) + 0.4) + names, {}))


def _spread(box: Box, size: _Size) -> _Size:
    """Inputs side by side along the upper edge."""
    count = len(box.inputs)
    size.entries = {n: size.width * ((n + 1) / (count + 1) - 0.5) for n in range(count)}
    return size


def frame_heading(box: Box) -> tuple[float, float]:
    """The room that a frame's title takes at its left, and its badge at its right."""
    left = PAD + width(box.title, TITLE, bold=True) + 10
    right = PAD + (mono(compact(box.parameters), LABEL) + 8 if box.parameters else 0)
    right += mono(box.badge, LABEL) + 20 if box.badge else 0
    return left, right


def _frame_size(box: Box, inner: Arranged) -> _Size:
    """A frame around a scene: the title stands beside the lines that come in."""
    left, right = frame_heading(box)
    ports = list(inner.ports.values()) or [inner.width / 2]
    shift = max(MARGIN, left + 8 - min(ports))
    total = max(shift + inner.width + MARGIN, shift + max(ports) + 8 + right, left + right)
    extra = LINE * len(box.details)
    size = _Size(total, inner.height + BAR + MARGIN / 2 + extra, {}, shift + inner.end - total / 2, inner)
    for n, port in enumerate(inner.ports.values()):
        size.entries[n] = shift + port - total / 2
    for n in range(len(inner.ports), len(box.inputs)):  # what goes to the frame itself: the gates of experts
        size.entries[n] = total / 2 - 14
    size.inner = inner
    return size
