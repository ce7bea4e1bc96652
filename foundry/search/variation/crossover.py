"""Crossover: parts of one genome in another, with the definitions that they need."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.substitute import fresh_name, occurrences, substitute, used_names
from foundry.dsl.syntax import Definition, Expr, Function, Genome, Name, put
from foundry.generate.draw import Draw, shuffled
from foundry.generate.trees import put_definition
from foundry.search.variation.expressions import values
from foundry.search.variation.functions import functions, put_function, whole
from foundry.search.variation.layers import Item, pipeline, pipelines
from foundry.search.variation.recipe import with_recipe
from foundry.search.variation.subject import Subject, uses_locals

ROLES = (
    "activation",
    "norm",
    "filter",
    "position",
    "score",
    "mask",
    "mixer",
    "channels",
    "expert",
    "shares",
    "schedule",
    "loss",
)


def cross_subtree(a: Subject, b: Subject, draw: Draw) -> Genome | None:
    """Put a value of the second in the place of one of the same type in the first, where its names exist."""
    givers = [site for site in values(b) if len(site.path) > 3]
    places = [site for site in values(a) if len(site.path) > 3]
    for place in shuffled(draw, places)[:12]:
        for giver in shuffled(draw, givers)[:24]:
            if giver.type != place.type or giver.node == place.node or giver.frame.role != place.frame.role:
                continue
            local = set(occurrences(giver.node)) & set(giver.scope)
            if all(place.scope.get(name) == giver.scope[name] for name in local):
                genome, node = imported(a.genome, b.genome, giver.node, frozenset(local))
                return put(genome, _shifted(a.genome, genome, place.path), node)
    return None


def cross_function(a: Subject, b: Subject, draw: Draw) -> Genome | None:
    """Put a function of the second, with what it needs, in the place of one with the same purpose in the first."""
    givers = [(site, kind) for site, kind in functions(b, ROLES) if not uses_locals(b, site.node)]
    places = functions(a, ROLES)
    for place, kind in shuffled(draw, places)[:12]:
        fitting = [
            giver
            for giver, other in givers
            if other == kind and giver.node != place.node and (giver.maps is None) == (place.maps is None)
        ]
        if not fitting:
            continue
        giver = draw.choice(fitting)
        genome, new = imported(a.genome, b.genome, whole(b, giver))
        return put_function(genome, replace(place, path=_shifted(a.genome, genome, place.path)), new)
    return None


def cross_block(a: Subject, b: Subject, draw: Draw) -> Genome | None:
    """Put a layer of the second, with what it needs, among the layers of the first."""
    ours, theirs = pipelines(a), pipelines(b)
    if not ours or not theirs:
        return None
    site, parts, layers = draw.choice(ours)
    _, other_parts, other_layers = draw.choice(theirs)
    function = other_parts[draw.choice(other_layers)][1]
    if uses_locals(b, function):
        return None
    genome, new = imported(a.genome, b.genome, function)
    here = draw.choice(layers)
    count, old = parts[here]
    mixed: list[Item] = [(1, new)] if count == 1 else [(count - 1, old), (1, new)]
    if count > 1 and draw.chance(0.4):
        mixed = [(count, new)]
    elif draw.chance(0.5):
        mixed.reverse()
    stages = parts[:here] + mixed + parts[here + 1 :]
    return put(genome, _shifted(a.genome, genome, site.path), pipeline(stages))


def cross_pattern(a: Subject, b: Subject, draw: Draw) -> Genome | None:
    """Give the first the whole stack of layers of the second, between its own embedding and logits."""
    ours, theirs = pipelines(a), pipelines(b)
    if not ours or not theirs:
        return None
    site, parts, layers = max(ours, key=lambda found: len(found[1]))
    _, other_parts, other_layers = max(theirs, key=lambda found: len(found[1]))
    stack = [other_parts[index] for index in range(other_layers[0], other_layers[-1] + 1)]
    genome = a.genome
    new: list[Item] = []
    for count, function in stack:
        if uses_locals(b, function):
            return None
        genome, brought = imported(genome, b.genome, function)
        new.append((count, brought))
    stages = parts[: layers[0]] + new + parts[layers[-1] + 1 :]
    return put(genome, _shifted(a.genome, genome, site.path), pipeline(stages))


def cross_recipe(a: Subject, b: Subject, draw: Draw) -> Genome | None:
    """Train the first by the recipe of the second."""
    theirs = b.genome.definition("recipe")
    if theirs is None:
        return None
    genome, recipe = imported(a.genome, b.genome, theirs.value)
    return with_recipe(genome, recipe)


# Bringing definitions along -----------------------------------------------------------------------------------------


def imported(genome: Genome, source: Genome, node: Expr, local: frozenset[str] = frozenset()) -> tuple[Genome, Expr]:
    """The genome with every definition of `source` that `node` needs, and `node` with their names there.

    A definition that the genome has already, word for word, is used; one whose name is taken is renamed.
    """
    names: dict[str, str] = {}
    for definition in _needed(source, node, local):
        moved = _renamed(definition, names)
        same = genome.definition(definition.name)
        if same is not None and (same.parameters, same.value) == (moved.parameters, moved.value):
            continue
        alike = (d.name for d in genome.definitions if (d.parameters, d.value) == (moved.parameters, moved.value))
        existing = next((name for name in alike if name not in used_names(source)), None)
        if existing is not None:
            names[definition.name] = existing
            continue
        name = definition.name
        if name in used_names(genome):
            name = fresh_name(name, used_names(genome) | used_names(source))
        names[definition.name] = name
        first = genome.definitions[0].name
        genome = put_definition(genome, replace(moved, name=name), before=_place(genome, names.values()) or first)
    for old, new in names.items():
        if old != new and old not in local:
            node = substitute(node, {old: Name(new)})
    return genome, node


def _place(genome: Genome, after: object) -> str | None:
    """The first definition that stands below all of those named, so that text is read in order of need."""
    wanted = set(after)  # type: ignore[call-overload]
    last = max((i for i, d in enumerate(genome.definitions) if d.name in wanted), default=-1)
    return genome.definitions[last + 1].name if last + 1 < len(genome.definitions) else None


def _needed(source: Genome, node: Expr, local: frozenset[str]) -> list[Definition]:
    """The definitions that an expression needs, each after those that it needs itself."""
    by_name = {d.name: d for d in source.definitions}
    out: list[Definition] = []

    def visit(tree: Expr | Definition, bound: frozenset[str]) -> None:
        for name in occurrences(tree):
            if name in by_name and name not in bound and by_name[name] not in out:
                visit(by_name[name], frozenset())
                out.append(by_name[name])

    visit(node, local)
    return out


def _renamed(definition: Definition, names: dict[str, str]) -> Definition:
    """A definition with the names that it uses changed."""
    function: Expr = Function(definition.parameters or (), definition.value)
    for old, new in names.items():
        if old != new:
            function = substitute(function, {old: Name(new)})
    assert isinstance(function, Function)
    parameters = function.parameters if definition.parameters is not None else None
    return replace(definition, parameters=parameters, value=function.body)


def _shifted(old: Genome, new: Genome, path: tuple) -> tuple:
    """A path of the old genome in the new one, which has more definitions."""
    name = old.definitions[path[1]].name
    index = next(i for i, d in enumerate(new.definitions) if d.name == name)
    return (path[0], index, *path[2:])
