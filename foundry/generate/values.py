"""Tensors of a type, made of the names in sight: norms, filters, maps and formulas of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from foundry.dsl.syntax import Expr, Name
from foundry.dsl.types import Clash, TensorType, broadcast
from foundry.generate.draw import Draw, weighted
from foundry.generate.formulas import Formula
from foundry.generate.parts import random_filter, small_part
from foundry.generate.trees import applied, call, op


def random_value(
    draw: Draw, sort: TensorType, scope: Mapping[str, TensorType], depth: int = 2, learns: bool = False
) -> Expr:
    """A tensor of a type, made of the names in scope; `learns` where the enclosing function maps that type.

    Raises:
        LookupError: no name in scope has the type.
    """
    same = [name for name, kind in scope.items() if kind == sort]
    if not same:
        raise LookupError(f"nothing in scope is {sort}")
    if depth <= 0:
        return Name(draw.choice(same))
    sequences = [name for name, kind in scope.items() if kind.is_seq]
    x = Name(draw.choice(same))
    moving = sort.is_seq or sort.is_heads
    options: list[tuple[float, Callable[[], Expr]]] = [
        (2, lambda: x),
        (2, lambda: _formula_over(draw, sort, scope, depth, x)),
        (1, lambda: op(x, "+", random_value(draw, sort, scope, depth - 1, learns))),
        (1, lambda: op(x, "*", call("sigmoid", random_value(draw, sort, scope, depth - 1, learns)))),
    ]
    if moving and sort.width > 1:
        options += [
            (2, lambda: applied(small_part(draw, "norm"), x)),
            (2, lambda: applied(random_filter(draw), x)),
            (1 if learns else 0, lambda: op(call("param", 1, per="channel"), "*", x)),
        ]
    if sort.is_seq and sort.width > 1 and sequences:
        options.append((1.5, lambda: call("linear", draw.choice(sequences), sort.width)))
    return weighted(draw, options)()


def _formula_over(draw: Draw, sort: TensorType, scope: Mapping[str, TensorType], depth: int, first: Name) -> Expr:
    """A formula over a name and the names in scope that broadcast into its type."""
    leaves = [first, *(Name(name) for name, kind in scope.items() if name != first.id and fits(kind, sort))]
    return Formula(draw, tuple(leaves)).value(depth, 1)


def fits(kind: TensorType, into: TensorType) -> bool:
    """Whether a value broadcasts into a type without changing it."""
    try:
        return broadcast(kind, into) == into and kind.dtype != "boolean"
    except Clash:
        return False
