"""Layers: their number, order and share, and copies that specialise in some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from foundry.dsl.substitute import fresh_name, used_names
from foundry.dsl.syntax import Binary, Call, Definition, Expr, Genome, Name, Number, put
from foundry.generate.draw import Draw, shuffled, weighted
from foundry.generate.trees import call, chain, links, op, put_definition
from foundry.generate.vocabulary import function_role
from foundry.search.variation.functions import Inner, changed_inside
from foundry.search.variation.subject import Site, Subject, parent

MAX_LAYERS = 12
Item = tuple[int, Expr]  # so many copies of a function in depth


def items(pipeline: Expr) -> list[Item]:
    """The stages of a pipeline with their counts: `3 * f >> g` gives (3, f), (1, g)."""
    return [_item(part) for part in links(pipeline)]


def _item(part: Expr) -> Item:
    if isinstance(part, Binary) and part.operator == "*" and isinstance(part.left, Number):
        return int(part.left.value), part.right
    return 1, part


def pipeline(parts: list[Item]) -> Expr:
    """The expression of stages with counts."""
    return chain(*(function if count == 1 else op(count, "*", function) for count, function in parts))


def is_layer(of: Subject, item: Item) -> bool:
    """Whether a stage is a layer: repeated, or a function that mixes positions or channels."""
    count, function = item
    if count > 1:
        return True
    if isinstance(function, Call) and isinstance(function.function, Name) and function.function.id == "share":
        return True
    if isinstance(function, Binary) and function.operator == ">>":
        return True
    return function_role(function, of.known) in ("mixer", "channels") and not isinstance(function, Number)


def pipelines(of: Subject) -> list[tuple[Site, list[Item], list[int]]]:
    """The outermost `>>` expressions that hold layers, their stages, and which of them are layers."""
    out = []
    for site in of.sites:
        if not (isinstance(site.node, Binary) and site.node.operator == ">>"):
            continue
        _, above = parent(of, site.path)
        if isinstance(above, Binary) and above.operator == ">>" and site.path[-1] == "left":
            continue
        parts = items(site.node)
        tensors = {id(s.node) for s in of.sites if s.type is not None}
        layers = [i for i, part in enumerate(parts) if id(part[1]) not in tensors and is_layer(of, part)]
        if layers:
            out.append((site, parts, layers))
    return out


def edit_pattern(of: Subject, draw: Draw) -> Genome | None:
    """Change how many layers there are of each kind, their order, or whether they share weights."""
    found = pipelines(of)
    if not found:
        return None
    site, parts, layers = draw.choice(found)
    options = _pattern_edits(parts, layers, draw)
    new = weighted(draw, options)() if options else None
    return None if not new else put(of.genome, site.path, pipeline(new))


def _pattern_edits(parts: list[Item], layers: list[int], draw: Draw) -> list[tuple[float, Callable[[], list[Item]]]]:
    """What can be done to the stages of a pipeline, each with its weight."""
    here = draw.choice(layers)
    count, function = parts[here]

    def at(*new: Item) -> list[Item]:
        return parts[:here] + list(new) + parts[here + 1 :]

    options: list[tuple[float, Callable[[], list[Item]]]] = []
    if count < MAX_LAYERS:
        options.append((2, lambda: at((count + 1, function))))
    if count > 1:
        options.append((2, lambda: at((count - 1, function))))
        options.append((0.7, lambda: at((1, call("share", op(count, "*", function))))))
        options.append((0.5, lambda: at((1, function), (1, call("share", op(count - 1, "*", function))))))
    if count == 1 and len(layers) > 1:
        options.append((1, lambda: at()))
    inner = links(function)
    if len(inner) > 1:
        options.append((1, lambda: at(*((count, part) for part in inner))))
    if isinstance(function, Call) and function.function == Name("share") and len(function.arguments) == 1:
        options.append((1, lambda: at(_item(function.arguments[0].value))))
    others = [index for index in layers if index != here]
    if others:
        there = draw.choice(others)
        options.append((2, lambda: _swapped(parts, here, there)))
        if count > 1:
            options.append((3, lambda: _moved(parts, here, there)))
        if there == here + 1 and count == parts[there][0]:
            pair = chain(function, parts[there][1])
            options.append((2, lambda: parts[:here] + [(count, pair)] + parts[there + 1 :]))
    return options


def _swapped(parts: list[Item], here: int, there: int) -> list[Item]:
    out = list(parts)
    out[here], out[there] = out[there], out[here]
    return out


def _moved(parts: list[Item], here: int, there: int) -> list[Item]:
    """One copy fewer here, one more there: the depth stays."""
    out = list(parts)
    out[here] = (parts[here][0] - 1, parts[here][1])
    out[there] = (parts[there][0] + 1, parts[there][1])
    return out


def specialise(of: Subject, draw: Draw, inner: list[tuple[float, Inner]]) -> Genome | None:
    """Copy a block, use the copy in some of the layers, and change something inside it."""
    for site, parts, layers in shuffled(draw, pipelines(of)):
        for index in shuffled(draw, layers):
            count, function = parts[index]
            name = _defined(of, function)
            if count < 2 or name is None:
                continue
            definition = of.genome.definition(name)
            assert definition is not None
            fresh = fresh_name(name, used_names(of.genome) | set(of.known))
            copy = _renamed(function, name, fresh)
            new = parts[:index] + _shared_out(draw, count, function, copy) + parts[index + 1 :]
            genome = put(of.genome, site.path, pipeline(new))
            place = of.genome.definitions[int(site.path[1])].name
            genome = put_definition(genome, replace(definition, name=fresh, comments=()), before=place)
            return changed_inside(genome, fresh, draw, inner)
    return None


def _defined(of: Subject, function: Expr) -> str | None:
    """The genome's definition that a layer comes from, or None."""
    if isinstance(function, Call):
        function = function.function
    if isinstance(function, Name):
        definition: Definition | None = of.genome.definition(function.id)
        return definition.name if definition is not None else None
    return None


def _renamed(function: Expr, old: str, new: str) -> Expr:
    if isinstance(function, Call):
        return replace(function, function=Name(new))
    return Name(new)


def _shared_out(draw: Draw, count: int, one: Expr, other: Expr) -> list[Item]:
    """`count` layers of two kinds: the second last, first, or in turn with the first."""
    few = draw.integer(1, max(1, count // 2))
    layouts: list[list[Item]] = [[(count - few, one), (few, other)], [(few, other), (count - few, one)]]
    if count % 2 == 0:
        layouts.append([(count // 2, chain(one, other))])
    return draw.choice(layouts)
