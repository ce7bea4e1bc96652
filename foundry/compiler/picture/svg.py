"""A picture as SVG: no scripts, no references to anything outside, light or dark as the reader's system is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape, quoteattr

from foundry.compiler.picture.layout import CORNER, Arranged, Line, Placed, Point
from foundry.compiler.picture.sizes import DETAIL, LINE, PAD, SMALL, TITLE
from foundry.compiler.picture.text import compact, mono, width

MARGIN, HEADING = 24.0, 50.0
# fill and outline of each kind of box, on light and on dark ground
KINDS = {
    "weights": ("#e2f0ff", "#6cb2f5", "#0f2a47", "#2f74b8"),
    "memory": ("#ffeedd", "#f0a35a", "#3d2408", "#b8722b"),
    "norm": ("#fff6cf", "#d9b84a", "#332a06", "#97801f"),
    "activation": ("#e0f7e4", "#6cc285", "#0d2f19", "#2f8a4c"),
    "vocabulary": ("#f1e8ff", "#b794ec", "#27184a", "#7d58c2"),
    "routing": ("#ffe6f3", "#e98bbd", "#3d1530", "#b05487"),
    "term": ("#f3f5f7", "#b6bfc9", "#1d242c", "#59636e"),
    "structure": ("#f3f5f7", "#b6bfc9", "#1d242c", "#59636e"),
    "join": ("#ffffff", "#6e7781", "#161b22", "#8b949e"),
    "block": ("#ffffff", "#8c959f", "#161b22", "#6e7681"),
}
SANS = "-apple-system, 'Segoe UI', Helvetica, Arial, 'Liberation Sans', sans-serif"
MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace"


def render(arranged: Arranged, title: str, subtitle: str) -> str:
    """The file. title, subtitle: above the picture."""
    heading = max(width(title, 17, bold=True), width(subtitle, DETAIL))
    wide = max(arranged.width, heading) + 2 * MARGIN
    high = arranged.height + HEADING + 2 * MARGIN
    left = (wide - arranged.width) / 2
    body = [
        f'<text class="h" x="{MARGIN:g}" y="{MARGIN + 14:g}">{text(title)}</text>',
        f'<text class="s" x="{MARGIN:g}" y="{MARGIN + 31:g}">{text(subtitle)}</text>',
        *_scene(arranged, left, MARGIN + HEADING, 0),
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:.0f} {high:.0f}" width="{wide:.0f}" '
            f'height="{high:.0f}" role="img" aria-label={quoteattr(printable(title))}>',
            f"<style>{_style()}</style>",
            f'<rect class="ground" width="{wide:.0f}" height="{high:.0f}"/>',
            *body,
            "</svg>\n",
        ]
    )


def printable(words: str) -> str:
    """Text without characters that XML does not have."""
    return re.sub(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "�", words)


def text(words: str) -> str:
    """Text as it may stand between tags."""
    return escape(printable(words))


def _style() -> str:
    """Light by default; the same classes in other colours where the system is dark."""
    light = {
        ".ground": "fill:#ffffff",
        "text": f"font-family:{SANS};fill:#1f2328;font-size:{DETAIL:g}px",
        ".h": "font-size:17px;font-weight:600",
        ".t": f"font-size:{TITLE:g}px;font-weight:600",
        ".s": "fill:#59636e",
        ".m": f"font-family:{MONO};font-size:{SMALL:g}px;fill:#59636e",
        ".line": "fill:none;stroke:#6e7781;stroke-width:1.3",
        ".arrow": "fill:#6e7781",
        ".frame0": "fill:#f6f8fa;stroke:#c4ccd4;stroke-width:1.2",
        ".frame1": "fill:#ffffff;stroke:#c4ccd4;stroke-width:1.2",
        ".copy": "fill:#eceff2;stroke:#c4ccd4;stroke-width:1.2",
        ".badge": "fill:#1f2328",
        ".b": f"font-family:{MONO};font-size:{SMALL:g}px;font-weight:600;fill:#ffffff",
    }
    dark = {
        ".ground": "fill:#0d1117",
        "text": "fill:#e6edf3",
        ".s": "fill:#9198a1",
        ".m": "fill:#9198a1",
        ".line": "stroke:#8b949e",
        ".arrow": "fill:#8b949e",
        ".frame0": "fill:#12171e;stroke:#3d444d",
        ".frame1": "fill:#0d1117;stroke:#3d444d",
        ".copy": "fill:#1c222a;stroke:#3d444d",
        ".badge": "fill:#e6edf3",
        ".b": "fill:#0d1117",
    }
    for kind, (fill, stroke, dark_fill, dark_stroke) in KINDS.items():
        light[f".{kind}"] = f"fill:{fill};stroke:{stroke};stroke-width:1.2"
        dark[f".{kind}"] = f"fill:{dark_fill};stroke:{dark_stroke}"
    plain, other = ("".join(f"{k}{{{v}}}" for k, v in rules.items()) for rules in (light, dark))
    return f"{plain}@media (prefers-color-scheme:dark){{{other}}}"


def _scene(arranged: Arranged, x: float, y: float, depth: int) -> Iterator[str]:
    for placed in arranged.placed:
        yield from _box(placed, x, y, depth)
    for line in arranged.lines:
        yield from _line(line, x, y)
    for label in arranged.labels:
        yield f'<text class="m" x="{x + label.x:.1f}" y="{y + label.y:.1f}">{text(label.text)}</text>'


def _box(placed: Placed, x: float, y: float, depth: int) -> Iterator[str]:
    box, left, top = placed.box, x + placed.x, y + placed.y
    wide, high = placed.width, placed.height
    yield f"<g><title>{text(_tip(placed))}</title>"
    if box.shape == "frame":
        if box.badge:
            yield _rect("copy", left + 5, top + 5, wide, high, 10)
        yield _rect(f"frame{depth % 2}", left, top, wide, high, 10)
        yield from _heading(placed, left, top)
        if placed.inner is not None:
            inner_x, inner_y = placed.inner_at
            yield from _scene(placed.inner, left + inner_x, top + inner_y, depth + 1)
            yield from _edges(placed, left, top)
    elif box.shape == "circle":
        yield f'<circle class="join" cx="{left + wide / 2:.1f}" cy="{top + high / 2:.1f}" r="{wide / 2:g}"/>'
        yield _middle("t", box.title, left + wide / 2, top + high / 2 + 4.5)
    elif box.shape == "pill":
        yield _rect(box.kind, left, top, wide, high, high / 2)
        yield _middle("", box.title, left + wide / 2, top + high / 2 + 4)
    else:
        if box.badge:
            yield _rect("copy", left + 4, top + 4, wide, high, 7)
        yield _rect(box.kind, left, top, wide, high, 7)
        drop = LINE - 3 if len(box.names) > 1 else 0
        for n, name in enumerate(box.names if drop else ()):
            yield _middle("m", name, left + wide * (n + 1) / (len(box.inputs) + 1), top + 12)
        yield from _heading(placed, left, top + drop - 3)
    yield "</g>"


def _heading(placed: Placed, left: float, top: float) -> Iterator[str]:
    """Title, details below, and at the right how many weights and how many copies."""
    box = placed.box
    yield f'<text class="t" x="{left + PAD:.1f}" y="{top + 20:.1f}">{text(box.title)}</text>'
    for n, detail in enumerate(box.details):
        yield f'<text class="s" x="{left + PAD:.1f}" y="{top + 20 + LINE * (n + 1):.1f}">{text(detail)}</text>'
    right = left + placed.width - PAD
    if box.badge:
        room = mono(box.badge, SMALL) + 10
        yield _rect("badge", right - room + 4, top + 8, room, 16, 8)
        yield _middle("b", box.badge, right - room / 2 + 4, top + 19.5)
        right -= room + 6
    if box.parameters:
        yield f'<text class="m" text-anchor="end" x="{right:.1f}" y="{top + 20:.1f}">{compact(box.parameters)}</text>'


def _edges(placed: Placed, left: float, top: float) -> Iterator[str]:
    """The lines that lead from the border of a frame to what is inside, and out of it."""
    assert placed.inner is not None
    inner_x, inner_y = placed.inner_at
    for port in placed.inner.ports.values():
        at = left + inner_x + port
        yield _path([(at, top), (at, top + inner_y)])
    at, bottom = left + inner_x + placed.inner.end, top + inner_y + placed.inner.height
    yield _path([(at, bottom), (at, top + placed.height)])


def _tip(placed: Placed) -> str:
    box = placed.box
    parts = [" ".join(filter(None, (box.title, box.badge))), *box.details]
    if box.parameters:
        parts.append(f"{box.parameters:,} parameters")
    return ", ".join(parts)


def _line(line: Line, x: float, y: float) -> Iterator[str]:
    points = [(x + a, y + b) for a, b in line.points]
    if not line.arrow:
        yield _path(points)
        return
    (a, _), (c, d) = points[-2:]
    if abs(c - a) < 0.5:
        yield _path([*points[:-1], (c, d - 5)])
        tip = [(c, d), (c - 3.5, d - 7), (c + 3.5, d - 7)]
    else:
        way = 1 if c > a else -1
        yield _path([*points[:-1], (c - 5 * way, d)])
        tip = [(c, d), (c - 7 * way, d - 3.5), (c - 7 * way, d + 3.5)]
    yield f'<path class="arrow" d="M{" L".join(f"{p:.1f},{q:.1f}" for p, q in tip)}Z"/>'


def _path(points: Sequence[Point]) -> str:
    """A line with round corners."""
    out = [f"M{points[0][0]:.1f},{points[0][1]:.1f}"]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        first, second = _towards(here, before), _towards(here, after)
        out.append(f"L{first[0]:.1f},{first[1]:.1f}Q{here[0]:.1f},{here[1]:.1f} {second[0]:.1f},{second[1]:.1f}")
    out.append(f"L{points[-1][0]:.1f},{points[-1][1]:.1f}")
    return f'<path class="line" d="{"".join(out)}"/>'


def _towards(a: Point, b: Point) -> Point:
    """The point a corner's radius, or half of the way, from one point to another."""
    length = abs(b[0] - a[0]) + abs(b[1] - a[1])
    share = min(CORNER, length / 2) / length if length else 0
    return a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share


def _rect(name: str, x: float, y: float, wide: float, high: float, radius: float) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}" rx="{radius:g}"/>'


def _middle(name: str, words: str, x: float, y: float) -> str:
    style = f'class="{name}" ' if name else ""
    return f'<text {style}text-anchor="middle" x="{x:.1f}" y="{y:.1f}">{text(words)}</text>'
