"""Grown functions: written in place or defined, applied, chained, repeated, shared, and passed to one another."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache, partial

from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import Definition, Expr, Function, Name, Parameter
from foundry.dsl.types import BOOLEAN, FLOAT, Clash, TensorType, broadcast, heads, seq
from foundry.generate.fit import fitted
from foundry.generate.grow import Growth, Production, Wish, can_make, value
from foundry.generate.parts import small_part
from foundry.generate.place import Leaf, Place, name, plain
from foundry.generate.tame import ANY, SMALL, TAME, TINY, UNIT, Range, finite
from foundry.generate.trees import Value, applied, block, call, chain, expr, op
from foundry.generate.ways import UNSTATED, Home, counts, gives, pool, takes

HOLDERS = 0.25  # how often a wish is for a primitive that takes functions of slots, which have pairs of their own
WISHES = 0.7  # how often a binding is a pair of primitives that was wished for
PARTS = ("norm", "activation", "filter", "position")


# Bodies -------------------------------------------------------------------------------------------------------------


def body(
    g: Growth,
    goal: TensorType,
    wanted: Range,
    depth: int,
    place: Place,
    holding: tuple[Leaf, ...] = (),
    most: int = 2,
) -> Expr:
    """An expression of a type, under bindings for some of its parts.

    holding: values that it must depend on: names in sight, or expressions, which get names. most: further bindings.
    """
    bindings: list[tuple[str, Expr]] = []
    owed = [leaf for leaf in holding if isinstance(leaf.expr, Name)]

    def bound(leaf: Leaf) -> Leaf:
        id = g.name(g.draw.choice(("a", "b", "c", "u", "v", "w")))
        bindings.append((id, leaf.expr))
        return name(id, leaf.type)

    for leaf in holding:
        if leaf not in owed:
            owed.append(bound(leaf))
            place = place.knowing(owed[-1])
    for _ in range(most):
        if g.left > 0 and g.draw.chance(0.5):
            made, wished = g.draw.whole(partial(_part_of, g, goal, depth - 1, place))
            known = bound(made)
            place = place.knowing(known)
            owed += [known] if wished else []
    result = value(g, goal, wanted, depth, place)
    for leaf in owed:
        if leaf not in holding or leaf.expr not in [Name(id) for id in occurrences(block(bindings, result))]:
            result = with_term(result, leaf, goal, wanted, place)
    return block(bindings, result)


def _part_of(g: Growth, goal: TensorType, depth: int, place: Place) -> tuple[Leaf, bool]:
    """A value for a binding, and whether it was wished for."""
    wished = _wished(g, depth, place) if g.draw.chance(WISHES) else None
    return wished or _other(g, goal, depth, place), wished is not None


def mixed(g: Growth, mixer: str, depth: int, place: Place) -> Leaf:
    """A value by a primitive that mixes positions or chooses experts, of as many channels as the stream has."""
    width = place.home.width
    goals = [t for t in gives(mixer, place.home) if t.dtype == FLOAT and t.fixed_size == width and can_make(t, place)]
    goal = g.draw.choice(sorted(goals, key=str))
    return Leaf(value(g, goal, SMALL, depth, place, (mixer,)), goal)


def _other(g: Growth, goal: TensorType, depth: int, place: Place) -> Leaf:
    """Any value: of the stream's type or the goal's, of heads, of one number per token, of yes or no."""
    width = place.home.width
    kinds = [goal]
    if place.home.kind == "model":
        count = counts(place.home)[0]
        kinds += [seq(width), heads(count, width // count), heads(count, 1), seq(1), TensorType(("token",))]
        kinds += [replace(seq(width), dtype=BOOLEAN), TensorType(("channel",), width=width)]
    kind = g.draw.choice([kind for kind in kinds if can_make(kind, place)])
    return Leaf(value(g, kind, TAME, depth, place), kind)


def _wished(g: Growth, depth: int, place: Place) -> Leaf | None:
    """A value made of a pair of primitives, both drawn evenly, one of which feeds the other."""
    names = [name for name in PRIMITIVES if name not in g.off and gives(name, place.home)]
    holders = [name for name in g.settings if name in names and not place.tokenwise]
    consumer = g.draw.choice(holders if holders and g.draw.chance(HOLDERS) else names)
    producer = g.draw.choice(names)
    goals = [goal for goal in _goals(consumer, producer, place.home) if can_make(goal, place)]
    if not goals:
        return None
    goal, untamed = g.draw.choice(goals), g.draw.chance(0.25)
    made = value(g, goal, ANY if untamed else TAME, max(depth, 2), place, (consumer, producer))
    if untamed:  # whatever it is, it comes to yes or no
        return Leaf(op(made, ">", 0), replace(goal, dtype=BOOLEAN))
    return Leaf(made, goal)


@lru_cache(maxsize=1 << 15)
def _goals(consumer: str, producer: str, home: Home) -> tuple[TensorType, ...]:
    """What a primitive can make of what another gives."""
    given = gives(producer, home)
    taken = {t: links for t, links in takes(consumer, home).items() if t in given}
    if taken and consumer in UNSTATED:
        return tuple(t for t in pool(home) if t in gives(consumer, home))
    return tuple(dict.fromkeys(link.goal for links in taken.values() for link in links))


def with_term(result: Expr, leaf: Leaf, goal: TensorType, wanted: Range, place: Place) -> Expr:
    """A result that depends on one more value, whatever the type of that is; as it was where no way is known."""
    if goal.dtype == BOOLEAN:
        joins = wanted.holds(0, 1) and _joins(leaf.type, goal, place)
        return op(result, "|", fitted(leaf, BOOLEAN, UNIT)) if joins else result
    if not finite(wanted).takes_loose or goal.dtype != FLOAT:
        return result
    term = _like(leaf, goal, place)
    return result if term is None else op(result, "+", term)


def _joins(t: TensorType, goal: TensorType, place: Place) -> bool:
    """Whether a value can be added to one of a type; in a score or a mask, whatever more axes that gives."""
    try:
        joined = broadcast(t, goal, goal.dtype)
    except Clash:
        return False
    return joined == goal or place.home.kind in ("score", "mask")


def _like(leaf: Leaf, goal: TensorType, place: Place) -> Expr | None:
    """A value between -1 and 1 that is made of a leaf and can be added to a value of a type."""
    t, term = leaf.type, fitted(leaf, FLOAT, TINY)
    if _joins(t, goal, place):
        return term
    if place.home.kind == "loss" and t.is_seq and goal == seq(1):
        return call("mean", term)
    if place.home.kind != "model":
        return None
    if t.is_seq:
        return _mapped(leaf, goal)
    if t.is_heads:
        return _mapped(Leaf(call("merge_heads", leaf.expr), replace(seq(t.heads * t.width), dtype=t.dtype)), goal)
    carrier = heads(t.heads, t.width or 1) if t.has("head") else seq(t.width or 1)
    known = plain(carrier, place)
    if known is None or not _joins(t, carrier, place):
        return None
    return _like(Leaf(op(known.expr, "*", term), carrier), goal, place)


def _mapped(leaf: Leaf, goal: TensorType) -> Expr | None:
    """A learned map of a sequence to the channels of a sequence or of heads."""
    value = leaf.expr if leaf.type.dtype == FLOAT else op(1.0, "*", leaf.expr)
    if goal.is_seq:
        return call("linear", value, goal.width)
    return call("split_heads", call("linear", value, goal.heads * goal.width), goal.heads) if goal.is_heads else None


# Functions ----------------------------------------------------------------------------------------------------------


def function(
    g: Growth, given: TensorType, goal: TensorType, wanted: Range, depth: int, place: Place, alone: bool = False
) -> Expr:
    """A function from one type to another that uses its input, or what waits for it.

    alone: it sees no other position, and nothing from outside, as an expert must.
    """
    inner = Place(place.home, (name("x", given),), given, tokenwise=place.tokenwise or alone)
    key = (given, goal, inner.tokenwise, wanted)
    known = g.signatures.get(key, [])
    if known and g.draw.chance(0.4):
        return g.draw.choice(known)
    form = g.draw.choice(("definition", "in place", "with a number", "with a part"))
    if form == "in place":
        outside = () if alone else tuple(leaf for leaf in place.leaves if leaf.expr != Name("x"))
        sees = replace(inner, leaves=outside + inner.leaves, numbers=place.numbers)
        return Function((Parameter("x"),), body(g, goal, wanted, depth, sees, sees.leaves[-1:]))
    parameters, extra = [Parameter("x")], {}
    if form == "with a number":
        held = g.draw.choice((2, 1, 3, 0.5))
        parameters.append(Parameter("n", expr(held)))
        inner = replace(inner, numbers=(("n", held),))
    made = body(g, goal, wanted, depth, inner, inner.leaves)
    if form == "with a part":
        part = function(g, goal, goal, wanted, depth - 2, inner, alone)
        parameters.append(Parameter("part"))
        extra, made = {"part": part}, applied(Name("part"), made)
    defined = g.name("f")
    g.definitions.append(Definition(defined, tuple(parameters), made))
    waiting: Expr = call(defined, **extra) if extra else Name(defined)
    if not any(free in ("x",) for free in _free(waiting)):
        g.signatures.setdefault(key, []).append(waiting)
    return waiting


def _free(tree: Expr) -> list[str]:
    return list(occurrences(tree))


def part(g: Growth, given: TensorType, place: Place) -> Expr:
    """A function that people use, from a type with channels to itself: a norm, an activation, a filter, a position."""
    roles = [role for role in PARTS if not (place.tokenwise and role in ("filter", "position"))]
    if not given.is_heads or given.width % 4:
        roles = [role for role in roles if role != "position"]
    return small_part(g.draw, g.draw.choice(roles), width=given.width)


# Productions: values by way of functions ----------------------------------------------------------------------------


def _is_stream(goal: TensorType, wanted: Range, place: Place) -> bool:
    streams = (goal.is_seq or goal.is_heads) and goal.dtype == FLOAT
    return streams and place.home.kind == "model" and finite(wanted).takes_loose


def _is_wide(goal: TensorType, wanted: Range, place: Place) -> bool:
    return _is_stream(goal, wanted, place) and goal.width > 1


def _usual(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A value through a function that people use."""
    return applied(part(g, goal, place), value(g, goal, SMALL, depth - 1, place, wish))


def _applied(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A value through a grown function: once, in a chain, repeated, or shared by several passes."""
    given = g.draw.choice([kind for kind in (goal, seq(place.home.width), heads(2, 4)) if can_make(kind, place)])
    x = value(g, given, SMALL, depth - 2, place)
    first = function(g, given, goal, wanted, depth - 1, place)
    if given != goal:
        return applied(first, x) if g.draw.chance(0.5) else chain(x, first)
    forms = ["once", "pipe", "chain", "copies", "shared copies", "shared"]
    form = g.draw.choice(forms)
    if form == "once":
        return applied(first, x)
    if form == "pipe":
        return chain(x, first)
    if form == "chain":
        return chain(x, first, part(g, goal, place) if goal.width > 1 else first)
    if form == "copies":
        return chain(x, op(g.draw.choice((2, 3)), "*", first))
    if form == "shared copies":
        return chain(x, call("share", op(g.draw.choice((2, 3)), "*", first)))
    bound = g.name("same")
    middle: Value = applied(Name(bound), x)
    if goal.width > 1:
        middle = applied(part(g, goal, place), middle)
    return block([(bound, call("share", first))], applied(Name(bound), middle))


def _block(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A value with names for some of its parts."""
    return body(g, goal, wanted, depth - 1, place)


def _may_route(goal: TensorType, wanted: Range, place: Place) -> bool:
    return goal.is_seq and _is_stream(goal, wanted, place)


def _experts(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr:
    """A mixture: gates that are often cut down to the largest, and a function of one token alone."""
    gates = seq(g.draw.choice((2, 3, 4)))
    weights = value(g, gates, UNIT, depth - 2, place)
    if g.draw.chance(0.6):
        chosen = call("top", value(g, gates, TAME, depth - 2, place), g.draw.choice((1, 2)))
        weights = op(weights, "*", chosen)
    given = seq(g.draw.choice((place.home.width, goal.width)))
    x = value(g, given, SMALL, depth - 1, place, wish)
    return call("experts", x, weights, _expert(g, given, goal, depth - 1, place))


def _expert(g: Growth, given: TensorType, goal: TensorType, depth: int, place: Place) -> Expr:
    """What each expert of some is: a map with weights of its own, and perhaps something grown around it."""
    linear = call("linear", out=goal.width)
    form = g.draw.choice(("map", "mlp", "grown"))
    if form == "map" or g.left <= 0:
        return linear
    if form == "mlp" and given == goal:
        return call(g.draw.choice(("mlp", "glu")), hidden=g.draw.choice((4, 8)))
    grown = function(g, goal, goal, TAME, depth, place, alone=True)
    return chain(linear, grown)


USUAL = {"usual": Production(_is_wide, _usual)}
FUNCTIONS = USUAL | {
    "applied": Production(_is_stream, _applied),
    "block": Production(lambda goal, wanted, place: True, _block),
    "experts": Production(_may_route, _experts),
}
