"""What genomes use of the language: its primitives, and which of them feed which.

An edge says that the result of one primitive is an input of another. Calls, copies and shared functions are looked
through, so that an edge does not depend on where a function begins. Edges are counted apart for the model, scores,
masks, losses and the functions of progress, since each of them is lowered by code of its own.

`compatible` is what there is to cover. The shape rules of the registry are asked about a pool of types: an edge is
possible where the producer can give a type, in that context and from types of that pool, that the consumer takes. An
index reads no value, so none feeds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from itertools import product
from typing import NamedTuple

from foundry.dsl.canonical import INDICES
from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.generate.ways import Home, gives, takes

CONTEXTS = ("model", "score", "mask", "loss", "progress")
PROGRESS = ("schedule", "context", "difficulty")

# Homes whose pools say what is possible, a context's together.
HOMES: Mapping[str, tuple[Home, ...]] = {
    "model": (Home("model", 16), Home("model", 9)),
    "score": (Home("score", 0, 2),),
    "mask": (Home("mask", 0, 2),),
    "loss": (Home("loss", 17),),
    "progress": (Home("progress"),),
}


class Pair(NamedTuple):
    """An edge: the result of `producer` is an input of `consumer`, in a context."""

    context: str
    consumer: str
    producer: str

    def __str__(self) -> str:
        return f"{self.context}: {self.consumer}({self.producer})"


@dataclass
class Coverage:
    """What some programs use: primitives and pairs, each with the number of programs that do."""

    programs: int = 0
    primitives: dict[str, int] = field(default_factory=dict)
    pairs: dict[Pair, int] = field(default_factory=dict)

    def add(self, program: Program) -> None:
        """Count a program."""
        found = pairs(program)
        self.programs += 1
        for name in primitives(program):
            self.primitives[name] = self.primitives.get(name, 0) + 1
        for pair in found:
            self.pairs[pair] = self.pairs.get(pair, 0) + 1

    def merge(self, other: Coverage) -> None:
        """Count what somebody else has counted."""
        self.programs += other.programs
        for name, count in other.primitives.items():
            self.primitives[name] = self.primitives.get(name, 0) + count
        for pair, count in other.pairs.items():
            self.pairs[pair] = self.pairs.get(pair, 0) + count

    @property
    def unused(self) -> list[str]:
        """The primitives that no program uses."""
        return sorted(set(PRIMITIVES) - set(self.primitives))

    @property
    def missing(self) -> list[Pair]:
        """The compatible pairs that no program has."""
        return sorted(compatible() - set(self.pairs))

    def summary(self) -> str:
        """A table by context, as Markdown."""
        rows = ["| context | pairs found | compatible | share |", "|---|---:|---:|---:|"]
        possible = compatible()
        for context in (*CONTEXTS, ""):
            of = {pair for pair in possible if context in ("", pair.context)}
            seen = of & set(self.pairs)
            share = 100 * len(seen) / max(1, len(of))
            rows.append(f"| {context or 'all'} | {len(seen):,} | {len(of):,} | {share:.1f} % |")
        used = len(set(PRIMITIVES) & set(self.primitives))
        return f"{used} of {len(PRIMITIVES)} primitives in {self.programs:,} genomes\n\n" + "\n".join(rows)


# What a program has -------------------------------------------------------------------------------------------------


def primitives(program: Program) -> set[str]:
    """The primitives that a program uses, in the model and in the recipe."""
    return {node.op for _, unit in _units(program) for node in _nodes(unit) if node.op in PRIMITIVES}


def pairs(program: Program) -> set[Pair]:
    """The edges of a program."""
    found: set[Pair] = set()
    for context, unit in _units(program):
        _trace(unit, context, {}, found)
    return found


def _units(program: Program) -> Iterator[tuple[str, Unit]]:
    recipe = program.recipe
    yield "model", program.model
    yield "loss", recipe.loss
    for unit in (recipe.schedule, recipe.context, recipe.difficulty):
        if unit is not None:
            yield "progress", unit


def _nodes(unit: Unit) -> Iterator[Node]:
    yield from unit.nodes
    for inner in unit.subunits():
        yield from _nodes(inner)


Known = Mapping[Node, frozenset[str]]


def _trace(unit: Unit, context: str, inputs: Known, found: set[Pair]) -> frozenset[str]:
    """Note the edges of a unit, and give the primitives that its result comes from.

    inputs: those that each of its inputs comes from.
    """
    known: dict[Node, frozenset[str]] = {node: inputs.get(node, frozenset()) for node in unit.inputs}

    def sources(node: Node) -> frozenset[str]:
        return known.get(node, frozenset())

    for node in unit.nodes:
        if node.op in ("call", "repeat"):
            known[node] = _enter(node, context, known, found)
        elif node.op in PRIMITIVES:
            read = () if node.op in INDICES else node.tensors[: len(node.tensors) - node.attrs.get("seen", 0)]
            found.update(Pair(context, node.op, source) for given in read for source in sources(given))
            known[node] = frozenset({node.op})
            _slots(node, context, known, found)
    return sources(unit.result)


def _enter(node: Node, context: str, known: Known, found: set[Pair]) -> frozenset[str]:
    """What the result of a call or of copies comes from."""
    assert node.unit is not None
    given = [n for n in node.tensors if n.op != "shared"]
    inputs = {inner: known.get(outer, frozenset()) for inner, outer in zip(node.unit.inputs, given, strict=False)}
    made = _trace(node.unit, context, inputs, found)
    if node.op == "repeat":  # every copy but the first takes what the one before gives
        first = node.unit.inputs[0]
        made = _trace(node.unit, context, {**inputs, first: inputs.get(first, frozenset()) | made}, found)
    return made


def _slots(node: Node, context: str, known: Known, found: set[Pair]) -> None:
    """The functions that a primitive holds: an expert sees its input, a score and a mask only numbers of their own."""
    if node.unit is not None:
        token = known.get(node.tensors[0], frozenset())
        _trace(node.unit, context, dict.fromkeys(node.unit.inputs, token), found)
    for name in ("score", "mask"):
        slot = node.attrs.get(name)
        if isinstance(slot, Unit):
            _trace(slot, name, {}, found)


# What there is to have ----------------------------------------------------------------------------------------------


@cache
def _compatible(names: tuple[str, ...]) -> frozenset[Pair]:
    found = set()
    for context, homes in HOMES.items():
        for home in homes:
            for producer, consumer in product(names, (name for name in names if name not in INDICES)):
                if gives(producer, home) & takes(consumer, home).keys():
                    found.add(Pair(context, consumer, producer))
    return frozenset(found)


def compatible() -> frozenset[Pair]:
    """The pairs that the shape rules allow."""
    return _compatible(tuple(PRIMITIVES))


def covered(programs: Iterable[Program]) -> Coverage:
    """What some programs use."""
    out = Coverage()
    for program in programs:
        out.add(program)
    return out
