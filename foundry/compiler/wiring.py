"""Two bodies laid side by side: which step corresponds to which, and where they read different values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from foundry.compiler.alignment import Pairs, align
from foundry.compiler.outline import Body, Step
from foundry.dsl.registry import PRIMITIVES

ALIKE = 0.5  # the share of operations in common from which two blocks correspond
ROUNDS = 4  # of dissolving calls that the other body has written out


@dataclass(eq=False)
class View:
    """The steps of a body in execution order, some calls dissolved into theirs; `apart` are those not to be aligned,
    `lone` those without a counterpart."""

    body: Body
    order: list[Step] = field(default_factory=list)
    stands_for: dict[Step, Step] = field(default_factory=dict)
    apart: frozenset[Step] = frozenset()
    lone: frozenset[Step] = frozenset()

    @staticmethod
    def of(body: Body) -> View:
        return View(body, list(body.steps))

    def resolve(self, step: Step) -> Step:
        """The step that computes the value of one."""
        while step in self.stands_for:
            step = self.stands_for[step]
        return step

    def dissolve(self, step: Step) -> None:
        """Put the steps of a call in its place."""
        assert step.body is not None
        place = self.order.index(step)
        self.order[place : place + 1] = step.body.steps
        outer = [i for i in step.inputs if isinstance(i, Step)]
        self.stands_for.update(zip(step.body.inputs, outer, strict=True))
        self.stands_for[step] = step.body.result

    @property
    def anchors(self) -> list[Step]:
        """The steps that have a place of their own: all but the terms of formulas."""
        return [step for step in self.order if not step.is_term and step not in self.apart]

    def readers(self) -> dict[Step, Step | None]:
        """For each step the first anchor that reads its value, through formulas too; None where the result does."""
        place = {step: n for n, step in enumerate(self.order)}
        first: dict[Step, int] = {}
        for step in reversed(self.order):
            reading = first.get(step, len(place)) if step.is_term else place[step]
            for read in (self.resolve(i) for i in step.inputs if isinstance(i, Step)):
                first[read] = min(reading, first.get(read, len(place)))
        return {step: self.order[first[step]] if first.get(step, len(place)) < len(place) else None for step in place}

    def copy(self) -> View:
        """Another view of the same body, which may be dissolved further."""
        return replace(self, order=list(self.order), stands_for=dict(self.stands_for))


def likeness(x: Step, y: Step) -> float:
    """How well two steps correspond; 0 where they do not."""
    if x.op != y.op:
        return 0.0
    if x.op != "call":
        if _reads_tokens(x) != _reads_tokens(y):
            return 0.0
        return 2 + 0.5 * (x.label == y.label) + 0.5 * (x.digest == y.digest)
    if x.digest == y.digest:
        return 4 + 0.5 * (x.title == y.title)
    if x.title == y.title != "fn":
        return 3 + 0.5 * (x.role == y.role)
    if x.role and x.role == y.role:
        return 2.5
    if x.is_block != y.is_block:
        return 0.0
    if not x.is_block:
        return 1.2 if purpose(x) == purpose(y) else 0.0
    shared = overlap(x, y)
    return 1 + shared if shared >= ALIKE else 0.0


def _reads_tokens(step: Step) -> bool:
    return any(isinstance(i, Step) and i.type.is_tokens for i in step.inputs)


def overlap(x: Step, y: Step) -> float:
    """The share of operations that two blocks have in common, formulas aside."""
    a, b = (Counter({op: n for op, n in s.content.items() if not _is_formula(op)}) for s in (x, y))
    return sum((a & b).values()) / sum((a | b).values())


def purpose(step: Step) -> str:
    """What a function that is no block is for."""
    kinds = {PRIMITIVES[op].kind for op in step.content if op in PRIMITIVES}
    if "position" in step.content:
        return "positions"
    if "reduce" in kinds:
        return "norm"
    return "activation" if kinds <= {"pointwise", "weights"} and step.op == "call" else "function"


def side_by_side(a: View, b: View) -> Pairs:
    """Pairs of corresponding anchors, by position. Calls that the other body has written out are dissolved."""
    for _ in range(ROUNDS):
        xs, ys = a.anchors, b.anchors
        pairs = _aligned(a, b)
        lone_a = _without(xs, {i for i, _ in pairs})
        lone_b = _without(ys, {j for _, j in pairs})
        calls = [(a, s) for s in lone_a if _written_out(s, lone_b)] + [
            (b, s) for s in lone_b if _written_out(s, lone_a)
        ]
        if not calls:
            break
        for view, step in calls:
            view.dissolve(step)
    return _aligned(a, b)


def _aligned(a: View, b: View) -> Pairs:
    """What corresponds; of several steps alike, the one that feeds what the other feeds."""
    first, second = a.readers(), b.readers()

    def score(x: Step, y: Step) -> float:
        like, p, q = likeness(x, y), first[x], second[y]
        fed = p is q if p is None or q is None else (p.op, p.title) == (q.op, q.title)
        return like + 0.25 * fed if like else 0.0

    return align(a.anchors, b.anchors, score, lambda step: (step.op, step.title, step.digest))


def _without(steps: list[Step], positions: set[int]) -> list[Step]:
    return [step for n, step in enumerate(steps) if n not in positions]


def _written_out(call: Step, others: list[Step]) -> bool:
    """Whether steps of the other body do what a call does."""
    if call.op != "call" or call.body is None or not call.is_block:
        return False
    loose = Counter[str](step.op for step in others if step.op != "call")
    wanted = Counter({op: n for op, n in call.content.items() if not _is_formula(op)})
    return sum((wanted & loose).values()) >= ALIKE * sum(wanted.values())


def _is_formula(op: str) -> bool:
    return op not in PRIMITIVES or PRIMITIVES[op].kind in ("pointwise", "reduce") or op == "param"


Keys = dict[Step, int]


def keys(a: View, b: View, pairs: list[tuple[Step, Step]]) -> Keys:
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
    for n, (x, y) in enumerate(pairs):
        note(x, ("pair", n))
        note(y, ("pair", n))
    for view in (a, b):
        for step in view.order:
            if step in found:
                continue
            read = [found[view.resolve(i)] if isinstance(i, Step) else ("number", i) for i in step.inputs]
            if step.is_term:
                commutative = step.op in PRIMITIVES and PRIMITIVES[step.op].commutative
                note(step, (step.op, tuple(sorted(read, key=str) if commutative else read), _own(step)))
            else:
                through = next((r for r in read if isinstance(r, int)), None)
                found[step] = numbers.setdefault(("alone", step.digest), len(numbers)) if through is None else through
    return found


def _own(step: Step) -> bytes:
    """What a term computes, whatever it reads."""
    return step.digest if step.op in ("number", "param") else repr(sorted(step.node.attrs.items(), key=str)).encode()


def disagreements(
    a: View, b: View, found: Keys, x: Step | float, y: Step | float
) -> Iterator[tuple[Step | float, Step | float]]:
    """The smallest formulas in which two values differ, from the outside in."""
    stack = [(x, y)]
    seen: set[tuple[object, object]] = set()
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


def _key(found: Keys, value: Step | float) -> object:
    return found[value] if isinstance(value, Step) else ("number", value)


def _operands(
    a: View, b: View, found: Keys, p: Step | float, q: Step | float
) -> list[tuple[Step | float, Step | float]] | None:
    """The operands that differ, where it is enough to say how they do; else None."""
    if not (isinstance(p, Step) and isinstance(q, Step) and p.is_term and q.is_term and p.op == q.op):
        return None
    if len(p.inputs) != len(q.inputs) or p.op in ("input", "number", "param") or _own(p) != _own(q):
        return None
    xs = [(a.resolve(i) if isinstance(i, Step) else i) for i in p.inputs]
    ys = [(b.resolve(i) if isinstance(i, Step) else i) for i in q.inputs]
    if PRIMITIVES[p.op].commutative:
        for x in list(xs):
            match = next((y for y in ys if _key(found, x) == _key(found, y)), None)
            if match is not None:
                xs.remove(x)
                ys.remove(match)
        pairs = list(zip(xs, ys, strict=True))
    else:
        pairs = [(x, y) for x, y in zip(xs, ys, strict=True) if _key(found, x) != _key(found, y)]
    telling = all(isinstance(x, Step) and isinstance(y, Step) and x.is_term and y.is_term and x.inputs and y.inputs
                  for x, y in pairs)  # fmt: skip
    return pairs if telling else None


def is_part(view: View, found: Keys, value: Step, whole: Step | float) -> bool:
    """Whether a formula of a body is made of a value that corresponds to one of the other body."""
    stack = [whole]
    while stack:
        step = stack.pop()
        if isinstance(step, Step):
            inner = [view.resolve(i) for i in step.inputs if isinstance(i, Step)]
            if any(found[i] == found[value] for i in inner):
                return True
            stack += [i for i in inner if i.is_term]
    return False
