"""Rotary positions once for all layers: cosines and sines that depend on positions alone are made at the top.

A function of the tokens makes them, the model calls it once, and what is on the way down to a `rotate` takes them as
an argument. Weights, their names and their order stay as they are.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

from foundry.compiler.reading import ANCHORED
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import TensorType

WAVES = "cos_sin"  # what they are called


def with_waves_on_top(model: Unit) -> Unit:
    """The same model; a `rotate` by an angle that comes more than once has `ready` in its attrs, and as its second
    input the waves themselves: the result of a node `waves`, whose input is the angle."""
    return _Lift(model).model()


@dataclass
class _Use:
    """How often a pass turns by an angle, and the words in the names of what it is on the way in, outermost first."""

    times: int = 0
    words: dict[str, None] = field(default_factory=dict)

    def add(self, times: int, *names: str) -> None:
        self.times += times
        self.words |= dict.fromkeys(word for name in names for word in name.split("_") if word)


class _Survey:
    """The angles of a model, which are numbered: two with one number are computed alike."""

    def __init__(self, model: Unit):
        self.numbers: dict[tuple, int] = {}
        self.left: set[int] = set()  # units, by id, that take no more inputs: experts, scores, masks, what they call
        self.known: dict[int, dict[int, _Use]] = {}
        self.leave(model, False, set())
        self.names = _told_apart({angle: use for angle, use in self.uses(model).items() if use.times > 1})

    def leave(self, unit: Unit, inside: bool, met: set[tuple[int, bool]]) -> None:
        """Find what is to be left as it is. inside: of an `attend` or of experts."""
        if (id(unit), inside) in met:
            return
        met.add((id(unit), inside))
        if inside:
            self.left.add(id(unit))
        for node in unit.nodes:
            slots = [value for value in node.attrs.values() if isinstance(value, Unit)]
            for inner in [*slots, *([node.unit] if node.unit is not None else [])]:
                self.leave(inner, inside or node.op in ("attend", "experts"), met)

    def angles(self, unit: Unit) -> tuple[dict[Node, int], set[Node]]:
        """The angle of each `rotate` of a unit that turns by positions alone, and what such angles are computed of."""
        found: dict[Node, int] = {}
        known: dict[Node, int] = {}
        for node in unit.nodes if id(unit) not in self.left else []:
            if node.op == "rotate" and node.inputs[1] in known:
                assert isinstance(node.inputs[1], Node)
                found[node] = self.number(node.attrs["interleaved"], node.type.width, known[node.inputs[1]])
            elif node.op in ANCHORED or (_of_positions(node) and all(i in known for i in node.tensors)):
                inputs = () if node.op in ANCHORED else node.inputs
                parts = [known[i] if isinstance(i, Node) else repr(i) for i in inputs]
                known[node] = self.number(node.op, node.type, repr(sorted(node.attrs.items())), *parts)
        return found, set(known)

    def number(self, *what: object) -> int:
        return self.numbers.setdefault(what, len(self.numbers))

    def uses(self, unit: Unit) -> dict[int, _Use]:
        """The angles that a pass through a unit turns by."""
        if id(unit) not in self.known:
            found: dict[int, _Use] = {}
            turned, _ = self.angles(unit)
            for node in unit.nodes:
                if node in turned:
                    found.setdefault(turned[node], _Use()).add(1, node.name)
                elif node.op in ("call", "repeat") and node.unit is not None:
                    for angle, use in self.uses(node.unit).items():
                        times = use.times * int(node.attrs.get("times", 1))
                        found.setdefault(angle, _Use()).add(times, node.name, node.unit.name, *use.words)
            self.known[id(unit)] = found
        return self.known[id(unit)]


def _told_apart(uses: dict[int, _Use]) -> dict[int, str]:
    """What the waves of each angle are called: where there are several, by the first word that is for no other."""
    shared = Counter(word for use in uses.values() for word in use.words)
    own = {angle: next((word for word in use.words if shared[word] == 1), "") for angle, use in uses.items()}
    return {angle: f"{word}_{WAVES}" if word and len(uses) > 1 else WAVES for angle, word in own.items()}


def _of_positions(node: Node) -> bool:
    """Whether a value depends on nothing but positions where its inputs do."""
    return node.op in ("number", "slice", "concat") or (
        node.op in PRIMITIVES and PRIMITIVES[node.op].kind == "pointwise"
    )


class _Lift:
    """A model in the making."""

    def __init__(self, model: Unit):
        self.top, self.survey = model, _Survey(model)
        self.lifted: dict[int, tuple[Unit, list[int]]] = {}
        self.made: dict[int, Node] = {}  # the call that makes the waves of an angle

    def model(self) -> Unit:
        unit, _ = self.unit(self.top)
        return replace(unit, nodes=[*self.made.values(), *unit.nodes]) if self.made else unit

    def unit(self, unit: Unit) -> tuple[Unit, list[int]]:
        """A unit and the angles whose waves it takes, after its other inputs."""
        if id(unit) not in self.lifted:
            self.lifted[id(unit)] = self.rewritten(unit)
        return self.lifted[id(unit)]

    def rewritten(self, unit: Unit) -> tuple[Unit, list[int]]:
        turned, positional = self.survey.angles(unit)
        taken: dict[int, Node] = {}  # the waves that this unit takes
        new: dict[Node, Node] = {}

        def waves(angle: int) -> Node:
            if unit is self.top:
                return self.made[angle]
            return taken.setdefault(angle, Node("input", (), {"name": WAVES}, self.made[angle].type))

        for node in unit.nodes:
            inputs = tuple(new[i] if isinstance(i, Node) and i in new else i for i in node.inputs)
            angle = turned.get(node)
            if angle in self.survey.names:
                if angle not in self.made:
                    self.made[angle] = self.maker(unit, node, self.survey.names[angle])
                function = self.made[angle].unit
                assert function is not None
                attrs = node.attrs | {"ready": True, "turns": function.name}
                new[node] = replace(node, inputs=(inputs[0], waves(angle)), attrs=attrs)
            elif node.unit is not None and node.op != "experts":
                inner, angles = self.unit(node.unit)
                inputs += tuple(waves(angle) for angle in angles) if node.op != "shared" else ()
                if node.op == "call" and _only_turns(inner):
                    new[node] = _in_place(inner.nodes[0], inputs, node)
                else:
                    same = inner is node.unit and inputs == node.inputs
                    new[node] = node if same else replace(node, inputs=inputs, unit=inner)
            else:
                new[node] = node if inputs == node.inputs else replace(node, inputs=inputs)
        if all(node is changed for node, changed in new.items()):
            return unit, []
        for angle, entered in taken.items():
            entered.attrs["name"] = self.survey.names[angle] if len(taken) > 1 else WAVES
        nodes = _read([(new[node], node in positional) for node in unit.nodes], new[unit.result])
        return replace(unit, inputs=[*unit.inputs, *taken.values()], nodes=nodes, result=new[unit.result]), list(taken)

    def maker(self, unit: Unit, turn: Node, name: str) -> Node:
        """The call, in the model, of the function that makes the waves of a `rotate` of this unit."""
        tokens = self.top.inputs[0]
        entered = Node("input", (), {"name": "x"}, tokens.type)
        angle = turn.inputs[1]
        assert isinstance(angle, Node)
        wanted: set[Node] = {angle}
        new: dict[object, Node] = {}
        for node in reversed(unit.nodes):
            wanted |= set(node.tensors) if node in wanted and node.op not in ANCHORED else set()
        for node in unit.nodes:
            if node in wanted:
                inputs = (entered,) if node.op in ANCHORED else node.inputs
                new[node] = replace(node, inputs=tuple(new.get(i, i) for i in inputs))
        axes = ("head",) * angle.type.has("head") + ("token", "channel")
        type = TensorType(axes, angle.type.heads, turn.type.width)
        made = Node("waves", (new[angle],), turn.attrs, type)
        own = turn is unit.result and turn.inputs[0] in unit.inputs  # the unit turns, and nothing else
        function = Unit(
            unit.name if own else angle.name or "angle", [entered], [*new.values(), made], made, unit.constants,
            unit.comments if own else (), unit.span,
        )  # fmt: skip
        return Node("call", (tokens,), {}, type, unit=function, name=name, bound=True, span=turn.span)


def _in_place(turn: Node, inputs: tuple[Node | float, ...], call: Node) -> Node:
    """A `rotate` in place of the call of a function that does nothing else."""
    bound = call.bound and call.unit is not None and call.name != call.unit.name
    name = call.name if bound else ""
    return replace(turn, inputs=inputs, name=name, bound=bound, comments=call.comments, span=call.span)


def _only_turns(unit: Unit) -> bool:
    turn = unit.result
    return unit.nodes == [turn] and turn.attrs.get("ready", False) and list(turn.inputs) == unit.inputs


def _read(nodes: list[tuple[Node, bool]], result: Node) -> list[Node]:
    """The nodes without those, of positions alone, that nothing reads any more."""
    kept, read = [], {result}
    for node, positional in reversed(nodes):
        if node in read or not positional:
            kept.append(node)
            read |= set(node.tensors)
    return kept[::-1]
