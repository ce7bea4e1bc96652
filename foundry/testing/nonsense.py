"""Genomes that follow the grammar and mean nothing: names of the language called with whatever comes.

They pass the parser, so they reach what lies behind it: names, types, slots, limits, and the search for fixes.
"""

from __future__ import annotations

from functools import cache

from foundry.dsl.format import LEVELS, format_genome
from foundry.dsl.registry import CONSTANTS, SLOTS, SPECIAL
from foundry.dsl.signatures import Taken, signatures
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Parameter,
    Unary,
)
from foundry.generate.draw import Draw, weighted

LOCALS = ("x", "y", "q", "heads", "act", "part")
SIZES = (8, 0, 1, 2, 3, 4, 16, 64, 256)
EXTREME = (0.5, 0.0, 1e-6, 1e308, 5e-324, 2**24, 2**24 + 1, 2**63, 10**39, 1e22)

Scope = tuple[str, ...]


@cache
def language() -> dict[str, tuple[Taken, ...]]:
    """Everything that can be called by name, with what it takes."""
    return dict(sorted(signatures().items()))


def nonsense(draw: Draw) -> str:
    """The text of a genome that parses."""
    definitions: list[Definition] = []
    scope: Scope = ()
    for index in range(draw.integer(0, 3)):
        name = draw.choice((f"f{index}", "layer", "act", *(d.name for d in definitions)))
        definitions.append(_definition(draw, name, scope))
        scope += (name,)
    layer = expression(draw, draw.integer(0, 3), scope)
    ends = [Call(Name("embed"), (_number("vocab", 61), _number("width", draw.choice(SIZES)))), layer]
    ends.append(Call(Name("unembed"), (_number("tied", 1),)))
    model = ends[0]
    for stage in ends[1:]:
        model = Binary(">>", model, stage)
    definitions.append(Definition("model", None, model))
    if draw.chance(0.3):
        definitions.append(Definition("recipe", None, _call(draw, "train", 2, scope)))
    return format_genome(Genome(1, tuple(definitions)))


def expression(draw: Draw, depth: int, scope: Scope) -> Expr:
    """An expression of any form, `depth` forms deep."""
    if depth == 0:
        return _leaf(draw, scope)
    form = weighted(
        draw,
        [(4, "call"), (2, "operation"), (1, "sign"), (1, "function"), (1, "block"), (0.7, "list"), (1, "leaf")],
    )
    if form == "call":
        return _call(draw, draw.choice(tuple(language())), depth, scope)
    if form == "operation":
        left, right = (expression(draw, depth - 1, scope) for _ in range(2))
        return Binary(draw.choice(tuple(LEVELS)), left, right)
    if form == "sign":
        return Unary(draw.choice("-!"), expression(draw, depth - 1, scope))
    if form == "function":
        names = _parameters(draw)
        return Function(_with_defaults(draw, names, scope), expression(draw, depth - 1, scope + names))
    if form == "block":
        bindings: list[Binding] = []
        for _ in range(draw.integer(0, 2)):
            name = draw.choice(LOCALS)
            bindings.append(Binding(name, expression(draw, depth - 1, scope)))
            scope += (name,)
        return Block(tuple(bindings), expression(draw, depth - 1, scope))
    if form == "list":
        return ListOf(tuple(expression(draw, depth - 1, scope) for _ in range(draw.integer(0, 3))))
    return _leaf(draw, scope)


def _definition(draw: Draw, name: str, scope: Scope) -> Definition:
    if draw.chance(0.2):
        return Definition(name, None, expression(draw, 2, scope))
    names = _parameters(draw)
    return Definition(name, _with_defaults(draw, names, scope), expression(draw, 2, scope + names))


def _parameters(draw: Draw) -> Scope:
    slots = tuple(SLOTS.values())
    return draw.choice((("x",), (), ("x", "y"), *slots, LOCALS[: draw.integer(0, 4)]))


def _with_defaults(draw: Draw, names: Scope, scope: Scope) -> tuple[Parameter, ...]:
    return tuple(Parameter(name, _leaf(draw, scope) if draw.chance(0.2) else None) for name in names)


def _leaf(draw: Draw, scope: Scope) -> Expr:
    kind = draw.integer(0, 9)
    if kind < 5 and scope:
        return Name(scope[-1 - draw.integer(0, min(len(scope) - 1, 5))])
    if kind < 8:
        return Number(draw.choice(SIZES))
    if kind == 8:
        return Number(draw.choice(EXTREME))
    return Name(draw.choice((*LOCALS, *CONSTANTS, *sorted(SPECIAL), *language())))


def _call(draw: Draw, name: str, depth: int, scope: Scope) -> Call:
    """A call with mostly the arguments that it takes, of mostly the sort that it takes."""
    arguments: list[Argument] = []
    positional = True
    for taken in language()[name]:
        if not draw.chance(0.9 if taken.required else 0.3):
            positional = False
            continue
        positional = positional and draw.chance(0.5)
        arguments.append(Argument("" if positional else taken.name, _argument(draw, taken, depth - 1, scope)))
    if draw.chance(0.05):
        arguments.append(Argument(draw.choice(("x", "size", "head", "bias")), _leaf(draw, scope)))
    return Call(Name(name), tuple(arguments))


def _argument(draw: Draw, taken: Taken, depth: int, scope: Scope) -> Expr:
    if draw.chance(0.15):
        return expression(draw, max(depth, 0), scope)
    if taken.slot:
        names = SLOTS[taken.slot]
        return Function(tuple(map(Parameter, names)), expression(draw, max(depth, 0), scope + names))
    if taken.sort in ("integer", "flag"):
        return Number(draw.choice(SIZES))
    if taken.sort == "number":
        return Number(draw.choice((0.5, 1, 2, *EXTREME)))
    if taken.sort in ("numbers", "list"):
        return ListOf(tuple(Number(draw.choice((0.9, 1, 0.5))) for _ in range(draw.integer(0, 3))))
    if taken.sort == "axes":
        return Name(draw.choice(("head", "channel")))
    return expression(draw, max(depth, 0), scope)


def _number(name: str, value: int) -> Argument:
    return Argument(name, Number(value))
