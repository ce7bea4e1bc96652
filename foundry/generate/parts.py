"""The small functions of a layer and a recipe, the prelude's or fresh ones, and calls with drawn arguments."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from functools import lru_cache

from foundry.dsl.check import examine
from foundry.dsl.format import format_expr
from foundry.dsl.syntax import Expr, Name
from foundry.dsl.types import heads, seq
from foundry.generate.draw import Draw, RandomDraw, weighted
from foundry.generate.formulas import RANGES, random_activation, random_mask, random_norm, random_score
from foundry.generate.genes import GENES, gene, head_counts
from foundry.generate.recipe_formulas import random_context, random_difficulty, random_loss, random_schedule
from foundry.generate.trees import Value, applied, block, call, chain, fn, list_of, op
from foundry.generate.vocabulary import SLOT_ROLES, Callee, callees, shipped, unless_withheld, withheld

# Optional arguments whose defaults follow from sizes that they do not always fit: a half of a head may be odd.
SURE = frozenset({"rotary", "rope_dim"})
DECIMAL = frozenset({"theta", "init", "clip", "floor", "decay"})  # written with a point though the value is whole


FORMULAS: dict[str, Callable[[Draw, int], Expr]] = {
    "activation": random_activation,
    "norm": random_norm,
    "score": random_score,
    "mask": random_mask,
    "schedule": random_schedule,
    "context": random_context,
    "difficulty": random_difficulty,
    "loss": random_loss,
}


def small_part(draw: Draw, role: str, depth: int = 1, width: int = 64) -> Expr:
    """A function of a role that mixes neither positions at a distance nor channels: one of `PARTS`."""
    return unless_withheld(lambda: _small_part(draw, role, depth, width))


def _small_part(draw: Draw, role: str, depth: int, width: int) -> Expr:
    if role not in FORMULAS:
        return PARTS[role](draw, width, depth)
    if role in ("context", "difficulty"):
        return FORMULAS[role](draw, depth)
    named = [c for c in callees(shipped(), role) if ready(c)]
    if role == "activation":  # rather the prelude's, which people found good, than any function that bends
        bends = [c for c in named if c.name not in ("identity", "sin", "cos", "abs")]
        origin = "prelude" if draw.chance(0.75) else "primitive"
        named = [c for c in bends if c.origin == origin]
    if named and draw.chance(0.5):
        return use(draw, draw.choice(named), width)
    return FORMULAS[role](draw, depth)


# What a function of a role must map to itself, where it is one of the prelude's.
_SHAPES = {
    "activation": ("seq", "heads"),
    "norm": ("seq", "heads"),
    "filter": ("seq", "heads"),
    "position": ("heads",),
    "mixer": ("seq",),
    "channels": ("seq",),
}


def ready(callee: Callee) -> bool:
    """Whether the generator can call a function, it fits where its role says, and its results stay finite."""
    if callee.origin == "primitive":
        return callee.name in ("conv", "shift") or RANGES.get(callee.name, ("", ""))[0] == "value"
    known = all(name in GENES or name in SLOT_ROLES or name in SIZES for name in callee.required)
    return known and all(_keeps(callee.name, shape, 64) for shape in _SHAPES.get(callee.role, ()))


@lru_cache(maxsize=256)
def _keeps(name: str, shape: str, width: int) -> bool:
    """Whether a function of the prelude, given what it requires, maps a sequence or heads to the same type."""
    return keeps(_given(RandomDraw(random.Random(0)), shipped()[name], width, 0.0), shape, width)


def keeps(function: Expr, shape: str, width: int) -> bool:
    """Whether a function of shipped names maps seq[width] ("seq") or heads[4, width / 4] ("heads") to itself."""
    cut, joined, kind = ("split_heads(x, 4)", "merge_heads(y)", heads(4, width // 4))
    if shape == "seq":
        cut, joined, kind = "x", "y", seq(width)
    start = f"x = embed(tokens, vocab = 2, width = {width}); h = {cut}; y = {format_expr(applied(function, 'h'))};"
    checked = examine(f"@foundry(1); model(tokens) = {{ {start} unembed({joined}) }};")
    place = ("definitions", 0, "value", "bindings", 2, "value")
    return checked.ok and checked.sorts.get(place, (None,))[0] == kind


def use(draw: Draw, callee: Callee, width: int, richness: float = 0.15) -> Expr:
    """A function waiting for its leading argument: its name, or a call with the others given.

    Required arguments get a value, optional ones with the probability `richness` each. A mixer's are drawn again where
    they do not fit the width.
    """
    made = _given(draw, callee, width, richness)
    for _ in range(8 if callee.role == "mixer" else 0):
        if keeps(made, "seq", width):
            break
        made = _given(draw, callee, width, richness)
    return made


def _given(draw: Draw, callee: Callee, width: int, richness: float) -> Expr:
    given: dict[str, Value] = {}
    for name in callee.parameters[len(callee.leading) :]:
        if name in callee.required or name in SURE or draw.chance(richness):
            value = setting(draw, callee.name, name, width, given)
            if value is not None:
                given[name] = value
    return call(callee.name, **given) if given else Name(callee.name)


def setting(draw: Draw, callee: str, name: str, width: int, given: Mapping[str, Value] | None = None) -> Value | None:
    """A value for a named argument of a callee that maps `width` channels: a size, a small function or a usual number.

    given: the arguments that it has already. None where no value is known.
    """
    if name in SIZES:
        return SIZES[name](draw, width, given or {})
    role = SLOT_ROLES.get(name)
    if role is not None:
        return small_part(draw, role, depth=1, width=width) if role in FORMULAS or role in PARTS else None
    known = gene(callee, name)
    if known is None or (given or {}).get(_EXCLUDES.get((callee, name), "")):
        return None
    value = draw.choice(known.ladder)
    return int(value) if value == int(value) and name not in DECIMAL else value


# Flags that an argument given already rules out.
_EXCLUDES = {("unembed", "bias"): "tied", ("unembed", "tied"): "bias"}


def _kv_heads(draw: Draw, width: int, given: Mapping[str, Value]) -> Value | None:
    count = given.get("heads")
    if not isinstance(count, int):
        return None
    return draw.choice([d for d in range(count, 0, -1) if count % d == 0])


def _active(draw: Draw, width: int, given: Mapping[str, Value]) -> Value:
    count = given.get("count")
    return draw.choice([n for n in (2, 3, 4) if not isinstance(count, int) or n <= count])


SIZES: dict[str, Callable[[Draw, int, Mapping[str, Value]], Value | None]] = {
    "heads": lambda draw, width, given: draw.choice(head_counts(width) or [1]),
    "kv_heads": _kv_heads,
    "head_dim": lambda draw, width, given: draw.choice((16, 8, 32)),
    "hidden": lambda draw, width, given: 8 * max(1, round(width * draw.choice((1, 2, 3, 4, 1.5)) / 8)),
    "active": _active,
    "compress": lambda draw, width, given: call("latent", rank=8 * max(1, round(width * draw.choice((0.5, 0.75)) / 8))),
}


# Filters and positions --------------------------------------------------------------------------------------------


def random_filter(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """A short causal filter along the sequence, for sequences and heads alike."""
    kernel = draw.choice((3, 4, 2, 5, 8))
    blend = block(
        [("blend", call("param", draw.choice((0.5, 0.2, 0.0)), per="channel"))],
        op("x", "+", op("blend", "*", call("shift", "x", by=draw.choice((1, 1, 2))))),
    )
    options: list[tuple[float, Expr]] = [
        (4, call("conv", kernel=kernel)),
        (1, Name("token_shift")),
        (1, fn(("x",), op("x", "+", call("conv", "x", kernel=kernel)))),
        (1, fn(("x",), blend)),
    ]
    return weighted(draw, options)


def random_position(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """What queries and keys pass through to know where they are: rotary in most cases, of all channels or of some."""
    if withheld("rope"):
        return Name("identity")
    rope = call("rope", theta=draw.choice((1e4, 1e3, 1e5, 100)))
    options: list[tuple[float, Callable[[], Expr]]] = [
        (4, lambda: rope),
        (2, lambda: use(draw, draw.choice([c for c in callees(shipped(), "position", "prelude") if ready(c)]), width)),
        (1, lambda: Name("identity")),
        (1, lambda: chain(small_part(draw, "norm"), rope)),
        (1, lambda: chain(random_filter(draw), rope)),
        (0.5, lambda: fn(("x",), op(applied(rope, "x"), "*", call("param", 1, per="channel")))),
        (0.5, lambda: _turned(draw)),
    ]
    return weighted(draw, options)()


def _turned(draw: Draw) -> Expr:
    """Rotary positions written out: every pair by its own speed, or the first few at speeds that a table lists."""
    pairing: dict[str, Value] = {"interleaved": 1} if draw.chance(0.5) else {}
    if draw.chance(0.5):
        speed = op(draw.choice((1e3, 1e4, 100.0)), "**", op(op(-2, "*", _pair_index()), "/", call("width", "x")))
        return fn(("x",), call("rotate", "x", op(call("position", "x"), "*", speed), **pairing))
    speeds = [draw.choice((1.0, 0.5, 0.25)), draw.choice((0.1, 0.05)), 0.01][: draw.choice((2, 3))]
    turned = 2 * len(speeds)
    angle = op(call("position", "x"), "*", call("table", "x", list_of(*speeds)))
    first = call("rotate", call("slice", "x", 0, turned), angle, **pairing)
    return fn(("x",), call("concat", first, call("slice", "x", turned, call("width", "x"))))


def _pair_index() -> Expr:
    return call("channel_index", "x", op(call("width", "x"), "/", 2))


def random_shares(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """What makes a router's logits the weights of experts: shares of 1, or weights of their own."""
    return Name(draw.choice(("softmax", "sigmoid", "softplus", "relu")))


PARTS: dict[str, Callable[[Draw, int, int], Expr]] = {
    "filter": random_filter,
    "position": random_position,
    "shares": random_shares,
}
