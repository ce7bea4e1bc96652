"""Learned numbers in a grown expression: one, or one per head, channel or distance."""

from __future__ import annotations

from foundry.dsl.syntax import Expr, Name
from foundry.dsl.types import FLOAT, INTEGER, TensorType
from foundry.generate.grow import Growth, Production, Wish, can_make, value
from foundry.generate.place import Leaf, Place
from foundry.generate.tame import Range, finite
from foundry.generate.trees import Value, call, list_of, rounded

ROOM = 0.4  # how far a learned number may move away from where it begins
LEAD = Name("")  # stands for the leading tensor, which need not be named


def _may_param(goal: TensorType, wanted: Range, place: Place) -> bool:
    if goal.dtype != FLOAT or set(goal.axes) - {"head", "channel"} or place.home.kind not in ("model", "score"):
        return False
    return _has_room(wanted) and (not goal.axes or _like(goal, place) is not None)


def _has_room(wanted: Range) -> bool:
    return finite(wanted).high - finite(wanted).low > ROOM


def _like(goal: TensorType, place: Place) -> Leaf | None:
    """What has the sizes of a learned value: the leading tensor, or a name in sight."""
    lead = Leaf(LEAD, place.lead or TensorType())
    for leaf in (lead, *(reversed(place.leaves) if place.home.kind == "model" else ())):
        sizes = leaf.type.heads in (goal.heads, goal.heads or leaf.type.heads), goal.width in (0, leaf.type.width)
        if all(leaf.type.has(axis) for axis in goal.axes) and all(sizes):
            return leaf
    return None


def _param(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A learned number per axis, which begins well inside its range."""
    low, high = max(finite(wanted).low, -2), min(finite(wanted).high, max(finite(wanted).low, -2) + 4)
    middle, reach = (low + high) / 2, max(0.0, (high - low) / 2 - ROOM)
    given: dict[str, Value] = {}
    if goal.axes:
        found = _like(goal, place)
        assert found is not None
        given["per"] = goal.axes[0] if len(goal.axes) == 1 else list_of(*goal.axes)
        if found.expr != LEAD:
            given["of"] = found.expr
    if g.draw.chance(0.1):
        given["learn"] = 0
    return call("param", rounded(g.draw.number(middle - reach / 2, middle + reach / 2)), **given)


def _may_lookup(goal: TensorType, wanted: Range, place: Place) -> bool:
    positions = set(goal.axes) - {"head"}
    return (
        bool(positions and positions <= {"token", "key"} and goal.dtype == FLOAT)
        and place.home.kind == "score"
        and _has_room(wanted)
    )


def _lookup(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr | None:
    """A learned number for each whole number made of positions."""
    index = TensorType(tuple(a for a in goal.axes if a != "head"), dtype=g.draw.choice((INTEGER, FLOAT)))
    if not can_make(index, place):
        return None
    given: dict[str, Value] = {"size": g.draw.choice((8, 2, 16, 64))}
    middle = (finite(wanted).low + finite(wanted).high) / 2
    if abs(middle) > ROOM / 2:
        given["init"] = rounded(middle)
    if goal.has("head"):
        given["per"] = "head"
    return call("lookup", value(g, index, Range(-4, 64), depth - 1, place, wish), **given)


LEARNED = {"param": Production(_may_param, _param), "lookup": Production(_may_lookup, _lookup)}
