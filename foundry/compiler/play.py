"""A program played through for its memory: every value is made, kept as long as something needs it, and let go.

What the backward pass needs stays until it has been used, or until nothing leads to it any more. Of a repeat, three
passes are played; the others hold as much as the second.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from foundry.compiler.emit_slots import plan
from foundry.compiler.flow import CUTS
from foundry.compiler.holding import Holding, Sizes, fused, pointwise, structural
from foundry.compiler.reading import needed
from foundry.compiler.recognise import recognise
from foundry.compiler.work import BYTES, INDEX_BYTES
from foundry.dsl.program import Node, Program, Unit, all_units
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import FLOAT, LAYOUT, TensorType


@dataclass(eq=False)
class Value:
    """A tensor.

    size: its bytes, and those of its gradient. grad: whether a gradient may flow to it. owner: the value whose memory
    it is, None for its own. held: how many things need its memory. names: how many of them are variables of the code.
    used: how many operations will send it a gradient. record: what made it, if that has a backward pass.
    """

    size: float
    grad: bool
    owner: Value | None = None
    held: int = 1
    names: int = 1
    used: int = 0
    record: Record | None = None

    @property
    def root(self) -> Value:
        return self if self.owner is None else self.owner


@dataclass(eq=False)
class Record:
    """What is kept for the backward pass of one operation, or of the passes of a repeat that were not played.

    saved: values whose memory is kept; more: bytes besides. passing: bytes that the backward pass holds for a moment.
    passes: the places of the inputs whose gradient is the result's. weights: whose gradient it makes, and its bytes.
    learned: bytes of gradients of weights that the passes make which were not played.
    """

    saved: list[Value]
    out: Value
    inputs: list[Value]
    more: float = 0.0
    passing: float = 0.0
    passes: tuple[int, ...] = ()
    weights: tuple[tuple, float] | None = None
    learned: float = 0.0
    gone: bool = False


@dataclass
class Play:
    sizes: Sizes
    training: bool
    now: float = 0.0
    peak: float = 0.0
    tape: list[Record] = field(default_factory=list)
    shared: frozenset[Unit] = frozenset()  # functions whose weights are handed to others

    # ---- memory -------------------------------------------------------------------------------------------------

    def grow(self, size: float) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)

    def touch(self, size: float) -> None:
        self.peak = max(self.peak, self.now + size)

    def make(self, size: float, grad: bool, owner: Value | None = None) -> Value:
        """A new value, held once."""
        if owner is not None:
            owner.root.held += 1
            return Value(size, grad, owner.root)
        self.grow(size)
        return Value(size, grad)

    def hold(self, value: Value) -> Value:
        """One more variable for a value."""
        value.names += 1
        value.held += 1
        return value

    def drop(self, value: Value) -> None:
        """One variable less. What no variable and no later operation leads to has no backward pass any more."""
        value.names -= 1
        self.forget(value)
        self.release(value)

    def forget(self, value: Value) -> None:
        record = value.record
        if value.names == 0 and value.used == 0 and record is not None and not record.gone:
            self.finish(record)
            for before in record.inputs:
                before.used -= 1
                self.forget(before)

    def finish(self, record: Record) -> None:
        """Let go what was kept for a backward pass."""
        record.gone = True
        self.now -= record.more
        for value in record.saved:
            self.release(value)

    def save(self, value: Value) -> Value:
        value.held += 1
        return value

    def release(self, value: Value) -> None:
        value.held -= 1
        if value.held == 0:
            if value.owner is not None:
                self.release(value.owner)
            else:
                self.now -= value.size

    def note(self, record: Record) -> None:
        """An operation whose gradient will be asked for."""
        record.out.record = record
        for value in record.inputs:
            value.used += 1
        self.tape.append(record)

    # ---- forward ------------------------------------------------------------------------------------------------

    def run(self, program: Program, resting: float, learned: float = 0.0) -> None:
        """A forward pass, and in training what follows. learned: bytes of gradients, which the last step left."""
        nodes = [node for unit in all_units(program) for node in unit.nodes]
        self.shared = frozenset(n.unit for n in nodes if n.unit is not None and n.attrs.get("through"))
        self.grow(resting + learned)
        tokens = Value(0.0, False)
        logits = self.unit(program.model, [tokens], ())
        if not self.training:
            return
        y, teacher = Value(0.0, False), Value(0.0, False)
        given = {"logits": logits, "y": y, "teacher": teacher}
        loss = self.unit(
            program.recipe.loss, [given[str(i.attrs["name"])] for i in program.recipe.loss.inputs], ("loss",)
        )
        self.touch(logits.size)  # bits per byte, which the loop notes
        self.now -= learned
        self.backward(loss)

    def unit(self, unit: Unit, inputs: list[Value], scope: tuple) -> Value:
        """Play a unit; the caller holds its inputs throughout. The result is held once, by the caller."""
        known = dict(zip(unit.inputs, inputs, strict=True))
        computed = needed(unit)
        ends = _ends(unit, computed)
        for place, node in enumerate(unit.nodes):
            if node not in computed:
                known[node] = Value(0.0, False)
                continue
            args = [known[i] for i in node.tensors]
            known[node] = self.node(node, args, (*scope, ("shared", node.instance) if node.instance else place))
            for done in ends.get(place, ()):
                self.drop(known[done])
        result = self.hold(known[unit.result])
        for done in ends.get(len(unit.nodes), ()):
            self.drop(known[done])
        return result

    def node(self, node: Node, args: list[Value], key: tuple) -> Value:
        grad = node.op not in CUTS and node.type.dtype == FLOAT and any(a.grad for a in args)
        match node.op:
            case "number" | "param" | "shared":
                return Value(0.0, node.op == "param" and bool(node.attrs["learn"]))
            case "call":
                if node.unit in self.shared:
                    key = ("shared", id(node.unit))
                return self.call(node, args[1:] if node.attrs.get("through") else args, key)
            case "repeat":
                return self.repeat(node, args, key)
            case "experts":
                return self.experts(node, args, key)
            case "attend":
                return self.attend(node, args, key)
        holding = (
            pointwise(node) if PRIMITIVES[node.op].kind in ("pointwise", "reduce") else structural(node, self.sizes)
        )
        weights = self.weights(node, key)
        return self.operation(node.type, args, holding, grad or weights is not None, weights, node)

    def weights(self, node: Node, key: tuple) -> tuple[tuple, float] | None:
        """The weights of a primitive, and the bytes of their gradient."""
        if node.op == "unembed" and node.attrs["tied"]:
            return (("tied", node.instance), BYTES * int(node.attrs["vocab"]) * node.tensors[0].type.width)
        types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
        size = sum(prod(s) for s in PRIMITIVES[node.op].weights(types, node.attrs).values())
        named = ("tied", node.instance) if node.op == "embed" and node.instance else key
        return (named, BYTES * size) if size else None

    def operation(
        self,
        type: TensorType,
        args: list[Value],
        holding: Holding,
        grad: bool,
        weights: tuple[tuple, float] | None = None,
        node: Node | None = None,
    ) -> Value:
        """One operation: its result is made, and what its gradient needs is kept."""
        places = [n for n, i in enumerate(node.inputs) if isinstance(i, Node)] if node else list(range(len(args)))
        of = dict(zip(places, args, strict=True))
        size = self.sizes.bytes(type)
        out = self.make(size, grad, of[holding.view] if holding.view >= 0 else None)
        self.touch(holding.forward)
        if self.training and grad:
            kept = [n for n in holding.inputs if n in of]
            if holding.crossed and len(kept) == 2:
                kept = [n for n, other in (kept, kept[::-1]) if of[other].grad]
            saved = [self.save(of[n].root) for n in kept]
            saved += [self.save(out.root)] if holding.result else []
            self.grow(holding.more)
            passes = tuple(places.index(n) for n in holding.passes if n in of)
            self.note(Record(saved, out, args, holding.more, holding.backward, passes, weights))
        else:
            self.touch(holding.more)
        return out

    def call(self, node: Node, args: list[Value], key: tuple) -> Value:
        assert node.unit is not None
        found = recognise(node.unit)
        if found is None:
            return self.unit(node.unit, args, key)
        scaled = found.weight is not None
        holding = fused(found.kind, self.sizes.bytes(node.type), scaled)
        numbers = node.type.width * (scaled + (found.bias is not None))
        return self.operation(
            node.type, args, holding, scaled or args[0].grad, (key, BYTES * numbers) if scaled else None
        )

    def repeat(self, node: Node, args: list[Value], key: tuple) -> Value:
        """The first pass, one more, and the last; the others hold as much as the second."""
        assert node.unit is not None
        times, x = int(node.attrs["times"]), self.hold(args[0])
        for n in sorted({0, min(1, times - 1), times - 1}):
            start, before = len(self.tape), self.now
            copy = (*key, 0 if node.attrs.get("shared") else n)
            result = self.unit(node.unit, [x, *args[1:]], copy)
            self.drop(x)
            x = result
            if n == 1 and times > 3 and self.training:
                made = {r.weights for r in self.tape[start:] if r.weights}
                learned = 0.0 if node.attrs.get("shared") else (times - 3) * sum(size for _, size in made)
                skipped = (times - 3) * (self.now - before)
                self.grow(skipped)
                before_them, x = x, self.make(x.size, x.grad, x)
                self.note(Record([], x, [before_them], skipped, passes=(0,), learned=learned))
                self.drop(before_them)
        return x

    def experts(self, node: Node, args: list[Value], key: tuple) -> Value:
        """All experts together, on as many tokens as they are chosen for; then the sum of what they give."""
        assert node.unit is not None
        outer, active, times = self.sizes, int(node.attrs["active"]), int(node.attrs["times"])
        chosen = Sizes(outer.rows * active, outer.context)
        x, gates = args
        self.sizes = chosen if self.training else Sizes(chosen.rows / times, outer.context)  # what one leaves behind
        rows = self.operation(node.unit.inputs[0].type, [x], Holding(backward=x.size), x.grad)
        start = len(self.tape)
        made = self.unit(node.unit, [rows], key)
        self.sizes = chosen
        for record in self.tape[start:]:
            if record.weights:
                record.weights = (record.weights[0], record.weights[1] * times)
        weighed = self.operation(node.type, [made, gates], Holding(inputs=(0, 1)), True)
        joined = self.operation(node.type, [weighed], Holding(passes=(0,)), True)
        self.sizes = outer
        out = self.operation(node.type, [joined], Holding(), True)
        for value in (rows, made, weighed, joined):
            self.drop(value)
        return out

    # ---- attention ----------------------------------------------------------------------------------------------

    def attend(self, node: Node, args: list[Value], key: tuple) -> Value:
        """Plain attention is fused; a bias has the size of heads times positions times positions; and any other
        score is computed for each sequence as well."""
        form, sizes = plan(node), self.sizes
        grad = any(a.grad for a in args)
        square = TensorType(("head", "token", "key"), heads=node.type.heads)
        visible = _visible(form.mask)
        if form.mechanism == "attend":
            mask = sizes.bytes(visible) if form.window is not None else 0.0
            plain = structural(node, sizes)
            return self.operation(node.type, args[:3], _more(plain, mask, mask / 2), grad)
        for value in self.part(form.mask, (*key, "mask")):
            self.drop(value)
        masked = form.window is not None or form.mask is not None
        extra = (2 if masked else 1) * INDEX_BYTES * sizes.elements(visible)  # positions of keys, and of queries
        self.grow(extra)
        self.touch(extra)
        if form.mechanism == "attend_bias":
            bias = self.part(form.function, (*key, "score"))
            learns = any(b.grad for b in bias)
            full = sizes.bytes(square if form.function else visible)
            if learns:
                dense = sizes.bytes(node.type) / node.type.width * sizes.context
                q = args[0].size
                holding = Holding(
                    inputs=(2,), more=dense + full / 4 + 2 * q, forward=2 * dense + full, backward=3 * dense
                )
            else:
                holding = _more(structural(node, sizes), full, full)
            out = self.operation(node.type, args[:3], holding, learns or grad)
            for value in bias:
                self.drop(value)
        else:
            out = self.dense(node, args, key, sizes.elements(visible))
        self.now -= extra
        return out

    def part(self, unit: Unit | None, key: tuple) -> list[Value]:
        """Play the bias, or the mask, of an attention."""
        if unit is None:
            return []
        slots = [Value(0.0, False) for _ in unit.inputs]
        return [self.unit(unit, slots, key)]

    def dense(self, node: Node, args: list[Value], key: tuple, pairs: float) -> Value:
        """Logits of every pair, the score's own values, and the softmax. pairs: bytes of what says which count."""
        sizes, heads = self.sizes, node.type.heads
        logits = TensorType(("batch", "head", "token", "key"), heads=heads)
        q, k, v, *_ = args
        repeated = 0.0
        if node.tensors[1].type.heads != heads:
            repeated = sizes.bytes(node.tensors[0].type) + sizes.bytes(node.type)
        grad = any(a.grad for a in args)
        s = self.operation(logits, [q, k], Holding(inputs=() if repeated else (1,), more=q.size + repeated), grad)
        score = node.attrs["score"]
        if isinstance(score, Unit):
            given = [s if i.attrs["name"] == "s" else Value(0.0, "view" in i.attrs) for i in score.inputs]
            scored = self.unit(score, given, (*key, "score"))
            self.drop(s)
            s = scored
        masked = self.operation(logits, [s], Holding(more=pairs, backward=0), grad)
        self.drop(s)
        if node.attrs["top"]:
            largest = 3 * masked.size * min(1.0, int(node.attrs["top"]) / sizes.context)  # and where they are
            chosen = self.operation(logits, [masked], Holding(more=masked.size / 4, forward=largest), grad)
            self.drop(masked)
            masked = chosen
        if node.attrs["sink"]:
            joined = self.operation(logits, [masked], Holding(), grad)
            self.drop(masked)
            masked = joined
        weights = self.operation(logits, [masked], Holding(result=True), grad)
        self.drop(masked)
        if node.attrs["mask"] is not None:
            shown = self.operation(logits, [weights], Holding(more=pairs), grad)
            self.drop(weights)
            weights = shown
        out = self.operation(node.type, [weights, v], Holding(inputs=(0,) if repeated else (0, 1)), grad)
        self.drop(weights)
        return out

    # ---- backward -----------------------------------------------------------------------------------------------

    def backward(self, loss: Value) -> None:
        grads: dict[int, Value] = {id(loss): self.make(loss.size, False)}
        learned: set[tuple] = set()
        for record in reversed(self.tape):
            grad = grads.pop(id(record.out), None)
            if grad is not None:
                self.touch(record.passing)
                self.grow(record.learned)
                if record.weights is not None:
                    name, size = record.weights
                    self.touch(size) if name in learned else self.grow(size)
                    learned.add(name)
                for place, value in enumerate(record.inputs):
                    if value.grad:
                        self.give(grads, value, grad, place in record.passes)
                self.drop(grad)
            if not record.gone:
                self.finish(record)

    def give(self, grads: dict[int, Value], value: Value, grad: Value, passed: bool) -> None:
        """A gradient for a value, beside the one that it may have."""
        if passed and value.size == grad.size:
            new = self.hold(grad)
        else:
            new = self.make(value.size, False)
            if value.size < grad.size and not passed:
                self.touch(grad.size)
        old = grads.get(id(value))
        if old is not None:
            if new is grad:  # it is another's too: the sum is new
                total = self.make(value.size, False)
                self.drop(new)
                new = total
            self.drop(old)
        grads[id(value)] = new


def _ends(unit: Unit, computed: set[Node]) -> dict[int, list[Node]]:
    """After which node of a unit each other is let go: the last that reads it; but what the genome names lives on in
    a variable, to the end or until another takes the name."""
    last: dict[Node, int] = {node: place for place, node in enumerate(unit.nodes) if node in computed}
    for place, node in enumerate(unit.nodes):
        last |= {i: place for i in node.tensors if i in last and node in computed}
    names: dict[str, Node] = {}
    for place, node in enumerate(unit.nodes):
        if node in computed and node.bound and node.op not in ("param", "number", "repeat"):
            before = names.get(node.name)
            if before is not None:
                last[before] = max(last[before], place)
            names[node.name] = node
    for node in (*names.values(), unit.result):
        if node in last:
            last[node] = len(unit.nodes)
    ends: dict[int, list[Node]] = {}
    for node, place in last.items():
        ends.setdefault(place, []).append(node)
    return ends


def _more(holding: Holding, kept: float, forward: float) -> Holding:
    """The same with more that is kept, and more that passes."""
    return replace(holding, more=holding.more + kept, forward=holding.forward + forward)


def _visible(mask: Unit | None) -> TensorType:
    """The type of what says which pairs of positions count."""
    of = mask.result.type if mask is not None else TensorType()
    axes = tuple(axis for axis in LAYOUT if axis in (*of.axes, "token", "key"))
    return TensorType(axes, of.heads)
