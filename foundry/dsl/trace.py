"""Elaboration that remembers: which function made each part of a program, and with which arguments.

A program has numbers and tensors alone; the functions that a genome passes around (`mix = attention(heads = 4)`)
are gone. Whoever speaks of a program in the words of its genome needs them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from foundry.dsl.check import prelude
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.registry import TRAIN
from foundry.dsl.syntax import Expr, Genome, Span
from foundry.dsl.values import Closure, Function, Partial, Scope, Special


@dataclass(eq=False)
class Application:
    """A function applied to tensors.

    function: what was applied, the arguments that it had been given before included. called: the name that it was
    called by, "" where it has none: for an argument that is a function, that of the parameter.
    arguments: by the name of the parameter; of a function written in the language all of them, defaults evaluated.
    explicit: the names of those that were given. nodes: what it added to the unit around it.
    """

    function: Function
    called: str
    arguments: dict[str, Any]
    explicit: frozenset[str]
    nodes: tuple[Node, ...] = ()


@dataclass(eq=False)
class Trace:
    """A program and where its parts came from.

    applications: for each node, what it is a result of, the innermost first. around: for each node, the applications
    that it was made by, the innermost first. units: for each unit that is the body of a function, its application.
    recipe: the arguments of `train` as they were given.
    """

    program: Program
    applications: dict[Node, list[Application]] = field(default_factory=dict)
    around: dict[Node, list[Application]] = field(default_factory=dict)
    units: dict[Unit, Application] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)


def trace(program: Program) -> Trace:
    """A program elaborated once more, with what made its parts. The program must be one that was checked."""
    tracer = _Tracer(program.genome, prelude())
    model = tracer.model()
    assert model is not None
    recipe = tracer.whole_recipe(program.vocab)
    assert recipe is not None
    found = tracer.found
    found.program = replace(program, model=model, recipe=recipe)
    return found


def closure_of(function: Any) -> Closure | None:
    """The function written in the language that a function is, with or without arguments given; None for others."""
    inner = function.function if isinstance(function, Partial) else function
    return inner if isinstance(inner, Closure) else None


@dataclass(eq=False)
class _Opening:
    """An application under way. `scope` is that of the body, once the parameters are bound."""

    closure: Closure | None
    scope: dict[str, Any] | None = None
    defaults: set[str] = field(default_factory=set)


class _Tracer(Elaborator):
    def __init__(self, genome: Genome, prelude: Genome):
        super().__init__(genome, prelude)
        self.found = Trace(Program(genome, None, None, 0))  # type: ignore[arg-type]
        self.openings: list[_Opening] = []

    def value(self, expr: Expr, scope: Scope, name: str = "") -> Any:
        opening = self.openings[-1] if self.openings else None
        if opening is not None and opening.closure is not None:
            closure = opening.closure
            if expr is closure.body:
                opening.scope = dict(scope.names)
            opening.defaults.update(p.name for p in closure.parameters if p.default is expr)
        return super().value(expr, scope, name)

    def apply(
        self,
        function: Any,
        positional: list[Any],
        span: Span,
        called: str = "",
        named: dict[str, Any] | None = None,
        spans: dict[str | int, Span] | None = None,
    ) -> Any:
        if isinstance(function, Special) and function.name == "train":
            order = [argument.name for argument in TRAIN]
            self.found.recipe = {**dict(zip(order, positional, strict=False)), **(named or {})}
        frame = self.frames[-1] if self.frames else None
        before = len(frame.nodes) if frame else 0
        opening = _Opening(closure_of(function))
        self.openings.append(opening)
        try:
            result = super().apply(function, positional, span, called, named, spans)
        finally:
            self.openings.pop()
        if isinstance(result, Node) and frame is not None:
            given = {**(function.given if isinstance(function, Partial) else {}), **(named or {})}
            arguments = given if opening.scope is None else opening.scope
            explicit = frozenset(given) if opening.scope is None else frozenset(arguments) - opening.defaults
            nodes = tuple(frame.nodes[before:])
            self.note(result, Application(function, called, arguments, explicit, nodes))
        return result

    def note(self, result: Node, application: Application) -> None:
        self.found.applications.setdefault(result, []).append(application)
        for node in application.nodes:
            self.found.around.setdefault(node, []).append(application)
        if result.unit is not None and closure_of(application.function) is not None:
            self.found.units.setdefault(result.unit, application)
