"""Expressions of a type, grown from the outside in: a primitive that gives it, then what that primitive takes.

The registry's shape rules say what fits (`ways`), the table of ranges what stays finite (`tame`), the policy how large
it becomes. Which primitive stands where is drawn evenly among those that fit, and not by weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from foundry.dsl.registry import HIDDEN, OPERATORS, PRIMITIVES, Primitive
from foundry.dsl.rules import Mismatch
from foundry.dsl.substitute import fresh_name
from foundry.dsl.syntax import Definition, Expr, Name, Number, Unary
from foundry.dsl.types import BOOLEAN, INTEGER, Clash, TensorType
from foundry.generate.draw import Draw
from foundry.generate.fit import constant, fitted
from foundry.generate.place import Place, plain
from foundry.generate.policy import Policy
from foundry.generate.tame import ANY, Range, demands, finite
from foundry.generate.trees import Value, call, expr, list_of, op, rounded
from foundry.generate.ways import UNSTATED, WHOLE, Home, Way, gives, takes, ways

DEEPER = 0.8  # how often a value is more than a name, while there is depth left
USUAL = 0.75  # how often all inputs are of plain numbers, where truth and whole numbers would do too
PREFERRED = 0.6  # how often a primitive that the genome likes is taken where one fits

SIGNS = {name: sign for sign, name in OPERATORS.items()}
PREFIX = {"negate": "-", "invert": "!"}
SHORT = {"largest": "max", "maximum": "max", "smallest": "min", "minimum": "min"}


Setting = Callable[["Growth", TensorType, int, Place], dict[str, Value]]
Wish = tuple[str, ...]  # primitives that a value is to be made with: the first gives it, the second an input of that


@dataclass
class Growth:
    """A genome being grown.

    productions: what gives values beside primitives alone, by name. settings: further arguments of primitives, by
    name: the functions that they take. off: what it does without. liked: what it prefers.
    definitions: its functions so far, and `signatures` those of them by the types that they take and give.
    taken: their names, and those of bindings. idioms: productions of what people write, which the policy says how
    often to take. left: how many more operations there may be.
    """

    draw: Draw
    policy: Policy
    productions: Mapping[str, Production]
    settings: Mapping[str, Setting]
    off: frozenset[str] = frozenset()
    liked: frozenset[str] = frozenset()
    definitions: list[Definition] = field(default_factory=list)
    signatures: dict[tuple[object, ...], list[Expr]] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    idioms: tuple[str, ...] = ()
    left: int = 40

    def name(self, stem: str) -> str:
        """A name that is not taken, and now is."""
        found = fresh_name(stem, self.taken)
        self.taken.add(found)
        return found


@dataclass(frozen=True)
class Production:
    """A way to write a value that is more than a primitive with grown inputs.

    may: whether it gives a type in a range at a place. make: writes it; None where it finds that it cannot.
    """

    may: Callable[[TensorType, Range, Place], bool]
    make: Callable[[Growth, TensorType, Range, int, Place, Wish], Expr | None]


# Values -------------------------------------------------------------------------------------------------------------


def value(g: Growth, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish = ()) -> Expr:
    """An expression of a type whose values lie in a range.

    wish: primitives to make it with, from the outside in, as far as they fit.

    Raises:
        LookupError: nothing in sight leads to the type.
    """
    if wish and (made := _made(g, wish[0], goal, wanted, depth, place, wish[1:])) is not None:
        return made
    if depth > 0 and g.left > 0 and g.draw.chance(DEEPER):
        name = _chosen(g, goal, wanted, place)
        if name and (made := _made(g, name, goal, wanted, depth, place, ())) is not None:
            return made
    return leaf(g, goal, wanted, place)


def _chosen(g: Growth, goal: TensorType, wanted: Range, place: Place) -> str:
    """A primitive or a production that may give a type in a range, "" where there is none."""
    if g.idioms and g.draw.chance(g.policy.idioms):
        usual = [n for n in g.idioms if _may(g, n, goal, wanted, place)]
        if usual:
            return g.draw.choice(usual)
    names = (*_primitives(goal, place.home, place.tokenwise, len(PRIMITIVES)), *g.productions)
    liked = [n for n in names if n in g.liked and _may(g, n, goal, wanted, place)]
    if liked and g.draw.chance(PREFERRED):
        return g.draw.choice(liked)
    for _ in range(4):  # most of them may
        name = _one(g, names)
        if _may(g, name, goal, wanted, place):
            return name
    left = [n for n in names if _may(g, n, goal, wanted, place)]
    return _one(g, left) if left else ""


def _made(g: Growth, name: str, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish) -> Expr | None:
    """A value by a primitive or a production."""
    g.left -= 1
    if name in g.off or (place.tokenwise and looks_beyond(name)):
        return None
    if name in g.productions:
        production = g.productions[name]
        return production.make(g, goal, wanted, depth, place, wish) if production.may(goal, wanted, place) else None
    return operation(g, name, goal, wanted, depth, place, wish)


def leaf(g: Growth, goal: TensorType, wanted: Range, place: Place) -> Expr:
    """The plainest expression of a type in a range, a name where one will do.

    Raises:
        LookupError: nothing in sight leads to the type.
    """
    fits = [known.expr for known in place.of_type(goal) if fitted(known, goal.dtype, wanted) is known.expr]
    if fits:
        return g.draw.choice(fits)
    made = plain(goal, place)
    if made is None:
        raise LookupError(f"nothing in scope leads to {goal}")
    return fitted(made, goal.dtype, wanted)


def _one(g: Growth, names: Sequence[str]) -> str:
    """One of some primitives and productions: of all alike, or first of their kinds, most being elementwise."""
    if g.draw.chance(0.5):
        kinds = {name: PRIMITIVES[name].kind if name in PRIMITIVES else "function" for name in names}
        kind = g.draw.choice(list(dict.fromkeys(kinds.values())))
        names = [name for name in names if kinds[name] == kind]
    return g.draw.choice(names)


@lru_cache(maxsize=1 << 14)
def _primitives(goal: TensorType, home: Home, tokenwise: bool, known: int) -> tuple[str, ...]:
    fitting = (name for name in PRIMITIVES if name not in UNSTATED and ways(name, goal, home))
    return tuple(name for name in fitting if not (tokenwise and looks_beyond(name)))


def looks_beyond(name: str) -> bool:
    """Whether an expert may not use a primitive: it sees one token, and sometimes none."""
    return name in PRIMITIVES and (PRIMITIVES[name].stateful or name == "penalty")


def _may(g: Growth, name: str, goal: TensorType, wanted: Range, place: Place) -> bool:
    if name in g.off:
        return False
    if name in g.productions:
        return g.productions[name].may(goal, wanted, place)
    return bool(demands(name, wanted, ways(name, goal, place.home)[0]))


# Primitives ---------------------------------------------------------------------------------------------------------


def operation(
    g: Growth, name: str, goal: TensorType, wanted: Range, depth: int, place: Place, wish: Wish = ()
) -> Expr | None:
    """A primitive whose inputs are grown; None where none of its ways leads anywhere.

    wish: what one of its inputs is to be made with.
    """
    for _ in range(3):
        way, at = _linked(g, name, goal, place, wish) if wish else (_drawn(g, name, goal, place), -1)
        if way is None:
            return None
        way = varied(g, name, way, goal)
        ranges = [r for r in demands(name, wanted, way) if all(map(holds_any, way.types, r))]
        if ranges:
            break
    else:
        return None
    inputs = [
        value(g, t, r, depth - 1, place, wish if n == at else ())
        if isinstance(t, TensorType)
        else number(g, t, r, place)
        for n, (t, r) in enumerate(zip(way.types, g.draw.choice(ranges), strict=True))
    ]
    more = g.settings[name](g, goal, depth, place) if name in g.settings else {}
    return written(PRIMITIVES[name], inputs, settled(g, PRIMITIVES[name], way, wanted) | more)


def _linked(g: Growth, name: str, goal: TensorType, place: Place, wish: Wish) -> tuple[Way | None, int]:
    """A way to a type with an input that a wished primitive gives, and which input that is."""
    given = gives(wish[0], place.home)
    links = [
        link
        for t, some in takes(name, place.home).items()
        if t in given
        for link in some
        if link.goal == goal and _reachable(link.way, place)
    ]
    if not links:
        return _drawn(g, name, goal, place), -1
    link = g.draw.choice(links)
    return link.way, link.at


def _drawn(g: Growth, name: str, goal: TensorType, place: Place) -> Way | None:
    """One of the ways to a type whose inputs can be had here."""
    options: tuple[Way, ...] = ways(name, goal, place.home, True) if g.draw.chance(USUAL) else ()
    options = options or ways(name, goal, place.home)
    for _ in range(5 if options else 0):
        way = g.draw.choice(options)
        if _reachable(way, place):
            return way
    left = [w for w in ways(name, goal, place.home) if _reachable(w, place)]
    return g.draw.choice(left) if left else None


def holds_any(kind: TensorType | float, wanted: Range) -> bool:
    """Whether a range holds values of a type: whole ones or truths, where it has no others."""
    if wanted == ANY:
        return True
    if not isinstance(kind, TensorType):
        return wanted.low <= wanted.high and (kind != WHOLE or math.ceil(wanted.low) <= wanted.high)
    if kind.dtype == BOOLEAN:
        return wanted.holds(0, 0) or wanted.holds(1, 1)
    return math.ceil(wanted.low) <= wanted.high if kind.dtype == INTEGER else wanted.low < wanted.high


def _reachable(way: Way, place: Place) -> bool:
    """Whether every input type of a way can be made of the names in sight."""
    return all(not isinstance(t, TensorType) or can_make(t, place) for t in way.types)


_MADE: dict[tuple[object, ...], bool] = {}


def can_make(goal: TensorType, place: Place) -> bool:
    """Whether the names in sight lead to a type."""
    key = (goal, place.signature)
    if key not in _MADE:
        if len(_MADE) > 100_000:
            _MADE.clear()
        _MADE[key] = plain(goal, place) is not None
    return _MADE[key]


def varied(g: Growth, name: str, way: Way, goal: TensorType) -> Way:
    """The way with other whole numbers where the result's type does not depend on them."""
    entry = PRIMITIVES[name]
    for arg in entry.args:
        if arg.sort != "integer" or not g.draw.chance(0.7):
            continue
        new = g.draw.choice([n for n in (1, 2, 3, 4, 5, 7, 8, 11, 16, 31) if arg.low <= n <= arg.high])
        changed = Way(way.types, tuple((k, new if k == arg.name else v) for k, v in way.settings))
        try:
            way = changed if entry.shape(changed.types, changed.attrs) == goal else way
        except (Mismatch, Clash):
            continue
    return way


def settled(g: Growth, entry: Primitive, way: Way, wanted: Range) -> dict[str, Value]:
    """The compile-time arguments of a way as they are written, those that are as by default left out."""
    out: dict[str, Value] = {}
    for name, given in way.settings:
        arg = next(a for a in entry.args if a.name == name)
        if arg.sort == "numbers":
            out[name] = list_of(*(number_in(g, finite(wanted)) for _ in given))
        elif arg.sort == "number" and given is None:
            if g.draw.chance(0.2):
                out[name] = rounded(g.draw.number(0.1, 1))
        elif given != arg.default and given is not None:
            out[name] = given
    return out


def written(entry: Primitive, inputs: list[Expr], settings: Mapping[str, Value]) -> Expr:
    """A primitive applied, as the language writes it: with its sign, or by name."""
    if entry.name in SIGNS:
        return op(inputs[0], SIGNS[entry.name], inputs[1])
    if entry.name in PREFIX:
        return Unary(PREFIX[entry.name], inputs[0])
    if entry.name in HIDDEN:
        return call(SHORT[entry.name], *inputs)
    given = dict(zip((a for a in entry.args if a.is_tensor), inputs, strict=False))
    shown = {a: e for a, e in given.items() if not isinstance(a.default, (int, float)) or e != expr(a.default)}
    leading = 0
    while leading < len(entry.args) and entry.args[leading] in shown:
        leading += 1
    if is_number(inputs[0]):  # a number in front would be taken for the second argument
        leading = 0
    positional = [shown.pop(a) for a in entry.args[:leading]]
    return call(entry.name, *positional, **{a.name: e for a, e in shown.items()}, **settings)


def is_number(given: Expr) -> bool:
    """Whether an expression is a number that is written out."""
    return isinstance(given, Number) or (isinstance(given, Unary) and is_number(given.operand))


# Numbers ------------------------------------------------------------------------------------------------------------


def number(g: Growth, kind: float, wanted: Range, place: Place) -> Expr:
    """A compile-time number in a range: whole where `kind` is, and sometimes a parameter's name."""
    known = [Name(id) for id, held in place.numbers if wanted.holds(held, held)]
    if known and g.draw.chance(0.5):
        return g.draw.choice(known)
    whole = float(kind).is_integer()
    if wanted == ANY:
        return constant(g.draw.choice((0, 1, 2, -1, 3)) if whole else rounded(g.draw.number(0.1, 3)))
    low, high = math.ceil(max(wanted.low, min(-8, wanted.high))), math.floor(min(wanted.high, max(8, wanted.low)))
    return constant(g.draw.integer(low, high) if whole and low <= high else number_in(g, wanted))


def number_in(g: Growth, wanted: Range) -> float:
    """A number in a range, with two digits where two will do."""
    low = max(wanted.low, -8)
    drawn = g.draw.number(low, max(low, min(wanted.high, 8)))
    short = rounded(drawn)
    return short if wanted.holds(short, short) else rounded(drawn, 4)
