"""Which units of a program are one class or function, and which numbers tell its instances apart.

Units that do the same with different numbers share a form; the numbers that differ become arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from foundry.compiler.emit_slots import Attention, plan
from foundry.compiler.names import RESERVED, identifier, number
from foundry.compiler.recognise import Fused, recognise
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.rules import param_shape

# Arguments that decide how code is written; the others are numbers in it.
FLAGS = ("bias", "tied", "shared", "through", "interleaved", "ready", "learn", "numbers")

Slot = tuple[int, str]  # a node's index in its unit, and what the number is there
Numbers = dict[Slot, int | float | None]
ACTIVATIONS = ("silu", "gelu", "gelu_tanh", "softmax")


@dataclass(eq=False)
class Form:
    """Units with one source.

    key: their structure. callers: what their call sites call them. slot: score, bias or mask for the
    functions inside an `attend`. weights: whether they hold any, so that the form is a class.
    stateful: whether they look back or need positions, so that they take the past.
    arguments: argument name → the slots that it fills. filling: the argument of a slot.
    """

    key: tuple
    index: int
    slot: str = ""
    units: list[Unit] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    weights: bool = False
    stateful: bool = False
    fused: Fused | None = None
    arguments: dict[str, list[Slot]] = field(default_factory=dict)
    filling: dict[Slot, str] = field(default_factory=dict)
    name: str = ""

    @property
    def unit(self) -> Unit:
        return self.units[0]

    @property
    def inline(self) -> bool:
        """An activation that PyTorch has: called by its PyTorch name, with no definition of its own."""
        return self.fused is not None and self.fused.kind in ACTIVATIONS


class Forms:
    """All forms of a program's model, children before parents."""

    def __init__(self, model: Unit, reserved: frozenset[str]):
        self.reserved = reserved  # names that no argument may have
        self.by_key: dict[tuple, Form] = {}
        self.of: dict[Unit, Form] = {}
        self.plans: dict[Node, Attention] = {}
        self.numbers: dict[Unit, Numbers] = {}
        self.add(model, "model")
        self.all = list(self.by_key.values())
        for form in self.all:
            self.settle(form)

    def add(self, unit: Unit, caller: str, slot: str = "") -> Form:
        """The form of a unit, with everything inside it added before."""
        if unit in self.of:
            return self.of[unit]
        for node in unit.nodes:
            if node.op == "attend":
                self.plans[node] = plan(node)
            for name, inner in self.inside(node):
                self.add(inner, node.name, name)
        fused = None if slot else recognise(unit)
        key = self.structure(unit, fused, slot)
        form = self.by_key.setdefault(key, Form(key, len(self.by_key), slot, fused=fused))
        form.units.append(unit)
        form.callers.append(caller)
        form.weights = any(self.holds_weights(n) for n in unit.nodes)
        form.stateful = any(self.is_stateful(n) for n in unit.nodes)
        self.of[unit] = form
        return form

    def inside(self, node: Node) -> Iterator[tuple[str, Unit]]:
        """The units that a node's code refers to, each with its slot ("" for calls and repeats)."""
        if node.unit is not None:
            yield "", node.unit
        if node.op == "attend":
            yield from self.plans[node].slots

    def holds_weights(self, node: Node) -> bool:
        """Whether a node is or contains learned weights of its own."""
        if node.op in PRIMITIVES and (PRIMITIVES[node.op].kind == "weights" or node.op == "conv"):
            return not node.attrs.get("tied")
        if node.attrs.get("through"):  # they come from outside
            return False
        return any(self.of[inner].weights for _, inner in self.inside(node))

    def is_stateful(self, node: Node) -> bool:
        if node.op in PRIMITIVES:
            return PRIMITIVES[node.op].stateful
        return any(self.of[inner].stateful for _, inner in self.inside(node))

    def structure(self, unit: Unit, fused: Fused | None, slot: str) -> tuple:
        """Everything about a unit but its numbers."""
        place: dict[Node, int] = {}
        for node in (*unit.inputs, *unit.nodes):
            place[node] = len(place)
        instances: dict[int, int] = {}
        rows = []
        for node in unit.nodes:
            inputs = tuple(place[i] if isinstance(i, Node) else -1 for i in node.inputs)
            instance = instances.setdefault(node.instance, len(instances)) if node.instance else -1
            flags: tuple = tuple(node.attrs.get(name) for name in FLAGS)
            if node.op == "attend":
                p = self.plans[node]
                flags = (p.mechanism, p.scale is None, node.attrs["top"] == 0, node.attrs["sink"])
            flags += _choices(node)
            inner = tuple((name, self.of[u].index) for name, u in self.inside(node))
            axes = () if fused else node.type.axes  # PyTorch's own operation takes any
            rows.append((node.op, inputs, flags, inner, instance, axes, node.type.dtype, node.name))
        signature = tuple((i.attrs["name"], () if fused else i.type.axes, i.type.dtype) for i in unit.inputs)
        return (unit.name, slot, fused and fused.kind, signature, tuple(rows), place[unit.result])

    def settle(self, form: Form) -> None:
        """Decide which numbers of a form are arguments, and what they are called."""
        for unit in form.units:
            self.numbers[unit] = {}
            if form.fused:
                fused = form.fused if unit is form.unit else self._fused(unit)
                self.numbers[unit] = {(-1, "eps"): fused.eps, (-1, "width"): unit.inputs[0].type.width}
            for index, node in enumerate(unit.nodes):
                for name, value in self.numbers_of(node):
                    self.numbers[unit][index, name] = value
        named: dict[tuple[str, ...], str] = {}
        for slot in self.numbers[form.unit]:
            values = tuple(number(self.numbers[unit][slot]) for unit in form.units)
            if len(set(values)) == 1:
                continue
            if values not in named:
                named[values] = self.argument(form, slot, values)
            form.filling[slot] = named[values]
            form.arguments.setdefault(named[values], []).append(slot)

    @staticmethod
    def _fused(unit: Unit) -> Fused:
        fused = recognise(unit)
        assert fused is not None
        return fused

    def argument(self, form: Form, slot: Slot, values: tuple[str, ...]) -> str:
        """A name for a number that differs: what the genome calls it, the width, or what it is there."""
        wanted = slot[1].split(".")[-1]
        for name in form.unit.constants:
            if tuple(number(unit.constants[name]) for unit in form.units if name in unit.constants) == values:
                wanted = name
                break
        else:
            if form.unit.inputs and tuple(number(unit.inputs[0].type.width) for unit in form.units) == values:
                wanted = "width"
        taken = {*form.arguments, *(i.attrs["name"] for i in form.unit.inputs)}
        wanted = identifier(wanted)
        name, count = wanted, 1
        reserved = RESERVED if form.weights else RESERVED | self.reserved  # a class says self.name
        while name in taken or name in reserved:
            count += 1
            name = f"{wanted}_{count}"
        return name

    def numbers_of(self, node: Node) -> Iterator[tuple[str, int | float | None]]:
        """The numbers in the code of a node, each with what it is."""
        attrs, types = node.attrs, [i.type for i in node.tensors]
        for place, value in enumerate(node.inputs):
            if not isinstance(value, Node):
                yield f"number_{place}", value
        match node.op:
            case "linear" | "unembed":
                yield "width", types[0].width
                yield ("out" if node.op == "linear" else "vocab"), node.type.width
            case "embed":
                yield "vocab", _int(attrs["vocab"])
                yield "width", node.type.width
            case "param":
                yield "init", _number(attrs["init"])
                for axis, size in zip(
                    ("head", "", "channel")[-len(param_shape(node.type)) :], param_shape(node.type), strict=False
                ):
                    if axis:
                        yield {"head": "heads", "channel": "width"}[axis], size
            case "conv":
                yield "width", types[0].fixed_size
                yield "kernel", _int(attrs["kernel"])
            case "split_heads" | "head_index":
                yield "heads", node.type.heads
            case "lookup":
                yield "init", _number(attrs["init"])
                yield "width", _int(attrs["size"])
                if attrs["heads"]:
                    yield "heads", _int(attrs["heads"])
            case "attend":
                p = self.plans[node]
                if p.scale is not None:
                    yield "scale", p.scale
                yield "window", p.window
                if attrs["top"]:
                    yield "top", _int(attrs["top"])
            case "number":
                yield "value", _number(attrs["value"])
            case "rotate" | "waves" if not attrs["interleaved"] and not attrs.get("ready"):
                yield "width", node.type.width
            case "shift" | "channel_index" | "slice" | "repeat" | "experts" | "top":
                for name in ("by", "count", "start", "stop", "times"):
                    if name in attrs:
                        yield name, _int(attrs[name])
        for slot, inner in () if node.attrs.get("through") else self.inside(node):
            for name, slots in self.of[inner].arguments.items():
                yield f"{slot}.{name}", self.numbers[inner][slots[0]]


def _choices(node: Node) -> tuple:
    """What decides how the code of a node is written, beside its numbers: units that differ in it are not merged."""
    match node.op:
        case "concat":  # the two broadcast, or not
            return (len({(i.type.axes, i.type.heads) for i in node.tensors}) > 1,)
        case "slice":  # from the beginning, to the end
            return (node.attrs["start"] == 0, node.attrs["stop"] == node.tensors[0].type.width)
        case "penalty":  # a factor of 1 is not written
            return tuple(not isinstance(i, Node) and i == 1 for i in node.inputs)
        case "attend":
            return (node.attrs["seen"],)
    return ()


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value


def _number(value: object) -> int | float:
    assert isinstance(value, int | float)
    return value
