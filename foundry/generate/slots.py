"""Grown functions for slots: scores and masks of attention, losses, schedules and curricula."""

from __future__ import annotations

from foundry.dsl.syntax import Expr, Function
from foundry.dsl.types import BOOLEAN, INTEGER, SCALAR, TOKENS, TensorType, scores, seq
from foundry.generate.formulas import with_used_parameters
from foundry.generate.functions import body
from foundry.generate.grow import Growth
from foundry.generate.parts import small_part
from foundry.generate.place import Leaf, Place, name
from foundry.generate.tame import LONGEST, TAME, UNIT, Range
from foundry.generate.trees import Value, call, op
from foundry.generate.ways import Home

POSITIONS = Range(0, LONGEST)
LEAST = 6  # operations that a slot's function may have, however many are left
LOGITS = Range(-30, 30)  # what a softmax takes with ease


def score(g: Growth, heads: int, depth: int, place: Place) -> Expr:
    """A function of the logit s, the head h and the positions i and j, and of values per token around."""
    leaves = (
        name("h", TensorType(("head",), heads=heads, dtype=INTEGER), Range(0, heads - 1)),
        name("i", TensorType(("token",), dtype=INTEGER), POSITIONS),
        name("j", TensorType(("token", "key"), dtype=INTEGER), POSITIONS),
        name("s", scores(heads)),
    )
    home = Home("score", 0, heads)
    inner = Place(home, (*_views(heads, place), *leaves), scores(heads), numbers=place.numbers)
    kinds = [scores(heads), scores(heads), TensorType(("token", "key")), TensorType(("head", "token", "key"), heads)]
    kind = g.draw.choice(kinds)
    made = body(g, kind, LOGITS, depth, inner, most=3)
    if kind != scores(heads) and g.draw.chance(0.7):
        made = op("s", "+", made)
    return _named(g, ("s", "h", "i", "j"), made, place)


def mask(g: Growth, heads: int, depth: int, place: Place) -> Expr:
    """A function of the head h and the positions i and j that always lets a query see itself."""
    leaves = (
        name("h", TensorType(("head",), heads=heads, dtype=INTEGER), Range(0, heads - 1)),
        name("i", TensorType(("token",), dtype=INTEGER), POSITIONS),
        name("j", TensorType(("key",), dtype=INTEGER), POSITIONS),
    )
    inner = Place(Home("mask", 0, heads), (*_views(heads, place), *leaves), numbers=place.numbers)
    kinds: list[TensorType] = [
        TensorType(("token", "key"), dtype=BOOLEAN),
        TensorType(("head", "token", "key"), heads, dtype=BOOLEAN),
        TensorType(("key",), dtype=BOOLEAN),
    ]
    made = body(g, g.draw.choice(kinds), UNIT, depth, inner, most=3)
    return _named(g, ("h", "i", "j"), op(made, "|", op("i", "==", "j")), place)


def _views(heads: int, place: Place) -> list[Leaf]:
    """What a score or a mask sees of values per token: at the query's position, and at the key's."""
    found: list[Leaf] = []
    for leaf in place.leaves:
        t = leaf.type
        if t.has("batch") and t.has("token") and t.width <= 1 and t.heads in (0, 1, heads):
            for view, axis in (("query", "token"), ("key", "key")):
                kind = TensorType(("batch", "head", axis), t.heads or 1, dtype=t.dtype)
                found.append(Leaf(call(view, leaf.expr), kind, leaf.range))
    return found


def _named(g: Growth, slots: tuple[str, ...], made: Expr, place: Place) -> Function:
    return with_used_parameters(slots, made)


def attention(g: Growth, goal: TensorType, depth: int, place: Place) -> dict[str, Value]:
    """What attention is given beside queries, keys and values: a score and a mask, or none."""
    given: dict[str, Value] = {}
    for slot, grown in (("score", score), ("mask", mask)):
        if g.draw.chance(0.6):
            g.left = max(g.left, LEAST)
            usual = g.draw.chance(g.policy.idioms)
            given[slot] = small_part(g.draw, slot) if usual else grown(g, goal.heads, max(depth, 2), place)
    return given


SETTINGS = {"attend": attention}


# Recipes ------------------------------------------------------------------------------------------------------------


def progress(g: Growth, wanted: Range) -> Function:
    """A function of progress t that stays in a range: a schedule, a context or a difficulty."""
    g.left = max(g.left, 2 * LEAST)
    inner = Place(Home("progress"), (name("t", SCALAR, UNIT),))
    return Function(with_used_parameters(("t",), call("t")).parameters, body(g, SCALAR, wanted, 2, inner, most=5))


def loss(g: Growth, vocab: int) -> Function:
    """A function of the logits, of the token y that came, and of a teacher's logits: one number per token."""
    g.left = max(g.left, 2 * LEAST)
    leaves = (
        name("y", TOKENS, Range(0, vocab - 1)),
        name("teacher", seq(vocab)),
        name("logits", seq(vocab)),
    )
    inner = Place(Home("loss", vocab), leaves)
    made = body(g, seq(1), TAME, 3, inner, most=3)
    plain = call("cross_entropy", "logits", "y")
    made = op(plain, "*", op(1, "+", op(0.1, "*", made))) if g.draw.chance(0.2) else op(plain, "+", op(0.1, "*", made))
    return with_used_parameters(("logits", "y", "teacher"), made)
