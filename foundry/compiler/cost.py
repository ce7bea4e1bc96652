"""What a genome costs: parameters, operations, bytes moved, and what its decoder has to remember.

Figures are per token and for a forward pass unless they say otherwise; the context matters, since
attention compares every position with every other. Values are float32. `docs/cost.md` says how each
figure is defined.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import networkx as nx

from foundry.compiler.cache import cache_lower_bound, kept
from foundry.compiler.graph import unit_graph
from foundry.compiler.longest import longest
from foundry.compiler.work import BYTES, Step, Work, graph_work, operands, weights
from foundry.dsl.program import Node, Program, Unit, parameter_count
from foundry.dsl.registry import PRIMITIVES

DEFAULT_CONTEXT = 128


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


def cost(program: Program, context: int | None = None) -> Cost:
    """The cost of a program at a context length, by default the one that its training ends with."""
    context = context or final_context(program)
    graph = _graph(program.model)
    works = list(model_work(program, context))
    growing, fixed = kept(graph, context)
    return Cost(
        parameters=parameter_count(program),
        flops_per_token=sum(times * w.flops for _, w, times in works),
        bytes_per_token=sum(times * w.bytes for _, w, times in works),
        cache_bytes_per_token=growing,
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
    """The context at the end of training, no longer than the tables of positions allow.

    A curriculum that has no finite value there counts as the default.
    """
    try:
        last = int(evaluate(program.recipe.context, {"t": 1.0}))
    except (ArithmeticError, TypeError, ValueError):  # infinite, complex or not a number
        last = DEFAULT_CONTEXT
    return max(1, min(last, longest(program) or last))


def evaluate(unit: Unit, values: dict[str, float]) -> float:
    """The value of a function of numbers: a schedule or a curriculum at one moment."""
    known = {i: values[str(i.attrs["name"])] for i in unit.inputs}
    for node in unit.nodes:
        args = [known[i] if isinstance(i, Node) else i for i in node.inputs]
        if node.op == "number":
            known[node] = float(node.attrs["value"])
        elif node.unit is not None:
            names = [str(i.attrs["name"]) for i in node.unit.inputs]
            known[node] = evaluate(node.unit, dict(zip(names, args, strict=True)))
        else:
            fold = PRIMITIVES[node.op].fold
            assert fold is not None, node.op
            known[node] = float(fold(*args))
    return known[unit.result]


_graphs: WeakKeyDictionary[Unit, nx.DiGraph] = WeakKeyDictionary()


def _graph(unit: Unit) -> nx.DiGraph:
    """The graph of a unit, made once."""
    if unit not in _graphs:
        _graphs[unit] = unit_graph(unit)
    return _graphs[unit]


def model_work(program: Program, context: int) -> Iterator[tuple[int, Work, int]]:
    """For each vertex of the model's graph: its number, the work of one execution, and how often it runs."""
    return graph_work(_graph(program.model), Step(context, max(program.recipe.batch, context)))


# ---- the optimizer's step -----------------------------------------------------------------------------------------

ADAMW_PASSES, LION_PASSES, MUON_PASSES = 7, 5, 5  # reads and writes of each parameter: itself, its gradient, its state
CLIP_PASSES = 3
NEWTON_SCHULZ = 5  # iterations


def optimizer_work(program: Program) -> Work:
    """What the update at the end of a step takes: operations and bytes per step, not per token."""
    optimizer, graph = program.recipe.optimizer, _graph(program.model)
    total = parameter_count(program)
    flops, hidden, tensors = 0.0, 0, 0
    for vertex, data in graph.nodes(data=True):
        if data["copies"] and weights(graph, vertex):
            tensors += data["copies"]
        if optimizer.name == "muon" and data["op"] == "linear":
            rows, columns = sorted((data["attrs"]["out"], operands(graph, vertex)[0].width))
            flops += data["copies"] * NEWTON_SCHULZ * (4 * rows * rows * columns + 2 * rows**3)
            hidden += data["copies"] * rows * columns
    rest = {"adamw": ADAMW_PASSES, "lion": LION_PASSES, "muon": ADAMW_PASSES}[optimizer.name]
    moved = rest * (total - hidden) + MUON_PASSES * hidden + (CLIP_PASSES * total if program.recipe.clip else 0)
    return Work(flops, BYTES * moved, tensors)
