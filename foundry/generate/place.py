"""Where an expression stands: the names in sight, what they hold, and what the place rules out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from foundry.dsl.syntax import Expr, Name
from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER, TensorType, heads, seq
from foundry.generate.tame import LONGEST, Range
from foundry.generate.trees import call, op
from foundry.generate.ways import Home


@dataclass(frozen=True)
class Leaf:
    """A value to be had without growing one: its expression and type, and the range that it lies in; None where nobody
    chose its values, which are of the size of a normed stream."""

    expr: Expr
    type: TensorType
    range: Range | None = None


@dataclass(frozen=True)
class Place:
    """leaves: the names in sight, the latest last. lead: the type whose axes learned values follow.

    tokenwise: whether other positions are out of sight, as in an expert. outer: whether tokens can be embedded and tied
    logits made here, which no repeated block can. numbers: names of compile-time numbers, and their values.
    """

    home: Home
    leaves: tuple[Leaf, ...] = ()
    lead: TensorType | None = None
    tokenwise: bool = False
    outer: bool = False
    numbers: tuple[tuple[str, float], ...] = ()

    def knowing(self, *leaves: Leaf) -> Place:
        """The place with more names in sight, which hide older ones."""
        hidden = [leaf.expr for leaf in leaves]
        kept = tuple(leaf for leaf in self.leaves if leaf.expr not in hidden)
        return replace(self, leaves=kept + leaves)

    @property
    def signature(self) -> tuple[object, ...]:
        """What decides which types can be made here."""
        return (self.home, self.tokenwise, tuple(dict.fromkeys(leaf.type for leaf in self.leaves)))

    def of_type(self, goal: TensorType) -> list[Leaf]:
        """The leaves of a type, the latest first."""
        return [leaf for leaf in reversed(self.leaves) if leaf.type == goal]


def plain(goal: TensorType, place: Place) -> Leaf | None:
    """The plainest expression of a type made of the names in sight, its dtype aside; None where there is none.

    A name; else sequences are mapped and heads cut; other axes are covered by the names and indices that have them.
    """
    named = place.of_type(goal) or [leaf for leaf in place.leaves if replace(leaf.type, dtype=goal.dtype) == goal]
    if named:
        return named[0]
    if place.home.kind != "model":
        return _covered(goal, list(place.leaves), place)
    if goal.is_seq:
        made = _sequence(place)
        return made and Leaf(call("linear", made.expr, goal.width), seq(goal.width))
    if goal.is_heads:
        made = plain(seq(goal.heads * goal.width), place)
        return made and Leaf(call("split_heads", made.expr, goal.heads), heads(goal.heads, goal.width), made.range)
    return _covered(goal, list(_indices(goal, place)), place)


def _sequence(place: Place) -> Leaf | None:
    """Any sequence in sight, the latest first."""
    for leaf in reversed(place.leaves):
        if leaf.type.is_seq:
            return leaf
    for leaf in reversed(place.leaves):
        if leaf.type.is_heads:
            return Leaf(call("merge_heads", leaf.expr), seq(leaf.type.heads * leaf.type.width), leaf.range)
    return None


def _indices(goal: TensorType, place: Place) -> Iterator[Leaf]:
    """Names and the numbers of positions, channels and heads, for the axes of a goal."""
    yield from (leaf for leaf in place.leaves if not leaf.type.is_seq and not leaf.type.is_heads)
    anything = next((leaf for leaf in reversed(place.leaves) if leaf.type.is_seq or leaf.type.is_heads), None)
    if anything is None:
        return
    if not place.tokenwise:
        yield Leaf(call("position", anything.expr), TensorType(("token",), dtype=INTEGER), Range(0, LONGEST))
    if goal.width:
        count = Leaf(
            call("channel_index", anything.expr, goal.width),
            TensorType(("channel",), width=goal.width, dtype=INTEGER),
            Range(0, goal.width - 1),
        )
        yield count
    if goal.heads:
        cut = plain(heads(goal.heads, 1), place)
        assert cut is not None
        yield Leaf(
            call("head_index", cut.expr),
            TensorType(("head",), heads=goal.heads, dtype=INTEGER),
            Range(0, goal.heads - 1),
        )


def _covered(goal: TensorType, leaves: list[Leaf], place: Place) -> Leaf | None:
    """The sum of a few leaves that have the axes of a goal between them."""
    if not goal.axes:
        known = [leaf for leaf in leaves if not leaf.type.axes]
        if known:
            return known[-1]
        learns = place.home.kind in ("model", "score")
        return Leaf(call("param", 1.0), TensorType(), Range(0.5, 1.5)) if learns else None
    if goal.width == 1 and place.home.kind == "loss":
        wide = next((leaf for leaf in leaves if leaf.type.is_seq), None)
        return wide and Leaf(call("mean", wide.expr), seq(1))
    if goal.is_seq or goal.is_heads:
        return None
    left, found = set(goal.axes), []
    for leaf in sorted(leaves, key=lambda leaf: -len(leaf.type.axes)):
        kind = leaf.type
        fits = set(kind.axes) <= set(goal.axes) and kind.heads in (0, goal.heads) and kind.width in (0, goal.width)
        if fits and left & set(kind.axes):
            found.append(leaf)
            left -= set(kind.axes)
    if left:
        return None
    total, made = found[0].expr, found[0].range
    for leaf in found[1:]:
        total = op(total, "+", leaf.expr)
        made = made and leaf.range and Range(made.low + leaf.range.low, made.high + leaf.range.high)
    whole = all(leaf.type.dtype == INTEGER for leaf in found)
    one_truth = len(found) == 1 and found[0].type.dtype == BOOLEAN
    return Leaf(total, replace(goal, dtype=BOOLEAN if one_truth else INTEGER if whole else FLOAT), made)


def name(id: str, type: TensorType, range: Range | None = None) -> Leaf:
    """A name in sight."""
    return Leaf(Name(id), type, range)
