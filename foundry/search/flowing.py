"""A program's graph of primitives, walked: what a value is made of, and what function of another value it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cached_property
from typing import Any

from foundry.compiler.graph import build_graph
from foundry.compiler.reading import ANCHORED
from foundry.dsl.program import Program
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import TensorType

POINTWISE = frozenset(name for name, p in PRIMITIVES.items() if p.kind == "pointwise")
REDUCE = frozenset(name for name, p in PRIMITIVES.items() if p.kind == "reduce")
SHAPE = frozenset({"split_heads", "merge_heads", "concat", "slice"})  # the same numbers, arranged otherwise
FIXED = frozenset({"param", "number", "table", "channel_index", "head_index", "slot"})  # the same for every token
LINEAR = frozenset({"add", "subtract", "negate", "multiply", "divide", "stop"})  # of one value, beside constants


class Flow:
    """The graph of a program (see `foundry.compiler.graph`), with walks against the flow of data.

    Vertices that never run are left out of `vertices`.
    """

    def __init__(self, program: Program):
        self.program = program
        self.graph = build_graph(program)
        self.vertices = tuple(v for v, times in self.graph.nodes(data="times") if times > 0)

    def op(self, vertex: int) -> str:
        return str(self.graph.nodes[vertex]["op"])

    def type(self, vertex: int) -> TensorType:
        kind: TensorType = self.graph.nodes[vertex]["type"]
        return kind

    def attrs(self, vertex: int) -> dict[str, Any]:
        return dict(self.graph.nodes[vertex]["attrs"])

    def operands(self, vertex: int) -> list[int]:
        """The vertices that an operation reads: not compile-time numbers, and not what says sizes alone."""
        if self.op(vertex) in ANCHORED:
            return []
        return [int(operand) for kind, operand in self.graph.nodes[vertex]["operands"] if kind == "vertex"]

    @cached_property
    def _by_op(self) -> dict[str, list[int]]:
        out: dict[str, list[int]] = {}
        for vertex in self.vertices:
            out.setdefault(self.op(vertex), []).append(vertex)
        return out

    def all(self, *ops: str) -> list[int]:
        """The vertices of some operations."""
        return [vertex for op in ops for vertex in self._by_op.get(op, ())]

    def back(self, vertex: int, through: Collection[str]) -> set[int]:
        """A vertex, and what can be reached from it against the flow without passing any operation but these; where
        the walk ends belongs to it."""
        found, waiting = {vertex}, [vertex]
        while waiting:
            here = waiting.pop()
            if self.op(here) not in through:
                continue
            fresh = set(self.operands(here)) - found
            found |= fresh
            waiting += fresh
        return found

    def sources(self, vertex: int, through: Collection[str]) -> set[int]:
        """Where such a walk ends: the values per token that a vertex is made of, itself where it is one of them."""
        walked = self.back(vertex, through) if self.op(vertex) in through else {vertex}
        return {v for v in walked if self.op(v) not in through and self.op(v) not in FIXED and self.op(v) != "position"}

    def reaches(self, vertex: int, goals: Collection[str], through: Collection[str]) -> bool:
        """Whether a value flows into one of the goals with nothing but `through` on the way."""
        seen, waiting = {vertex}, [vertex]
        while waiting:
            for user in set(self.graph.successors(waiting.pop())) - seen:
                seen.add(user)
                if self.op(user) in goals:
                    return True
                if self.op(user) in through:
                    waiting.append(user)
        return False

    def knows_position(self, vertex: int) -> bool:
        """Whether a value is made of the index of its token, and of nothing that tokens hold."""
        through = POINTWISE | REDUCE | SHAPE | FIXED
        return "position" in {self.op(v) for v in self.back(vertex, through)} and not self.sources(vertex, through)

    def function_of(self, vertex: int, variable: int) -> Callable[[float], float] | None:
        """A vertex as a function of one number, which another vertex is; learned numbers are where they begin.

        None where it is computed from anything else that varies. The function raises ArithmeticError or ValueError
        where it has no value.
        """
        order = sorted(v for v in self.back(vertex, POINTWISE) if variable <= v <= vertex)
        inner = [v for v in order if v != variable and variable in self.back(v, POINTWISE)]
        for v in inner:
            outside = set(self.operands(v)) - set(inner) - {variable}
            if self.op(v) not in POINTWISE or any(self.op(o) != "param" for o in outside):
                return None
        return lambda x: self._value(vertex, {variable: x})

    def _value(self, vertex: int, known: dict[int, float]) -> float:
        if vertex not in known:
            if self.op(vertex) == "param":
                return float(self.attrs(vertex)["init"])
            pairs: Iterable[tuple[str, Any]] = self.graph.nodes[vertex]["operands"]
            inputs = [self._value(o, known) if kind == "vertex" else float(o) for kind, o in pairs]
            fold = PRIMITIVES[self.op(vertex)].fold
            assert fold is not None
            value: Any = fold(*inputs)
            if isinstance(value, complex):  # a broken power of a negative number
                raise ValueError("not a real number")
            known[vertex] = float(value)
        return known[vertex]
