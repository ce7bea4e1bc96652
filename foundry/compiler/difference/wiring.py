"""Where two bodies read different values, given which of their steps correspond."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foundry.compiler.difference.view import View
from foundry.compiler.outline import Step
from foundry.dsl.registry import PRIMITIVES

Value = Step | float
Matched = Sequence[tuple[Step, Step]]
Keys = dict[Step, int]
FINAL = ("input", "number", "param")  # terms that have no operands


def keys(a: View, b: View, matched: Matched) -> Keys:
    """For each step of either body a number that is equal for values that correspond.

    A step without a counterpart is passed through: what it reads has its number, since the step itself is a
    difference that is said on its own.
    """
    numbers: dict[object, int] = {}
    found: Keys = {}

    def note(step: Step, key: object) -> None:
        found[step] = numbers.setdefault(key, len(numbers))

    for view in (a, b):
        for n, step in enumerate(view.body.inputs):
            note(step, ("input", n))
        for n, step in enumerate(step for step in view.order if step.op == "shared"):
            note(step, ("shared", n))
    for n, (x, y) in enumerate(matched):
        note(x, ("pair", n))
        note(y, ("pair", n))
    for view in (a, b):
        for step in view.order:
            if step not in found:
                read = [found[view.resolve(i)] if isinstance(i, Step) else ("number", i) for i in step.inputs]
                note(step, _term(step, read) if step.is_term else ("alone", step.digest))
                through = next((r for r in read if isinstance(r, int)), None)
                if not step.is_term and through is not None:
                    found[step] = through
    return found


def _term(step: Step, read: Sequence[object]) -> object:
    commutative = step.op in PRIMITIVES and PRIMITIVES[step.op].commutative
    return step.op, tuple(sorted(read, key=str) if commutative else read), _own(step)


def _own(step: Step) -> bytes:
    """What a term computes, whatever it reads."""
    return step.digest if step.op in FINAL else repr(sorted(step.node.attrs.items(), key=str)).encode()


def ends(x: Step, y: Step) -> list[tuple[str, Value, Value]]:
    """What two steps read, input by input, and what to call it."""
    title = y.label or y.title
    if y.op in PRIMITIVES:
        names = [arg.name for arg in PRIMITIVES[y.op].args if arg.is_tensor]
    else:
        names = [i.title for i in y.body.inputs] if y.body is not None else []
    several = len(y.inputs) > 1
    return [
        (f"{title} {names[n] if several and n < len(names) else 'input'}", p, q)
        for n, (p, q) in enumerate(zip(x.inputs, y.inputs, strict=False))
    ]


def disagreements(a: View, b: View, found: Keys, x: Value, y: Value) -> Iterator[tuple[Value, Value]]:
    """The smallest formulas in which two values differ, from the outside in."""
    stack = [(x, y)]
    seen: set[tuple[Value, Value]] = set()
    while stack:
        p, q = stack.pop()
        p = a.resolve(p) if isinstance(p, Step) else p
        q = b.resolve(q) if isinstance(q, Step) else q
        if (p, q) in seen or _key(found, p) == _key(found, q):
            continue
        seen.add((p, q))
        inner = _operands(a, b, found, p, q)
        if inner is None:
            yield p, q
        else:
            stack.extend(reversed(inner))


def _key(found: Keys, value: Value) -> object:
    return found[value] if isinstance(value, Step) else ("number", value)


def _operands(a: View, b: View, found: Keys, p: Value, q: Value) -> list[tuple[Value, Value]] | None:
    """The operands that differ, where it is enough to say how they do; else None."""
    if not (isinstance(p, Step) and isinstance(q, Step) and p.is_term and q.is_term and p.op == q.op):
        return None
    if len(p.inputs) != len(q.inputs) or p.op in FINAL or _own(p) != _own(q):
        return None
    xs: list[Value] = [a.resolve(i) if isinstance(i, Step) else i for i in p.inputs]
    ys: list[Value] = [b.resolve(i) if isinstance(i, Step) else i for i in q.inputs]
    if PRIMITIVES[p.op].commutative:
        for x in list(xs):
            match = next((y for y in ys if _key(found, x) == _key(found, y)), None)
            if match is not None:
                xs.remove(x)
                ys.remove(match)
    pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if _key(found, x) != _key(found, y)]
    return pairs if all(_is_formula(x) and _is_formula(y) for x, y in pairs) else None


def _is_formula(value: Value) -> bool:
    return isinstance(value, Step) and value.is_term and bool(value.inputs)


def is_part(view: View, found: Keys, value: Step, whole: Value) -> bool:
    """Whether a formula of a body is made of a value that corresponds to one of the other body."""
    stack = [view.resolve(whole)] if isinstance(whole, Step) else []
    seen = set(stack)
    while stack:
        for step in view.reads(stack.pop()):
            if found[step] == found[value]:
                return True
            if step.is_term and step not in seen:
                seen.add(step)
                stack.append(step)
    return False


def only_joins(view: View, found: Keys, matched: set[Step], value: Value, other: Value) -> bool:
    """Whether a formula of a body is a value of the other body together with a step that has no counterpart there,
    which is told of anyway."""
    if not (isinstance(value, Step) and isinstance(other, Step) and other.is_term and len(other.inputs) == 2):
        return False
    operands = view.reads(other)
    rest = [o for o in operands if found[o] != found[value]]
    return len(operands) == 2 and len(rest) == 1 and not rest[0].is_term and rest[0] not in matched


def spelled_otherwise(a: View, b: View, matched: Matched) -> bool:
    """Whether calls without counterpart are formulas that the other body has written out, and nothing else differs."""
    views = a.copy(), b.copy()
    for view, kept in zip(views, ({x for x, _ in matched}, {y for _, y in matched}), strict=True):
        while lone := [step for step in view.anchors if step not in kept]:
            if any(step.op != "call" or step.body is None or step.is_block for step in lone):
                return False
            for step in lone:
                view.dissolve(step)
    found = keys(*views, matched)
    pairs = [(p, q) for x, y in matched for _, p, q in ends(x, y)]
    pairs.append((a.body.result, b.body.result))
    return not any(True for p, q in pairs for _ in disagreements(*views, found, p, q))
