"""Where gradients flow: which values of a unit the loss feels, if it feels the result."""

from __future__ import annotations

from foundry.dsl.program import Node, Unit
from foundry.dsl.types import FLOAT

# No gradient flows through these, whatever they are made of.
CUTS = frozenset({"stop", "top", "position", "channel_index", "head_index", "table", "embed", "lookup"})


def reached(unit: Unit) -> set[Node]:
    """The nodes of a unit, inputs included, that a gradient of its result flows to."""
    found = {unit.result}
    for node in reversed(unit.nodes):
        if node in found:
            found |= {i for n, i in enumerate(node.inputs) if isinstance(i, Node) and n in _passes(node)}
    return {node for node in found if node.type.dtype == FLOAT}


def _passes(node: Node) -> set[int]:
    """The places of the operands that a gradient flows to through an operation."""
    if node.op in CUTS or node.type.dtype != FLOAT:
        return set()
    if node.op in ("call", "repeat"):
        assert node.unit is not None
        first, inside = int(bool(node.attrs.get("through"))), reached(node.unit)
        return {first + n for n, i in enumerate(node.unit.inputs) if i in inside}
    if node.op == "experts":
        assert node.unit is not None
        return {1} | ({0} if node.unit.inputs[0] in reached(node.unit) else set())
    if node.op == "attend":
        return _through_attention(node)
    return set(range(int(node.op == "where"), len(node.inputs)))


def _through_attention(node: Node) -> set[int]:
    """Values and sinks always; queries and keys where the score reads the logit; and what it reads per token."""
    score = node.attrs["score"]
    places = {2} | ({3} if node.attrs["sink"] else set())
    if not isinstance(score, Unit):
        return places | {0, 1}
    for value in reached(score) & set(score.inputs):
        if value.attrs["name"] == "s":
            places |= {0, 1}
        elif "view" in value.attrs:
            _, index = value.attrs["view"]
            places.add(len(node.inputs) - int(node.attrs["seen"]) + index)
    return places
