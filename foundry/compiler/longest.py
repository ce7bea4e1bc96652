"""The longest context that a model's position tables allow."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.registry import PRIMITIVES

LIMIT = 1 << 16  # positions that are tried

# What the inputs of a unit are at position t; None where they depend on anything else.
Outside = dict[Node, Callable[[int], float | None]]


def longest(program: Program) -> int | None:
    """The number of positions that every table of positions has a row for; None where there is no such limit."""
    limits = _limits(program.model, {})
    return min(limits, default=None)


def _limits(unit: Unit, outside: Outside) -> list[int]:
    """The limits that the embeddings of positions in a unit set. `outside` says what its inputs are."""
    found = []
    for node in unit.nodes:
        if node.op == "embed" and not node.tensors[0].type.is_tokens:
            rows = node.attrs["vocab"]
            assert isinstance(rows, int)
            if node.tensors[0].op == "position":
                found.append(rows)
                continue
            for t in range(LIMIT):
                row = _value(node.tensors[0], t, outside)
                if row is not None and not 0 <= row < rows:
                    found.append(t)
                    break
                if row is None:
                    break
        if node.unit is not None:
            inside: Outside = {
                i: partial(_value, value, outside=outside)
                for i, value in zip(node.unit.inputs, node.tensors[bool(node.attrs.get("through")) :], strict=False)
            }
            found += _limits(node.unit, inside)
    return found


def _value(node: Node | float, t: int, outside: Outside) -> float | None:
    """The value of a function of the position alone at position t; None where it depends on anything else."""
    if isinstance(node, int | float):
        return node
    if node.op == "position":
        return t
    if node.op == "input":
        if node not in outside:
            return None
        return outside[node](t)
    fold = PRIMITIVES[node.op].fold if node.op in PRIMITIVES else None
    values = [_value(i, t, outside) for i in node.inputs]
    if fold is None or any(v is None for v in values):
        return None
    try:
        return fold(*values)
    except (ArithmeticError, ValueError):
        return None
