"""Elaboration that knows which numbers of the text a size was made of.

`linear(x, heads * (head_dim + 64))` has an output of two terms, each a product of numbers that stand somewhere in the
genome. Whoever wants the genome at another size has to know them.
"""

from __future__ import annotations

from typing import Any

from foundry.dsl.check import prelude
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.program import Node, Program
from foundry.dsl.registry import Primitive
from foundry.dsl.syntax import Expr, Genome, ListOf, Number, Path, Span, walk
from foundry.dsl.values import Repeated, Scope, Special

DERIVED: Path = ("derived",)  # stands for a factor that follows from the program: `width(x)`, a quotient
Term = frozenset[Path]  # the numbers that are multiplied
Terms = tuple[Term, ...]  # which are added; numbers of the prelude are an empty product

ORIGINS = "origins"  # the attribute of a node that holds, by the name of an argument, its terms


class Sized(int):
    """A whole number and the terms that it is the sum of."""

    terms: Terms

    def __new__(cls, value: int, terms: Terms) -> Sized:
        self = super().__new__(cls, value)
        self.terms = terms
        return self

    def __add__(self, other: int) -> int:
        return self._made(int(self) + other, other, self.terms + _terms(other))

    def __sub__(self, other: int) -> int:
        return self._made(int(self) - other, other, self.terms + _terms(other))

    def __rsub__(self, other: int) -> int:
        return self._made(other - int(self), other, self.terms + _terms(other))

    def __mul__(self, other: int) -> int:
        return self._made(int(self) * other, other, tuple(a | b for a in self.terms for b in _terms(other)))

    def __neg__(self) -> int:
        return Sized(-int(self), self.terms)

    __radd__ = __add__
    __rmul__ = __mul__

    @staticmethod
    def _made(value: int, other: object, terms: Terms) -> int:
        return Sized(value, terms) if isinstance(other, int) else value


class Listed(tuple):
    """The values of a list, and where it stands."""

    path: Path


def _terms(value: object) -> Terms:
    return value.terms if isinstance(value, Sized) else (frozenset({DERIVED}),)


def traced(program: Program) -> Program:
    """A program elaborated once more, where each node knows under ORIGINS what its sizes were made of: the arguments
    of primitives, and the `times` of a repeat. A list has one term, the path of the list."""
    for keep_single in (True, False):
        tracer = _Tracer(program.genome, keep_single)
        model = tracer.model()
        if model is not None:
            return Program(program.genome, model, program.recipe, program.vocab)
    raise ValueError("the program was not one that had been checked")


class _Tracer(Elaborator):
    """keep_single: whether `1 * f` stays a repeat, so that its number can grow."""

    def __init__(self, genome: Genome, keep_single: bool):
        super().__init__(genome, prelude())
        self.keep_single = keep_single
        self.paths = {id(node): path for path, node in walk(genome) if isinstance(node, (Number, ListOf))}
        self.times: dict[int, tuple[Repeated, Terms]] = {}

    def _value(self, expr: Expr, scope: Scope, name: str) -> Any:
        value = super()._value(expr, scope, name)
        path = self.paths.get(id(expr))
        if isinstance(expr, Number) and isinstance(value, int):
            return Sized(value, (frozenset({path} if path else ()),))
        if isinstance(expr, ListOf) and path:
            value = Listed(value)
            value.path = path
        return value

    def repeated(self, times: int | float, function: Any, span: Span) -> Any:
        result = super().repeated(times, function, span)
        if times == 1 and self.keep_single:
            result = Repeated(1, function, span)
        if isinstance(result, Repeated) and isinstance(times, Sized):
            self.times[id(result)] = result, times.terms
        return result

    def _apply(self, function: Any, positional: list[Any], span: Span, called: str, named: dict, spans: dict) -> Any:
        result = super()._apply(function, positional, span, called, named, spans)
        if isinstance(function, Special) and isinstance(result, Repeated) and id(positional[0]) in self.times:
            self.times[id(result)] = result, self.times[id(positional[0])][1]
        if isinstance(result, Node) and result.op == "repeat" and id(function) in self.times:
            result.attrs[ORIGINS] = {"times": self.times[id(function)][1]}
        return result

    def bind(
        self, function: Any, positional: list[Any], named: dict, span: Span, called: str, spans: dict, given: set
    ) -> Any:
        result = super().bind(function, positional, named, span, called, spans, given)
        if isinstance(function, Primitive) and isinstance(result, Node) and result.op == function.name:
            order = [argument.name for argument in function.args if argument.name not in given]
            values = {**dict(zip(order, positional, strict=False)), **named}
            origins = {name: value.terms for name, value in values.items() if isinstance(value, Sized)}
            origins |= {name: (frozenset({v.path}),) for name, v in values.items() if isinstance(v, Listed)}
            result.attrs[ORIGINS] = origins
        return result
