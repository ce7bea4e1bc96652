"""Fixes for values of the wrong kind: numbers and functions in each other's place, and numbers out of range."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import reduce

from foundry.dsl.diagnostics import Edit, Fix
from foundry.dsl.fixes.site import Site
from foundry.dsl.format import format_expr, format_number
from foundry.dsl.registry import OPTIMIZERS, TRAIN
from foundry.dsl.syntax import Argument, Binary, Call, Function, ListOf, Name, Number, Parameter, Path

# What an argument is for a start, where a function cannot do without it.
_TYPICAL = {"heads": "4", "vocab": "256", "width": "64", "start": "0", "count": "2", "size": "32", "init": "0"}


def kind(site: Site) -> Iterator[Fix]:
    """A value of the wrong kind."""
    yield from _operators(site)
    yield from _stage(site)
    yield from _product(site)
    yield from _argument(site)


def _operators(site: Site) -> Iterator[Fix]:
    """Arithmetic with functions: copies, chains, and functions of the results."""
    for path in list(site.around(Binary))[:2]:
        node, left, right = site.nodes[path], (*path, "left"), (*path, "right")
        assert isinstance(node, Binary)
        functions = site.is_function(left) or isinstance(node.left, ListOf)
        if node.operator in ("*", "**") and functions and isinstance(node.right, (Number, Name)):
            copied = node.left.items[0] if isinstance(node.left, ListOf) and node.left.items else node.left
            yield Fix("put the number first", site.swap(path, Binary("*", node.right, copied)))
        elif node.operator in ("|", ">") and functions:
            yield from _pipes(site, path)
        elif (
            node.operator in ("+", "-", "*") and functions and (site.is_function(right) or isinstance(node.right, Name))
        ):
            x = (Argument("", Name("x")),)
            body = Binary(node.operator, Call(node.left, x), Call(node.right, x))
            yield Fix("apply both", site.swap(path, Function((Parameter("x"),), body)))


def _pipes(site: Site, path: Path) -> Iterator[Fix]:
    """`f | g | h`, `f > g`"""
    while isinstance(parent := site.nodes[site.parent(path)], Binary) and parent.operator == "|":
        path = site.parent(path)
    edits, node = [], site.nodes[path]
    while isinstance(node, Binary) and node.operator in ("|", ">"):
        start = node.left.span.end
        at = start + site.data[start : node.right.span.start].index(node.operator.encode())
        edits.append(Edit(at, at + 1, ">>"))
        node = node.left
    yield Fix("write `>>`", tuple(reversed(edits)))


def _stage(site: Site) -> Iterator[Fix]:
    """`>> n >> f`, `>> [f, g]`"""
    path = next(site.around(Binary), None)
    node = site.nodes[path] if path is not None else None
    if path is None or not (isinstance(node, Binary) and node.operator == ">>"):
        return
    outer = site.nodes[site.parent(path)]
    if isinstance(node.right, Number) and isinstance(outer, Binary) and outer.operator == ">>":
        yield Fix("write `*`", (Edit(node.right.span.end, outer.right.span.start, " * "),))
    if isinstance(node.right, ListOf) and node.right.items:
        chain = reduce(lambda f, g: Binary(">>", f, g), node.right.items)
        yield Fix("chain them", site.replace(node.right, format_expr(chain)))


def _product(site: Site) -> Iterator[Fix]:
    """`2(x)`"""
    path = site.exactly(Call)
    call = site.nodes[path] if path is not None else None
    if path is not None and isinstance(call, Call) and "number" in site.sorts.get((*path, "function"), ()):
        if len(call.arguments) == 1 and not call.arguments[0].name:
            yield Fix("write `*`", site.swap(path, Binary("*", call.function, call.arguments[0].value)))
        yield Fix("leave out the parentheses", site.swap(path, call.function))


def _argument(site: Site) -> Iterator[Fix]:
    """An argument that is a number instead of a function, or a function instead of a number or a list."""
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    if path is None or not isinstance(argument, Argument):
        return
    x = site.first_parameter(path)
    if isinstance(argument.value, Name) and x and site.is_function((*path, "value")):
        yield Fix(f"apply it to {x}", (Edit(argument.span.end, argument.span.end, f"({x})"),))
    usual = _usual(site, argument.name)
    if site.diagnostic.expected == ("a list of numbers",):
        yield Fix("write a list", site.wrap(argument.value, "[", "]"))
    elif usual:
        yield Fix(f"use {usual}", site.replace(argument.value, usual))
    elif argument.name:
        yield Fix("leave it out", site.drop(path))


def missing(site: Site) -> Iterator[Fix]:
    """Required arguments that are absent, with what they often are."""
    path = site.exactly(Call)
    call = site.nodes[path] if path is not None else None
    if not isinstance(call, Call):
        return
    first = next((site.source(a.value) for a in call.arguments if not a.name), "")
    values = {**_TYPICAL, **dict.fromkeys(("out", "stop"), f"width({first})" if first else "64")}
    if all(name in values for name in site.diagnostic.expected):
        text, end = ", ".join(f"{name} = {values[name]}" for name in site.diagnostic.expected), call.span.end - 1
        yield Fix(f"give `{text}`", (Edit(end, end, f", {text}" if call.arguments else text),))


def too_many(site: Site) -> Iterator[Fix]:
    """Arguments beyond those that a function takes: an axis to reduce over."""
    path = site.exactly(Call)
    call = site.nodes[path] if path is not None else None
    if isinstance(call, Call) and len(call.arguments) > len(site.diagnostic.expected) > 0:
        kept = call.arguments[len(site.diagnostic.expected) - 1]
        edit = Edit(kept.span.end, call.span.end - 1, "")
        yield Fix(f"leave out what follows `{site.source(kept)}`", (edit,))


def out_of_range(site: Site) -> Iterator[Fix]:
    """The usual value of a recipe's number, or the nearest legal one."""
    path = site.exactly(Argument, Binary)
    node = site.nodes[path] if path is not None else None
    usual = _usual(site, node.name) if isinstance(node, Argument) else None
    if isinstance(node, Argument) and usual:
        yield Fix(f"use {usual}", site.replace(node.value, usual))
        return
    value = node.value if isinstance(node, Argument) else node.left if isinstance(node, Binary) else None
    legal = re.search(r"from ([-+\de.]+) to ([-+\de.]+)$", "".join(site.diagnostic.expected))
    if isinstance(value, Number) and legal:
        nearest = min(max(value.value, float(legal[1])), float(legal[2]))
        text = format_number(int(nearest)) if nearest >= 1 else format_number(nearest)
        yield Fix(f"use {text}", site.replace(value, text))


def _usual(site: Site, name: str) -> str | None:
    """The default of an argument of a recipe, where it is a number or a list."""
    call = site.nodes[next(site.around(Call), ())]
    called = call.function.id if isinstance(call, Call) and isinstance(call.function, Name) else ""
    args = TRAIN if called == "train" else OPTIMIZERS.get(called, ())
    default = next((a.default for a in args if a.name == name), None)
    if isinstance(default, tuple):
        return f"[{', '.join(map(format_number, default))}]"
    return format_number(default) if isinstance(default, (int, float)) else None
