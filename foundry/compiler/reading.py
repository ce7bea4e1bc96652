"""Which values of a unit the emitted code reads: some operations need a value for its length or its device alone."""

from __future__ import annotations

from collections.abc import Callable

from foundry.dsl.program import Node, Unit
from foundry.dsl.types import FUNCTION

ANCHORED = ("position", "channel_index", "head_index", "table")  # read no value, and are given one that is at hand


def reads(unit: Unit, node: Node) -> list[Node]:
    """The nodes that the code of a node reads."""
    return [anchor(unit, node)] if node.op in ANCHORED else list(node.tensors)


def anchor(unit: Unit, node: Node) -> Node:
    """A value at hand that says how many tokens there are, and on which device."""
    for i in unit.inputs:
        if i.type != FUNCTION and (node.op != "position" or "token" in i.type.axes):
            return i
    return node.tensors[0]


def needed(unit: Unit, of: Callable[[Unit, Node], list[Node]] = reads) -> set[Node]:
    """The nodes of a unit, inputs included, that its code computes. of: what a node reads."""
    found: set[Node] = set()
    stack = [unit.result]
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            stack.extend(of(unit, node))
    return found
