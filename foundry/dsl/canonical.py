"""The content hash of a program: two genomes that differ only in spelling have the same hash.

The program is flattened (calls inlined, repeats unrolled) and hashed from its inputs to its result,
a Merkle tree over its dataflow. Names, comments, definitions, the order of arguments and unused code
are gone by then; the operands of commutative operations are sorted. A weight is hashed by its number
in the order of creation, so that two equal layers on one input differ from one layer used twice, and
seeded initial values are equal for equal hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from foundry.dsl.program import Node, Program, Recipe, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import TensorType

Digest = bytes
Scope = tuple[object, ...]

# arguments that say nothing where they have this value
USUAL = {("rotate", "interleaved"): 0, ("param", "learn"): 1, ("unembed", "bias"): 0}
USUAL |= {("attend", name): 0 for name in ("top", "sink", "seen")}

# positions, and numbers along an axis: their input says where and how many, and nothing else
INDICES = frozenset({"position", "channel_index", "head_index", "table"})

# comparisons that are others read from right to left
MIRRORED = {"greater": "less", "greater_equal": "less_equal"}


def canonical_hash(program: Program) -> str:
    """The hash of a program with its recipe: 16 hexadecimal digits."""
    return _digest(("program", _model(program), _recipe(program.recipe))).hex()[:16]


def architecture_hash(program: Program) -> str:
    """The hash of a program's model alone: 16 hexadecimal digits."""
    return _digest(("architecture", _model(program))).hex()[:16]


def _digest(parts: Iterable[object]) -> Digest:
    return hashlib.sha256(b"\0".join(p if isinstance(p, bytes) else str(p).encode() for p in parts)).digest()


def _number(value: float) -> str:
    """One spelling for each value: 1 and 1.0 are the same."""
    return str(int(value)) if value == int(value) else repr(float(value))


def _value(value: object) -> str:
    if isinstance(value, bool | int | float):
        return _number(value)
    if isinstance(value, tuple | list):
        return "[" + ",".join(_value(v) for v in value) + "]"
    return str(value)


def _model(program: Program) -> Digest:
    model = program.model
    tokens = [_digest(("tokens", index)) for index, _ in enumerate(model.inputs)]
    return _digest((program.genome.version, program.vocab, _Flattener().unit(model, tokens, ())))


def _recipe(recipe: Recipe) -> Digest:
    settings = sorted((name, _value(value)) for name, value in recipe.optimizer.settings.items())
    parts: list[object] = [recipe.optimizer.name, settings, _number(recipe.batch), _number(recipe.clip)]
    if recipe.transfer:
        parts.append(f"transfer {recipe.transfer}")
    functions = [recipe.schedule, recipe.loss, recipe.context, *([recipe.difficulty] if recipe.difficulty else [])]
    return _digest([*parts, *(_function(unit) for unit in functions)])


def _function(unit: Unit) -> Digest:
    """The hash of a function of slots."""
    return _Flattener().function(unit, ())


def _slot(name: object) -> Digest:
    return _digest(("slot", name))


def _input(node: Node, seen: Sequence[Digest]) -> Digest:
    """The input of a slot's function: a slot, or a view of a value per token."""
    if "view" not in node.attrs:
        return _slot(node.attrs["name"])
    kind, index = node.attrs["view"]
    return _digest(("view", kind, seen[index]))


EVERYTHING = _digest((_digest(("less_equal",)), _slot("j"), _slot("i")))


@dataclass
class _Flattener:
    """Hashes nodes in execution order. `weights` numbers what has weights by where it stands in the
    flattened program; what shares its weights stands in one place."""

    weights: dict[Scope, int] = field(default_factory=dict)
    heads: dict[Node, Digest] = field(default_factory=dict)

    def unit(self, unit: Unit, inputs: list[Digest], scope: Scope) -> Digest:
        """The hash of a unit's result, given those of its inputs."""
        known: dict[Node, Any] = dict(zip(unit.inputs, inputs, strict=True))  # of a shared function: where it stands
        for index, node in enumerate(unit.nodes):
            operands = [known[i] if isinstance(i, Node) else _number(i).encode() for i in node.inputs]
            place: Scope = (scope, "shared", node.instance) if node.instance else (scope, index)
            if node.op == "number":
                known[node] = _value(node.attrs["value"]).encode()
            elif node.op == "shared":
                known[node] = place
            elif node.unit is None:
                known[node] = self.primitive(node, operands, place)
            elif node.attrs.get("through"):
                through: Any = operands[0]
                known[node] = self.unit(node.unit, operands[1:], through)
            elif node.op == "repeat":
                known[node] = self.repeat(node, operands, place)
            elif node.op == "experts":
                known[node] = self.experts(node, operands, place)
            else:
                known[node] = self.unit(node.unit, operands, place)
        return known[unit.result]

    def repeat(self, node: Node, operands: list[Digest], place: Scope) -> Digest:
        assert node.unit is not None
        times = node.attrs["times"]
        assert isinstance(times, int)
        for copy in range(times):
            inner = place if node.attrs.get("shared") else (place, copy)
            operands = [self.unit(node.unit, operands, inner), *operands[1:]]
        return operands[0]

    def experts(self, node: Node, operands: list[Digest], place: Scope) -> Digest:
        assert node.unit is not None
        times = node.attrs["times"]
        assert isinstance(times, int)
        parts = [self.unit(node.unit, operands[:1], (place, copy)) for copy in range(times)]
        return _digest(("experts", operands[1], *parts))

    def primitive(self, node: Node, operands: list[Digest], place: Scope) -> Digest:
        if node not in self.heads:
            self.heads[node] = _head(node)
        parts: list[object] = [self.heads[node]]
        if node.op in MIRRORED:
            operands = operands[::-1]
        if node.op in INDICES:  # the same whatever they are asked of
            operands = [_shape(node.type).encode()]
        parts += sorted(operands) if PRIMITIVES[node.op].commutative else operands
        if _has_weights(node):
            parts.append(self.weights.setdefault(place, len(self.weights)))
        if node.op == "attend":
            seen = operands[len(operands) - int(node.attrs["seen"]) :]
            parts += [self.score(node.attrs["score"], place, seen), self.mask(node.attrs["mask"], place, seen)]
        return _digest(parts)

    def function(self, unit: Unit, place: Scope, seen: Sequence[Digest] = ()) -> Digest:
        return self.unit(unit, [_input(i, seen) for i in unit.inputs], place)

    def score(self, score: object, place: Scope, seen: Sequence[Digest]) -> Digest:
        return self.function(score, (place, "score"), seen) if isinstance(score, Unit) else _slot("s")

    def mask(self, mask: object, place: Scope, seen: Sequence[Digest]) -> Digest:
        return self.function(mask, (place, "mask"), seen) if isinstance(mask, Unit) else EVERYTHING


def _has_weights(node: Node) -> bool:
    """Whether a node has weights, or uses the embedding's."""
    types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
    return PRIMITIVES[node.op].kind == "weights" or bool(PRIMITIVES[node.op].weights(types, node.attrs))


def _head(node: Node) -> Digest:
    """The part of a primitive's hash that no copy changes: what it does, with which numbers."""
    attrs = {name: _value(v) for name, v in node.attrs.items() if name not in ("score", "mask", "per", "type")}
    if node.op == "attend" and node.attrs.get("scale") is None:
        q = node.tensors[0].type
        attrs["scale"] = _number(q.width**-0.5)
    if node.op == "param":  # axes in any order give one type
        attrs["type"] = _shape(node.type)
    for (op, name), usual in USUAL.items():
        if node.op == op and attrs.get(name) == _value(usual):
            del attrs[name]
    return _digest((MIRRORED.get(node.op, node.op), *(f"{name}={value}" for name, value in sorted(attrs.items()))))


def _shape(t: TensorType) -> str:
    return f"{t.axes} {t.heads} {t.width}"
