"""Leaves made to fit: a value of the right axes, brought into the range and the dtype that its consumer takes."""

from __future__ import annotations

import math

from foundry.dsl.syntax import Expr
from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER
from foundry.generate.place import Leaf
from foundry.generate.tame import ANY, Range, finite
from foundry.generate.trees import call, expr, op, rounded


def fitted(leaf: Leaf, dtype: str, wanted: Range) -> Expr:
    """The value of a leaf as a dtype and between two numbers."""
    if leaf.type.dtype == dtype and _inside(leaf, wanted):
        return leaf.expr
    if dtype == BOOLEAN:
        return _truth(leaf, wanted)
    if dtype == INTEGER:
        return _whole(leaf, wanted)
    return _squeezed(leaf, wanted)


def _inside(leaf: Leaf, wanted: Range) -> bool:
    if wanted == ANY:
        return True
    if leaf.type.dtype == BOOLEAN:
        return wanted.holds(0, 1)
    return wanted.takes_loose if leaf.range is None else wanted.holds(leaf.range.low, leaf.range.high)


def _truth(leaf: Leaf, wanted: Range) -> Expr:
    if wanted.holds(0, 1):
        middle = 0 if leaf.range is None else round((leaf.range.low + leaf.range.high) / 2)
        return op(leaf.expr, ">", middle)
    magnitude = call("abs", leaf.expr)
    return op(magnitude, ">", -1) if wanted.holds(1, 1) else op(magnitude, "<", -1)


def _whole(leaf: Leaf, wanted: Range) -> Expr:
    wanted = finite(wanted)
    low, count = math.ceil(wanted.low), max(1, math.floor(wanted.high) - math.ceil(wanted.low) + 1)
    if leaf.type.dtype != INTEGER:
        truth = leaf.expr if leaf.type.dtype == BOOLEAN else _truth(leaf, Range(0, 1))
        return call("where", truth, low + min(1, count - 1), low)
    part = call("remainder", leaf.expr, count)
    return op(part, "+", low) if low else part


def _squeezed(leaf: Leaf, wanted: Range) -> Expr:
    wanted = finite(wanted)
    low, high = wanted.low, wanted.high
    if leaf.range is not None and leaf.range.low < leaf.range.high and low < high:
        return _linear(leaf.expr, leaf.range, wanted)
    if leaf.type.dtype != FLOAT and leaf.range is None:
        half = rounded((high - low) * 0.4)
        return _moved(op(half, "*", leaf.expr), low + (high - low) * 0.3)
    if low == 0:
        return _times(rounded(min(high, 4)), call("sigmoid", leaf.expr))
    reach, middle = (high - low) * 0.45, (low + high) / 2
    return _moved(_times(rounded(reach), call("tanh", leaf.expr)), middle)


def _linear(value: Expr, known: Range, wanted: Range) -> Expr:
    """A value between two numbers, scaled and moved to lie between two others."""
    reach = wanted.high - wanted.low
    factor = rounded(min(1.0, 0.9 * reach / (known.high - known.low)))
    if wanted.holds(known.low * factor, known.high * factor):
        return _times(factor, value)
    return _moved(_times(factor, value), wanted.low + 0.05 * reach - known.low * factor)


def _times(factor: float, value: Expr) -> Expr:
    return op(factor, "*", value)


def _moved(value: Expr, by: float) -> Expr:
    by = rounded(by, 3)
    return value if not by else op(value, "+", by) if by > 0 else op(value, "-", -by)


def constant(value: float) -> Expr:
    """A number as it is written."""
    return expr(int(value) if value == math.floor(value) and abs(value) < 1e6 else value)
