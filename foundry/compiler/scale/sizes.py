"""The numbers of a genome that are sizes, and how each of them grows with the model.

Three factors say how a model changes: that of its width, that of the number of its heads, and that of the channels of
a head. A number of the text follows one of them, or a product, by what it comes to in the graph: an argument of
`split_heads` whose result attends is a count of heads, what is multiplied with it to the output of a linear map is
channels of a head, other outputs of linear maps are widths.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx

from foundry.compiler.graph import build_graph
from foundry.dsl.program import Program
from foundry.dsl.provenance import DERIVED, ORIGINS, Terms
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import Path, at

WIDTH, HEADS, HEAD, PROJECTION, VOCAB, EXPERTS, LIST = (
    "width", "heads", "head", "projection", "vocab", "experts", "list",
)  # fmt: skip
ATTENTION = ("attend", "linear_attend", "delta_attend")
# Operations that pass channels on as they are, beside the elementwise ones.
PASSING = {"conv", "shift", "scan", "rotate", "penalty", "stop"}


@dataclass(frozen=True)
class Size:
    """A number of the text that is a size.

    role: WIDTH, HEADS and HEAD follow their factor; PROJECTION is heads times channels of a head, of as many heads as
    the number at `heads` says, or of one; VOCAB and EXPERTS are counts on their own; LIST is a list with a number for
    each channel, or pair of channels, of a head.
    """

    path: Path
    value: int
    role: str
    heads: Path | None = None


@dataclass(frozen=True)
class Sizes:
    """The sizes of a genome.

    width: of the residual stream. tied: whether the channels of a head are a share of the width. channels: of the
    heads that attend, every number that occurs. clashes: numbers that cannot follow all that they stand for.
    """

    sizes: tuple[Size, ...]
    width: int
    tied: bool
    channels: tuple[int, ...]
    clashes: tuple[Path, ...] = ()

    def of(self, role: str) -> list[Size]:
        """The sizes of one role."""
        return [size for size in self.sizes if size.role == role]


def sizes_of(program: Program) -> Sizes:
    """The sizes of a program that was traced (see `foundry.dsl.provenance.traced`)."""
    graph = build_graph(program)
    reader = _Reader(program, graph)
    reader.read()
    attending = [graph.nodes[v] for v in graph if graph.nodes[v]["op"] in ATTENTION]
    channels = {graph.nodes[o]["type"].width for data in attending for o in _operands(data)[:2]}
    found = [Size(p, reader.value(p), role, reader.heads.get(p)) for p, role in reader.roles.items() if reader.value(p)]
    return Sizes(tuple(found), _stream(graph), reader.tied, tuple(sorted(channels)), tuple(reader.clashes))


def _stream(graph: nx.DiGraph) -> int:
    """The width of the token embedding."""
    for _, data in graph.nodes(data=True):
        if data["op"] == "embed" and graph.nodes[_operands(data)[0]]["type"].is_tokens:
            return int(data["type"].width)
    return 0


def _operands(data: dict[str, Any]) -> list[int]:
    return [int(value) for kind, value in data["operands"] if kind == "vertex"]


@dataclass
class _Reader:
    """Gives each number its role; the first one given stays."""

    program: Program
    graph: nx.DiGraph

    def __post_init__(self) -> None:
        self.roles: dict[Path, str] = {}
        self.heads: dict[Path, Path] = {}  # of a projection, the number of its heads
        self.clashes: list[Path] = []
        self.tied = False

    def value(self, path: Path) -> int:
        node = at(self.program.genome, path)
        return len(node.items) if hasattr(node, "items") else int(node.value)  # type: ignore[union-attr, arg-type]

    def give(self, path: Path | None, role: str) -> None:
        if path is None or self.roles.setdefault(path, role) == role:
            return
        if {role, self.roles[path]} & {VOCAB, EXPERTS}:
            self.clashes.append(path)

    def origins(self, vertex: int, argument: str) -> Terms:
        return self.graph.nodes[vertex]["attrs"].get(ORIGINS, {}).get(argument, ())

    def only(self, vertex: int, argument: str) -> Path | None:
        """The number that an argument is, where it is one of the text."""
        terms = self.origins(vertex, argument)
        if len(terms) != 1 or len(terms[0]) != 1:
            return None
        (path,) = terms[0]
        return path if path != DERIVED else None

    def each(self, *ops: str) -> Iterator[int]:
        return (vertex for vertex, data in self.graph.nodes(data=True) if data["op"] in ops)

    def back(self, starts: list[int], passes: Callable[[int], bool]) -> Iterator[int]:
        """Vertices that lead to some, themselves included; a vertex that does not pass ends its way."""
        seen = set(starts)
        stack = list(starts)
        while stack:
            vertex = stack.pop()
            yield vertex
            if passes(vertex):
                fresh = [o for o in _operands(self.graph.nodes[vertex]) if o not in seen]
                seen.update(fresh)
                stack += fresh

    # ---- roles, the surest first --------------------------------------------------------------------------------

    def read(self) -> None:
        self.counts_of_heads()
        chosen = self.counts_of_experts()
        self.channels_of_heads()
        self.projections()
        self.vocabularies()
        for vertex in self.each("embed"):
            self.give(self.only(vertex, "width"), WIDTH)
        for vertex in self.each("linear"):
            if vertex not in chosen:
                self.give(self.only(vertex, "out"), WIDTH)
                for term in self.origins(vertex, "out"):
                    self.largest(term)
        for vertex in self.each("slice"):
            for argument in ("start", "stop"):
                for term in self.origins(vertex, argument):
                    self.largest(term)
        for vertex in self.each("top"):
            if vertex not in chosen:
                self.give(self.only(vertex, "count"), WIDTH)

    def counts_of_heads(self) -> None:
        for vertex in self.attending_splits():
            self.give(self.only(vertex, "heads"), HEADS)
            sources = self.sources(vertex)
            explicit = [bool(terms) and DERIVED not in frozenset().union(*terms) for terms in sources]
            self.tied = self.tied or not all(explicit)

    def attending_splits(self) -> list[int]:
        starts = [o for vertex in self.each(*ATTENTION) for o in _operands(self.graph.nodes[vertex])]
        stops = {"split_heads", "merge_heads", *(name for name, p in PRIMITIVES.items() if p.kind == "weights")}
        found = self.back(starts, lambda v: self.graph.nodes[v]["op"] not in {*stops, "experts", "carry", *ATTENTION})
        return [vertex for vertex in found if self.graph.nodes[vertex]["op"] == "split_heads"]

    def sources(self, split: int) -> list[Terms]:
        """What the outputs of the linear maps that are split into heads are made of."""
        return [self.origins(vertex, "out") for vertex in self.feeding(split)]

    def feeding(self, split: int) -> list[int]:
        """The linear maps whose output is split into heads, directly or after operations on each channel."""
        width = self.graph.nodes[_operands(self.graph.nodes[split])[0]]["type"].width

        def passes(vertex: int) -> bool:
            data = self.graph.nodes[vertex]
            kind = PRIMITIVES[data["op"]].kind if data["op"] in PRIMITIVES else ""
            return data["op"] == "split_heads" or (
                data["type"].width == width and (kind == "pointwise" or data["op"] in PASSING)
            )

        linear = (v for v in self.back([split], passes) if self.graph.nodes[v]["op"] == "linear")
        return [vertex for vertex in linear if self.graph.nodes[vertex]["type"].width == width]

    def counts_of_experts(self) -> set[int]:
        """Returns the vertices that choose experts."""
        chosen: set[int] = set()
        stops = ("linear", "embed", "experts", "carry", "input", *ATTENTION)
        for vertex in self.each("experts"):
            gates = _operands(self.graph.nodes[vertex])[1]
            count = self.graph.nodes[gates]["type"].width
            for found in self.back([gates], lambda v: self.graph.nodes[v]["op"] not in stops):
                chosen.add(found)
                data = self.graph.nodes[found]
                if data["op"] == "linear" and data["type"].width == count:
                    self.give(self.only(found, "out"), EXPERTS)
        return chosen

    def channels_of_heads(self) -> None:
        for vertex in self.each("linear"):
            for term in self.origins(vertex, "out"):
                if len(term) > 1 and DERIVED not in term and any(self.roles.get(path) == HEADS for path in term):
                    for path in term:
                        self.give(path, HEAD)
        for split in self.attending_splits():
            count = self.graph.nodes[split]["type"].heads
            for vertex in self.feeding(split):
                for term in self.origins(vertex, "out"):  # `8 * head_count(q)`
                    (path, *others) = term - {DERIVED} or {DERIVED}
                    if DERIVED in term and not others and path != DERIVED:
                        whole = self.value(path) * count == self.graph.nodes[vertex]["type"].width
                        self.give(path if whole else None, HEAD)
        for vertex in self.each("slice"):
            if self.graph.nodes[vertex]["type"].has("head"):
                for term in (*self.origins(vertex, "start"), *self.origins(vertex, "stop")):
                    if len(term) == 1 and DERIVED not in term:
                        self.give(next(iter(term)), HEAD)
        for vertex in self.each("table"):
            x = _operands(self.graph.nodes[vertex])[0]
            if self.graph.nodes[x]["type"].has("head"):
                self.give(self.only(vertex, "numbers"), LIST)

    def projections(self) -> None:
        attending = set(self.attending_splits())
        for split in self.each("split_heads"):
            single = self.graph.nodes[split]["type"].heads == 1
            for vertex in self.feeding(split) if single or split in attending else []:
                path, heads = self.only(vertex, "out"), self.only(split, "heads")
                if path is not None and path != heads and path not in self.roles:
                    self.give(path, PROJECTION)
                    if heads is not None and self.roles.get(heads) == HEADS:
                        self.heads[path] = heads

    def vocabularies(self) -> None:
        for vertex in self.each("embed"):
            (tokens,) = _operands(self.graph.nodes[vertex])
            if self.graph.nodes[tokens]["type"].is_tokens:
                self.give(self.only(vertex, "vocab"), VOCAB)
        for vertex in self.each("unembed"):
            self.give(self.only(vertex, "vocab"), VOCAB)

    def largest(self, term: frozenset[Path]) -> None:
        """Of a product the largest number is the size, the others say how often; beside a size that follows from the
        program, all do."""
        if term and DERIVED not in term and not any(path in self.roles for path in term):
            self.give(max(term, key=self.value), WIDTH)
