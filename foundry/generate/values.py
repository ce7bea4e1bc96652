"""Tensors of a type, made of the names in sight as people would: norms, filters, maps and formulas of them."""

from __future__ import annotations

from collections.abc import Mapping

from foundry.dsl.syntax import Expr
from foundry.dsl.types import Clash, TensorType, broadcast
from foundry.generate.draw import Draw
from foundry.generate.formulas import UNRANGED, Formula
from foundry.generate.functions import USUAL
from foundry.generate.grow import Growth, Production, Wish, value
from foundry.generate.learned import LEARNED
from foundry.generate.place import Place, name
from foundry.generate.policy import PROXY, Policy
from foundry.generate.tame import TAME, Range, finite
from foundry.generate.ways import Home

# What nobody puts into the middle of a layer: it stops gradients, adds to the loss, or goes from and to tokens.
ELSEWHERE = UNRANGED | {"penalty", "embed", "unembed", "cross_entropy"}


def random_value(
    draw: Draw,
    sort: TensorType,
    scope: Mapping[str, TensorType],
    depth: int = 2,
    learns: bool = False,
    policy: Policy = PROXY,
) -> Expr:
    """A tensor of a type, made of the names in scope; `learns` where the enclosing function maps that type.

    Raises:
        LookupError: no name in scope leads to the type.
    """
    usual = policy is PROXY
    home = Home("model", sort.fixed_size, sort.heads if usual else 0, plain=usual)
    place = Place(home, tuple(name(id, kind) for id, kind in scope.items()), sort if learns else None)
    off = ELSEWHERE if usual else frozenset()
    g = Growth(draw, policy, IDIOMS | LEARNED, {}, off, idioms=tuple(IDIOMS), left=policy.nodes)
    return value(g, sort, TAME, depth, place)


def _may_write(goal: TensorType, wanted: Range, place: Place) -> bool:
    return finite(wanted).takes_loose and bool(place.of_type(goal))


def _formula(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A formula over a name and the names that broadcast into its type."""
    first = g.draw.choice(place.of_type(goal)).expr
    others = (leaf.expr for leaf in place.leaves if leaf.expr != first and fits(leaf.type, goal))
    return Formula(g.draw, (first, *others)).value(depth, 1)


def _name(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    return g.draw.choice(place.of_type(goal)).expr


IDIOMS = {"name": Production(_may_write, _name), "formula": Production(_may_write, _formula)} | USUAL


def fits(kind: TensorType, into: TensorType) -> bool:
    """Whether a value broadcasts into a type without changing it."""
    try:
        return broadcast(kind, into) == into and kind.dtype != "boolean"
    except Clash:
        return False
