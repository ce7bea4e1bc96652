"""Two bodies laid side by side: which step of one corresponds to which step of the other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from foundry.compiler.difference.alignment import Pairs, align
from foundry.compiler.outline import Body, Step, purpose
from foundry.dsl.registry import PRIMITIVES

ALIKE = 0.5  # the share of operations in common from which two blocks correspond
ROUNDS = 4  # of dissolving calls that the other body has written out


@dataclass(eq=False)
class View:
    """The steps of a body in execution order, some calls dissolved into theirs.

    stands_for: the step that computes the value of one that is gone. apart: steps that are not aligned here.
    """

    body: Body
    order: list[Step]
    stands_for: dict[Step, Step] = field(default_factory=dict)
    apart: frozenset[Step] = frozenset()
    read_by: dict[Step, Step | None] | None = None  # what `readers` found

    @staticmethod
    def of(body: Body) -> View:
        return View(body, list(body.steps))

    def copy(self) -> View:
        """Another view of the same body, which may be dissolved further."""
        return replace(self, order=list(self.order), stands_for=dict(self.stands_for))

    def resolve(self, step: Step) -> Step:
        """The step that computes the value of one."""
        while step in self.stands_for:
            step = self.stands_for[step]
        return step

    def reads(self, step: Step) -> list[Step]:
        """The steps whose values a step reads."""
        return [self.resolve(i) for i in step.inputs if isinstance(i, Step)]

    def dissolve(self, step: Step) -> None:
        """Put the steps of a call in its place."""
        assert step.body is not None
        place = self.order.index(step)
        self.order[place : place + 1] = step.body.steps
        outer = [i for i in step.inputs if isinstance(i, Step)]
        self.stands_for.update(zip(step.body.inputs, outer, strict=False))
        self.stands_for[step] = step.body.result
        self.read_by = None

    @property
    def anchors(self) -> list[Step]:
        """The steps that have a place of their own: not the terms of formulas, nor weights that are only handed on."""
        return [step for step in self.order if not step.is_term and step.op != "shared" and step not in self.apart]

    def readers(self) -> dict[Step, Step | None]:
        """For each step the first anchor that reads its value, through formulas too; None where the result does."""
        if self.read_by is None:
            self.read_by = self._readers()
        return self.read_by

    def _readers(self) -> dict[Step, Step | None]:
        place = {step: n for n, step in enumerate(self.order)}
        nobody = len(place)
        first: dict[Step, int] = {}
        for step in reversed(self.order):
            reading = first.get(step, nobody) if step.is_term else place[step]
            for read in self.reads(step):
                first[read] = min(reading, first.get(read, nobody))
        return {step: self.order[first[step]] if first.get(step, nobody) < nobody else None for step in place}


def side_by_side(a: View, b: View) -> Pairs:
    """Pairs of corresponding anchors, by position. Calls that the other body has written out are dissolved."""
    for _ in range(ROUNDS):
        pairs = _aligned(a, b)
        lone_a = _without(a.anchors, {i for i, _ in pairs})
        lone_b = _without(b.anchors, {j for _, j in pairs})
        calls = [(a, step) for step in lone_a if _written_out(step, lone_b)]
        calls += [(b, step) for step in lone_b if _written_out(step, lone_a)]
        if not calls:
            return pairs
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


def likeness(x: Step, y: Step) -> float:
    """How well two steps correspond; 0 where they do not. Blocks count for more than what stands between them."""
    if x.op != y.op or _reads_tokens(x) != _reads_tokens(y):
        return 0.0
    if x.op != "call":
        return 2 + 0.5 * (x.label == y.label) + 0.5 * (x.digest == y.digest)
    weight = 1.0 if x.is_block and y.is_block else 0.4
    if x.digest == y.digest:
        return weight * (4 + 0.5 * (x.title == y.title))
    if x.title == y.title != "fn":
        return weight * (3 + 0.5 * (x.role == y.role))
    if x.role and x.role == y.role:
        return weight * 2.5
    if x.is_block != y.is_block:
        return 0.0
    if not x.is_block:
        return 1.0 if purpose(x) == purpose(y) else 0.0
    shared = overlap(x, y)
    return 1 + shared if shared >= ALIKE else 0.0


def _reads_tokens(step: Step) -> bool:
    return any(isinstance(i, Step) and i.type.is_tokens for i in step.inputs)


def overlap(x: Step, y: Step) -> float:
    """The share of operations that two blocks have in common, formulas aside."""
    a, b = _machinery(x), _machinery(y)
    either = sum((a | b).values())
    return sum((a & b).values()) / either if either else 1.0


def _machinery(step: Step) -> Counter[str]:
    return Counter({op: n for op, n in step.content.items() if not _is_formula(op)})


def _is_formula(op: str) -> bool:
    return op not in PRIMITIVES or PRIMITIVES[op].kind in ("pointwise", "reduce") or op == "param"


def _without(steps: list[Step], positions: set[int]) -> list[Step]:
    return [step for n, step in enumerate(steps) if n not in positions]


def _written_out(call: Step, others: list[Step]) -> bool:
    """Whether steps of the other body do what a call does."""
    if call.op != "call" or call.body is None or not call.is_block:
        return False
    loose = Counter(step.op for step in others if step.op != "call")
    wanted = _machinery(call)
    return sum((wanted & loose).values()) >= ALIKE * sum(wanted.values())
