"""The report's figures, as SVG text that takes its colours from the page around it.

Matplotlib draws with stand-in colours; each is then replaced by a CSS variable, so that one
figure serves light and dark pages and paper. Text stays text. Points carry a title, which
browsers show on hovering.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stand-in colour → CSS variable.
COLOURS = {
    "#010101": "var(--ink)", "#020202": "var(--muted)", "#030303": "var(--line)", "#040404": "var(--paper)",
    "#110000": "var(--winner)", "#220000": "var(--series-1)", "#330000": "var(--series-2)",
    "#440000": "var(--series-3)", "#550000": "var(--series-4)", "#660000": "var(--series-5)",
}  # fmt: skip
INK, MUTED, LINE, PAPER, WINNER, *SERIES = COLOURS

STYLE = {
    "svg.fonttype": "none", "svg.hashsalt": "foundry", "text.parse_math": False, "font.size": 9,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": LINE, "axes.linewidth": 0.8,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": LINE, "grid.linewidth": 0.5,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 0, "ytick.major.size": 0,
    "xtick.minor.size": 0, "ytick.minor.size": 0, "axes.spines.top": False, "axes.spines.right": False,
    "figure.facecolor": "none", "axes.facecolor": "none",
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """A training run: `x` the share of its compute spent, in [0, 1], and `y` the training loss in bits
    per byte at each."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    is_winner: bool = False


@dataclass(frozen=True)
class Point:
    """A genome in a scatter plot. `mark` is winner, baseline or ""; `title` shows on hovering."""

    x: float
    y: float
    rung: int
    title: str
    mark: str = ""


@dataclass(frozen=True)
class Panel:
    """One scatter plot: what is on its x axis, and its points."""

    label: str
    points: Sequence[Point]


def loss_curves(curves: Sequence[Curve]) -> str:
    """Training loss against compute, the winner in its own colour, each curve named at its end."""
    import numpy as np
    from matplotlib.ticker import PercentFormatter

    figure, axes = _figure(1, 9.6, 3.2)
    ax: Axes = axes[0]
    baselines = [c for c in curves if not c.is_winner]
    ends = []
    for curve in [*baselines, *(c for c in curves if c.is_winner)]:
        colour = WINNER if curve.is_winner else SERIES[baselines.index(curve) % len(SERIES)]
        ax.plot(curve.x, curve.y, color=colour, linewidth=2.2 if curve.is_winner else 1.3, solid_capstyle="round")
        ends.append((curve.y[-1], curve.label, colour))
    # The first steps fall from 8 bits and would flatten everything after them.
    late = np.concatenate([np.asarray(c.y)[len(c.y) // 8 :] for c in curves])
    low, high = float(late.min()), float(late.max())
    ax.set_ylim(low - 0.05 * (high - low or 1), high + 0.1 * (high - low or 1))
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
    ax.set_xlabel("share of the training compute")
    ax.set_ylabel("training loss, bits per byte")
    _end_labels(ax, ends)
    return _svg(figure, "Training loss of the winner and the baselines against compute")


def scatter(panels: Sequence[Panel], top: int) -> str:
    """Bits per byte against several costs, side by side: a shade per rung, and for the points of
    rung `top` a line through those that none beats in both."""
    figure, axes = _figure(len(panels), 9.6, 3.1)
    titles: list[str] = []
    for ax, panel in zip(axes, panels, strict=True):
        _scatter_panel(ax, panel, top, titles)
    axes[0].set_ylabel("validation bits per byte")
    return _svg(figure, "Bits per byte against " + ", ".join(panel.label for panel in panels), titles)


def _scatter_panel(ax: Axes, panel: Panel, top: int, titles: list[str]) -> None:
    """Draw one panel. Each point's id is its place in `titles`, to which its title is added."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for point in panel.points:
        share = (point.rung + 1) / (top + 1)
        marker, size, face, edge = "o", 4.0, SERIES[0], "none"
        if point.mark == "winner":
            marker, size, face, edge, share = "*", 13.0, WINNER, PAPER, 1.0
        elif point.mark == "baseline":
            marker, size, face, edge, share = "D", 5.5, PAPER, SERIES[1], 1.0
        (line,) = ax.plot(
            point.x, point.y, marker, markersize=size, markerfacecolor=face, markeredgecolor=edge,
            alpha=0.2 + 0.7 * min(share, 1.0), zorder=5 if point.mark else 3,
        )  # fmt: skip
        line.set_gid(f"point-{len(titles)}")
        titles.append(point.title)
    front = pareto([(p.x, p.y) for p in panel.points if p.rung >= top])
    ax.plot([x for x, _ in front], [y for _, y in front], color=INK, linewidth=1, drawstyle="steps-post", zorder=4)
    costs = [p.x for p in panel.points]
    if min(costs) > 0 and max(costs) > 20 * min(costs):
        ax.set_xscale("log")
    else:
        ax.locator_params(axis="x", nbins=4)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel(panel.label)


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both coordinates (smaller is better), from left to right."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points)):
        if not front or y < front[-1][1]:
            front.append((x, y))
    return front


def compact(value: float) -> str:
    """A number in few characters: 1.2M."""
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _figure(columns: int, width: float, height: float) -> tuple[Figure, list[Any]]:
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False, sharey=True)[0]
    return figure, list(axes)


def _end_labels(ax: Axes, ends: Sequence[tuple[float, str, str]]) -> None:
    """Name curves at their right end, moved apart where they would overlap."""
    low, high = ax.get_ylim()
    least = 0.065 * (high - low)
    ordered = sorted(ends)
    places = [max(low, min(high, y)) for y, _, _ in ordered]
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + least)
    for place, (_, label, colour) in zip(places, ordered, strict=True):
        ax.annotate(
            label, (1, place), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
            color=colour, va="center", annotation_clip=False,
        )  # fmt: skip


def _svg(figure: Figure, description: str, titles: Sequence[str] = ()) -> str:
    """The figure as an SVG element for a page: colours from its style sheet, ids its own, points titled."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # A style sheet in the figure would reach the whole page.
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.DOTALL)
    for colour, variable in COLOURS.items():
        text = text.replace(colour, variable)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--sans)", text)
    text = re.sub(r'<svg [^>]*viewBox="([^"]*)"[^>]*>', r'<svg class="figure" role="img" viewBox="\1">', text, count=1)
    prefix = description.split()[0].lower()
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", text)
    text = re.sub(
        rf'<g id="{prefix}-point-(\d+)">', lambda match: f"<g><title>{html.escape(titles[int(match[1])])}</title>", text
    )
    text = re.sub(r"\s*\n\s*", "\n", text).replace("\n<path", "<path").replace("\nL", "L").replace("\nz", "z")
    return text.replace(">", f"><title>{html.escape(description)}</title>", 1).strip()
