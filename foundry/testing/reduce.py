"""A failing case made small: pieces of it are taken away for as long as it still fails in the same way.

A genome shrinks as a tree, not through the decisions that drew it, because most genomes that fail were never drawn in
one piece: they are mutants, crossings and files. Every step parses, checks clean and fails as before, so that what is
left reads as a genome that a person could have written (test-case reduction by replacing a subtree with one of its
own: Sun et al. 2018, "Perses"; for plain text, Zeller and Hildebrandt 2002, "ddmin").
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from foundry.dsl.check import examine
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.substitute import substitute
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Path,
    Tree,
    Unary,
    at,
    children,
    put,
    walk,
)
from foundry.generate.trees import tidy
from foundry.testing.failures import HANGS, Content, Failure

SECONDS = 60.0  # for one failure
EXPRESSIONS = (Number, Name, ListOf, Call, Unary, Binary, Function, Block)

Fails = Callable[[str], bool]
FailsText = Callable[[Content], bool]


def smallest(failure: Failure, again: Callable[[Content], Failure | None], seconds: float = SECONDS) -> Failure:
    """The same failure of a smaller case; the failure itself where there is none, or where it hangs.

    again: tries the property on another content. seconds: of wall-clock time to spend.
    """
    if failure.kind == HANGS or not failure.content:
        return failure
    best = failure

    def fails(content: Content) -> bool:
        nonlocal best
        found = again(content)
        if found is None or found.key != failure.key:
            return False
        best = found
        return True

    try:
        parse(str(failure.content))
    except GenomeError:
        reduce_text(failure.content, fails, seconds)
    else:
        reduce_genome(str(failure.content), fails, seconds)
    return best


def reduce_genome(text: str, fails: Fails, seconds: float = SECONDS) -> str:
    """The smallest genome found within some seconds that checks clean and still fails.

    fails: whether a genome that checks clean has the failure.
    """
    deadline = time.monotonic() + seconds
    tree, best = parse(text), text
    tried: set[str] = {text}

    def accepts(candidate: Genome) -> bool:
        nonlocal best
        told = _text(candidate)
        if told is None or told in tried:
            return False
        tried.add(told)
        if not (examine(told).ok and fails(told)):
            return False
        best = told
        return True

    progress = True
    while progress and time.monotonic() < deadline:
        before = tree
        for candidate in (_bare(tree), tidy(tree)):
            if accepts(candidate):
                tree = candidate
        tree = _sweep(tree, accepts, deadline)
        progress = tree != before
    return best


def _sweep(tree: Genome, accepts: Callable[[Genome], bool], deadline: float) -> Genome:
    """One pass over all places, outermost first; a place that shrank is tried again."""
    paths = [path for path, _ in walk(tree)]
    index = 0
    while index < len(paths):
        for candidate in _smaller(tree, paths[index]):
            if time.monotonic() > deadline:
                return tree
            if _weight(candidate) < _weight(tree) and accepts(candidate):
                tree = candidate
                paths = [path for path, _ in walk(tree)]
                break
        else:
            index += 1
    return tree


def _weight(tree: Genome) -> tuple[int, float]:
    """What shrinks: nodes first, then the size of the numbers and the names that are spelt differently."""
    nodes = [node for _, node in walk(tree)]
    numbers = sum(min(abs(float(node.value)), 1e9) for node in nodes if isinstance(node, Number))
    bindings = sum(isinstance(node, (Binding, Definition)) for node in nodes)
    return len(nodes) + bindings, numbers


def _smaller(tree: Genome, path: Path) -> Iterator[Genome]:
    """Genomes with less at a path, the smallest first."""
    node = at(tree, path)
    if isinstance(node, Genome):
        for index in range(len(node.definitions)):
            yield replace(node, definitions=_without(node.definitions, index))
    elif isinstance(node, Definition):
        yield from _inlined(tree, node)
    elif isinstance(node, EXPRESSIONS):
        for new in sorted(_replacements(tree, path, node), key=lambda new: sum(1 for _ in walk(new))):
            yield put(tree, path, new)


def _inlined(tree: Genome, definition: Definition) -> Iterator[Genome]:
    """The genome with a definition written out where it is used."""
    if definition.name in ("model", "recipe"):
        return
    value = definition.value
    if definition.parameters is not None:
        value = Function(definition.parameters, value)
    others = [d for d in tree.definitions if d != definition]
    with_value = (replace(d, value=substitute(d.value, {definition.name: value})) for d in others)
    try:
        yield replace(tree, definitions=tuple(with_value))
    except Exception:  # a name would be captured
        return


def _replacements(tree: Genome, path: Path, node: Expr) -> Iterator[Expr]:
    """Expressions to put in the place of one."""
    if isinstance(node, Number):
        yield from (Number(n) for n in _lower(node.value))
        return
    if not isinstance(node, Name):
        yield from (Name(name) for name in _in_sight(tree, path))
        yield Number(1)
        yield from _parts(node)
    if isinstance(node, Block):
        for index, binding in enumerate(node.bindings):
            yield _block(_without(node.bindings, index), node.result)
            yield from _without_binding(node, index, binding)
    elif isinstance(node, Call):
        for index in range(len(node.arguments)):
            yield replace(node, arguments=_without(node.arguments, index))
    elif isinstance(node, ListOf):
        for index in range(len(node.items)):
            yield replace(node, items=_without(node.items, index))
    elif isinstance(node, Function) and len(node.parameters) > 1:
        for index in range(len(node.parameters)):
            yield replace(node, parameters=_without(node.parameters, index))


def _without_binding(block: Block, index: int, binding: Binding) -> Iterator[Expr]:
    """A block with a binding written out where its name is used."""
    later = Block(block.bindings[index + 1 :], block.result)
    try:
        new = substitute(later if later.bindings else later.result, {binding.name: binding.value})
    except Exception:  # a name would be captured
        return
    bindings, result = (new.bindings, new.result) if isinstance(new, Block) else ((), new)
    yield _block((*block.bindings[:index], *bindings), result)


def _parts(node: Expr) -> Iterator[Expr]:
    """The expressions inside one, down to two levels."""
    for _, child in children(node):
        inner = child.value if isinstance(child, (Argument, Binding)) else child
        if isinstance(inner, EXPRESSIONS):
            yield inner
            below = (c.value if isinstance(c, (Argument, Binding)) else c for _, c in children(inner))
            yield from (deeper for deeper in below if isinstance(deeper, EXPRESSIONS))


def _in_sight(tree: Genome, path: Path) -> list[str]:
    """Names bound around a path, innermost last: parameters and earlier bindings of the blocks that it is in."""
    names: list[str] = []
    node: Tree = tree
    for depth in range(len(path) + 1):
        try:
            node = at(tree, path[:depth])
        except (AttributeError, TypeError):
            continue
        if isinstance(node, (Function, Definition)):
            names += [parameter.name for parameter in node.parameters or ()]
        elif isinstance(node, Block):
            names += [binding.name for binding in node.bindings]
    return list(dict.fromkeys(names))


def _lower(value: int | float) -> list[int | float]:
    """Simpler numbers than one, of the same kind."""
    if isinstance(value, int):
        return [n for n in (0, 1, 2, 4, 8, value // 2, value - 1) if 0 <= n < value]
    return [float(f"{value:.1g}")] if float(f"{value:.1g}") != value else []


def _block(bindings: tuple[Binding, ...], result: Expr) -> Expr:
    return Block(bindings, result) if bindings else result


def _without(items: tuple, index: int) -> tuple:
    return items[:index] + items[index + 1 :]


def _bare(tree: Genome) -> Genome:
    """The genome without comments."""
    return parse(re.sub(r"#[^\n]*", "", format_genome(tree)))


def _text(tree: Genome) -> str | None:
    """The genome as text, or None where the tree is no genome."""
    try:
        text = format_genome(tree)
        parse(text)
    except (GenomeError, ValueError, IndexError):
        return None
    return text


def reduce_text(content: Content, fails: FailsText, seconds: float = SECONDS) -> Content:
    """The shortest part of a text found within some seconds that still fails: halves, quarters … taken away."""
    deadline = time.monotonic() + seconds
    size = max(1, len(content) // 2)
    while size and time.monotonic() < deadline:
        start, shrunk = 0, False
        while start < len(content) and time.monotonic() < deadline:
            candidate = content[:start] + content[start + size :]  # type: ignore[operator]
            if candidate and fails(candidate):
                content, shrunk = candidate, True
            else:
                start += size
        size = size if shrunk and size < len(content) else size // 2
    return content
