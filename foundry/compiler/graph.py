"""A program as one flat graph of primitives: what costs, cuts and reports are computed from.

Calls are inlined; the body of a repeat appears once. Every vertex is an integer, in execution order,
with the attributes

    op          a primitive of the registry, `input`, `number` (a constant), `slot` (s, h, i or j of a
                score or a mask), or `carry` (what a repeated body takes from the pass before)
    type        the TensorType of its value
    attrs       compile-time arguments; for attend also its score and mask
    operands    vertices (int) and compile-time numbers (float), in the registry's order, as pairs
                ("vertex", n) and ("number", x)
    path        where it stands, by the names of the genome: layers/attention/q
    times       how often it runs in one forward pass; 0 where nothing reads its value
    loops       the repeats around it, outermost first, each with how often it runs
    copies      how many sets of weights it adds: 0 where it uses another vertex's
    part        score or mask for what runs inside an attend, else ""
    fused       the recognised operation (see recognise) that it is a part of, else ""
    group       the vertex that is the result of that operation, or -1
    span        where it comes from in the genome

Edges are the flow of data, from operand to user. A repeated body has no edge back to its `carry`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import networkx as nx

from foundry.compiler.parts import told_apart
from foundry.compiler.reading import needed
from foundry.compiler.recognise import recognise
from foundry.dsl.program import Node, Program, Unit, learns

Loops = tuple[tuple[int, int], ...]  # a number for each repeat, and how often it runs
NEVER = (-1, 0)


@dataclass(frozen=True)
class _Place:
    """Where nodes are being added: see the vertex attributes. `scope` tells weights apart."""

    path: str = ""
    loops: Loops = ()
    copies: int = 1
    part: str = ""
    scope: tuple = ()

    @property
    def times(self) -> int:
        return prod(times for _, times in self.loops)

    def within(self, name: str, times: int, copies: int, scope: tuple, loop: int) -> _Place:
        """Inside something that is named, runs `times` times here, and has so many sets of weights."""
        loops = (*self.loops, (loop, times))
        return _Place(_join(self.path, name), loops, self.copies * copies, self.part, scope)


def meetings(graph: nx.DiGraph, vertex: int, user: int) -> int:
    """How many values of a vertex a user that reads it sees: of what a repeat gives, those of the last pass."""
    total = int(graph.nodes[user]["times"] > 0)
    for here, there in zip(graph.nodes[vertex]["loops"], graph.nodes[user]["loops"], strict=False):
        if here != there:
            break
        total *= here[1]
    return total


def build_graph(program: Program) -> nx.DiGraph:
    """The graph of a program's model; `graph.graph` holds its `result` vertex and `vocab`."""
    return unit_graph(program.model, vocab=program.vocab)


def unit_graph(unit: Unit, **about: Any) -> nx.DiGraph:
    """The graph of one unit alone: a loss, say."""
    builder = _Builder(nx.DiGraph(**about))
    inputs = [
        builder.add("input", i.type, i.attrs, [], str(i.attrs["name"]), _Place(), span=i.span) for i in unit.inputs
    ]
    builder.graph.graph["result"] = builder.unit(unit, inputs, _Place())
    return builder.graph


@dataclass
class _Builder:
    graph: nx.DiGraph
    weights: set[tuple] = field(default_factory=set)  # the scopes of weights that have been counted

    def add(
        self, op: str, type: Any, attrs: dict[str, Any], operands: list, name: str, place: _Place, **more: Any
    ) -> int:
        vertex = self.graph.number_of_nodes()
        pairs = tuple(("vertex", o) if isinstance(o, int) else ("number", float(o)) for o in operands)
        self.graph.add_node(
            vertex, op=op, type=type, attrs=attrs, operands=pairs, path=_join(place.path, name), times=place.times,
            loops=place.loops, copies=place.copies, part=place.part, fused="", group=-1, span=more.get("span"),
        )  # fmt: skip
        self.graph.add_edges_from((o, vertex) for kind, o in pairs if kind == "vertex")
        return vertex

    def unit(self, unit: Unit, inputs: list, place: _Place) -> Any:
        """Add a unit's nodes, and give the vertex of its result. Operands are vertices (int) or numbers (float)."""
        known: dict[Node, Any] = dict(zip(unit.inputs, inputs, strict=True))
        names, computed, here = _names(unit), needed(unit), place
        for index, node in enumerate(unit.nodes):
            place = here if node in computed else replace(here, loops=(*here.loops, NEVER))
            operands: list[Any] = [known[i] if isinstance(i, Node) else float(i) for i in node.inputs]
            scope = (place.scope, "shared", node.instance) if node.instance else (place.scope, index)
            if node.op == "repeat":
                known[node] = self.repeat(node, operands, names[node], place, scope)
            elif node.op == "shared":
                known[node] = _Place(copies=place.copies, scope=scope)
            elif node.op == "experts":
                known[node] = self.experts(node, operands, names[node], place, scope)
            elif node.unit is not None:
                owner, operands = (operands[0], operands[1:]) if node.attrs.get("through") else (place, operands)
                scope = owner.scope if owner is not place else scope
                inside = _Place(_join(place.path, names[node]), place.loops, owner.copies, place.part, scope)
                known[node] = self.call(node.unit, operands, inside)
            else:
                known[node] = self.primitive(node, operands, names[node], place, scope)
        return known[unit.result]

    def call(self, unit: Unit, inputs: list, place: _Place) -> Any:
        first = self.graph.number_of_nodes()
        result = self.unit(unit, inputs, place)
        fused = recognise(unit)
        if fused is not None:
            for vertex in range(first, self.graph.number_of_nodes()):
                self.graph.nodes[vertex].update(fused=fused.kind, group=result)
        return result

    def repeat(self, node: Node, operands: list, name: str, place: _Place, scope: tuple) -> Any:
        assert node.unit is not None
        times = int(node.attrs["times"])
        inside = place.within(name, times, 1 if node.attrs.get("shared") else times, scope, len(self.graph))
        carry = self.add("carry", node.type, {}, operands[:1], "carry", inside, span=node.span)
        return self.call(node.unit, [carry, *operands[1:]], inside)

    def experts(self, node: Node, operands: list, name: str, place: _Place, scope: tuple) -> int:
        """One expert, which runs for each token as often as a token uses experts; then the sum of their results."""
        assert node.unit is not None
        active, count = int(node.attrs["active"]), int(node.attrs["times"])
        inside = place.within(name, active, count, scope, len(self.graph))
        token = self.add("carry", node.tensors[0].type, {}, operands[:1], "token", inside, span=node.span)
        result = self.call(node.unit, [token], inside)
        vertex = self.add(node.op, node.type, node.attrs, operands, name, place, span=node.span)
        self.graph.add_edge(result, vertex)
        return vertex

    def primitive(self, node: Node, operands: list, name: str, place: _Place, scope: tuple) -> int:
        parts = []
        for part in ("score", "mask"):
            unit = node.attrs.get(part)
            if isinstance(unit, Unit):
                path = _join(_join(place.path, name), part)
                inside = _Place(path, place.loops, place.copies, part, (scope, part))
                slots = [self.add("slot", i.type, i.attrs, [], str(i.attrs["name"]), inside) for i in unit.inputs]
                parts.append(self.unit(unit, slots, inside))
        copies = 0 if scope in self.weights else place.copies
        self.weights.add(scope)
        weighted = _Place(place.path, place.loops, copies, place.part)
        vertex = self.add(node.op, node.type, node.attrs, operands, name, weighted, span=node.span)
        self.graph.add_edges_from((result, vertex) for result in parts)
        return vertex


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _names(unit: Unit) -> dict[Node, str]:
    """A name for each node of a unit, unlike its neighbours'; what has weights has the one of the emitted file."""
    words = {node: node.name or (node.unit.name if node.unit else "") or node.op for node in unit.nodes}
    parts = [node for node in unit.nodes if learns(node)]
    told = told_apart(parts, [words[p] for p in parts], unit)
    taken: dict[str, int] = {}
    names = {}
    for node, word in zip(parts, told, strict=True):
        taken[word] = taken.get(word, 0) + 1
        names[node] = word if told.count(word) == 1 else f"{word}_{taken[word]}"
    for node, word in words.items():
        if node not in names:
            taken[word] = taken.get(word, 0) + 1
            names[node] = word if taken[word] == 1 else f"{word}_{taken[word]}"
    return names
