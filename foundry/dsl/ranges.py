"""Which whole numbers a value may be, so that no index can lie outside its table.

Interval arithmetic over a checked program: a token is one of 0 to vocab - 1, a position 0 or more, and so on through
sums, remainders and choices. Where nothing is known, anything may be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from foundry.dsl.diagnostics import Diagnostic
from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.types import BOOLEAN

Range = tuple[float, float]  # the least and the largest
ANY: Range = (-math.inf, math.inf)


def misplaced(program: Program) -> list[Diagnostic]:
    """An error for each index of a program that may lie outside its table."""
    token: Range = (0, program.vocab - 1)
    found: dict[int, Diagnostic] = {}
    loss = program.recipe.loss
    for unit, inputs in (
        (program.model, dict.fromkeys(program.model.inputs, token)),
        (loss, {i: token if i.attrs["name"] == "y" else ANY for i in loss.inputs}),
    ):
        _range_of(unit, inputs, found)
    return list(found.values())


def _range_of(unit: Unit, inputs: Mapping[Node, Range], found: dict[int, Diagnostic]) -> Range:
    """What the result of a unit may be. Adds what is wrong on the way to `found`, by where it stands."""
    known = dict(inputs)
    for node in unit.nodes:
        ranges = [known[i] if isinstance(i, Node) else (i, i) for i in node.inputs]
        if node.unit is not None and node.op != "shared":
            inner = ranges[bool(node.attrs.get("through")) :]
            if node.op != "call":  # what comes back from a pass, or goes to an expert, may be anything
                inner[0] = ANY
            known[node] = _range_of(node.unit, dict(zip(node.unit.inputs, inner, strict=False)), found)
        else:
            known[node] = _bounds(node, ranges)
        for diagnostic in _judged(node, ranges):
            found.setdefault(node.span.start, diagnostic)
    return known[unit.result]


def _bounds(node: Node, ranges: list[Range]) -> Range:
    """What the result of one operation may be."""
    if node.type.dtype == BOOLEAN:
        return 0, 1
    match node.op, ranges:
        case "number", _:
            return node.attrs["value"], node.attrs["value"]
        case "position", _:
            return 0, math.inf
        case "channel_index", _:
            return 0, node.attrs["count"] - 1
        case "head_index", _:
            return 0, node.type.heads - 1
        case "add", [(a, b), (c, d)]:
            return a + c, b + d
        case "subtract", [(a, b), (c, d)]:
            return a - d, b - c
        case "negate", [(a, b)]:
            return -b, -a
        case "multiply", [(a, b), (c, d)]:
            corners = [x * y if x and y else 0 for x in (a, b) for y in (c, d)]
            return min(corners), max(corners)
        case "minimum", [(a, b), (c, d)]:
            return min(a, c), min(b, d)
        case "maximum", [(a, b), (c, d)]:
            return max(a, c), max(b, d)
        case "remainder", [_, (n, m)] if n == m and n:
            return (0, n - 1) if n > 0 else (n + 1, 0)
        case "where", [_, (a, b), (c, d)]:
            return min(a, c), max(b, d)
        case "stop", [same]:
            return same
    return ANY


def _judged(node: Node, ranges: list[Range]) -> Iterator[Diagnostic]:
    """What is wrong with the index of an embedding, or with the token of a cross entropy."""
    if node.op == "embed":
        (low, high), rows, what = ranges[0], int(node.attrs["vocab"]), "embed has a vector"
        if not node.tensors[0].type.has("batch"):  # positions end where the table does
            high = low
    elif node.op == "cross_entropy":
        (low, high), rows, what = ranges[1], node.tensors[0].type.width, "there is a logit"
    else:
        return
    if low < 0 or high >= rows:
        yield Diagnostic(
            "F306",
            f"{what} for each of 0 to {rows - 1:,}, but the number may be {_shown(low, high, rows)}",
            node.span,
            expected=(f"from 0 to {rows - 1}",),
            help="keep it inside: remainder(n, size), or min(max(n, 0), size - 1)",
        )


def _shown(low: float, high: float, rows: int) -> str:
    """A number outside a table of so many rows."""
    if low < 0:
        return "below 0" if math.isinf(low) else f"{low:,.0f}"
    return f"above {rows - 1:,}" if math.isinf(high) else f"{high:,.0f}"
