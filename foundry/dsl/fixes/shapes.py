"""Fixes for shapes that do not fit: linear maps, heads split and merged, and other sizes."""

from __future__ import annotations

import re
from collections.abc import Iterator

from foundry.dsl.diagnostics import Edit, Fix
from foundry.dsl.fixes.site import Site
from foundry.dsl.registry import MAX_SIZE
from foundry.dsl.syntax import Argument, Binary, Call, Definition, Name, Number, Path

HEADS = 4  # where nothing says how many


def shape(site: Site) -> Iterator[Fix]:
    """Whatever may make two shapes fit."""
    yield from _two_operands(site)
    yield from _wrong_input(site)
    yield from _other_axis(site)
    yield from _other_number(site)
    yield from _of_the_model(site)


def _two_operands(site: Site) -> Iterator[Fix]:
    """An operation on two tensors: one of them gets the other's shape, first the one on the right."""
    path = site.exactly(Binary)
    if path is None:
        return
    sides = [((*path, side), site.types((*path, side))[:1]) for side in ("right", "left")]
    for (one, types), (_, others) in (sides, sides[::-1]):
        for t, other in zip(types, others, strict=False):
            if t.is_seq and other.is_seq:
                yield _with_width(site, one, other.width)
            elif t.is_heads and other.is_seq and t.heads * t.width == other.width:
                yield Fix("join the heads", site.wrap(site.nodes[one], "merge_heads(", ")"))
            elif t.is_heads and other.is_seq:
                edits = site.wrap(site.nodes[one], "linear(merge_heads(", f"), {other.width})")
                yield Fix("join and map the heads", edits)


def _with_width(site: Site, path: Path, width: int) -> Fix:
    """An expression with another width: the linear map that it is, or one more around it."""
    node = site.nodes[path]
    if isinstance(node, Call) and node.function == Name("linear"):
        for argument in node.arguments[1:]:
            if argument.name in ("", "out") and isinstance(argument.value, Number):
                return Fix(f"map to {width} channels", site.replace(argument.value, str(width)))
    return Fix(f"map it to {width} channels", site.wrap(node, "linear(", f", {width})"))


def _wrong_input(site: Site) -> Iterator[Fix]:
    """Heads where there should be a sequence, or the other way round; an embedding of what is embedded."""
    argument = site.exactly(Argument)
    path = site.parent(argument) if argument is not None else next(site.around(Call), None)
    call = site.nodes[path] if path is not None else None
    if path is None or not isinstance(call, Call):
        return
    places = [(*path, "arguments", n, "value") for n in range(len(call.arguments))]
    with_heads = [place for place in places if any(t.is_heads for t in site.types(place))]
    without = [place for place in places if any(t.is_seq for t in site.types(place))]
    expected, start = site.diagnostic.expected, site.diagnostic.span.start
    if expected == ("heads[h, d]",) and without:
        count = next((t.heads for place in with_heads for t in site.types(place)), HEADS)
        edits = [edit for place in without for edit in site.wrap(site.nodes[place], "split_heads(", f", {count})")]
        yield Fix(f"cut it into {count} heads", tuple(edits))
    elif with_heads and (without or expected == ("seq[d]",)):
        edits = [edit for place in with_heads for edit in site.wrap(site.nodes[place], "merge_heads(", ")")]
        yield Fix("join the heads", tuple(edits))
    elif expected == ("seq[d]",) and site.diagnostic.found.startswith("heads"):
        yield Fix("join the heads", (Edit(start, start, "merge_heads >> "),))
    elif expected == ("tokens",) and isinstance(pipe := site.nodes[site.parent(path)], Binary) and pipe.right is call:
        yield Fix("leave it out", (Edit(pipe.left.span.end, pipe.right.span.end, ""),))


def _other_axis(site: Site) -> Iterator[Fix]:
    """`per = head` where there are channels only."""
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    if isinstance(argument, Argument) and argument.name == "per":
        for axis in site.diagnostic.expected:
            yield Fix(f"use {axis}", site.replace(argument.value, axis))


def _other_number(site: Site) -> Iterator[Fix]:
    """Another number: the nearest legal one, or by the proportion of what was wanted to what was found."""
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    legal = re.fullmatch(r"from (\d+) to (\d+)", "".join(site.diagnostic.expected))
    if isinstance(argument, Argument) and isinstance(argument.value, Number) and legal:
        nearest = min(max(int(argument.value.value), int(legal[1])), int(legal[2]))
        yield Fix(f"use {nearest}", site.replace(argument.value, str(nearest)))
        return
    wanted, found = (re.findall(r"\d+", t) for t in ("".join(site.diagnostic.expected[:1]), site.diagnostic.found))
    if wanted and found:
        yield from _in_proportion(site, int(wanted[-1]), int(found[-1]))


def _in_proportion(site: Site, wanted: int, found: int) -> Iterator[Fix]:
    """Numbers of the definition at fault, and of those that it uses, scaled; the last first."""
    here = next(site.around(Definition), ())
    used = {n.id for p, n in site.nodes.items() if isinstance(n, Name) and p[: len(here)] == here}
    near = [p for p, n in site.nodes.items() if isinstance(n, Definition) and (p == here or n.name in used)]
    for path, node in reversed(site.nodes.items()):
        inside = any(path[: len(place)] == place for place in near)
        if inside and isinstance(node, Number) and node.value and node.value % found == 0:
            new = str(int(node.value) // found * wanted)
            yield Fix(f"use {new}", site.replace(node, new))


def _of_the_model(site: Site) -> Iterator[Fix]:
    """A model that gives heads, that embeds nothing, or whose tied logits have another width than its embedding."""
    diagnostic, model, path = site.diagnostic, site.genome.definition("model"), site.exactly(Call)
    call = site.nodes[path] if path is not None else None
    if diagnostic.expected == ("seq[vocab]",) and diagnostic.found.startswith("heads"):
        end = diagnostic.span.end
        yield Fix("join the heads", (Edit(end, end, " >> merge_heads"),))
    elif model is not None and diagnostic.found == "tokens":
        start = model.value.span.start
        yield Fix("embed the tokens first", (Edit(start, start, "embed(vocab = 256, width = 64) >> "),))
    elif isinstance(call, Call) and call.function == Name("unembed") and diagnostic.expected:
        width, start = diagnostic.expected[0], diagnostic.span.start
        yield Fix(f"map to {width} channels first", (Edit(start, start, f"linear({width}) >> "),))


def divide(site: Site) -> Iterator[Fix]:
    """Sizes that do not divide: the nearest legal numbers, or the whole part of a quotient."""
    call_path = next(site.around(Call), None)
    call = site.nodes[call_path] if call_path is not None else None
    arguments = call.arguments if isinstance(call, Call) else ()
    numbers = [a.value for a in arguments if isinstance(a.value, Number) and a.value.value <= MAX_SIZE]
    legal = [int(e) for e in site.diagnostic.expected if e.isdigit()]
    for number in numbers:
        if str(number.value) == site.diagnostic.found:
            for value in sorted(legal, key=lambda n: abs(n - number.value))[:2]:
                yield Fix(f"use {value}", site.replace(number, str(value)))
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    if isinstance(argument, Argument) and not isinstance(argument.value, (Number, Name)):
        yield Fix("take the whole part", site.wrap(argument.value, "floor(", ")"))
    for number in numbers:
        for new in (int(number.value // 2), int(2 * number.value)):
            yield Fix(f"use {new}", site.replace(number, str(new)))
