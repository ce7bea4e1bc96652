"""What the evaluation of an expression does beside giving a value: it learns weights, in an order that is part of the
meaning of a genome.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from foundry.dsl.registry import PRIMITIVES, Primitive
from foundry.dsl.syntax import Binary, Block, Call, Expr, Function, ListOf, Name, Number, Unary


def _weightless(entry: Primitive) -> bool:
    return entry.weights is Primitive.__dataclass_fields__["weights"].default and all(
        arg.sort not in ("function", "score") for arg in entry.args
    )


# Primitives and functions of the language that learn nothing, whatever they are given, and add nothing to the loss.
SILENT = {name for name, entry in PRIMITIVES.items() if _weightless(entry)} - {"penalty"}
SILENT |= {"width", "head_count", "max", "min"}


@dataclass(frozen=True)
class Sight:
    """What is known where a function is written out.

    is_function: whether an expression is known to give a function. shadowed: names that do not mean what they mean
    in the prelude. leading: the first parameter of each function that can be named here.
    """

    is_function: Callable[[Expr], bool]
    shadowed: Collection[str]
    leading: Mapping[str, str]


def pure(expr: Expr, sight: Sight) -> bool:
    """Whether evaluating an expression twice is the same as once: it learns nothing, shares nothing, adds no loss."""
    match expr:
        case Number() | Name() | Function():
            return True
        case Call(function, arguments):
            silent = isinstance(function, Name) and function.id in SILENT and function.id not in sight.shadowed
            shares = function == Name("share")
            known = silent or (sight.is_function(expr) and not shares)
            return known and pure(function, sight) and all(pure(a.value, sight) for a in arguments)
        case Binary(operator, left, right):
            known = operator != ">>" or sight.is_function(expr)
            return known and pure(left, sight) and pure(right, sight)
        case Unary(_, operand):
            return pure(operand, sight)
        case ListOf(items):
            return all(pure(item, sight) for item in items)
        case Block(bindings, result):
            return pure(result, sight) and all(pure(b.value, sight) for b in bindings)
    raise AssertionError(expr)


def comes_first(name: str, body: Expr) -> bool:
    """Whether a name is used before the body does anything that may learn."""
    return next((found for found in _evaluated(body) if found in ("", name)), "") == name


def _evaluated(expr: Expr) -> Iterator[str]:
    """The names that an expression uses in the order of evaluation, and "" for what may learn."""
    match expr:
        case Name(id):
            yield id
        case Call(function, arguments):
            yield from _evaluated(function)
            for argument in arguments:
                yield from _evaluated(argument.value)
            if not (isinstance(function, Name) and function.id in SILENT):
                yield ""
        case Binary(operator, left, right):
            yield from _evaluated(left)
            yield from _evaluated(right)
            if operator == ">>":
                yield ""
        case Unary(_, operand):
            yield from _evaluated(operand)
        case ListOf(items):
            for item in items:
                yield from _evaluated(item)
        case Block(bindings, result):
            for binding in bindings:
                yield from _evaluated(binding.value)
            yield from _evaluated(result)


def learns_along(body: Expr) -> bool:
    """Whether a function's body learns values along the axes of its first tensor, itself and not in a function inside:
    written into another function, they would follow that one's."""
    match body:
        case Call(Name("param" | "lookup"), arguments):
            return len(arguments) > 1 and all(argument.name != "of" for argument in arguments)
        case Function():
            return False
        case Call(function, arguments):
            return learns_along(function) or any(learns_along(a.value) for a in arguments)
        case Block(bindings, result):
            return learns_along(result) or any(learns_along(b.value) for b in bindings)
        case Binary(_, left, right):
            return learns_along(left) or learns_along(right)
        case Unary(_, operand):
            return learns_along(operand)
        case ListOf(items):
            return any(learns_along(item) for item in items)
    return False
