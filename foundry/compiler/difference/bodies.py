"""What differs between two bodies: steps that correspond, with their arguments, and those that have no counterpart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from foundry.compiler.difference.alignment import align, gaps
from foundry.compiler.difference.arguments import Known, Ratios, arguments, proportional, size_ratios
from foundry.compiler.difference.changes import Change, gathered
from foundry.compiler.difference.layers import (
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
from foundry.compiler.difference.view import View, overlap, side_by_side
from foundry.compiler.difference.wiring import (
    Matched,
    disagreements,
    ends,
    keys,
    only_joins,
    spelled_otherwise,
)
from foundry.compiler.difference.words import formulas, listed, name_of, setting, slot_texts, source, where
from foundry.compiler.outline import OTHER, Body, Step, as_call, meaning, purpose
from foundry.compiler.spelling import described
from foundry.dsl.frames import PRELUDE
from foundry.dsl.program import Unit
from foundry.dsl.trace import closure_of
from foundry.dsl.values import Closure

FEW = 16  # changes inside a function beyond which it counts as rewritten
SETTINGS = (int, float, str, tuple, type(None))  # what a primitive is given that is no function
CLOSE = 0.7  # the share of operations from which a function counts as a changed copy of one of the prelude


@dataclass(frozen=True)
class Inside:
    """Where two bodies stand.

    place: the function, "" for the model. handed_in: parameters whose difference has been said. said: pairs of
    functions, by identity, of which that is so. ratios: sizes that have changed, before and after: what changed in
    proportion follows from them. alike: whether the two bodies are one text, so that the sizes in its formulas differ
    only because of what is given to it.
    """

    place: str = ""
    handed_in: frozenset[str] = frozenset()
    said: Known = frozenset()
    ratios: Ratios = frozenset()
    alike: bool = False


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
        matched, in_layers = self.stacks(before, after, inside)
        pairs = side_by_side(before, after)
        xs, ys = before.anchors, after.anchors
        for i, j in pairs:
            inside = self.steps(xs[i], ys[j], inside)
        self.changes += in_layers
        matched += [(xs[i], ys[j]) for i, j in pairs]
        if spelled_otherwise(before, after, matched):
            return
        for lone_x, lone_y in gaps(pairs, len(xs), len(ys)):
            self.gap(before, after, [xs[n] for n in lone_x], [ys[n] for n in lone_y], inside)
        if not (inside.alike and inside.ratios):
            self.wiring(before, after, matched, inside)

    def gap(self, a: View, b: View, xs: list[Step], ys: list[Step], inside: Inside) -> None:
        """Steps between two corresponding ones that have no counterpart."""
        xs = [x for x in xs if x.role not in inside.handed_in]
        ys = [y for y in ys if y.role not in inside.handed_in]
        if xs and ys:
            self.replaced(xs, ys, inside.place)
        elif xs:
            self.note("removed", inside.place, where(a, xs), listed(xs), "")
        elif ys:
            self.note("added", inside.place, where(b, ys), "", listed(ys))

    def replaced(self, xs: Sequence[Step], ys: Sequence[Step], place: str) -> None:
        """Steps in place of others: by their purpose where both have the same one."""
        x, y = xs[0], ys[0]
        self.swapped.add((x, y))
        light = (len(xs), len(ys)) == (1, 1) and not x.is_block and not y.is_block and x.op == y.op == "call"
        what = x.role or (purpose(x) if purpose(x) == purpose(y) != OTHER else "")
        if light and what and x.role == y.role:
            self.note("changed", place if x.role else "", what, described(x), described(y))
        else:
            self.note("replaced", place, "", listed(xs), listed(ys))

    def wiring(self, a: View, b: View, matched: Matched, inside: Inside) -> None:
        """Formulas between the steps, and which value goes where."""
        found = keys(a, b, matched)
        old, new = {x for x, _ in matched}, {y for _, y in matched}
        told = [(x, y) for x, y in matched if (x, y) not in self.swapped and x.role not in inside.handed_in]
        places = [*(end for x, y in told for end in ends(x, y)), ("result", a.body.result, b.body.result)]
        seen = set[tuple[object, object]]()
        for what, p, q in places:
            for x, y in disagreements(a, b, found, p, q):
                if (x, y) in seen or only_joins(b, found, new, x, y) or only_joins(a, found, old, y, x):
                    continue
                seen.add((x, y))
                before, after = formulas(a, b, found, x, y)
                if before != after:
                    term = any(isinstance(v, Step) and v.is_term and v.inputs for v in (x, y))
                    self.note("changed", inside.place or "model", "" if term else what, before, after)

    # ---- layers -------------------------------------------------------------------------------------------------

    def stacks(self, a: View, b: View, inside: Inside) -> tuple[list[tuple[Step, Step]], list[Change]]:
        """The layers of both bodies, one against one: the steps that correspond, which take no further part, and what
        differs in them."""
        for view in (a, b):
            while wrapping := next((s for s in view.order if holds_layers(s)), None):
                view.dissolve(wrapping)
        xs, ys = (layer_steps(view, not inside.place) for view in (a, b))
        if not xs or not ys:
            return [], []
        a.apart, b.apart = frozenset(xs), frozenset(ys)
        old, new = layers(xs), layers(ys)
        changes = []
        if depth(xs) != depth(ys):
            changes.append(Change("changed", inside.place, "layers", pattern(xs), pattern(ys)))
        elif sharing(old) != sharing(new):
            changes.append(Change("changed", inside.place, "layers", sharing_in_words(old), sharing_in_words(new)))
        changes += gathered(self.layer_pairs(old, new, inside), len(new), {layer.step.title for layer in new})
        likely = align(xs, ys, lambda x, y: 1 + (x.digest == y.digest), lambda s: (s.title, s.digest))
        return [(xs[i], ys[j]) for i, j in likely], changes

    def layer_pairs(self, old: list[Layer], new: list[Layer], inside: Inside) -> list[tuple[Change, list[int]]]:
        """What differs between layers that correspond, and in which layers: by place where there are as many as there
        were, else by kind."""
        places: dict[tuple[bytes, bytes], list[int]] = defaultdict(list)
        steps: dict[bytes, Step] = {}
        partners: dict[bytes, Layer] = {}
        for n, layer in enumerate(new):
            kind = layer.step.digest
            if len(old) != len(new) and kind not in partners:
                partners[kind] = likest(layer, old)
            other = old[n] if len(old) == len(new) else partners[kind]
            places[other.step.digest, kind].append(n + 1)
            steps.setdefault(other.step.digest, other.step)
            steps.setdefault(kind, layer.step)
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
        if x.digest == y.digest or x.role in inside.handed_in:
            return inside
        if x.op == "call":
            self.calls(x, y, inside)
            return inside
        inside = self.attributes(x, y, inside)
        for slot in {**x.slots, **y.slots}:
            self.slot(slot, x, y, inside)
        if x.body is not None and y.body is not None:
            inner, one = Comparer(), as_call(y)
            inner.calls(as_call(x), one, inside)
            self.changes += [replace(c, place=y.op) if c.place == one.title else c for c in inner.changes]
        return inside

    def attributes(self, x: Step, y: Step, inside: Inside) -> Inside:
        """The compile-time arguments of a primitive."""
        for name, old in x.node.attrs.items():
            new = y.node.attrs.get(name)
            if old == new or not (isinstance(old, SETTINGS) and isinstance(new, SETTINGS)):
                continue
            if isinstance(old, (int, float)) and isinstance(new, (int, float)):
                if proportional(old, new, inside.ratios):
                    continue
                if x.op == "embed":
                    inside = replace(inside, ratios=inside.ratios | {(old, new)})
            place, what, before, after = setting(x, y, name, old, new, inside.place)
            self.note("changed", place, what, before, after)
        return inside

    def slot(self, name: str, x: Step, y: Step, inside: Inside) -> None:
        """A function in a slot of an attend: its score or its mask."""
        old, new = x.arguments.get(name), y.arguments.get(name)
        units = [step.node.attrs.get(name) for step in (x, y)]
        digests = [meaning(unit) if isinstance(unit, Unit) else b"" for unit in units]
        if (id(old), id(new)) not in inside.said and digests[0] != digests[1]:
            before, after = slot_texts(name_of(old), x.slots.get(name), name_of(new), y.slots.get(name))
            self.note("changed", inside.place or x.title, name, before, after)

    def calls(self, x: Step, y: Step, inside: Inside) -> None:
        """Two calls: their arguments, and what the functions do."""
        f, g = closure_of(x.function), closure_of(y.function)
        alike = f is not None and g is not None and f.body == g.body and x.title == y.title
        if not x.is_block or not y.is_block:
            self.light(x, y, inside, alike)
        elif x.title != y.title and not alike and _swapped(f, g, x, y):
            self.replaced([x], [y], inside.place)
        else:
            inner = self.inner(x, y, inside, alike)
            if inner is None and x.title != y.title:
                self.replaced([x], [y], inside.place)
            elif inner is None:
                self.note("rewritten", y.title, "", source(f), source(g))
            else:
                self.changes += inner

    def inner(self, x: Step, y: Step, inside: Inside, alike: bool) -> list[Change] | None:
        """What differs within two blocks; None where it is too much to be told."""
        assert x.body is not None and y.body is not None
        place = y.title if y.title != "fn" else y.role or "block"
        ratios = inside.ratios | size_ratios(x, y)
        given = arguments(x, y, place, inside.said, ratios)
        within = Comparer()
        within.bodies(
            x.body, y.body, Inside(place, given.handed_in, inside.said | given.said, ratios | given.ratios, alike)
        )
        return None if len(within.changes) > FEW else [*given.changes, *within.changes]

    def light(self, x: Step, y: Step, inside: Inside, alike: bool) -> None:
        """Norms, activations, rotations: what is no block."""
        ratios = inside.ratios | size_ratios(x, y)
        given = arguments(x, y, x.title, inside.said, inside.ratios) if alike else None
        before, after = described(x), described(y)
        if given is not None and given.changes:
            self.changes += given.changes
        elif before != after:
            self.replaced([x], [y], inside.place)
        elif x.body is not None and y.body is not None:
            within = Comparer()
            within.bodies(x.body, y.body, replace(inside, place=x.title, ratios=ratios, alike=alike))
            if len(within.changes) > FEW:
                self.note("rewritten", x.title, "", before, after)
            else:
                self.changes += within.changes


def _swapped(f: Closure | None, g: Closure | None, x: Step, y: Step) -> bool:
    """Whether a function was put in place of another, rather than changed: one of the prelude that it is no copy of,
    or one that the other makes use of."""
    foreign = [h is None or h.span.file == PRELUDE for h in (f, g)]
    copied = not any(foreign) or (not all(foreign) and overlap(x, y) >= CLOSE)
    return not copied or _uses(x, y) or _uses(y, x)


def _uses(x: Step, y: Step) -> bool:
    return x.body is not None and any(step.title == y.title for step in x.body.steps if step.op == "call")
