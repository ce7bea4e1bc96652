"""The work of each operation of a graph: what it computes, what it moves, and how many kernels do it.

Values are float32 on eager PyTorch: an elementwise operation reads its operands and writes its result.
`docs/cost.md` says how each figure is defined and how the constants were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import networkx as nx

from foundry.compiler.recognise import affine_of, allows_everything, window_of
from foundry.dsl.program import Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import BOOLEAN, TensorType

BYTES = 4  # of a float32
INDEX_BYTES = 8  # of a token, or of a position

# How many floating-point operations take as long as moving one byte, as starting one kernel, and as the softmax
# of one logit inside a fused attention, on one core: `python bench/cost_model.py --fit`.
BALANCE = 5.0
LAUNCH = 600_000.0
LOGIT = 100.0
VECTOR = 16  # channels of a head, below which the fused kernel takes twice the time for a logit

MADE_OF_NOTHING = frozenset({"input", "slot", "carry", "number", "param"})


@dataclass(frozen=True)
class Work:
    """What an execution of an operation takes: operations, bytes and logits of fused attention per token, and
    kernels, once for the batch."""

    flops: float = 0.0
    bytes: float = 0.0
    kernels: int = 0
    logits: float = 0.0

    @property
    def equivalent(self) -> float:
        """The operations that would take as long."""
        return self.flops + BALANCE * self.bytes + LAUNCH * self.kernels + LOGIT * self.logits


@dataclass(frozen=True)
class Step:
    """The sizes of a training step: `batch` tokens in sequences of `context`."""

    context: int
    batch: int

    def elements(self, t: TensorType) -> float:
        """How many elements of a value there are for each token of the batch."""
        positions = (self.context if t.has("token") else 1) * (self.context if t.has("key") else 1)
        return t.fixed_size * positions * (self.batch / self.context if t.has("batch") else 1) / self.batch

    def bytes(self, t: TensorType) -> float:
        return self.elements(t) * (1 if t.dtype == BOOLEAN else BYTES)

    def share(self, t: TensorType) -> float:
        """Which part of the operations per token a value costs that is the same for every sequence."""
        if t.has("batch"):
            return 1.0
        return self.context / self.batch if t.has("token") or t.has("key") else 1 / self.batch


def graph_work(graph: nx.DiGraph, step: Step) -> Iterator[tuple[int, Work, int]]:
    """For each vertex of a graph: its number, the work of one execution, and how often it runs."""
    forms = {v: attention_form(d["attrs"]) for v, d in graph.nodes(data=True) if d["op"] == "attend"}
    for vertex, data in graph.nodes(data=True):
        if data["part"]:
            work = _part_work(graph, vertex, step, forms[_owner(graph, vertex)])
        elif data["op"] == "attend":
            work = _attend_work(graph, vertex, step, forms[vertex])
        elif data["fused"]:
            work = _fused_work(graph, vertex, step)
        else:
            work = _work(graph, vertex, step)
        yield vertex, work, data["times"]


def _owner(graph: nx.DiGraph, vertex: int) -> int:
    """The attend that a vertex of a score or a mask belongs to."""
    while graph.nodes[vertex]["part"]:
        vertex = next(iter(graph.successors(vertex)))
    return vertex


def operands(graph: nx.DiGraph, vertex: int) -> tuple[Any, ...]:
    """The types of a vertex's operands, numbers as they are: what the registry's rules take."""
    data = graph.nodes[vertex]
    return tuple(graph.nodes[o]["type"] if kind == "vertex" else o for kind, o in data["operands"])


def _flops(graph: nx.DiGraph, vertex: int, step: Step) -> float:
    data = graph.nodes[vertex]
    if data["op"] in MADE_OF_NOTHING:
        return 0.0
    flops = PRIMITIVES[data["op"]].flops(operands(graph, vertex), data["attrs"], data["type"], step.context)
    return flops * step.share(data["type"])


def weights(graph: nx.DiGraph, vertex: int) -> int:
    """How many learned numbers an operation reads; a tied output layer reads the embedding's."""
    data = graph.nodes[vertex]
    if data["op"] in MADE_OF_NOTHING - {"param"}:
        return 0
    attrs = {**data["attrs"], "tied": 0} if data["op"] == "unembed" else data["attrs"]
    return sum(math.prod(shape) for shape in PRIMITIVES[data["op"]].weights(operands(graph, vertex), attrs).values())


def _work(graph: nx.DiGraph, vertex: int, step: Step) -> Work:
    """One operation as eager PyTorch does it: every operand read, the result written."""
    data = graph.nodes[vertex]
    op, out = data["op"], step.bytes(data["type"])
    if op in MADE_OF_NOTHING:
        return Work()
    tensors = [t for t in operands(graph, vertex) if isinstance(t, TensorType)]
    read = sum(step.bytes(t) for t in tensors)
    moved, kernels = _traffic(op, data["attrs"], read, out, step)
    if op in ("linear", "unembed", "conv"):
        moved += BYTES * weights(graph, vertex) / step.batch
    return Work(_flops(graph, vertex, step), moved, kernels)


def _traffic(op: str, attrs: dict[str, Any], read: float, out: float, step: Step) -> tuple[float, int]:
    """Bytes per token and kernels of one operation, given the bytes of its operands and of its result."""
    match op:
        case "split_heads" | "slice" | "stop":  # views
            return 0.0, 1
        case "embed":  # the rows, and where they go
            return 2 * out, 1
        case "position" | "channel_index" | "head_index" | "table" | "lookup":
            return out, 1
        case "linear_attend":  # decays between positions, states between chunks, and what they are multiplied with
            return 8 * (read + out), 70 + step.context // 8
        case "delta_attend":  # and a triangular system in each chunk
            return 14 * (read + out), 90 + step.context // 3
        case "top":  # the largest, zeros, and where they are
            return 3 * read, 4
        case "experts":  # rows gathered and scattered for each expert that a token uses
            return attrs["active"] * (2 * read + 2 * out), 8 * attrs["times"]
        case "penalty":
            return 2 * read, 6
        case "logsumexp":  # the maximum, the difference, its exponential, their sum
            return 6 * read + out, 5
        case "conv":  # zeros before the start, then one pass for each tap, which adds to the one before
            return 2 * out + (3 * attrs["kernel"] - 1) * out, attrs["kernel"] + 2
        case "rotate":  # two products, the halves exchanged, the sum; sines and cosines are per position
            return 9 * out, 9
        case "scan":  # chunks of the square root of the context, then their ends, then the ends spread
            return 8 * read + 3 * out, 6 + 3 * math.isqrt(step.context)
        case "cross_entropy":  # the log-softmax, and the pick
            return 3 * read, 3
    return read + out, 1


def _fused_work(graph: nx.DiGraph, vertex: int, step: Step) -> Work:
    """A recognised operation reads its inputs and writes its result once; what is between costs operations alone."""
    data = graph.nodes[vertex]
    flops = _flops(graph, vertex, step)
    if data["group"] != vertex:
        return Work(flops)
    inside, outside, stack = {vertex}, set(), [vertex]
    while stack:
        for before in graph.predecessors(stack.pop()):
            if graph.nodes[before]["group"] != vertex:
                outside.add(before)
            elif before not in inside:
                inside.add(before)
                stack.append(before)
    return Work(flops, sum(step.bytes(graph.nodes[v]["type"]) for v in (*outside, vertex)), 1)


# ---- attention ----------------------------------------------------------------------------------------------------


def attention_form(attrs: dict[str, Any]) -> str:
    """How an attend is computed.

    flash: causal, nothing of size T × T is held. window: the same with a mask of T × T, made in every step.
    bias: a bias of H × T × T, made in every step. dense: scores of B × H × T × T.
    """
    affine, mask = affine_of(attrs.get("score")), attrs.get("mask")
    if affine is None or attrs["top"] or attrs["sink"] or attrs["seen"]:
        return "dense"
    if affine.biased:
        return "bias"
    if allows_everything(mask):
        return "flash"
    return "window" if window_of(mask) else "bias"


def _learns(unit: Unit | None) -> bool:
    return unit is not None and any(n.op == "param" or (n.unit and _learns(n.unit)) for n in unit.nodes)


def _attend_work(graph: nx.DiGraph, vertex: int, step: Step, form: str) -> Work:
    data = graph.nodes[vertex]
    q, k, v, *_ = operands(graph, vertex)
    moved = sum(step.bytes(t) for t in (q, k, v, data["type"]))
    square = BYTES * q.heads * step.context  # of one logit for each key and head
    logits = q.heads * step.context * (2 if q.width < VECTOR else 1)
    places = 16 * INDEX_BYTES * step.context**2 / step.batch  # where each logit stands, T × T, once per step
    kernels = 1
    if form == "window":
        moved, kernels = moved + places / 4, 8
    elif form == "bias" and _learns(data["attrs"].get("score")):  # the logits are held for the gradient
        moved, kernels, logits = moved + places + 7 * square, 30, 0
    elif form == "bias":
        moved, kernels = moved + places + square, 24
    elif form == "dense":  # logits, where they count, the softmax, and what it weighs
        moved, kernels, logits = moved + places + (28 if data["attrs"]["top"] else 8) * square, 30, 0  # top sorts
    return Work(_flops(graph, vertex, step), moved, kernels, logits)


def _part_work(graph: nx.DiGraph, vertex: int, step: Step, form: str) -> Work:
    """The work of an operation in a score or a mask: that of a bias is the same for every sequence."""
    data = graph.nodes[vertex]
    if form in ("flash", "window"):
        return Work()
    work = _work(graph, vertex, step)
    if form == "bias" and data["type"].has("batch"):
        return Work(work.flops * step.context / step.batch, work.bytes * step.context / step.batch, work.kernels)
    return work
