"""A genome's block structure as SVG: `foundry graph`.

Nothing is computed but shapes: no weights are made, and a repeated block is drawn once, however often it runs.
"""

from __future__ import annotations

from foundry.compiler.outline import Body, outline
from foundry.compiler.picture.layout import Arranged, arrange
from foundry.compiler.picture.scene import scene
from foundry.compiler.picture.svg import render
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.trace import trace

PAGE = 2400.0  # pixels from top to bottom that are about a page
DEEPEST = 8  # calls inside one another that are looked into


def draw(program: Program, title: str = "", depth: int | None = None) -> str:
    """The text of an SVG file.

    title: what stands above. depth: how many calls inside one another are opened, 0 for the model's own steps alone;
    by default as many as fit on a page.
    """
    body = outline(trace(program))
    picture = fitting(body) if depth is None else arrange(scene(body, depth))
    return render(picture, title or "a genome", f"{parameter_count(program):,} parameters")


def fitting(body: Body) -> Arranged:
    """The deepest picture of a model that fits on a page; its layers are open in any case."""
    best = arrange(scene(body, 1))
    for depth in range(2, DEEPEST + 1):
        deeper = arrange(scene(body, depth))
        if deeper.height > PAGE or deeper.height == best.height:
            break
        best = deeper
    return best
