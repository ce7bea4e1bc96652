"""A typed generator of genomes and of their parts: it decides sizes first, then what they hold.

Everything is drawn through `Draw`, so that a seeded random source and a property-testing engine can both drive it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from foundry.dsl.check import check
from foundry.dsl.format import format_genome
from foundry.dsl.syntax import Call, Definition, Expr, Function, Genome, Name
from foundry.dsl.types import TensorType, broadcast
from foundry.search.draw import Draw, drawing, weighted
from foundry.search.formulas import FORMULAS, RANGES, Formula
from foundry.search.genes import GENES, gene, head_counts
from foundry.search.variation.naming import name_functions
from foundry.search.variation.trees import Value, applied, block, call, chain, define, fn, list_of, op, rounded, tidy
from foundry.search.variation.vocabulary import SLOT_ROLES, Callee, callees, shipped

VOCAB = 256  # bytes
LONGEST = 128  # rows of a table of learned positions: the proxy's longest context
TARGET_PARAMETERS = (130_000, 280_000)  # about what the shipped genomes have


# Functions of each role -------------------------------------------------------------------------------------------


def random_expr(
    source: random.Random | Draw,
    sort: str | TensorType,
    scope: Mapping[str, TensorType] | None = None,
    depth: int = 2,
    width: int = 64,
) -> Expr:
    """An expression of a sort.

    sort: a role (activation, norm, score, mask, schedule, context, loss, filter, position, mixer,
        channels, block), which gives a function; or a TensorType, which gives a value made of names in `scope`.
    scope: the type of every name in sight; at least one has the type asked for, where `sort` is one.
    width: channels of the sequence that a mixer, a channel mixer or a block maps.

    Raises:
        LookupError: no name in scope has the type, or there is no such role.
    """
    draw = drawing(source)
    if isinstance(sort, TensorType):
        return random_value(draw, sort, scope or {}, depth)
    if sort == "context":
        return FORMULAS["context"](draw, depth)
    if sort in FORMULAS:
        named = [c for c in callees(shipped(), sort) if ready(c)]
        if sort == "activation":  # rather the prelude's, which people found good, than any function that bends
            bends = [c for c in named if c.name not in ("identity", "sin", "cos", "abs")]
            origin = "prelude" if draw.chance(0.75) else "primitive"
            named = [c for c in bends if c.origin == origin]
        if named and draw.chance(0.5):
            return use(draw, draw.choice(named), width)
        return FORMULAS[sort](draw, depth)
    if sort in _SHAPES:
        return _SHAPES[sort](draw, width, depth)
    raise LookupError(f"no generator for {sort}")


def ready(callee: Callee) -> bool:
    """Whether the generator can call a function, and its results stay finite."""
    if callee.origin == "primitive":
        return callee.name in ("conv", "shift") or RANGES.get(callee.name, ("", ""))[0] == "value"
    return all(name in GENES or name in SLOT_ROLES or name in _SIZES for name in callee.required)


def use(draw: Draw, callee: Callee, width: int, richness: float = 0.15) -> Expr:
    """A function waiting for its leading argument: its name, or a call with the others given.

    Required arguments get a value, optional ones with the probability `richness` each.
    """
    given: dict[str, Value] = {}
    for name in callee.parameters[len(callee.leading) :]:
        if name in callee.required or draw.chance(richness):
            value = argument(draw, callee.name, name, width, given)
            if value is not None:
                given[name] = value
    return call(callee.name, **given) if given else Name(callee.name)


def argument(draw: Draw, callee: str, name: str, width: int, given: Mapping[str, Value] | None = None) -> Value | None:
    """A value for a named argument of a callee that maps `width` channels; None where none is known."""
    if name in _SIZES:
        return _SIZES[name](draw, width, given or {})
    if name in SLOT_ROLES:
        return random_expr(draw, SLOT_ROLES[name], depth=1, width=width)
    known = gene(callee, name)
    if known is None:
        return None
    value = draw.choice(known.ladder)
    return int(value) if value == int(value) and name not in ("theta", "init", "clip", "floor", "decay") else value


def _kv_heads(draw: Draw, width: int, given: Mapping[str, Value]) -> Value | None:
    count = given.get("heads")
    if not isinstance(count, int):
        return None
    return draw.choice([d for d in range(count, 0, -1) if count % d == 0])


_SIZES: dict[str, Callable[[Draw, int, Mapping[str, Value]], Value | None]] = {
    "heads": lambda draw, width, given: draw.choice(head_counts(width) or [1]),
    "kv_heads": _kv_heads,
    "head_dim": lambda draw, width, given: draw.choice((16, 8, 32)),
    "hidden": lambda draw, width, given: 8 * max(1, round(width * draw.choice((1, 2, 3, 4, 1.5)) / 8)),
}


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
    """What queries and keys pass through to know where they are."""
    rope = call("rope", theta=draw.choice((1e4, 1e3, 1e5, 100)))
    options: list[tuple[float, Expr]] = [
        (4, rope),
        (1, Name("identity")),
        (1, chain(random_expr(draw, "norm", depth=1), rope)),
        (1, chain(random_filter(draw), rope)),
        (0.5, fn(("x",), op(applied(rope, "x"), "*", call("param", 1, per="channel")))),
    ]
    return weighted(draw, options)


def random_attention(draw: Draw, width: int = 64, depth: int = 1, rotary: bool = True) -> Call:
    """`attention(heads = …, …)` with some of what it can take."""
    heads = draw.choice([h for h in head_counts(width) if h <= 8] or [1])
    given: dict[str, Value] = {"heads": heads}
    if heads > 1 and draw.chance(0.4):
        given["kv_heads"] = draw.choice([d for d in range(1, heads) if heads % d == 0])
    if rotary:
        given["pos"] = call("rope", theta=draw.choice((1e4, 1e3, 1e5)))
        if draw.chance(0.2):
            given["pos"] = random_position(draw, width)
    for name, probability in (("norm", 0.25), ("short", 0.3), ("score", 0.2), ("mask", 0.15)):
        if draw.chance(probability):
            value = argument(draw, "attention", name, width)
            assert value is not None
            given[name] = value
    return call("attention", **given)


def _gated_mixer(draw: Draw, width: int, depth: int) -> Function:
    """A mixer written out: a gate times a filtered value, through a state or a short convolution."""
    inner = 8 * max(1, round(width * draw.choice((1, 1.5, 0.5)) / 8))
    bindings: list[tuple[str, Expr]] = [
        ("gate", applied(random_expr(draw, "activation", depth=1), call("linear", "x", inner))),
        ("value", applied(random_filter(draw), call("linear", "x", inner))),
    ]
    mixed: Expr = Name("value")
    if draw.chance(0.6):
        forget = call("linear", "x", inner, bias=1)
        if inner == width and draw.chance(0.4):
            forget = call("param", draw.choice((2, 1, 3)), per="channel")
        bindings.append(("forget", call("sigmoid", forget)))
        bindings.append(("state", call("scan", "forget", op(op(1, "-", "forget"), "*", "value"))))
        mixed = Name("state")
    if draw.chance(0.3):
        mixed = applied(random_expr(draw, "norm", depth=1), mixed)
    return fn(("x",), block(bindings, call("linear", op("gate", "*", mixed), call("width", "x"))))


def random_mixer(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """A sequence mixer from seq[width] to itself: attention, or one of the others, or one written out."""
    others = [c for c in callees(shipped(), "mixer", "prelude") if ready(c) and c.name != "attention"]
    options: list[tuple[float, Callable[[], Expr]]] = [
        (3, lambda: random_attention(draw, width, depth)),
        (2 if others else 0, lambda: use(draw, draw.choice(others), width)),
        (1, lambda: _gated_mixer(draw, width, depth)),
    ]
    return weighted(draw, options)()


def _written_channels(draw: Draw, width: int, depth: int) -> Function:
    """A channel mixer written out: up, one or two branches, down."""
    inner = 8 * max(1, round(width * draw.choice((2, 3, 4)) / 8))
    up = applied(random_expr(draw, "activation", depth=2), call("linear", "x", inner))
    bindings: list[tuple[str, Expr]] = [("up", up)]
    result: Expr = Name("up")
    if draw.chance(0.4):
        bindings.append(("gate", call("linear", "x", inner)))
        result = op("up", "*", call("sigmoid", "gate") if draw.chance(0.5) else "gate")
    if draw.chance(0.25):
        result = call(draw.choice(("shift", "conv")), result) if draw.chance(0.5) else call("unitnorm", result)
    return fn(("x",), block(bindings, call("linear", result, call("width", "x"))))


def random_channels(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """A channel mixer from seq[width] to itself."""
    named = [c for c in callees(shipped(), "channels", "prelude") if ready(c)]
    if draw.chance(0.75):
        callee = draw.choice(named)
        given: dict[str, Value] = {}
        for name, probability in (("hidden", 1.0), ("act", 0.7), ("bias", 0.1)):
            value = argument(draw, callee.name, name, width) if draw.chance(probability) else None
            if name in callee.parameters and value is not None:
                given[name] = value
        return call(callee.name, **given)
    return _written_channels(draw, width, depth)


def random_block(draw: Draw, width: int = 64, depth: int = 1) -> Function:
    """`fn(x) => …`: one residual layer."""
    norm = random_expr(draw, "norm", depth=1)
    return layer(draw, ("x",), norm, random_mixer(draw, width), random_channels(draw, width))


_SHAPES: dict[str, Callable[[Draw, int, int], Expr]] = {
    "filter": random_filter,
    "position": random_position,
    "mixer": random_mixer,
    "channels": random_channels,
    "block": random_block,
}


# Values -----------------------------------------------------------------------------------------------------------


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
            (2, lambda: applied(random_expr(draw, "norm", depth=1), x)),
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
    except Exception:  # a Clash, whatever its axis
        return False


# Genomes ----------------------------------------------------------------------------------------------------------


def layer(draw: Draw, parameters: tuple[str, ...], norm: Expr, mix: Expr, channels: Expr) -> Function:
    """A residual layer: in sequence, in parallel, or with norms on the branches' results."""
    x = Name("x")

    normed = applied(norm, x)
    wiring = weighted(draw, [(5, "sequential"), (2, "parallel"), (1.5, "sandwich"), (1.5, "gained")])
    if wiring == "parallel":
        h = Name("h")
        body = block([("h", normed)], op(op(x, "+", applied(mix, h)), "+", applied(channels, h)))
    elif wiring == "sandwich":
        first = op(x, "+", applied(norm, applied(mix, normed)))
        body = block([("x", first)], op(x, "+", applied(norm, applied(channels, normed))))
    elif wiring == "gained":
        gains = [(name, call("param", draw.choice((1, 0.5)), per="channel")) for name in ("gain_mix", "gain_out")]
        first = op(x, "+", op("gain_mix", "*", applied(mix, normed)))
        body = block([*gains, ("x", first)], op(x, "+", op("gain_out", "*", applied(channels, normed))))
    else:
        body = block([("x", op(x, "+", applied(mix, normed)))], op(x, "+", applied(channels, normed)))
    return fn(parameters, body)


def random_optimizer(draw: Draw) -> Call:
    """An optimizer with rates that suit it at this size."""
    betas = list_of(draw.choice((0.9, 0.85, 0.95)), draw.choice((0.95, 0.98, 0.99)))
    decay = draw.choice((0.1, 0.0, 0.03, 0.3))

    def rate(low: float, high: float) -> float:
        return rounded(low * (high / low) ** draw.number(0, 1))

    options: list[tuple[float, Callable[[], Call]]] = [
        (3, lambda: call("adamw", lr=rate(2e-3, 1.2e-2), betas=betas, decay=decay)),
        (3, lambda: call("muon", lr=rate(8e-3, 4e-2), decay=decay, adamw_lr=rate(2e-3, 1e-2))),
        (1, lambda: call("lion", lr=rate(2e-4, 1.5e-3), betas=list_of(0.9, 0.99), decay=decay)),
    ]
    return weighted(draw, options)()


def random_recipe(draw: Draw) -> Call:
    """`train(…)`: optimizer and schedule, and sometimes a loss, a curriculum and a clip of its own."""
    given: dict[str, Value] = {"optimizer": random_optimizer(draw), "schedule": random_expr(draw, "schedule")}
    if draw.chance(0.2):
        given["loss"] = random_expr(draw, "loss")
    if draw.chance(0.25):
        given["context"] = random_expr(draw, "context")
    given["batch"] = draw.choice((1024, 512, 2048))
    if draw.chance(0.2):
        given["clip"] = draw.choice((0.5, 2.0))
    return call("train", **given)


def _pattern(draw: Draw, layers: int, kinds: int) -> Expr:
    """The layers in depth: one kind repeated, or two in turn, or one and then the other."""
    if kinds == 1:
        return op(layers, "*", "layer")
    first, second = call("layer", mix="mix"), call("layer", mix="mix_b")
    if layers % 2 == 0 and draw.chance(0.5):
        pair = chain(first, second)
        return pair if layers == 2 else op(layers // 2, "*", pair)
    few = draw.integer(1, max(1, layers // 2))
    parts = [f if n == 1 else op(n, "*", f) for n, f in ((layers - few, first), (few, second))]
    return chain(*(parts if draw.chance(0.7) else reversed(parts)))


def random_tree(source: random.Random | Draw) -> Genome:
    """The tree of a fresh genome at proxy size."""
    draw = drawing(source)
    width = draw.choice((64, 80, 96, 48, 128))
    layers = draw.integer(2, {48: 6, 64: 5, 80: 4, 96: 3, 128: 2}[width])
    definitions: list[Definition] = []
    kinds = 2 if layers > 1 and draw.chance(0.4) else 1
    learned_positions = draw.chance(0.15)

    norm = random_expr(draw, "norm", depth=1)
    if isinstance(norm, Function):
        definitions.append(define("norm", ("x",), norm.body))
        norm = Name("norm")
    act = random_expr(draw, "activation", depth=2)
    if isinstance(act, Function):
        definitions.append(define("act", ("x",), act.body))
        act = Name("act")

    mixers = [
        random_attention(draw, width, 1, rotary=not learned_positions) if index == 0 else random_mixer(draw, width)
        for index in range(kinds)
    ]
    if kinds == 1 and draw.chance(0.35):
        mixers = [random_mixer(draw, width)]
    budget = draw.integer(*TARGET_PARAMETERS) - VOCAB * width
    rest = budget / layers - 3.5 * width * width
    gated = draw.chance(0.5)
    hidden = 8 * round(max(rest, 0) / (width * (3 if gated else 2)) / 8)
    hidden = min(max(hidden, 8 * (width // 8)), 6 * width)
    channels: Expr = call("glu" if gated else "mlp", hidden=hidden, act=act)
    if draw.chance(0.15):
        channels = random_channels(draw, width)

    if kinds == 1:
        definitions.append(_definition("layer", layer(draw, ("x",), norm, mixers[0], channels)))
    else:
        definitions += [_definition(name, mixer) for name, mixer in zip(("mix", "mix_b"), mixers, strict=True)]
        definitions.append(_definition("layer", layer(draw, ("x", "mix"), norm, Name("mix"), channels)))

    tail = [norm, call("unembed", tied=1) if draw.chance(0.8) else call("unembed")]
    stack = _pattern(draw, layers, kinds)
    if learned_positions:
        table = call("embed", call("position", "tokens"), vocab=LONGEST, width=width)
        start = op(call("embed", "tokens", vocab=VOCAB, width=width), "+", table)
        model = define("model", ("tokens",), block([("x", start)], chain("x", stack, *tail)))
    else:
        model = define("model", None, chain(call("embed", vocab=VOCAB, width=width), stack, *tail))
    recipe = define("recipe", None, random_recipe(draw))
    return name_functions(Genome(1, (*definitions, model, recipe)))


def _definition(name: str, value: Expr) -> Definition:
    """A definition of what an expression means: `name(x) = …` for a function written in place."""
    if isinstance(value, Function):
        return Definition(name, value.parameters, value.body)
    return Definition(name, None, value)


def random_genome(source: random.Random | Draw) -> str:
    """The text of a fresh genome at proxy size that checks clean."""
    draw = drawing(source)
    while True:
        text = format_genome(tidy(random_tree(draw)))
        if check(text).ok:
            return text
