"""What differs between two bodies: steps that correspond, with their arguments, and those that have no counterpart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foundry.compiler.alignment import align, gaps
from foundry.compiler.changes import Change, gathered
from foundry.compiler.outline import Body, Step, meaning
from foundry.compiler.spelling import described, formula, narrowed
from foundry.compiler.stack import (
    Layer,
    depth,
    holds_layers,
    layer_steps,
    layers,
    likest,
    pattern,
    sharing,
    sharing_in_words,
)
from foundry.compiler.wiring import Keys, View, disagreements, is_part, keys, overlap, purpose, side_by_side
from foundry.dsl.format import format_expr
from foundry.dsl.frames import PRELUDE
from foundry.dsl.program import Unit
from foundry.dsl.quote import named, quote, shown
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import Function
from foundry.dsl.trace import closure_of
from foundry.dsl.values import FUNCTIONS, Axis, Closure

FEW = 12  # changes inside a function beyond which it counts as rewritten
ENOUGH = 3  # steps of one place that are named
CLOSE = 0.7  # the share of operations from which a function counts as a changed copy of one of the prelude
NOTHING = "none"
Ratios = frozenset[tuple[float, float]]


@dataclass(frozen=True)
class Inside:
    """Where two bodies stand.

    place: the function, "" for the model. handed_in: parameters whose difference has been said. said: pairs of
    functions, by identity, of which that is so. ratios: sizes that have changed, before and after: what changed in
    proportion follows from them. alike: whether the two bodies are one text, so that numbers in it differ only because
    of what is given to it.
    """

    place: str = ""
    handed_in: frozenset[str] = frozenset()
    said: frozenset[tuple[int, int]] = frozenset()
    ratios: Ratios = frozenset()
    alike: bool = False

    def explains(self, before: float, after: float) -> bool:
        if self.alike and self.ratios:
            return True
        return any(before * q == after * p for p, q in self.ratios)


@dataclass(eq=False)
class Comparer:
    """Collects changes. `swapped` are steps of which one was put in place of the other, whatever they read."""

    changes: list[Change] = field(default_factory=list)
    swapped: set[tuple[Step, Step]] = field(default_factory=set)

    def note(self, kind: str, place: str, what: str, before: str, after: str) -> None:
        self.changes.append(Change(kind, place, what, before, after))

    # ---- bodies -------------------------------------------------------------------------------------------------

    def bodies(self, a: Body, b: Body, inside: Inside) -> None:
        """Everything that differs between two bodies."""
        before, after = View.of(a), View.of(b)
        matched = self.stacks(before, after, inside)
        pairs = side_by_side(before, after)
        xs, ys = before.anchors, after.anchors
        for i, j in pairs:
            inside = self.steps(xs[i], ys[j], inside)
        matched += [(xs[i], ys[j]) for i, j in pairs]
        if spelled_otherwise(before, after, matched):
            return
        for i, j in gaps(pairs, len(xs), len(ys)):
            self.gap(before, after, [xs[n] for n in i], [ys[n] for n in j], inside)
        self.wiring(before, after, matched, inside)

    def gap(self, a: View, b: View, xs: list[Step], ys: list[Step], inside: Inside) -> None:
        """Steps between two corresponding ones that have no counterpart."""
        xs = [x for x in xs if x.role not in inside.handed_in]
        ys = [y for y in ys if y.role not in inside.handed_in]
        if xs and ys:
            self.replaced(xs, ys, inside.place)
        elif xs:
            self.note("removed", inside.place, _where(a, xs), _listed(xs), "")
        elif ys:
            self.note("added", inside.place, _where(b, ys), "", _listed(ys))

    def replaced(self, xs: Sequence[Step], ys: Sequence[Step], place: str) -> None:
        """Steps in place of others: by their purpose where both have the same one."""
        x, y = xs[0], ys[0]
        self.swapped.add((x, y))
        light = (len(xs), len(ys)) == (1, 1) and not x.is_block and not y.is_block and x.op == y.op == "call"
        if light and x.role == y.role and (x.role or purpose(x) == purpose(y)):
            self.note("changed", place if x.role else "", x.role or purpose(x), described(x), described(y))
        else:
            self.note("replaced", place, "", _listed(xs), _listed(ys))

    def wiring(self, a: View, b: View, pairs: list[tuple[Step, Step]], inside: Inside) -> None:
        """Formulas between the steps, and which value goes where."""
        a.lone = frozenset(a.anchors) - {x for x, _ in pairs}
        b.lone = frozenset(b.anchors) - {y for _, y in pairs}
        found = keys(a, b, pairs)
        told = [(x, y) for x, y in pairs if (x, y) not in self.swapped and not (x.role and x.role in inside.handed_in)]
        ends = [end for x, y in told for end in _ends(x, y)]
        ends.append(("result", a.body.result, b.body.result))
        seen = set[tuple[object, object]]()
        for what, p, q in ends:
            for x, y in disagreements(a, b, found, p, q):
                if (x, y) in seen or _only_joins(a, b, found, x, y):
                    continue
                seen.add((x, y))
                before, after = _texts(a, b, found, x, y)
                if before != after:
                    formulas = any(isinstance(v, Step) and v.is_term and v.inputs for v in (x, y))
                    self.note("changed", inside.place or "model", "" if formulas else what, before, after)

    # ---- layers -------------------------------------------------------------------------------------------------

    def stacks(self, a: View, b: View, inside: Inside) -> list[tuple[Step, Step]]:
        """The layers of both bodies, one against one. Gives the steps that correspond; they take no further part."""
        for view in (a, b):
            while wrapping := next((s for s in view.order if holds_layers(s)), None):
                view.dissolve(wrapping)
        xs, ys = (layer_steps(view, not inside.place) for view in (a, b))
        if not xs or not ys:
            return []
        a.apart, b.apart = frozenset(xs), frozenset(ys)
        old, new = layers(xs), layers(ys)
        if depth(xs) != depth(ys):
            self.note("changed", inside.place, "layers", pattern(old), pattern(new))
        elif sharing(old) != sharing(new):
            self.note("changed", inside.place, "layers", sharing_in_words(old), sharing_in_words(new))
        self.changes += gathered(self.layer_pairs(old, new, inside), len(new), {layer.step.title for layer in new})
        likely = align(xs, ys, lambda x, y: 1 + (x.digest == y.digest), lambda s: (s.title, s.digest))
        return [(xs[i], ys[j]) for i, j in likely]

    def layer_pairs(self, old: list[Layer], new: list[Layer], inside: Inside) -> list[tuple[Change, list[int]]]:
        """What differs between layers that correspond, and in which layers: by place where there are as many as there
        were, else by kind."""
        places: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
        steps: dict[bytes, Step] = {}
        for n, layer in enumerate(new):
            other = old[n] if len(old) == len(new) else likest(layer, old)
            places[other.step.digest, layer.step.digest].append(n + 1)
            steps.setdefault(other.step.digest, other.step)
            steps.setdefault(layer.step.digest, layer.step)
        out = []
        for (before, after), numbers in places.items():
            if before != after:
                inner = Comparer()
                inner.calls(steps[before], steps[after], inside)
                out += [(change, numbers) for change in inner.changes]
        return out

    # ---- steps --------------------------------------------------------------------------------------------------

    def steps(self, x: Step, y: Step, inside: Inside) -> Inside:
        """Two steps that correspond. Gives what is known after them: a new width explains what follows from it."""
        if x.digest == y.digest or (x.role and x.role in inside.handed_in):
            return inside
        if x.op == "call":
            self.calls(x, y, inside)
            return inside
        inside = self.attributes(x, y, inside)
        for slot in {**x.slots, **y.slots}:
            self.slot(slot, x, y, inside)
        if x.body is not None and y.body is not None:
            self.bodies(x.body, y.body, replace(inside, place=x.op, handed_in=frozenset(), alike=False))
        return inside

    def attributes(self, x: Step, y: Step, inside: Inside) -> Inside:
        """The compile-time arguments of a primitive."""
        for name, old in x.node.attrs.items():
            new = y.node.attrs.get(name)
            if (
                old == new
                or not isinstance(old, (int, float, str, tuple))
                or not isinstance(new, type(old) | float | int)
            ):
                continue
            if isinstance(old, (int, float)) and isinstance(new, (int, float)):
                if inside.explains(old, new):
                    continue
                if x.op == "embed":
                    inside = replace(inside, ratios=inside.ratios | {(old, new)})
            place, what, before, after = _in_words(x, y, name, old, new, inside.place)
            self.note("changed", place, what, before, after)
        return inside

    def slot(self, name: str, x: Step, y: Step, inside: Inside) -> None:
        """A function in a slot of an attend: its score or its mask."""
        old, new = x.arguments.get(name), y.arguments.get(name)
        units = (x.node.attrs.get(name), y.node.attrs.get(name))
        if (id(old), id(new)) in inside.said or _alike(*units):
            return
        before, after = slot_texts(name_of(old), x.slots.get(name), name_of(new), y.slots.get(name))
        self.note("changed", inside.place or x.title, name, before, after)

    def calls(self, x: Step, y: Step, inside: Inside) -> None:
        """Two calls: their arguments, and what the functions do."""
        f, g = closure_of(x.function), closure_of(y.function)
        alike = f is not None and g is not None and f.body == g.body and x.title == y.title
        if not x.is_block or not y.is_block:
            self.light(x, y, inside, alike)
            return
        foreign = [h is None or h.span.file == PRELUDE for h in (f, g)]
        if x.title != y.title and not alike and (all(foreign) or (any(foreign) and overlap(x, y) < CLOSE)):
            self.replaced([x], [y], inside.place)
            return
        place = y.title if y.title != "fn" else y.role or "block"
        inner = Comparer()
        ratios = inside.ratios | _ratios(x, y)
        handed_in, said = inner.arguments(x, y, replace(inside, place=place))
        sizes = {(c.before, c.after) for c in inner.changes}
        ratios |= {(float(p), float(q)) for p, q in sizes if _is_number(p) and _is_number(q)}
        given = len(inner.changes)
        assert x.body is not None and y.body is not None
        inner.bodies(x.body, y.body, Inside(place, handed_in, inside.said | said, ratios, alike))
        if len(inner.changes) - given > FEW:
            del inner.changes[given:]
            if x.title != y.title:
                self.replaced([x], [y], inside.place)
                return
            inner.note("rewritten", place, "", _source(f), _source(g))
        self.changes += inner.changes

    def light(self, x: Step, y: Step, inside: Inside, alike: bool) -> None:
        """Norms, activations, rotations: what is no block."""
        if alike:
            before = len(self.changes)
            self.arguments(x, y, replace(inside, place=x.title))
            if len(self.changes) > before:
                return
        texts = described(x), described(y)
        if texts[0] != texts[1]:
            self.replaced([x], [y], inside.place)
        elif x.body is not None and y.body is not None:
            self.bodies(
                x.body, y.body, replace(inside, place=x.title, ratios=inside.ratios | _ratios(x, y), alike=alike)
            )

    def arguments(self, x: Step, y: Step, inside: Inside) -> tuple[frozenset[str], frozenset[tuple[int, int]]]:
        """The arguments of two applications. Gives the parameters that are functions and need no more said of them,
        and these functions in pairs."""
        names, pairs = set(), set()
        for name, old in x.arguments.items():
            if name not in y.arguments or not (name in x.explicit | y.explicit or _other_default(x, y, name)):
                continue
            new = y.arguments[name]
            if isinstance(old, FUNCTIONS) and isinstance(new, FUNCTIONS):
                if self.handed(name, x, y, inside):
                    names.add(name)
                    pairs.add((id(old), id(new)))
            elif (
                isinstance(old, (int, float, tuple, Axis)) and isinstance(new, (int, float, tuple, Axis)) and old != new
            ):
                numbers = isinstance(old, (int, float)) and isinstance(new, (int, float))
                if not (numbers and inside.explains(old, new)):  # type: ignore[arg-type]
                    self.note("changed", inside.place, name, shown(quote(old)), shown(quote(new)))
        return frozenset(names), frozenset(pairs)

    def handed(self, name: str, x: Step, y: Step, inside: Inside) -> bool:
        """A function that is an argument: whether all has been said of how it differs."""
        assert x.body is not None and y.body is not None
        old, new = x.arguments[name], y.arguments[name]
        if (id(old), id(new)) in inside.said:
            return True
        uses = [[s for s in body.steps if s.role == name] for body in (x.body, y.body)]
        if any(s.is_block for side in uses for s in side):
            return False
        before, after = named(old), named(new)
        if before == after or _meanings(x.body, old) == _meanings(y.body, new):
            return False
        self.note("changed", inside.place, name, before, after)
        return True


def slot_texts(old: str, before: Body | None, new: str, after: Body | None) -> tuple[str, str]:
    """Two functions in slots, by what the genomes call them, or by what they compute where that is the same."""
    if old != new or before is None or after is None:
        return old, new
    formulas = [formula(body.result, lambda s: s, lambda _: False) for body in (before, after)]
    p, q = narrowed(*formulas)
    return shown(p), shown(q)


def name_of(function: Any) -> str:
    """What a genome calls a function in a slot."""
    return NOTHING if function is None else named(function)


# ---- words --------------------------------------------------------------------------------------------------------


def _in_words(x: Step, y: Step, name: str, old: Any, new: Any, place: str) -> tuple[str, str, str, str]:
    """Place, subject, before and after of an argument of a primitive."""
    if x.op == "embed":
        tokens = x.inputs and isinstance(x.inputs[0], Step) and x.inputs[0].type.is_tokens
        words = {"vocab": "vocabulary" if tokens else "positions"}
        return place, words.get(name, name), f"{old:,}", f"{new:,}"
    if x.op == "unembed" and name == "tied":
        own = ("its own weights", "the embedding's weights")
        return place, "output", own[bool(old)], own[bool(new)]
    if x.op == "experts" and name in ("times", "active"):
        return place, {"times": "experts", "active": "active experts"}[name], str(old), str(new)
    subject = y.label if y.label and y.op in PRIMITIVES else y.title
    if place and subject == y.label:
        return place, f"{subject} {name}", shown(quote(old)), shown(quote(new))
    return place or subject, name if not place else f"{subject} {name}", shown(quote(old)), shown(quote(new))


def _listed(steps: Sequence[Step]) -> str:
    listed = [described(step, 90 if len(steps) == 1 else 40) for step in steps[:ENOUGH]]
    if len(steps) > ENOUGH:
        listed.append(f"{len(steps) - ENOUGH} more")
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


def _where(view: View, steps: Sequence[Step]) -> str:
    reader = view.readers()[steps[-1]]
    return f"before {reader.label or reader.title}" if reader is not None else ""


def _texts(a: View, b: View, found: Keys, x: Step | float, y: Step | float) -> tuple[str, str]:
    """Two values as formulas, but by its name one that the other is made of."""
    known = [{found[step] for step in view.order} for view in (b, a)]
    for short in (True, False):
        p, q = (
            formula(v, view.resolve, lambda s, there=there: short and (not s.is_term or (s.label and found[s] in there)))
            for v, view, there in ((x, a, known[0]), (y, b, known[1]))
        )
        if format_expr(p) == format_expr(q):
            continue
        before, after = (shown(e) for e in narrowed(p, q))
        if isinstance(x, Step) and is_part(b, found, x, y):
            before = x.label or before
        elif isinstance(y, Step) and is_part(a, found, y, x):
            after = y.label or after
        return before, after
    return "", ""


def spelled_otherwise(a: View, b: View, pairs: list[tuple[Step, Step]]) -> bool:
    """Whether calls without counterpart are formulas that the other body has written out, and nothing else differs."""
    a, b = a.copy(), b.copy()
    for view, matched in ((a, {x for x, _ in pairs}), (b, {y for _, y in pairs})):
        lone = [step for step in view.anchors if step not in matched]
        if any(step.body is None or step.op != "call" or step.is_block for step in lone):
            return False
        while light := [step for step in view.anchors if step not in matched and step.op == "call"]:
            for step in light:
                view.dissolve(step)
        if any(step not in matched for step in view.anchors):
            return False
    found = keys(a, b, pairs)
    ends = [end for x, y in pairs for end in _ends(x, y)]
    ends.append(("", a.body.result, b.body.result))
    return not any(True for _, p, q in ends for _ in disagreements(a, b, found, p, q))


def _ends(x: Step, y: Step) -> list[tuple[str, Step | float, Step | float]]:
    """What two steps read, input by input, and what to call it."""
    names, title = _argument_names(y), y.label or y.title
    several = len(y.inputs) > 1
    return [
        (f"{title} {names[n] if several and n < len(names) else 'input'}", p, q)
        for n, (p, q) in enumerate(zip(x.inputs, y.inputs, strict=False))
    ]


def _only_joins(a: View, b: View, found: Keys, x: Step | float, y: Step | float) -> bool:
    """Whether a formula has one more operand than the other, a step without counterpart that is told of anyway."""
    for one, other, view in ((x, y, b), (y, x, a)):
        if isinstance(one, Step) and isinstance(other, Step) and other.is_term and len(other.inputs) == 2:
            operands = [view.resolve(i) for i in other.inputs if isinstance(i, Step)]
            rest = [o for o in operands if found[o] != found[one]]
            if len(operands) == 2 and len(rest) == 1 and not rest[0].is_term and rest[0] in view.lone:
                return True
    return False


def _argument_names(step: Step) -> list[str]:
    if step.op in PRIMITIVES:
        return [arg.name for arg in PRIMITIVES[step.op].args if arg.is_tensor]
    return [i.title for i in step.body.inputs] if step.body is not None else []


def _source(function: Closure | None) -> str:
    return shown(Function(function.parameters, function.body)) if function is not None else "other code"


def _ratios(x: Step, y: Step) -> Ratios:
    """Sizes of the inputs that differ."""
    out = set()
    for p, q in zip(x.node.tensors, y.node.tensors, strict=False):
        for old, new in ((p.type.width, q.type.width), (p.type.heads, q.type.heads)):
            if old != new and old and new:
                out.add((float(old), float(new)))
    return frozenset(out)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _other_default(x: Step, y: Step, name: str) -> bool:
    """Whether two functions leave an argument at different defaults."""
    f, g = closure_of(x.function), closure_of(y.function)
    if f is None or g is None:
        return False
    old = {p.name: p.default for p in f.parameters}
    new = {p.name: p.default for p in g.parameters}
    return old.get(name) != new.get(name)


def _alike(a: object, b: object) -> bool:
    """Whether two functions in slots, or their absence, mean the same."""
    if isinstance(a, Unit) and isinstance(b, Unit):
        return meaning(a) == meaning(b)
    return a is b


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
