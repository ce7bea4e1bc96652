"""A program as steps in the words of its genome: what is compared when two genomes are.

A step is a call, a primitive, or a function that was handed in as an argument, however it was spelled: a lambda that
the program has dissolved into its surroundings is one step again.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.trace import Application, Trace, closure_of
from foundry.dsl.types import TensorType
from foundry.dsl.values import FUNCTIONS

# Operations that a formula is made of, beside the elementwise ones and the reductions.
TERMS = frozenset({"number", "param", "position", "channel_index", "table", "lookup"})
OTHER = "other"  # a purpose that has no name
# Operations that do not make a block of a function that has no others.
LIGHT = TERMS | {"conv", "shift", "split_heads", "merge_heads", "concat", "slice", "rotate", "top", "penalty", "input"}


@dataclass(eq=False)
class Step:
    """Something that a function does.

    op: `call` for a function, else as in the program. title: what it is called where it is defined, or the op.
    label: the name that its result is bound to, or "". role: the parameter that it was handed in by, or "".
    function: what was applied, with `arguments` of which `explicit` were given; None for an operator.
    inputs: steps of the same body, and numbers, in the order of the inputs of `body`, which is what a call, a repeat or
    experts do; what has no counterpart there comes last: the gates of experts, the weights of a shared function.
    slots: the functions in the slots of an attend. digest: its meaning, whatever the spelling. content: how many
    operations of each kind there are in it. node: what computes its result.
    """

    op: str
    title: str
    node: Node
    label: str = ""
    role: str = ""
    function: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)
    explicit: frozenset[str] = frozenset()
    inputs: tuple[Step | float, ...] = ()
    body: Body | None = None
    slots: dict[str, Body] = field(default_factory=dict)
    digest: bytes = b""
    content: Counter[str] = field(default_factory=Counter)

    @property
    def type(self) -> TensorType:
        return self.node.type

    @property
    def is_term(self) -> bool:
        """Whether it is a part of a formula rather than something that has a place of its own."""
        if self.op in TERMS or self.op == "input":
            return True
        return self.op in PRIMITIVES and PRIMITIVES[self.op].kind in ("pointwise", "reduce")

    @property
    def is_block(self) -> bool:
        """Whether it mixes channels or positions: attention and an MLP do, a norm and a rotation do not."""
        return not all(_is_light(op) for op in self.content)

    def __repr__(self) -> str:
        return f"<{self.role or self.label} {self.title} : {self.type}>"


@dataclass(eq=False)
class Body:
    """The steps of a function in execution order, without its inputs, and its result, which may be an input.

    application: how the function was applied; None for what has no definition of its own.
    """

    inputs: tuple[Step, ...]
    steps: tuple[Step, ...]
    result: Step
    application: Application | None = None


def outline(trace: Trace) -> Body:
    """The steps of a program's model."""
    return _Outliner(trace).body(trace.program.model)


def outline_function(trace: Trace, unit: Unit) -> Body:
    """The steps of a function in a slot of the recipe."""
    return _Outliner(trace).body(unit)


def as_call(step: Step) -> Step:
    """A repeat, or experts, as one application of what is repeated."""
    if step.op == "call" or step.node.unit is None or step.body is None:
        return step
    application = step.body.application
    return replace(
        step,
        op="call",
        title=step.node.unit.name or "block",
        digest=meaning(step.node.unit),
        function=application.function if application else step.function,
        arguments=application.arguments if application else {},
        explicit=application.explicit if application else frozenset(),
    )


def meaning(unit: Unit, numbered: bool = True) -> bytes:
    """A digest of what a unit computes from its inputs: that of a formula does not change with its spelling.

    numbered: whether it matters in which order the weights are made.
    """
    return _Meaning(numbered).of(unit.inputs, unit.nodes, unit.result)


def _is_light(op: str) -> bool:
    return op in LIGHT or (op in PRIMITIVES and PRIMITIVES[op].kind in ("pointwise", "reduce"))


Opened = frozenset[Application]


@dataclass
class _Outliner:
    trace: Trace
    known: dict[Unit, Counter[str]] = field(default_factory=dict)  # what there is in a unit
    formulas: dict[Application, bool] = field(default_factory=dict)

    def body(self, unit: Unit) -> Body:
        application = self.trace.units.get(unit)
        inputs = tuple(Step("input", str(i.attrs["name"]), i, str(i.attrs["name"])) for i in unit.inputs)
        known = dict(zip(unit.inputs, inputs, strict=True))
        roles = _functions(application) if application else frozenset[str]()
        steps = self.steps(unit.nodes, known, roles)
        return Body(inputs, steps, known[unit.result], application)

    def steps(
        self, nodes: Sequence[Node], known: dict[Node, Step], roles: frozenset[str], opened: Opened = frozenset()
    ) -> tuple[Step, ...]:
        """Steps for nodes of one unit; `known` gains what each of them gives."""
        out: list[Step] = []
        done: set[Node] = set()
        for node in nodes:
            if node in done:
                continue
            given = self.dissolved(node, roles, opened)
            own = set(given.nodes) if given is not None else {node}
            members = [n for n in nodes if n in own] if given is not None else [node]
            role = given.called if given is not None and given.called in roles else ""
            if given is not None and (len(members) > 1 or node.unit is None):
                step = self.group(given, members, known, roles, opened)
                done.update(members)
            else:
                step = self.step(node, known)
            step.role = role
            known[members[-1]] = step
            out.append(step)
        return tuple(out)

    def dissolved(self, node: Node, roles: frozenset[str], opened: Opened) -> Application | None:
        """The outermost application whose function has become a part of its surroundings: an argument of the function
        around it, or a lambda that is no block."""
        found = [a for a in self.trace.around.get(node, ()) if a not in opened]
        return next((a for a in reversed(found) if a.called in roles or self.is_formula(a)), None)

    def is_formula(self, application: Application) -> bool:
        """Whether it is a lambda that is no block."""
        if application not in self.formulas:
            closure = closure_of(application.function)
            unnamed = closure is not None and not closure.name
            self.formulas[application] = unnamed and all(map(_is_light, self.contents(application.nodes)))
        return self.formulas[application]

    def contents(self, nodes: Iterable[Node]) -> Counter[str]:
        """Operations by kind, those inside calls included, each body once."""
        out: Counter[str] = Counter()
        for node in nodes:
            if node.op not in ("call", "repeat"):
                out[node.op] += 1
            if node.unit is not None:
                if node.unit not in self.known:
                    self.known[node.unit] = self.contents(node.unit.nodes)
                out.update(self.known[node.unit])
        return out

    def group(
        self, given: Application, members: list[Node], known: dict[Node, Step], roles: frozenset[str], opened: Opened
    ) -> Step:
        """One step for a function that is dissolved into its surroundings."""
        own = set(members)
        outside = list(dict.fromkeys(i for n in members for i in n.tensors if i not in own))
        inputs = tuple(Step("input", known[o].label or known[o].title, o, known[o].label) for o in outside)
        inner = dict(zip(outside, inputs, strict=True))
        last = members[-1]
        steps = self.steps(members, inner, roles, opened | {given})
        title = title_of(given.function)
        if title == "fn" and given.called not in roles:
            title = given.called or title
        return Step(
            "call",
            title,
            last,
            last.name,
            "",
            given.function,
            given.arguments,
            given.explicit,
            tuple(known[o] for o in outside),
            Body(inputs, steps, inner[last], given),
            {},
            _Meaning().of(outside, members, last),
            self.contents(members),
        )

    def step(self, node: Node, known: dict[Node, Step]) -> Step:
        applications = self.trace.applications.get(node, [])
        application = applications[0] if applications else None
        title = node.name if node.op == "shared" else node.op
        if node.op in ("call", "repeat") and node.unit is not None:
            title = node.unit.name
            application = self.trace.units.get(node.unit, application)
        function = application.function if application else None
        if node.op == "call" and not title:
            title = title_of(function)
        return Step(
            node.op,
            title,
            node,
            node.name if node.name != title else "",
            "",
            function,
            dict(application.arguments) if application else {},
            application.explicit if application else frozenset(),
            tuple(known[i] if isinstance(i, Node) else float(i) for i in _weights_last(node)),
            self.body(node.unit) if node.unit is not None else None,
            {name: self.body(unit) for name, unit in node.attrs.items() if isinstance(unit, Unit)},
            _Meaning().of(node.tensors, [node], node),
            self.contents([node]),
        )


def _weights_last(node: Node) -> tuple[Node | float, ...]:
    """The inputs of a node, with the shared function that it calls, if it calls one, after the others."""
    return (*node.inputs[1:], *node.inputs[:1]) if node.attrs.get("through") else node.inputs


def title_of(function: Any) -> str:
    """What a function is called, without the arguments that it was given; a lambda is `fn`."""
    while hasattr(function, "function"):
        function = function.function
    return getattr(function, "name", "") or "fn"


def purpose(step: Step) -> str:
    """What a function that is no block is for."""
    kinds = {PRIMITIVES[op].kind for op in step.content if op in PRIMITIVES}
    if "position" in step.content:
        return "positions"
    if kinds <= {"pointwise", "weights", "reduce"} and step.content["mean"] + step.content["rsqrt"]:
        return "norm"
    return "activation" if kinds <= {"pointwise", "weights"} else OTHER


def _functions(application: Application) -> frozenset[str]:
    return frozenset(name for name, value in application.arguments.items() if isinstance(value, FUNCTIONS))


@dataclass
class _Meaning:
    """Digests of values, calls dissolved; a weight is its number in the order of creation, if they are numbered."""

    numbered: bool = True
    weights: dict[object, int] = field(default_factory=dict)

    def of(self, inputs: Iterable[Node], nodes: Iterable[Node], result: Node) -> bytes:
        slots = dict.fromkeys(inputs)
        return self.nodes({node: b"slot %d" % n for n, node in enumerate(slots)}, nodes, result)

    def nodes(self, known: dict[Node, bytes], nodes: Iterable[Node], result: Node) -> bytes:
        for node in nodes:
            operands = [known[i] if isinstance(i, Node) else b"%r" % float(i) for i in node.inputs]
            if node.op == "call" and node.unit is not None and not node.attrs.get("through"):
                known[node] = self.nodes(dict(zip(node.unit.inputs, operands, strict=True)), node.unit.nodes,
                                         node.unit.result)  # fmt: skip
            else:
                known[node] = self.primitive(node, operands)
        return known[result]

    def primitive(self, node: Node, operands: list[bytes]) -> bytes:
        if node.op in PRIMITIVES and PRIMITIVES[node.op].commutative:
            operands = sorted(operands)
        parts = [node.op.encode(), *operands, *(_attribute(n, node) for n in sorted(node.attrs))]
        if node.unit is not None:
            parts.append(meaning(node.unit, self.numbered))
        if node.instance and self.numbered:
            parts.append(b"weights %d" % self.weights.setdefault(node.instance, len(self.weights)))
        return hashlib.sha256(b"\0".join(parts)).digest()


def _attribute(name: str, node: Node) -> bytes:
    """An attribute as far as it matters: numbers have one spelling, and what PyTorch would fill in is filled in."""
    value = node.attrs[name]
    if isinstance(value, Unit):
        return name.encode() + meaning(value)
    if name == "scale" and value is None:
        value = node.tensors[0].type.width ** -0.5
    if isinstance(value, (bool, int, float)):
        value = float(value)
    return f"{name}={value if isinstance(value, (float, str, tuple, TensorType)) else ''}".encode()
