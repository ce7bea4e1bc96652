"""Ways to a type: the input types and compile-time arguments with which a primitive gives it.

Nobody wrote down the inverse of a shape rule. At every home there is a pool of types that an expression may have; the
rules of the registry are asked once what they make of them, and the answers are kept by what came out. So a new
primitive is reached as soon as it is registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

from foundry.dsl.registry import PRIMITIVES, REQUIRED, Arg, Primitive
from foundry.dsl.rules import Mismatch
from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER, SCALAR, TOKENS, Clash, TensorType, heads, scores, seq

WHOLE, DECIMAL = 2, 0.5  # stand for any compile-time number of their kind
MOST_COMBINATIONS = 6000  # of input types that a rule is asked about
MOST_WAYS = 60  # that are kept of a primitive for one type
MOST_LINKS = 2  # of them that are kept for one type of one input
MOST_SETTINGS = 6  # of compile-time arguments for the same input types and the same result

# The checker gives these attributes that no argument states: they have productions of their own.
UNSTATED = frozenset({"param", "lookup", "experts"})


@dataclass(frozen=True)
class Home:
    """What the place of an expression makes usual.

    kind: model, or the slot whose function it is in. width: channels of the stream around; for a loss of the logits; 0
    where there are none. heads: of the attention around a score or a mask, or of what is to be made, else 0. plain:
    whether expressions are of numbers alone, neither truths nor whole ones, and of few sizes: those that people write.
    """

    kind: str = "model"
    width: int = 0
    heads: int = 0
    plain: bool = False


@dataclass(frozen=True)
class Way:
    """Input types, `WHOLE` and `DECIMAL` for numbers, and compile-time arguments. Optional inputs may be left out."""

    types: tuple[TensorType | float, ...]
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def attrs(self) -> dict[str, Any]:
        return dict(self.settings)

    @property
    def usual(self) -> bool:
        """Whether its tensors hold plain numbers, neither whole ones nor truths."""
        return all(not isinstance(t, TensorType) or t.dtype == FLOAT for t in self.types)


@lru_cache(maxsize=1 << 16)
def ways(name: str, goal: TensorType, home: Home, usual: bool = False) -> tuple[Way, ...]:
    """The ways by which a primitive gives a type, the plainest first; usual: those of plain numbers alone."""
    entry = PRIMITIVES[name]
    if name in UNSTATED or not allowed(entry, home.kind):
        return ()
    if usual:
        return tuple(way for way in ways(name, goal, home) if way.usual)
    return _inverse(entry.shape, *stated(entry), home).get(goal, ())


@lru_cache(maxsize=1 << 12)
def gives(name: str, home: Home) -> frozenset[TensorType]:
    """The types of the pool that a primitive can give."""
    if name in UNSTATED:
        return frozenset(t for t in pool(home) if _gives_unstated(name, t, home))
    return frozenset(goal for goal in pool(home) if ways(name, goal, home))


@dataclass(frozen=True)
class Link:
    """A way to a goal, and the input that is of a type one looks for."""

    goal: TensorType
    way: Way
    at: int


@lru_cache(maxsize=1 << 12)
def takes(name: str, home: Home) -> Mapping[TensorType, tuple[Link, ...]]:
    """The types of the pool that a primitive takes, and some of its ways with each.

    The primitives whose types the checker states have no ways: their links say only what they take.
    """
    entry = PRIMITIVES[name]
    if name in UNSTATED:
        return {t: () for t in pool(home) if _takes_unstated(name, t, home)}
    return _links(entry.shape, *stated(entry), home) if allowed(entry, home.kind) else {}


@lru_cache(maxsize=1 << 12)
def _links(
    shape: Any, tensors: tuple[Arg, ...], others: tuple[Arg, ...], home: Home
) -> Mapping[TensorType, tuple[Link, ...]]:
    found: dict[TensorType, dict[tuple[TensorType, int], list[Link]]] = {}
    for goal, some in _inverse(shape, tensors, others, home).items():
        for way in some:
            for at, t in enumerate(way.types):
                if isinstance(t, TensorType):
                    kept = found.setdefault(t, {}).setdefault((goal, at), [])
                    if len(kept) < MOST_LINKS:
                        kept.append(Link(goal, way, at))
    return {t: tuple(link for kept in by.values() for link in kept) for t, by in found.items()}


def _spread(items: list[Any], most: int) -> tuple[Any, ...]:
    """At most so many of some items, from the first to the last in even steps."""
    return tuple(items) if len(items) <= most else tuple(items[n * len(items) // most] for n in range(most))


def _gives_unstated(name: str, t: TensorType, home: Home) -> bool:
    if not allowed(PRIMITIVES[name], home.kind) or t.dtype != FLOAT:
        return False
    positions = set(t.axes) & {"token", "key"}
    return {
        "param": not set(t.axes) - ({"head", "channel"} if home.kind == "model" else {"head"}),
        "lookup": home.kind == "score" and bool(positions) and "batch" not in t.axes,
        "experts": home.kind == "model" and t.is_seq,
    }.get(name, False)


def _takes_unstated(name: str, t: TensorType, home: Home) -> bool:
    if name == "lookup":
        return home.kind == "score" and bool(t.axes) and set(t.axes) <= {"token", "key"}
    return name == "experts" and home.kind == "model" and t.is_seq


def stated(entry: Primitive) -> tuple[tuple[Arg, ...], tuple[Arg, ...]]:
    """The tensors that a primitive takes, and its arguments that a shape rule may depend on."""
    tensors = tuple(a for a in entry.args if a.is_tensor)
    apart = ("score", "mask", "function", "like")
    return tensors, tuple(a for a in entry.args if not a.is_tensor and a.sort not in apart)


def allowed(entry: Primitive, kind: str) -> bool:
    """Whether a primitive may stand in the model, or in the function of a slot."""
    if kind == "model":
        return True
    if entry.kind == "weights":
        return kind == "score"
    return entry.kind not in ("sequence", "structure")


@lru_cache(maxsize=1 << 12)
def _inverse(
    shape: Any, tensors: tuple[Arg, ...], others: tuple[Arg, ...], home: Home
) -> Mapping[TensorType, tuple[Way, ...]]:
    """The ways of a shape rule by the type that they lead to."""
    settings = list(product(*([(arg.name, value) for value in _values(arg, home)] for arg in others)))
    wanted = frozenset(pool(home))
    found: dict[TensorType, dict[tuple, list[Way]]] = {}
    for types in _inputs(tensors, home):
        for given in settings:
            made = result(shape, types, dict(given))
            if made in wanted:
                assert made is not None
                kept = found.setdefault(made, {}).setdefault(types, [])
                if len(kept) < MOST_SETTINGS:
                    kept.append(Way(types, given))
    return {goal: _few_ways([way for kept in by.values() for way in kept]) for goal, by in found.items()}


def _few_ways(some: list[Way]) -> tuple[Way, ...]:
    """Not too many of some ways, but for each input one with every type that it may have."""
    if len(some) <= MOST_WAYS:
        return tuple(some)
    kept = {(at, t): way for way in reversed(some) for at, t in enumerate(way.types)}
    chosen = {id(way) for way in (*kept.values(), *_spread(some, MOST_WAYS))}
    return tuple(way for way in some if id(way) in chosen)


def result(
    shape: Callable[..., TensorType], types: tuple[TensorType | float, ...], attrs: dict[str, Any]
) -> TensorType | None:
    """What a shape rule makes of inputs, None where it does not take them."""
    try:
        return shape(types, attrs)
    except (Mismatch, Clash):
        return None
    except (AttributeError, AssertionError, TypeError, ValueError, KeyError):
        return None  # the rule expects what the checker makes sure of, such as a tensor


# What is proposed ---------------------------------------------------------------------------------------------------


def _values(arg: Arg, home: Home) -> Iterable[Any]:
    """Values of a compile-time argument that have to do with the sizes of a home."""
    if arg.name == "tied":  # its shape is that of an embedding elsewhere
        return (0,)
    if arg.sort == "flag":
        return (arg.default, 1 - arg.default) if arg.default in (0, 1) else (0, 1)
    if arg.sort == "numbers":
        return [(1.0,) * size for size in sizes(home)]
    if arg.sort == "integer":
        usual = [arg.default] if isinstance(arg.default, int) else []
        usual += [*sizes(home), *counts(home), 0, 3]
        return [n for n in dict.fromkeys(usual) if arg.low <= n <= arg.high]
    if arg.sort == "number":
        return (arg.default,) if arg.default is not REQUIRED else (1.0,)
    return (arg.default,) if arg.default is not REQUIRED else ((),)


def sizes(home: Home) -> list[int]:
    """Numbers of channels."""
    width = home.width or 1
    if home.plain:
        return list(dict.fromkeys((width, 1)))
    return [n for n in dict.fromkeys((width, 1, width // 2, 2 * width, 5)) if n]


def counts(home: Home) -> list[int]:
    """Numbers of heads, first one that divides the stream."""
    if home.heads or home.plain:
        return [home.heads] if home.heads else []
    dividing = [n for n in (2, 3, 4, 5) if home.width % n == 0]
    return list(dict.fromkeys((*dividing[:1], 1, 4)))


@lru_cache(maxsize=1 << 10)
def pool(home: Home) -> tuple[TensorType, ...]:
    """The types that expressions may have at a home, the plainest first."""
    plain = {"model": _model, "loss": _loss, "score": _score, "mask": _mask}.get(home.kind, _scalar)
    found = dict.fromkeys(plain(home))
    return tuple(t for t in found if not home.plain or t.dtype == FLOAT)


def _dtypes(t: TensorType) -> Iterator[TensorType]:
    yield from (replace(t, dtype=dtype) for dtype in (FLOAT, INTEGER, BOOLEAN))


def _model(home: Home) -> Iterator[TensorType]:
    for size in sizes(home):
        yield from _dtypes(seq(size))
    for count in counts(home):
        own = home.width // count if home.width % count == 0 else 0
        for size in dict.fromkeys((own, 1, 4, 5 if count == 1 else 0)):
            if size:
                yield from _dtypes(heads(count, size)) if size in (own, 1) else iter([heads(count, size)])
    yield SCALAR
    yield from _dtypes(TensorType(("token",)))
    for size in sizes(home)[:4]:
        yield TensorType(("channel",), width=size)
        yield TensorType(("channel",), width=size, dtype=INTEGER)
        yield TensorType(("token", "channel"), width=size)
    for count in counts(home):
        yield TensorType(("head",), heads=count)
        yield TensorType(("head",), heads=count, dtype=INTEGER)
        yield TensorType(("head", "token"), heads=count)
        for size in dict.fromkeys((home.width // count, 1)):
            yield TensorType(("head", "channel"), heads=count, width=max(1, size))
    yield from _dtypes(TOKENS)


def _loss(home: Home) -> Iterator[TensorType]:
    for t in (seq(1), seq(home.width), TOKENS):
        yield from _dtypes(t)


def _score(home: Home) -> Iterator[TensorType]:
    yield from _pairs(home)
    yield from _dtypes(TensorType(("head",), heads=home.heads))
    yield from _dtypes(SCALAR)


def _mask(home: Home) -> Iterator[TensorType]:
    yield from _dtypes(TensorType(("key",)))
    yield from _dtypes(TensorType(("head", "key"), heads=home.heads))
    yield from _pairs(home)
    yield from _dtypes(TensorType(("head",), heads=home.heads))


def _pairs(home: Home) -> Iterator[TensorType]:
    """Values per head and per pair of positions, those of a batch and those that are the same for all of it."""
    yield from _dtypes(scores(home.heads))
    yield from _dtypes(TensorType(("token", "key")))
    yield from _dtypes(TensorType(("token",)))
    yield from _dtypes(TensorType(("head", "token", "key"), heads=home.heads))
    yield from _dtypes(TensorType(("head", "token"), heads=home.heads))
    for at in ("token", "key"):
        for count in dict.fromkeys((home.heads, 1)):
            yield from _dtypes(TensorType(("batch", "head", at), heads=count))


def _scalar(home: Home) -> Iterator[TensorType]:
    yield from _dtypes(SCALAR)


@lru_cache(maxsize=1 << 10)
def _fitting(sort: str, home: Home) -> tuple[TensorType | float, ...]:
    """The types of the pool for an argument; numbers beside them where it takes some."""
    if sort == "tokens":
        return tuple(t for t in pool(home) if t.dtype == INTEGER and t.axes in (("batch", "token"), ("token",)))
    if sort == "seq":
        return tuple(t for t in pool(home) if t.is_seq)
    if sort == "heads":
        return tuple(t for t in pool(home) if t.is_heads)
    return (*pool(home), WHOLE, DECIMAL) if sort == "factor" else pool(home)


def _inputs(tensors: tuple[Arg, ...], home: Home) -> Iterator[tuple[TensorType | float, ...]]:
    """Input types to ask about: all where they are not too many, else each of every argument beside a few others."""
    required = sum(arg.default is not None for arg in tensors)
    for count in range(required, len(tensors) + 1):
        pools = [_fitting(arg.sort, home) for arg in tensors[:count]]
        for types in _combined(pools):
            held = [isinstance(t, TensorType) for t in types]
            chosen = tensors[0].name == "condition" and not held[0]  # when the genome is checked: one of two types
            if any(held) and not (chosen and types[1] != types[2]):  # numbers alone make a number
                yield types


def _combined(pools: list[tuple[TensorType | float, ...]]) -> Iterable[tuple[TensorType | float, ...]]:
    if prod(len(each) for each in pools) <= MOST_COMBINATIONS:
        return product(*pools)
    few = [_few(each) for each in pools]
    while sum(prod(len(few[n]) for n in range(len(pools)) if n != at) * len(each) for at, each in enumerate(pools)) > (
        MOST_COMBINATIONS
    ):
        few = [each if len(each) <= 2 else each[:-1] for each in few]
    beside = (product(*(each if n == at else few[n] for n, each in enumerate(pools))) for at in range(len(pools)))
    return dict.fromkeys(types for some in beside for types in some)


def _few(each: tuple[TensorType | float, ...]) -> list[TensorType | float]:
    """The plainest types of a pool with channels, one of truths and one without channels, and numbers."""
    tensors = [t for t in each if isinstance(t, TensorType)]
    plain = [t for t in tensors if t.dtype == FLOAT]
    wide = [t for t in plain if t.is_seq][:1] + [t for t in plain if t.is_heads][:2]
    numbers = [t for t in each if not isinstance(t, TensorType)]
    truths = [t for t in tensors if t.dtype == BOOLEAN]
    found: list[TensorType | float] = [*(wide or plain[:2]), *numbers, *plain[-1:], *truths[:1]]
    return list(dict.fromkeys(found))
