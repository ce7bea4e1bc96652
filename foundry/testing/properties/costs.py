"""What the cost model says is what happens: parameters, operations and cache to the last one, memory within bounds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foundry.compiler.cost import cost, model_work
from foundry.compiler.graph import build_graph
from foundry.compiler.memory import memory
from foundry.compiler.work import operands
from foundry.dsl.program import Program, all_units
from foundry.dsl.rules import CHUNK, padded
from foundry.dsl.types import TensorType
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.memory import forward_peak, step_peak

MATRICES = frozenset({"linear", "unembed", "attend", "linear_attend", "delta_attend"})
REACH = 24  # tokens over which a cache is measured, and more where a shift reaches further back


def parameters_are_exact(case: Case) -> None:
    """The model learns as many numbers as the cost model says."""
    found, said = sum(p.numel() for p in case.model.parameters()), cost(case.program).parameters
    if found != said:
        raise Broken(f"the model learns {found} numbers, and the cost says {said}")


# ---- operations ---------------------------------------------------------------------------------------------------


def operations_are_exact(case: Case) -> None:
    """Linear layers, the output layer and attention take the operations that PyTorch counts."""
    tokens = case.tokens
    if tokens.size(1) < 2:
        raise Skipped("sequences of one token")
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), routed(case.double) as routes, counter:
        case.model(tokens)
    found = counter.get_total_flops() / tokens.numel() + uncounted(case.program, tokens.size(1))
    graph = build_graph(case.program)
    matrices = {v for v, d in graph.nodes(data=True) if d["op"] in MATRICES}
    said = sum(times * w.flops for v, w, times in model_work(case.program, tokens.size(1)) if v in matrices)
    active = [d["times"] * d["attrs"]["active"] for _, d in graph.nodes(data=True) if d["op"] == "experts"]
    said_more = sum(routes) < sum(active) * tokens.numel()  # gates that are zero by chance
    if abs(found - said) > 1e-6 * said and not (said_more and found < said):
        raise Broken(f"PyTorch counts {found} operations for each token, and the cost says {said}")


def uncounted(program: Program, context: int) -> float:
    """Operations per token that PyTorch's counter misses: the delta rule adds what it writes to the state in place,
    and where each channel of a key fades by itself, queries meet keys in products of elements."""
    graph = build_graph(program)
    total = 0.0
    for vertex, data in graph.nodes(data=True):
        if data["op"] == "delta_attend":
            _, k, v, *_ = operands(graph, vertex)
            total += data["times"] * 2 * padded(context)[1] * k.heads * k.width * v.width
        elif data["op"] == "linear_attend":
            q, _, _, decay = operands(graph, vertex)
            if isinstance(decay, TensorType) and decay.width > 1:
                chunk, filled = padded(context, CHUNK // 2)
                total += data["times"] * 2 * filled * chunk * q.heads * q.width
    return total


@contextmanager
def routed(module: Any) -> Iterator[list[int]]:
    """For each mixture that runs inside, how many pairs of a token and an expert it computes."""
    counts: list[int] = []
    own = getattr(module, "experts", None)

    def count(x: Tensor, gates: Tensor, functions: Any) -> Tensor:
        counts.append(int((gates != 0).sum()))
        assert own is not None
        return own(x, gates, functions)

    if own is not None:
        module.experts = count
    try:
        yield counts
    finally:
        if own is not None:
            module.experts = own


# ---- the cache ----------------------------------------------------------------------------------------------------


def held(past: Any) -> int:
    """The bytes that a past holds, each tensor once."""
    found: dict[int, Tensor] = {}
    for slot in past.slots:
        for kept in slot.values():
            for tensor in kept if isinstance(kept, list) else [kept]:
                found[id(tensor)] = tensor
    return sum(t.numel() * t.element_size() for t in found.values())


def cache_is_exact(case: Case) -> None:
    """A decoder in float32 holds what the cost model says, after any number of tokens."""
    model, module = case.fresh(torch.float32), case.module
    need = 1 + max((int(n.attrs.get("by", n.attrs.get("kernel", 0)) or 0) for n in _back(case.program)), default=0)
    count = min(max(REACH, need), module.LONGEST or 1 << 30)
    if count < need:
        raise Skipped("a shift reaches further back than positions go")
    tokens = torch.zeros(2, count + 1, dtype=torch.long)
    past, done = module.Past(), 0
    with torch.no_grad():
        for chunk in (count - 1, 1, 1)[: 3 if count < (module.LONGEST or 1 << 30) else 2]:
            model(tokens[:, done : done + chunk], past)
            done += chunk
            if done < need:
                continue
            said = cost(case.program, done)
            expected = said.cache_bytes_per_token * done + said.cache_bytes_fixed
            if abs(held(past) / 2 - expected) > 1e-6 * expected:
                raise Broken(
                    f"after {done} tokens a decoder holds {held(past) / 2} bytes, and the cost says {expected}"
                )


def _back(program: Program) -> Iterator[Any]:
    for unit in all_units(program):
        yield from (n for n in unit.nodes if n.op in ("shift", "conv"))


def bound_is_a_bound(case: Case) -> None:
    """A decoder keeps no less than the lower bound, and the costs are finite and not negative."""
    said = cost(case.program)
    if said.cache_bytes_lower_bound > said.cache_bytes_per_token * (1 + 1e-9):
        raise Broken(
            f"the bound of {said.cache_bytes_lower_bound} bytes is above the {said.cache_bytes_per_token} that are kept"
        )
    figures = (said.flops_per_token, said.bytes_per_token, said.compute_per_token, said.cache_bytes_lower_bound)
    if not all(0 <= f < float("inf") for f in figures):
        raise Broken(f"a cost is negative or infinite: {said}")


# ---- memory -------------------------------------------------------------------------------------------------------

FORWARD = (0.4, 2.0)  # of what is predicted: the least and the most that may be measured
TRAINING = (0.4, 2.0)
ROWS, CONTEXT = 4, 32


def memory_is_within_bounds(case: Case) -> None:
    """What tensors hold at most, in a forward pass and in a step of training, is near what the cost model says."""
    context = min(CONTEXT, (case.module.LONGEST or CONTEXT + 1) - 1)
    if context < 8:
        raise Skipped("positions for fewer than eight tokens")
    forward, training = memory_ratios(case, ROWS, context)
    for what, ratio, (low, high) in (("a forward pass", forward, FORWARD), ("a step of training", training, TRAINING)):
        if not low <= ratio <= high:
            raise Broken(f"{what} takes {ratio:.2f} times the memory that the cost model says")


def memory_ratios(case: Case, rows: int, context: int) -> tuple[float, float]:
    """The measured peak of a forward pass over the predicted one, and the same of a step of training."""
    generator = torch.Generator().manual_seed(case.seed + 6)
    tokens = torch.randint(case.module.VOCAB, (rows, context + 1), generator=generator)
    model, said = case.fresh(torch.float32), memory(case.program, context, rows)
    step = step_peak(case.module, model, tokens)
    return forward_peak(model, tokens[:, :-1]).peak / said.forward, step.peak / said.training


PROPERTIES = (
    Property("parameters", "The model learns as many numbers as the cost model says.", parameters_are_exact),
    Property("flops", "Matrix products and attention take the operations that PyTorch counts.", operations_are_exact),
    Property("cache", "A decoder holds the bytes that the cost model says.", cache_is_exact),
    Property("memory", "Peak memory is within bounds of what the cost model says.", memory_is_within_bounds),
    Property("cache-bound", "The cache is no smaller than its lower bound.", bound_is_a_bound, runs=False),
)
