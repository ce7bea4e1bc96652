"""Compile-time values back to the expressions that one would write for them: numbers, lists and functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foundry.dsl.format import format_expr
from foundry.dsl.frames import PRELUDE
from foundry.dsl.program import Node, Optimizer
from foundry.dsl.registry import OPTIMIZERS, Primitive
from foundry.dsl.syntax import Argument, Binary, Call, Expr, Function, ListOf, Name, Number
from foundry.dsl.values import Axis, Closure, Composite, Partial, Repeated, Shared, Special

LONGEST = 90  # characters of an expression that is shown


def quote(value: Any) -> Expr:
    """The expression for a value; a tensor is shown by its name, a number that was computed by four digits, and
    an optimizer by its rate and what is not as usual."""
    match value:
        case bool() | int():
            return Number(value)
        case float():
            return Number(float(f"{value:.4g}") if len(repr(value)) > 10 else value)
        case tuple():
            return ListOf(tuple(quote(v) for v in value))
        case Axis() | Special() | Primitive():
            return Name(value.name)
        case Node():
            return Name(value.name or value.op)
        case Closure():
            return Name(value.name) if value.name else Function(value.parameters, value.body)
        case Partial():
            return call(quote(value.function), value.given)
        case Composite():
            first, *rest = (quote(part) for part in value.parts)
            for part in rest:
                first = Binary(">>", first, part)
            return first
        case Repeated():
            copies = Binary("*", Number(value.times), quote(value.function))
            return _share(copies) if value.shared else copies
        case Shared():
            return Name(value.name) if value.name else _share(quote(value.function))
        case Optimizer():
            usual = {arg.name: arg.default for arg in OPTIMIZERS[value.name]}
            return call(Name(value.name), {n: v for n, v in value.settings.items() if n == "lr" or v != usual[n]})
    return Name(str(value))


def call(function: Expr, arguments: Mapping[str, Any]) -> Expr:
    """`function(name = value, …)`, or the function alone where there are no arguments; tensors are left out."""
    given = tuple(Argument(name, quote(value)) for name, value in arguments.items() if not isinstance(value, Node))
    return Call(function, given) if given else function


def _share(function: Expr) -> Expr:
    return Call(Name("share"), (Argument("", function),))


def shown(expr: Expr, longest: int = LONGEST) -> str:
    """An expression on one line, cut where it is long."""
    return cut(format_expr(expr), longest)


def named(function: Any, longest: int = LONGEST) -> str:
    """What a genome calls a function, and for one of its own what it does: `bump(x) = x * tanh(x)`."""
    inner = function.function if isinstance(function, Partial) else function
    if not isinstance(inner, Closure) or not inner.name or inner.span.file == PRELUDE:
        return shown(quote(function), longest)
    given = function.given if isinstance(function, Partial) else {}
    parameters = (replace(p, default=quote(given[p.name])) if p.name in given else p for p in inner.parameters)
    text = format_expr(Function(tuple(parameters), inner.body)).removeprefix("fn").replace(" => ", " = ", 1)
    return cut(inner.name + text, longest)


def cut(text: str, longest: int = LONGEST) -> str:
    """A text, cut where it is long."""
    if len(text) <= longest:
        return text
    end = text[-1] if text[-1] in ")}]" else ""
    return text[: longest - 1 - len(end)].rstrip(" ,(") + "…" + end
