"""What to call the parts of a program that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from foundry.compiler.difference.view import View
from foundry.compiler.difference.wiring import Keys, Value, is_part
from foundry.compiler.outline import Body, Step
from foundry.compiler.spelling import described, formula, head, narrowed, title, written_out
from foundry.dsl.format import format_expr
from foundry.dsl.quote import named, quote, shown
from foundry.dsl.syntax import Function
from foundry.dsl.values import Closure

ENOUGH = 3  # steps of one place that are named
LONG = 40  # characters for each of several
NOTHING = "none"


def setting(x: Step, y: Step, name: str, old: Any, new: Any, place: str) -> tuple[str, ...]:
    """Place, subject, before and after of an argument of a primitive."""
    if x.op == "embed":
        tokens = any(isinstance(i, Step) and i.type.is_tokens for i in x.inputs)
        words = {"vocab": "vocabulary" if tokens else "positions"}
        return place, words.get(name, name), f"{old:,}", f"{new:,}"
    if x.op == "unembed" and name == "tied":
        own = ("its own weights", "the embedding's weights")
        return place, "output", own[bool(old)], own[bool(new)]
    if x.op == "experts" and name in ("times", "active"):
        return place, {"times": "experts", "active": "active experts"}[name], str(old), str(new)
    if x.op == "attend" and name == "sink":
        return place or x.title, name, *((NOTHING, "one per head")[bool(value)] for value in (old, new))
    texts = tuple("its default" if value is None else shown(quote(value)) for value in (old, new))
    if x.op == "attend" and place:
        return place, name, *texts
    subject = y.label or y.title
    return (place, f"{subject} {name}", *texts) if place else (subject, name, *texts)


def slot_texts(old: str, before: Body | None, new: str, after: Body | None) -> tuple[str, str]:
    """Two functions in slots, by what the genomes call them, or by what they compute where that is the same."""
    if old != new or before is None or after is None:
        return old, new
    p, q = narrowed(*(formula(body.result, lambda s: s, written_out) for body in (before, after)))
    return shown(p), shown(q)


def name_of(function: Any) -> str:
    """What a genome calls a function in a slot."""
    return NOTHING if function is None else named(function)


def listed(steps: Sequence[Step]) -> str:
    """Steps one after another, the first few of them."""
    if len(steps) == 1:
        return described(steps[0])
    texts = [shown(head(step), LONG) for step in steps[:ENOUGH]]
    if len(steps) > ENOUGH:
        texts.append(f"{len(steps) - ENOUGH} more")
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def where(view: View, steps: Sequence[Step]) -> str:
    """Where steps stand: before what reads them."""
    reader = view.readers()[steps[-1]]
    return f"before {reader.label or reader.title}" if reader is not None else ""


def source(function: Closure | None) -> str:
    """The text of a function."""
    return shown(Function(function.parameters, function.body)) if function is not None else "other code"


def formulas(a: View, b: View, found: Keys, x: Value, y: Value) -> tuple[str, str]:
    """Two values as formulas, but by its name one that the other is made of; ("", "") where they look the same."""
    labels = [{found[step]: step.label for step in view.order if step.label} for view in (a, b)]

    def name(step: Step) -> str:
        there = [known.get(found[step], "") for known in labels]
        if step.is_term:
            return step.label if all(there) else ""
        return step.label if there[0] == there[1] and step.label else title(step)

    def within(step: Step) -> str:
        return "" if step in (x, y) else name(step)

    for naming in (lambda step: "" if step.is_term and step in (x, y) else name(step), within, written_out):
        p, q = formula(x, a.resolve, naming), formula(y, b.resolve, naming)
        if format_expr(p) == format_expr(q):
            continue
        before, after = (shown(e) for e in narrowed(p, q))
        if isinstance(x, Step) and is_part(b, found, x, y):
            before = x.label or before
        elif isinstance(y, Step) and is_part(a, found, y, x):
            after = y.label or after
        return before, after
    return "", ""
