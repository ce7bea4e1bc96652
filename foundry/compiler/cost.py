"""What a genome costs: parameters, operations, bytes moved, and what its decoder has to remember.

Figures are per token and for a forward pass unless they say otherwise; the context matters, since
attention compares every position with every other. Values are float32. `docs/cost.md` says how each
figure is defined and how the constants below were measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import networkx as nx

from foundry.compiler.graph import unit_graph
from foundry.compiler.recognise import affine_of, allows_everything, window_of
from foundry.dsl.program import Node, Optimizer, Program, Unit, parameter_count
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import BOOLEAN, TensorType

BYTES = 4  # of a float32
TOKEN_BYTES = 8  # of an index

# How many floating-point operations take as long as moving one byte, as starting one kernel, and as the softmax
# of one logit inside a fused attention, on one core: `python bench/cost_model.py --fit`.
BALANCE = 5.5
LAUNCH = 690_000.0
LOGIT = 107.0
VECTOR = 16  # channels of a head, below which the fused kernel takes twice the time for a logit

MADE_OF_NOTHING = frozenset({"input", "slot", "carry", "number", "param"})


@dataclass(frozen=True)
class Cost:
    """The cost of a genome at one context length.

    parameters: learned numbers, shared and tied ones once.
    flops_per_token: forward, with attention as the full square; a multiplication and an addition are two.
    bytes_per_token: activations read and written forward, and the weights, read once per step.
    cache_bytes_per_token: what the emitted decoder keeps for each position: keys and values.
    cache_bytes_lower_bound: the least that it would have to keep if it recomputed what it can within a block.
    cache_bytes_fixed: what it keeps whatever the length: the states of convolutions, shifts and recurrences.
    compute_per_token: what training costs, in operations: forward, backward, loss and optimizer.
    context: the length in tokens that the figures hold for.
    """

    parameters: int
    flops_per_token: float
    bytes_per_token: float
    cache_bytes_per_token: float
    cache_bytes_lower_bound: float
    cache_bytes_fixed: int
    compute_per_token: float
    context: int


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


def cost(program: Program, context: int | None = None) -> Cost:
    """The cost of a program at a context length, by default the one that its training ends with."""
    context = context or final_context(program)
    graph = _graph(program.model)
    works = list(model_work(program, context))
    kept, fixed = _kept(graph, context)
    return Cost(
        parameters=parameter_count(program),
        flops_per_token=sum(times * w.flops for _, w, times in works),
        bytes_per_token=sum(times * w.bytes for _, w, times in works),
        cache_bytes_per_token=kept,
        cache_bytes_lower_bound=cache_lower_bound(graph, context),
        cache_bytes_fixed=fixed,
        compute_per_token=compute_per_token(program, context),
        context=context,
    )


def compute_per_token(program: Program, context: int) -> float:
    """What training takes per token at a context length, in operations.

    The backward pass costs twice the forward one; bytes moved and kernels started are counted as the
    operations that would take as long. The loss and the optimizer's step are included.
    """
    return step_work(program, context).equivalent / max(program.recipe.batch, context)


def step_work(program: Program, context: int) -> Work:
    """The work of one training step, of the whole batch."""
    batch = max(program.recipe.batch, context)
    forward = [*model_work(program, context), *graph_work(_graph(program.recipe.loss), Step(context, batch))]
    update = optimizer_work(program)
    return Work(
        3 * batch * sum(times * work.flops for _, work, times in forward) + update.flops,
        3 * batch * sum(times * work.bytes for _, work, times in forward) + update.bytes,
        3 * sum(times * work.kernels for _, work, times in forward) + update.kernels,
        3 * batch * sum(times * work.logits for _, work, times in forward),
    )


def final_context(program: Program) -> int:
    """The context at the end of training."""
    return max(1, int(evaluate(program.recipe.context, {"t": 1.0})))


def evaluate(unit: Unit, values: dict[str, float]) -> float:
    """The value of a function of numbers: a schedule or a curriculum at one moment."""
    known = {i: values[str(i.attrs["name"])] for i in unit.inputs}
    for node in unit.nodes:
        args = [known[i] if isinstance(i, Node) else i for i in node.inputs]
        if node.op == "number":
            known[node] = float(node.attrs["value"])  # type: ignore[arg-type]
        elif node.unit is not None:
            names = [str(i.attrs["name"]) for i in node.unit.inputs]
            known[node] = evaluate(node.unit, dict(zip(names, args, strict=True)))
        else:
            fold = PRIMITIVES[node.op].fold
            assert fold is not None, node.op
            known[node] = float(fold(*args))
    return known[unit.result]


# ---- operations and bytes -----------------------------------------------------------------------------------------

_graphs: WeakKeyDictionary[Unit, nx.DiGraph] = WeakKeyDictionary()


def _graph(unit: Unit) -> nx.DiGraph:
    """The graph of a unit, made once."""
    if unit not in _graphs:
        _graphs[unit] = unit_graph(unit)
    return _graphs[unit]


def model_work(program: Program, context: int) -> Iterator[tuple[int, Work, int]]:
    """For each vertex of the model's graph: its number, the work of one execution, and how often it runs."""
    return graph_work(_graph(program.model), Step(context, max(program.recipe.batch, context)))


def graph_work(graph: nx.DiGraph, step: Step) -> Iterator[tuple[int, Work, int]]:
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


def _operands(graph: nx.DiGraph, vertex: int) -> tuple[Any, ...]:
    """The types of a vertex's operands, numbers as they are: what the registry's rules take."""
    data = graph.nodes[vertex]
    return tuple(graph.nodes[o]["type"] if kind == "vertex" else o for kind, o in data["operands"])


def _flops(graph: nx.DiGraph, vertex: int, step: Step) -> float:
    data = graph.nodes[vertex]
    if data["op"] in MADE_OF_NOTHING:
        return 0.0
    flops = PRIMITIVES[data["op"]].flops(_operands(graph, vertex), data["attrs"], data["type"], step.context)
    return flops * step.share(data["type"])


def weights(graph: nx.DiGraph, vertex: int) -> int:
    """How many learned numbers an operation reads; a tied output layer reads the embedding's."""
    data = graph.nodes[vertex]
    if data["op"] in MADE_OF_NOTHING - {"param"}:
        return 0
    attrs = {**data["attrs"], "tied": 0} if data["op"] == "unembed" else data["attrs"]
    return sum(math.prod(shape) for shape in PRIMITIVES[data["op"]].weights(_operands(graph, vertex), attrs).values())


def _work(graph: nx.DiGraph, vertex: int, step: Step) -> Work:
    """One operation as eager PyTorch does it: every operand read, the result written."""
    data = graph.nodes[vertex]
    op, out = data["op"], step.bytes(data["type"])
    if op in MADE_OF_NOTHING:
        return Work()
    tensors = [t for t in _operands(graph, vertex) if isinstance(t, TensorType)]
    read = sum(step.bytes(t) for t in tensors)
    moved, kernels = _traffic(op, data["attrs"], read, out, step)
    if op in ("linear", "unembed", "conv"):
        moved += BYTES * weights(graph, vertex) / step.batch
    return Work(_flops(graph, vertex, step), moved, kernels)


def _traffic(op: str, attrs: dict[str, Any], read: float, out: float, step: Step) -> tuple[float, int]:
    """Bytes per token and kernels of one operation, given the bytes of its operands and of its result."""
    match op:
        case "split_heads" | "slice":  # views
            return 0.0, 1
        case "embed":  # the rows, and where they go
            return 2 * out, 1
        case "position" | "channel_index":
            return out, 1
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
    inside = {v for v in range(vertex + 1) if graph.nodes[v]["group"] == vertex}
    outside = {p for v in inside for p in graph.predecessors(v)} - inside
    return Work(flops, sum(step.bytes(graph.nodes[v]["type"]) for v in (*outside, vertex)), 1)


# ---- attention ----------------------------------------------------------------------------------------------------


def attention_form(attrs: dict[str, Any]) -> str:
    """How an attend is computed.

    flash: causal, nothing of size T × T is held. window: the same with a mask of T × T, made in every step.
    bias: a bias of H × T × T, made in every step. dense: scores of B × H × T × T.
    """
    affine, mask = affine_of(attrs.get("score")), attrs.get("mask")
    if affine is None:
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
    q, k, v = _operands(graph, vertex)
    moved = sum(step.bytes(t) for t in (q, k, v, data["type"]))
    logits = q.heads * step.context * (2 if q.width < VECTOR else 1)
    places = 16 * TOKEN_BYTES * step.context**2 / step.batch  # where each logit stands, T × T, once per step
    kernels = 1
    if form == "window":
        moved, kernels = moved + places / 4, 8
    elif form == "bias" and _learns(data["attrs"].get("score")):  # the logits are held for the gradient
        moved, kernels, logits = moved + places + 7 * BYTES * logits, 30, 0
    elif form == "bias":
        moved, kernels = moved + places + BYTES * logits, 24
    elif form == "dense":  # logits, where they count, the softmax, and what it weighs
        moved, kernels, logits = moved + places + 8 * BYTES * logits, 30, 0
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


# ---- the optimizer's step -----------------------------------------------------------------------------------------

ADAMW_PASSES, LION_PASSES, MUON_PASSES = 7, 5, 5  # reads and writes of each parameter: itself, its gradient, its state
CLIP_PASSES = 3
NEWTON_SCHULZ = 5  # iterations


def optimizer_work(program: Program) -> Work:
    """What the update at the end of a step takes: operations and bytes per step, not per token."""
    optimizer: Optimizer = program.recipe.optimizer
    total = parameter_count(program)
    flops, hidden, tensors = 0.0, 0, 0
    for vertex, data in _graph(program.model).nodes(data=True):
        if data["copies"] and weights(_graph(program.model), vertex):
            tensors += data["copies"]
        if optimizer.name == "muon" and data["op"] == "linear":
            rows, columns = sorted((data["attrs"]["out"], _operands(_graph(program.model), vertex)[0].width))
            flops += data["copies"] * NEWTON_SCHULZ * (4 * rows * rows * columns + 2 * rows**3)
            hidden += data["copies"] * rows * columns
    rest = {"adamw": ADAMW_PASSES, "lion": LION_PASSES, "muon": ADAMW_PASSES}[optimizer.name]
    moved = rest * (total - hidden) + MUON_PASSES * hidden + (CLIP_PASSES * total if program.recipe.clip else 0)
    return Work(flops, BYTES * moved, tensors)


# ---- the decoder's cache ------------------------------------------------------------------------------------------


def _share(attrs: dict[str, Any], context: int) -> float:
    """Which part of the past an attention looks at."""
    window = window_of(attrs.get("mask"))
    return min(window, context) / context if window else 1.0


def _cached(graph: nx.DiGraph, context: int) -> dict[int, float]:
    """The vertices that attention keeps, each with the part of the past for which it does."""
    shares: dict[int, float] = {}
    for _, data in graph.nodes(data=True):
        if data["op"] == "attend":
            for _, vertex in data["operands"][1:3]:
                shares[vertex] = max(shares.get(vertex, 0.0), _share(data["attrs"], context))
    return shares


def _weigh(graph: nx.DiGraph, vertex: int, times: int | None = None) -> float:
    data = graph.nodes[vertex]
    size = TOKEN_BYTES if data["type"].is_tokens else BYTES * data["type"].fixed_size
    return size * (data["times"] if times is None else times)


def _kept(graph: nx.DiGraph, context: int) -> tuple[float, int]:
    """Bytes per token of keys and values, each once however many layers use it, and bytes of fixed states."""
    growing = sum(share * _weigh(graph, vertex) for vertex, share in _cached(graph, context).items())
    fixed = 0
    for vertex, data in graph.nodes(data=True):
        if data["op"] in PRIMITIVES and data["op"] != "attend":
            keeps = PRIMITIVES[data["op"]].keeps(_operands(graph, vertex), data["attrs"], context)
            fixed += BYTES * keeps[1] * data["times"]
    return growing, fixed


def cache_lower_bound(graph: nx.DiGraph, context: int) -> float:
    """The least that a decoder must keep per token: a minimum cut.

    Every value weighs its bytes per token. The cut separates what a block starts from (its input, the
    embedding, the results of earlier attention) from the keys and values that attention needs; what lies
    behind the cut is recomputed. A latent from which keys and values are made is such a cut.
    """
    need = _cached(graph, context)
    starts = {
        v for v, d in graph.nodes(data=True) if d["op"] in ("input", "carry", "attend") or _embeds_tokens(graph, v)
    }
    network = nx.DiGraph()
    for vertex in sorted(graph, reverse=True):
        inner = [u for u in graph.successors(vertex) if u in need and u not in starts]
        need[vertex] = max([need.get(vertex, 0.0), *(need[u] for u in inner)])
        if not need[vertex]:
            del need[vertex]
            continue
        network.add_edge((vertex, "in"), (vertex, "out"), capacity=need[vertex] * _weigh(graph, vertex))
        if vertex in starts:
            network.add_edge("start", (vertex, "in"))
        for user in inner:
            times = graph.nodes[user]["times"]
            if times < graph.nodes[vertex]["times"]:  # the result of a repeat: the last pass alone goes on
                leaving = (vertex, times)
                network.add_edge("start", leaving, capacity=need[vertex] * _weigh(graph, vertex, times))
                network.add_edge(leaving, (user, "in"))
            else:
                network.add_edge((vertex, "out"), (user, "in"))
    for vertex in _cached(graph, context):
        network.add_edge((vertex, "out"), "end")
    if "start" not in network or "end" not in network:
        return 0.0
    return float(nx.minimum_cut_value(network, "start", "end"))


def _embeds_tokens(graph: nx.DiGraph, vertex: int) -> bool:
    data = graph.nodes[vertex]
    return data["op"] == "embed" and data["type"].has("batch")
