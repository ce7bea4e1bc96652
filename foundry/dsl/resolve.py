"""Names, before anything is evaluated: unknown, reserved, recursive and unused ones."""

from __future__ import annotations

from collections.abc import Iterator

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.registry import CALLABLE, CONSTANTS, SPECIAL
from foundry.dsl.suggest import closest
from foundry.dsl.syntax import Block, Definition, Expr, Function, Genome, Name, Parameter, children

BUILT_IN = frozenset(CALLABLE) | frozenset(CONSTANTS) | SPECIAL
ROOTS = ("model", "recipe")


def free_names(expr: Expr, bound: frozenset[str]) -> Iterator[tuple[Name, frozenset[str]]]:
    """The names in an expression that it does not bind itself, each with the local names in sight there."""
    match expr:
        case Name(id):
            if id not in bound:
                yield expr, bound
        case Function(parameters, body):
            yield from function_names(parameters, body, bound)
        case Block(bindings, result):
            for binding in bindings:
                yield from free_names(binding.value, bound)
                bound = bound | {binding.name}
            yield from free_names(result, bound)
        case _:
            for _, child in children(expr):
                yield from free_names(getattr(child, "value", child) if hasattr(child, "name") else child, bound)  # type: ignore[arg-type]


def function_names(
    parameters: tuple[Parameter, ...], body: Expr, bound: frozenset[str]
) -> Iterator[tuple[Name, frozenset[str]]]:
    for parameter in parameters:
        if parameter.default is not None:
            yield from free_names(parameter.default, bound)
        bound = bound | {parameter.name}
    yield from free_names(body, bound)


def definition_names(definition: Definition) -> Iterator[tuple[Name, frozenset[str]]]:
    """The free names of a definition."""
    return function_names(definition.parameters or (), definition.value, frozenset())


def resolve(genome: Genome, prelude: Genome) -> list[Diagnostic]:
    """What is wrong with a genome's names."""
    own = {d.name for d in genome.definitions}
    known = own | {d.name for d in prelude.definitions} | BUILT_IN
    found: list[Diagnostic] = []
    uses: dict[str, set[str]] = {}
    for definition in genome.definitions:
        uses[definition.name] = set()
        if definition.name in BUILT_IN:
            found.append(
                Diagnostic(
                    "F207",
                    f"{definition.name} is a name of the language",
                    definition.span,
                    found=definition.name,
                    help="choose another name",
                )
            )
        for name, local in definition_names(definition):
            if name.id in own:
                uses[definition.name].add(name.id)
            if name.id not in known:
                close = closest(name.id, sorted(known | local))
                fixes = tuple(
                    Fix(f"replace {name.id} by {c}", (Edit(name.span.start, name.span.end, c),)) for c in close[:1]
                )
                found.append(
                    Diagnostic(
                        "F201",
                        f"nothing is called {name.id}",
                        name.span,
                        found=name.id,
                        expected=tuple(close),
                        help=f"did you mean {close[0]}?" if close else "define it, or pass it as an argument",
                        fixes=fixes,
                    )
                )
    found.extend(_recursion(genome, uses))
    if "model" not in own:
        found.append(
            Diagnostic(
                "F206",
                "the genome defines no model",
                genome.span,
                help="write model = embed(vocab = 256, width = 64) >> … >> unembed(tied = 1);",
            )
        )
    else:
        found.extend(_unused(genome, uses))
    return found


def _recursion(genome: Genome, uses: dict[str, set[str]]) -> Iterator[Diagnostic]:
    """One error for each circle of definitions, at the first of them."""
    done: set[str] = set()
    for definition in genome.definitions:
        if definition.name in done:
            continue
        reached: dict[str, tuple[str, ...]] = {}
        stack: list[tuple[str, tuple[str, ...]]] = [(n, (definition.name, n)) for n in sorted(uses[definition.name])]
        while stack:
            name, way = stack.pop()
            if name not in reached:
                reached[name] = way
                stack.extend((n, (*way, n)) for n in sorted(uses[name]))
        if definition.name in reached:
            way = reached[definition.name]
            done.update(way)
            yield Diagnostic(
                "F204",
                f"{definition.name} is defined by itself: {' → '.join(way)}",
                definition.span,
                found=definition.name,
                help="a function of the prelude keeps its name only until you define your own: choose another",
            )


def _unused(genome: Genome, uses: dict[str, set[str]]) -> Iterator[Diagnostic]:
    reached: set[str] = set()
    stack = [name for name in ROOTS if name in uses]
    while stack:
        name = stack.pop()
        if name not in reached:
            reached.add(name)
            stack.extend(uses[name])
    for definition in genome.definitions:
        if definition.name not in reached:
            yield Diagnostic(
                "F205",
                f"nothing uses {definition.name}",
                definition.span,
                "warning",
                found=definition.name,
                help="remove it",
            )
