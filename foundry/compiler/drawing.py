"""A genome's block structure as SVG: `foundry graph`.

Nothing is computed but shapes: no weights are made, and a repeated block is drawn once, however often it runs.
"""

from __future__ import annotations

from foundry.compiler.outline import Body, outline
from foundry.compiler.picture.layout import arrange
from foundry.compiler.picture.scene import Scene, scene
from foundry.compiler.picture.svg import render
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.trace import trace

PAGE = 48  # boxes that fit on a page
DEEPEST = 8  # calls inside one another that can be asked for


def draw(program: Program, title: str = "", depth: int | None = None) -> str:
    """The text of an SVG file.

    title: what stands above. depth: how many calls inside one another are opened, 0 for the model's own steps alone;
    by default as many as fit on a page.
    """
    body = outline(trace(program))
    chosen = fitting(body) if depth is None else scene(body, depth)
    subtitle = f"{parameter_count(program):,} parameters · {canonical_hash(program)}"
    return render(arrange(chosen), title or "a genome", subtitle)


def fitting(body: Body) -> Scene:
    """The deepest picture of a model that fits on a page; the layers are open in any case."""
    best = scene(body, 1)
    count = len(list(best.all_boxes()))
    for depth in range(2, DEEPEST + 1):
        deeper = scene(body, depth)
        size = len(list(deeper.all_boxes()))
        if size > PAGE or size == count:
            break
        best, count = deeper, size
    return best
