"""The layers of a model, and the same model with more or fewer of them.

Layers are what the model repeats; a repeat of several different layers is a pattern, of which there are then more or
fewer periods. Layers outside a pattern, before it or as its unfinished end, stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce

from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.provenance import DERIVED, ORIGINS
from foundry.dsl.syntax import Binary, Expr, Genome, Number, Path, Span, at, put, walk

MIXING = {"attend", "linear_attend", "delta_attend", "scan", "conv", "shift"}
MOST = 1024  # layers


@dataclass(frozen=True)
class Stage:
    """Layers that stand side by side in the model: `times` periods of `layers` layers. `path` is where the text says
    how many; None where it does not."""

    times: int
    layers: int
    path: Path | None
    span: Span


@dataclass(frozen=True)
class Depth:
    """The layers of a genome."""

    genome: Genome
    stages: tuple[Stage, ...]

    @property
    def total(self) -> int:
        """How many layers there are."""
        return sum(stage.times * stage.layers for stage in self.stages)

    @cached_property
    def growing(self) -> list[Stage]:
        """The stages that can be longer: the patterns, or where there are none all repeats."""
        written = [stage for stage in self.stages if stage.path is not None]
        return [stage for stage in written if stage.layers > 1] or written

    @cached_property
    def period(self) -> tuple[Path, Expr, int, int] | None:
        """Where layers end in a single other one (`3 * a >> b`), they are all one period: their pipeline, and its
        first and last link."""
        last = self.stages[-1] if self.stages else None
        if last is None or len(self.stages) < 2 or last.path is not None or any(s.layers > 1 for s in self.growing):
            return None
        spans = [stage.span for stage in self.stages]
        for path, node in walk(self.genome):
            if isinstance(node, Binary) and node.operator == ">>":
                found = [link.span for link in links(node)]
                for first in range(len(found) - len(spans) + 1):
                    if found[first : first + len(spans)] == spans:
                        return path, node, first, first + len(spans)
        return None

    @cached_property
    def reachable(self) -> list[int]:
        """The numbers of layers that the genome can have, in order."""
        if self.period is not None:
            fixed = self.total - sum(stage.times for stage in self.growing)
            below = range(fixed + len(self.growing), self.total) if self.growing else ()
            return [*below, *range(self.total, MOST + 1, self.total)]
        if not self.growing:
            return [self.total]
        return [n for n in range(1, MOST + 1) if self.times(n) is not None]

    def times(self, layers: int) -> dict[Path, int] | None:
        """How often each growing stage runs, so that there are so many layers; in proportion to the original."""
        growing = self.growing
        left = layers - self.total + sum(stage.times * stage.layers for stage in growing)
        share = left / sum(stage.times * stage.layers for stage in growing)
        counts = [max(1, round(stage.times * share)) for stage in growing]
        most = max(range(len(growing)), key=lambda index: growing[index].times)
        counts[most] = 0
        rest = left - sum(n * stage.layers for n, stage in zip(counts, growing, strict=True))
        counts[most], remainder = divmod(rest, growing[most].layers)
        if remainder or counts[most] < 1:
            return None
        return {stage.path: count for stage, count in zip(growing, counts, strict=True) if stage.path is not None}

    def put(self, layers: int, genome: Genome) -> Genome:
        """A genome with the tree of this one, with so many layers, which must be reachable."""
        if layers == self.total:
            return genome
        if self.period is not None and layers > self.total:
            path, _, first, last = self.period
            stages = links(at(genome, path))  # type: ignore[arg-type]
            repeated = Binary("*", Number(layers // self.total), _joined(stages[first:last]))
            return put(genome, path, _joined([*stages[:first], repeated, *stages[last:]]))
        for path, count in (self.times(layers) or {}).items():
            genome = put(genome, path, Number(count))
        return genome


def links(pipeline: Expr) -> list[Expr]:
    """The stages of `f >> g >> …`, in order."""
    if isinstance(pipeline, Binary) and pipeline.operator == ">>":
        return [*links(pipeline.left), pipeline.right]
    return [pipeline]


def _joined(stages: list[Expr]) -> Expr:
    return reduce(lambda left, right: Binary(">>", left, right), stages)


def depth_of(program: Program) -> Depth:
    """The layers of a program that was traced (see `foundry.dsl.provenance.traced`)."""
    return Depth(program.genome, tuple(_stages(program.model)))


def _stages(unit: Unit) -> list[Stage]:
    found: list[Stage] = []
    for node in unit.nodes:
        if node.op == "repeat" and node.unit is not None:
            found.append(Stage(int(node.attrs["times"]), _layers(node.unit), _written(node), node.span))
        elif node.unit is not None and node.op == "call":
            inside = [stage for stage in _stages(node.unit) if stage.path is not None]
            found += inside or [Stage(1, 1, None, node.span)] * _has(node.unit, MIXING)
    return found


def _layers(unit: Unit) -> int:
    """The layers in one period: the parts of a composition, each a layer or a repeat of layers; else one.

    A part without a linear map is no layer; where none has one, all of them are one."""
    if unit.name or not unit.nodes or any(node.op not in ("call", "repeat") for node in unit.nodes):
        return 1
    layers = sum(
        int(node.attrs.get("times", 1)) * _layers(node.unit) if node.op == "repeat" else 1
        for node in unit.nodes
        if node.unit is not None and _has(node.unit, {"linear"})
    )
    return max(1, layers)


def _has(unit: Unit, ops: set[str]) -> bool:
    return any(node.op in ops for node in unit.nodes) or any(_has(inner, ops) for inner in unit.subunits())


def _written(node: Node) -> Path | None:
    """Where the number of a repeat stands, if it is one of the text."""
    terms = node.attrs.get(ORIGINS, {}).get("times", ())
    if len(terms) != 1 or len(terms[0]) != 1:
        return None
    (path,) = terms[0]
    return None if path == DERIVED else path
