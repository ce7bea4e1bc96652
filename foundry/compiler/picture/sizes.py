"""How much room boxes take, with the text on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from foundry.compiler.picture.scene import Box
from foundry.compiler.picture.text import compact, mono, width

TITLE, DETAIL, SMALL = 13.0, 11.0, 10.0  # sizes of text
PAD, LINE, BAR = 12.0, 15.0, 30.0  # inside of boxes, of a line of details, of a frame's title
CIRCLE, PILL = 20.0, 24.0
STRIP = 15.0  # below a box, for the type of what it gives
MARGIN, FOOT = 18.0, 4.0  # of a frame: at its sides, and below


@dataclass(frozen=True)
class Size:
    """The room that a box takes. entries: where its inputs come in, and exit: where its result leaves, from the
    middle. inside: how far from the left what is inside begins."""

    width: float
    height: float
    entries: dict[int, float] = field(default_factory=dict)
    exit: float = 0.0
    inside: float = 0.0


def size_of(
    box: Box, inner_width: float = 0, inner_height: float = 0, ports: Sequence[float] = (), end: float = 0
) -> Size:
    """The size of a box; of a frame, around what is inside."""
    if box.shape == "circle":
        return Size(CIRCLE, CIRCLE)
    if box.shape in ("port", "end"):
        return Size(0, 0)
    if box.shape == "frame":
        return _frame(box, inner_width, inner_height, ports, end)
    count = len(box.inputs)
    if box.shape == "pill":
        wide, high = max(width(box.title, DETAIL) + 20, 36), PILL
    else:
        top = width(box.title, TITLE, bold=True) + right_of_title(box)
        wide = max(top, *(width(line, DETAIL) for line in box.details), 24.0) + 2 * PAD
        wide = max(wide, 26.0 * count + 10)
        high = 26 + LINE * len(box.details) + (LINE - 3 if len(box.names) > 1 else 0)
    return Size(wide, high, {n: wide * ((n + 1) / (count + 1) - 0.5) for n in range(count)})


def right_of_title(box: Box) -> float:
    """The room that the number of weights and the number of copies take beside a title."""
    counted = mono(compact(box.parameters), SMALL) + 14 if box.parameters else 0
    return counted + (mono(box.badge, SMALL) + 24 if box.badge else 0)


def exit_label(box: Box) -> float:
    """The room to the right of a line that the type on it takes."""
    return mono(box.label, SMALL) + 8 if box.label else 0.0


def frame_height(box: Box) -> float:
    """How far from its top what is inside a frame begins."""
    return BAR + LINE * len(box.details)


def _frame(box: Box, inner_width: float, inner_height: float, ports: Sequence[float], end: float) -> Size:
    """A frame around a scene: the title stands beside the lines that come in."""
    left = PAD + max(width(box.title, TITLE, bold=True), *(width(line, DETAIL) for line in box.details), 0) + 10
    right = PAD + right_of_title(box)
    inside = max(MARGIN, left - min(ports, default=left))
    total = max(inside + inner_width + MARGIN, inside + max(ports, default=0) + 10 + right)
    entries = {n: inside + port - total / 2 for n, port in enumerate(ports)}
    entries |= dict.fromkeys(range(len(ports), len(box.inputs)), total / 2 - 14)  # the gates of experts
    return Size(total, frame_height(box) + inner_height + FOOT, entries, inside + end - total / 2, inside)
