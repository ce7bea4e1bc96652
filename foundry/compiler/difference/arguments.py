"""The arguments of two applications of functions: numbers, and functions that are handed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from foundry.compiler.difference.changes import Change
from foundry.compiler.outline import Body, Step, meaning
from foundry.dsl.program import Unit
from foundry.dsl.quote import named, quote, shown
from foundry.dsl.trace import closure_of
from foundry.dsl.values import FUNCTIONS, Axis, Partial

Ratios = frozenset[tuple[float, float]]
Known = frozenset[tuple[int, int]]
NUMBERS = (int, float)
VALUES = (int, float, tuple, Axis)


@dataclass(frozen=True)
class Arguments:
    """How arguments differ.

    handed_in: parameters that are functions and need no more said of them. said: these functions in pairs, by
    identity. ratios: numbers before and after.
    """

    changes: tuple[Change, ...]
    handed_in: frozenset[str]
    said: Known
    ratios: Ratios


def arguments(x: Step, y: Step, place: str, known: Known, explained: Ratios) -> Arguments:
    """What differs between the arguments of two calls.

    known: functions of which it has been said how they differ. explained: sizes that have changed: what changed in
    proportion to them follows.
    """
    changes: list[Change] = []
    names: set[str] = set()
    pairs: set[tuple[int, int]] = set()
    ratios: set[tuple[float, float]] = set()
    for name, old in x.arguments.items():
        if name not in y.arguments:
            continue
        new = y.arguments[name]
        if isinstance(old, NUMBERS) and isinstance(new, NUMBERS) and old != new:
            ratios.add((old, new))
        if name not in x.explicit | y.explicit and not _other_default(x, y, name):
            continue
        if isinstance(old, FUNCTIONS) and isinstance(new, FUNCTIONS):
            if (id(old), id(new)) in known:
                names.add(name)
            elif _differs_as_a_whole(name, x, y):
                if not _follows(old, new, explained):
                    changes.append(Change("changed", place, name, named(old), named(new)))
                names.add(name)
                pairs.add((id(old), id(new)))
        elif isinstance(old, VALUES) and isinstance(new, VALUES) and old != new:
            if isinstance(old, NUMBERS) and isinstance(new, NUMBERS) and proportional(old, new, explained):
                continue
            changes.append(Change("changed", place, name, shown(quote(old)), shown(quote(new))))
    return Arguments(tuple(changes), frozenset(names), frozenset(pairs), frozenset(ratios))


def _follows(old: Any, new: Any, ratios: Ratios) -> bool:
    """Whether two functions are one with numbers that changed in proportion to others."""
    if not (isinstance(old, Partial) and isinstance(new, Partial) and old.given.keys() == new.given.keys()):
        return False
    pairs = [(p, new.given[name]) for name, p in old.given.items()]
    numbers = all(isinstance(p, NUMBERS) and isinstance(q, NUMBERS) for p, q in pairs)
    return (
        named(old.function) == named(new.function)
        and numbers
        and all(p == q or proportional(p, q, ratios) for p, q in pairs)
    )


def proportional(before: float, after: float, ratios: Ratios) -> bool:
    """Whether a size changed in proportion to another one, or to two."""
    both = ratios | {(p * r, q * s) for p, q in ratios for r, s in ratios}
    return any(before * q == after * p for p, q in both)


def size_ratios(x: Step, y: Step) -> Ratios:
    """Sizes of what two steps read that differ."""
    out = set()
    for p, q in zip(x.node.tensors, y.node.tensors, strict=False):
        for old, new in ((p.type.width, q.type.width), (p.type.heads, q.type.heads)):
            if old != new and old and new:
                out.add((float(old), float(new)))
    return frozenset(out)


def _other_default(x: Step, y: Step, name: str) -> bool:
    """Whether two functions leave an argument at different defaults."""
    f, g = closure_of(x.function), closure_of(y.function)
    if f is None or g is None:
        return False
    old = {p.name: p.default for p in f.parameters}
    new = {p.name: p.default for p in g.parameters}
    return old.get(name) != new.get(name)


def _differs_as_a_whole(name: str, x: Step, y: Step) -> bool:
    """Whether a function that is an argument is best said by its name: it means something else, and is no block."""
    assert x.body is not None and y.body is not None
    uses = [s for body in (x.body, y.body) for s in body.steps if s.role == name]
    old, new = x.arguments[name], y.arguments[name]
    if any(step.is_block for step in uses) or named(old) == named(new):
        return False
    return _meanings(x.body, old) != _meanings(y.body, new)


def _meanings(body: Body, value: Any) -> list[bytes]:
    """What a function does wherever a body applies it, or hands it on to a slot."""
    out = []
    for step in body.steps:
        if step.function is value:
            out.append(step.digest)
        slots = {name: unit for name, unit in step.node.attrs.items() if isinstance(unit, Unit)}
        out += [meaning(unit) for name, unit in slots.items() if step.arguments.get(name) is value]
        if step.body is not None and any(v is value for v in step.arguments.values()):
            out += _meanings(step.body, value)
    return out
