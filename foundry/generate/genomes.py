"""A typed generator of genomes and of their parts: it decides sizes first, then what they hold.

Everything is drawn through `Draw`, so that a seeded random source and a property-testing engine can both drive it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from foundry.dsl.check import examine
from foundry.dsl.format import format_genome
from foundry.dsl.syntax import Definition, Expr, Function, Genome, Name
from foundry.dsl.types import TensorType
from foundry.generate.channels import mixture, random_channels, random_expert, written
from foundry.generate.draw import Draw, drawing, weighted
from foundry.generate.mixers import random_attention, random_mixer, written_attention
from foundry.generate.naming import name_functions
from foundry.generate.parts import FORMULAS, PARTS, setting, small_part
from foundry.generate.policy import PROXY, Policy
from foundry.generate.recipes import random_recipe
from foundry.generate.trees import Value, applied, block, call, chain, define, fn, op, tidy
from foundry.generate.values import random_value
from foundry.generate.vocabulary import SLOT_ROLES, uses_withheld, withheld
from foundry.generate.wild import wild_tree

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
    policy: Policy = PROXY,
) -> Expr:
    """An expression of a sort.

    sort: a role (activation, norm, score, mask, schedule, context, difficulty, loss, filter, position, shares, mixer,
        channels, expert, block), which gives a function; or a TensorType, which gives a value made of names in `scope`.
    scope: the type of every name in sight.
    width: channels of the sequence that a mixer, a channel mixer or a block maps. policy: what values are made of.

    Raises:
        LookupError: no name in scope leads to the type, or there is no such role.
    """
    draw = drawing(source)
    if isinstance(sort, TensorType):
        return random_value(draw, sort, scope or {}, depth, policy=policy)
    if sort in FORMULAS or sort in PARTS:
        return small_part(draw, sort, depth, width)
    if sort in _SHAPES:
        return _SHAPES[sort](draw, width, depth)
    raise LookupError(f"no generator for {sort}")


def argument(draw: Draw, callee: str, name: str, width: int, given: Mapping[str, Value] | None = None) -> Value | None:
    """A value for a named argument of a callee that maps `width` channels; None where none is known.

    given: the arguments that it has already.
    """
    role = SLOT_ROLES.get(name, "")
    if role in _SHAPES:
        return random_expr(draw, role, depth=1, width=width)
    return setting(draw, callee, name, width, given)


def random_block(draw: Draw, width: int = 64, depth: int = 1) -> Function:
    """`fn(x) => …`: one residual layer."""
    norm = random_expr(draw, "norm", depth=1)
    return layer(draw, ("x",), norm, random_mixer(draw, width), random_channels(draw, width))


_SHAPES: dict[str, Callable[[Draw, int, int], Expr]] = {
    "mixer": random_mixer,
    "channels": random_channels,
    "expert": random_expert,
    "block": random_block,
}


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
        fixed: dict[str, Value] = {"learn": 0} if draw.chance(0.1) else {}
        gain = call("param", draw.choice((1, 0.5)), per="channel", **fixed)
        gains = [(name, gain) for name in ("gain_mix", "gain_out")]
        first = op(x, "+", op("gain_mix", "*", applied(mix, normed)))
        body = block([*gains, ("x", first)], op(x, "+", op("gain_out", "*", applied(channels, normed))))
    else:
        body = block([("x", op(x, "+", applied(mix, normed)))], op(x, "+", applied(channels, normed)))
    return fn(parameters, body)


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
        _attention(draw, width, not learned_positions) if index == 0 else random_mixer(draw, width)
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
    if withheld("glu"):
        channels = written(draw, max(8, hidden // 3), tokenwise=True)
    if draw.chance(0.12):
        channels = mixture(draw, hidden, act=act)
    elif draw.chance(0.15):
        channels = random_channels(draw, width)

    if kinds == 1:
        definitions.append(_definition("layer", layer(draw, ("x",), norm, mixers[0], channels)))
    else:
        definitions += [_definition(name, mixer) for name, mixer in zip(("mix", "mix_b"), mixers, strict=True)]
        definitions.append(_definition("layer", layer(draw, ("x", "mix"), norm, Name("mix"), channels)))

    output = call("unembed", tied=1) if draw.chance(0.8) else call("unembed")
    if output == call("unembed") and draw.chance(0.3):
        output = call("unembed", bias=1)
    tail = [norm, output]
    stack = _pattern(draw, layers, kinds)
    if learned_positions:
        table = call("embed", call("position", "tokens"), vocab=LONGEST, width=width)
        start = op(call("embed", "tokens", vocab=VOCAB, width=width), "+", table)
        model = define("model", ("tokens",), block([("x", start)], chain("x", stack, *tail)))
    else:
        model = define("model", None, chain(call("embed", vocab=VOCAB, width=width), stack, *tail))
    recipe = define("recipe", None, random_recipe(draw))
    return name_functions(Genome(1, (*definitions, model, recipe)))


def _attention(draw: Draw, width: int, rotary: bool) -> Expr:
    return written_attention(draw, width) if withheld("attention") else random_attention(draw, width, rotary=rotary)


def _definition(name: str, value: Expr) -> Definition:
    """A definition of what an expression means: `name(x) = …` for a function written in place."""
    if isinstance(value, Function):
        return Definition(name, value.parameters, value.body)
    return Definition(name, None, value)


def random_genome(source: random.Random | Draw, policy: Policy = PROXY) -> str:
    """The text of a fresh genome that checks clean: at proxy size and of usual parts, or as the policy says."""
    draw = drawing(source)
    while True:
        tree = tidy(random_tree(draw) if policy is PROXY else wild_tree(draw, policy))
        text = format_genome(tree)
        if examine(text).ok and not uses_withheld(tree):
            return text
