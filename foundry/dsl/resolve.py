"""Names, before anything is evaluated: unknown, reserved, recursive and unused ones."""

from __future__ import annotations

from collections.abc import Iterator, Set

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, Label
from foundry.dsl.lexer import MAX_PROBLEMS
from foundry.dsl.registry import CALLABLE, CONSTANTS, OPTIMIZERS, PRIMITIVES, SLOTS, SPECIAL, TRAIN
from foundry.dsl.suggest import closest
from foundry.dsl.synonyms import arguments_here, functions_here
from foundry.dsl.syntax import (
    Argument,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    Name,
    Parameter,
    Span,
    children,
    walk,
)

BUILT_IN = frozenset(CALLABLE) | frozenset(CONSTANTS) | SPECIAL
ROOTS = ("model", "recipe")
SLOT_NAMES = frozenset(name for slot in SLOTS.values() for name in slot)


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
    before: list[str] = []
    for parameter in parameters:
        if parameter.default is not None:
            yield from free_names(parameter.default, bound.union(before))
        before.append(parameter.name)
    yield from free_names(body, bound.union(before))


def definition_names(definition: Definition) -> Iterator[tuple[Name, frozenset[str]]]:
    """The free names of a definition."""
    return function_names(definition.parameters or (), definition.value, frozenset())


def resolve(genome: Genome, prelude: Genome) -> list[Diagnostic]:
    """What is wrong with a genome's names; of the unknown ones the first MAX_PROBLEMS."""
    own = {d.name for d in genome.definitions}
    known = own | {d.name for d in prelude.definitions} | BUILT_IN
    found: list[Diagnostic] = []
    uses: dict[str, set[str]] = {}
    room = MAX_PROBLEMS
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
        unknown: dict[str, list[Name]] = {}
        sight: dict[str, frozenset[str]] = {}
        for name, local in definition_names(definition):
            if name.id in own:
                uses[definition.name].add(name.id)
            if name.id not in known:
                unknown.setdefault(name.id, []).append(name)
                sight.setdefault(name.id, local)
        unbound = list(_unbound(definition, known)) if SLOT_NAMES & unknown.keys() else []
        found += unbound
        for word, places in unknown.items():
            places = [p for p in places if not any(d.span.start <= p.span.start < d.span.end for d in unbound)]
            if places and room:
                found.append(_unknown_name(places, known | sight[word]))
                room -= 1
    found.extend(_recursion(genome, prelude, uses))
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


def _unknown_name(uses: list[Name], known: Set[str]) -> Diagnostic:
    """The error for a name that nothing defines, wherever a definition uses it."""
    first, *others = uses
    close = functions_here(first.id) or closest(first.id, sorted(known))
    edits = (tuple(Edit(use.span.start, use.span.end, c) for use in uses) for c in close[:1])
    return Diagnostic(
        "F201",
        f"nothing is called {first.id}",
        first.span,
        labels=tuple(Label(use.span, "here again") for use in others[:3]),
        found=first.id,
        expected=tuple(close),
        help=f"did you mean {close[0]}?" if close else "define it, or pass it as an argument",
        fixes=tuple(Fix(f"replace {first.id} by {close[0]}", edit) for edit in edits),
    )


def unknown_arguments(genome: Genome, prelude: Genome) -> Iterator[Diagnostic]:
    """Named arguments that the function which a call names does not have, where evaluation may not come to them."""
    signatures = _signatures(genome, prelude)
    for definition in genome.definitions:
        free = {id(name) for name, _ in definition_names(definition)}
        for _, node in walk(definition):
            if isinstance(node, Call) and isinstance(node.function, Name) and id(node.function) in free:
                names = signatures.get(node.function.id)
                odd = (a for a in node.arguments if names is not None and a.name and a.name not in names)
                for argument in list(odd)[:1]:
                    yield unknown_argument(node.function.id, argument.name, names or [], argument.span)


def unknown_argument(title: str, name: str, names: list[str], span: Span) -> Diagnostic:
    """The error for a named argument that a function does not have."""
    close = arguments_here(name, names) or closest(name, names)
    edit = (Edit(span.start, span.start + len(name), close[0]),) if close else ()
    return Diagnostic(
        "F202",
        f"{title} has no argument {name}",
        span,
        found=name,
        expected=tuple(names),
        help=f"did you mean {close[0]}?" if close else f"{title} takes {', '.join(names) or 'nothing'}",
        fixes=(Fix(f"replace {name} by {close[0]}", edit),) if close else (),
    )


def _signatures(genome: Genome, prelude: Genome) -> dict[str, list[str]]:
    """The names of the arguments of the functions that are known by name."""
    found = {name: [a.name for a in primitive.args] for name, primitive in PRIMITIVES.items() if name in CALLABLE}
    found |= {name: [a.name for a in args] for name, args in {**OPTIMIZERS, "train": TRAIN}.items()}
    for definition in (*prelude.definitions, *genome.definitions):
        found.pop(definition.name, None)
        if definition.parameters is not None:
            found[definition.name] = [p.name for p in definition.parameters]
    return found


def _unbound(definition: Definition, known: Set[str]) -> Iterator[Diagnostic]:
    """Expressions of what only the function of a slot binds, which are not written as functions."""
    places: list[tuple[str, Expr, int, str]] = []
    if definition.parameters is None:
        places.append((definition.name, definition.value, definition.span.start + len(definition.name), "({})"))
    for _, node in walk(definition):
        if isinstance(node, Argument) and node.name in SLOTS:
            places.append((node.name, node.value, node.value.span.start, "fn({}) => "))
    for title, value, at, written in reversed(places):
        names = {name.id for name, _ in free_names(value, frozenset()) if name.id not in known}
        legal = SLOTS.get(title) or next((slot for slot in SLOTS.values() if names <= set(slot)), ())
        if names and names <= set(legal) and not isinstance(value, Function):
            parameters = ", ".join(name for name in legal if name in names)
            text = written.format(parameters)
            example = f"{title}{text} = …" if "=>" not in text else f"{title} = {text}…"
            yield Diagnostic(
                "F308",
                f"{title} is an expression of {' and '.join(parameters.split(', '))} instead of a function",
                value.span,
                found="an expression",
                expected=("a function",),
                help=f"write {example}",
                fixes=(Fix(f"write {example}", (Edit(at, at, text),)),),
            )
            return


def _recursion(genome: Genome, prelude: Genome, uses: dict[str, set[str]]) -> Iterator[Diagnostic]:
    """One error for each circle of definitions, at the first of them."""
    done = _sound(uses)
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
            again = prelude.definition(definition.name) is not None
            yield Diagnostic(
                "F204",
                f"{definition.name} is defined by itself: {' → '.join(way)}",
                definition.span,
                found=definition.name,
                help="a function of the prelude keeps its name only until you define your own: choose another"
                if again
                else "no function applies itself; n * f is n copies of f, one after another",
                fixes=(_by_another_name(definition, genome),) if again else (),
            )


def _sound(uses: dict[str, set[str]]) -> set[str]:
    """The definitions that lead into no circle: those that use only such."""
    users: dict[str, list[str]] = {name: [] for name in uses}
    for name, used in uses.items():
        for other in used:
            users[other].append(name)
    left = {name: len(used) for name, used in uses.items()}
    ready = [name for name, count in left.items() if not count]
    for name in ready:
        for user in users[name]:
            left[user] -= 1
            if not left[user]:
                ready.append(user)
    return set(ready)


def _by_another_name(definition: Definition, genome: Genome) -> Fix:
    """A definition renamed, so that its own body means the function of the prelude."""
    name, new = definition.name, f"own_{definition.name}"
    uses = (use for other in genome.definitions if other is not definition for use, _ in definition_names(other))
    starts = [definition.span.start, *(use.span.start for use in uses if use.id == name)]
    return Fix(f"call it {new}", tuple(Edit(start, start + len(name), new) for start in starts))


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
