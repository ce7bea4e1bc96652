"""How two genomes differ, in words a reader of genomes uses."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher

from foundry.dsl.check import prelude
from foundry.dsl.format import format_expr
from foundry.dsl.parse import parse
from foundry.dsl.syntax import Binary, Binding, Block, Call, Definition, Expr, Function, Genome, Name, Number, Unary
from foundry.search.variation.trees import links

LONGEST = 90  # characters of an expression in a difference


def describe_difference(a_text: str, b_text: str) -> list[str]:
    """What changed from the first genome to the second, a line each, in the order of the text.

    Raises:
        GenomeError: one of them does not parse.
    """
    return describe_trees(parse(a_text), parse(b_text))


def describe_trees(a: Genome, b: Genome) -> list[str]:
    """What changed from one tree to the other, a line each."""
    old = {d.name: d for d in a.definitions}
    new = {d.name: d for d in b.definitions}
    lines: list[str] = []
    for definition in b.definitions:
        if definition.name not in old:
            lines += _added(definition, a)
        elif old[definition.name] != definition:
            lines += _definition(old[definition.name], definition)
    lines += [f"{name}: dropped" for name in old if name not in new]
    return list(dict.fromkeys(lines))


def _short(expr: Expr) -> str:
    text = format_expr(expr)
    return text if len(text) <= LONGEST else text[: LONGEST - 1].rstrip() + "…"


def _added(definition: Definition, before: Genome) -> Iterator[str]:
    """A definition that is new: a changed copy of one that was there, or of one of the prelude, or fresh."""
    stem = definition.name
    while stem:
        original = before.definition(stem) or prelude().definition(stem)
        if original is not None and (original.parameters is None) == (definition.parameters is None):
            changes = list(_definition(original, definition))
            head = f"{definition.name}, a copy of {original.name}"
            if not changes:
                yield head
            for change in changes:
                yield head + ": " + change.split(": ", 1)[-1]
            return
        stem = stem.rpartition("_")[0]
    shown = definition.value if definition.parameters is None else Function(definition.parameters, definition.value)
    yield f"{definition.name}: new, {_short(shown)}"


def _definition(a: Definition, b: Definition) -> Iterator[str]:
    label = a.name
    if a.parameters != b.parameters and a.parameters is not None and b.parameters is not None:
        old = {p.name: p.default for p in a.parameters}
        new = {p.name: p.default for p in b.parameters}
        if list(old) != list(new):
            yield f"{label}: parameters {', '.join(old)} → {', '.join(new)}"
        for name in old:
            default, other = old[name], new.get(name)
            if default is not None and other is not None and default != other:
                yield from _changes(default, other, label, name)
    yield from _changes(a.value, b.value, label, "")


def _line(label: str, subject: str, change: str) -> str:
    return f"{label}: {subject} {change}" if subject else f"{label}: {change}"


def _changes(a: Expr, b: Expr, label: str, subject: str) -> Iterator[str]:
    """The smallest places where two expressions differ. `subject` is the argument or binding that they are."""
    if a == b:
        return
    if isinstance(a, Call) and isinstance(b, Call) and a.function == b.function:
        yield from _arguments(a, b, label)
    elif isinstance(a, Block) or isinstance(b, Block):
        yield from _bindings(_as_block(a), _as_block(b), label, subject)
    elif isinstance(a, Function) and isinstance(b, Function) and a.parameters == b.parameters:
        yield from _changes(a.body, b.body, label, subject)
    elif len(links(a)) > 1 and len(links(b)) > 1:
        yield from _stages(links(a), links(b), label, subject)
    elif isinstance(a, Binary) and isinstance(b, Binary) and a.operator == b.operator and _close(a, b):
        yield from _changes(a.left, b.left, label, subject)
        yield from _changes(a.right, b.right, label, subject)
    elif isinstance(a, Unary) and isinstance(b, Unary) and a.operator == b.operator:
        yield from _changes(a.operand, b.operand, label, subject)
    else:
        yield _line(label, subject, f"{_short(a)} → {_short(b)}")


def _as_block(expr: Expr) -> Block:
    return expr if isinstance(expr, Block) else Block((), expr)


def _stages(a: list[Expr], b: list[Expr], label: str, subject: str) -> Iterator[str]:
    """Pipelines, stage by stage: the layers that were replaced, inserted, left out."""
    before, after = [format_expr(stage) for stage in a], [format_expr(stage) for stage in b]
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "replace" and j - i == m - k == 1:
            yield from _changes(a[i], b[k], label, subject)
        elif tag == "replace":
            yield _line(label, subject, f"{' >> '.join(before[i:j])} → {' >> '.join(after[k:m])}")
        elif tag == "delete":
            yield _line(label, subject, f"without {' >> '.join(before[i:j])}")
        elif tag == "insert":
            yield _line(label, subject, f"with {' >> '.join(after[k:m])}")


def _close(a: Binary, b: Binary) -> bool:
    """Whether two sums or products differ on one side only, in something longer than a number."""
    if a.left == b.left:
        return not isinstance(a.right, Number) and not isinstance(b.right, Number)
    if a.right == b.right:
        return not isinstance(a.left, Number) and not isinstance(b.left, Number)
    return type(a.left) is type(b.left) and type(a.right) is type(b.right) and a.operator == "+"


def _head(function: Expr) -> str:
    return function.id if isinstance(function, Name) else "fn"


def _arguments(a: Call, b: Call, label: str) -> Iterator[str]:
    head = _head(a.function)
    if head == "train":
        label = ""
    old_named = {x.name: x.value for x in a.arguments if x.name}
    new_named = {x.name: x.value for x in b.arguments if x.name}
    old_plain = [x.value for x in a.arguments if not x.name]
    new_plain = [x.value for x in b.arguments if not x.name]
    if len(old_plain) == len(new_plain):
        for old, new in zip(old_plain, new_plain, strict=True):
            yield from _changes(old, new, label, "")
    else:
        yield _line(label, "", f"{_short(a)} → {_short(b)}")
    for name in [*old_named, *(n for n in new_named if n not in old_named)]:
        place, subject = (label, name) if label else (name, "")
        if name not in new_named:
            yield _line(
                place, "", f"{head} without {name} = {_short(old_named[name])}" if label else "left at its default"
            )
        elif name not in old_named:
            added = f"{head} with {name} = {_short(new_named[name])}" if label else f"now {_short(new_named[name])}"
            yield _line(place, "", added)
        else:
            yield from _changes(old_named[name], new_named[name], place, subject)


def _bindings(a: Block, b: Block, label: str, subject: str) -> Iterator[str]:
    """Bindings aligned by name: changed, inserted, deleted; then the results."""
    before, after = [x.name for x in a.bindings], [x.name for x in b.bindings]
    for tag, i, j, k, m in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        olds, news = a.bindings[i:j], b.bindings[k:m]
        if tag == "equal" or (tag == "replace" and len(olds) == len(news)):
            for old, new in zip(olds, news, strict=True):
                if old.name != new.name:
                    yield _line(label, "", f"{_statement(old)} → {_statement(new)}")
                else:
                    yield from _changes(old.value, new.value, label, "")
        else:
            yield from (_line(label, "", f"without {_statement(old)}") for old in olds)
            yield from (_line(label, "", f"with {_statement(new)}") for new in news)
    yield from _changes(a.result, b.result, label, subject)


def _statement(binding: Binding) -> str:
    return f"{binding.name} = {_short(binding.value)}"
