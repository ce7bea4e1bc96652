"""A functional fingerprint: sixteen digits of what an untrained genome computes, and of how it would be trained.

The canonical hash tells meanings from spellings; the fingerprint tells one function from another, however either is put
together: `x * 2 / 2` is `x`, and the order of a sum or of the weights in a file is nobody's concern. The outputs of a
fixed probe and the gradient of every weight are rounded and hashed, with where that weight begins and the optimizer's
settings for it, and with the schedules. Weights stand away from their initial values meanwhile, so that what is silent
at the start of training speaks too.

AutoML-Zero does so for programs by their predictions alone: Real et al. 2020, arXiv:2003.03384.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from foundry.train.plan import context_at, share_at

LEAST_CONTEXT = 128  # tokens of the probe, more where training has more
FIRST_TOKENS = 32  # of them are enough to put equal weights into an order
FREQUENT = (0, 10, 32, 101)  # bytes that fill half of the probe, so that tokens come back and documents end
SHIFT = 0.1  # standard deviation of what is added to weights that begin at a fixed value
DECIMALS = 4  # of the logarithm of a norm, and of projections as multiples of the norm
NOTHING = 1e-9  # of the largest gradient: what is smaller is 0 and rounding
MOMENTS = 64  # of training at which the schedules are asked
COST_STEP = math.log(1.1)  # two costs per token are the same within about this

Summary = tuple[float, ...]  # the logarithm of a norm and two projections; () for nothing


def fingerprint(module: ModuleType, compute_per_token: float, longest: int) -> str:
    """The fingerprint of an emitted module: 16 hexadecimal digits, or "" where its numbers are not finite.

    compute_per_token: of training, in flop-equivalents. Of two genomes that compute the same, one that wastes a tenth
    of its compute takes fewer steps, and is another. longest: tokens of context that a recipe may train with.

    Raises what the module raises.
    """
    with _exactly() as beginnings:
        model = module.Model()
        model.initialise(0)
        model.train()
        weights = _weights(model, module.optimizers(model), beginnings)
        tokens = _probe(module, longest)
        # Equal weights get equal values first; the gradients that they have then put them into an order.
        _, gradients = _response(module, model, tokens[:, : FIRST_TOKENS + 1], weights, [0] * len(weights))
        logits, gradients = _response(module, model, tokens, weights, _ranks(weights, gradients))
    if not all(math.isfinite(number) for summary in (logits, *gradients) for number in summary):
        return ""
    answers = sorted(zip((weight.mark for weight in weights), gradients, strict=True))
    parts = (logits, answers, _recipe(module, longest), round(math.log(compute_per_token) / COST_STEP))
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


# Weights --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Weight:
    """A weight and its initial distribution, a mean (a tensor) and a standard deviation. `mark`: what is known of it
    without its name, which is its shape, how it begins, and who steps it by which settings."""

    parameter: nn.Parameter
    mean: Tensor
    deviation: float
    mark: str


class _Exactly(TorchFunctionMode):
    """What is asked for in single precision is done in double, and weights that begin at random begin at their mean,
    their standard deviation noted."""

    def __init__(self) -> None:
        super().__init__()
        self.deviations: dict[int, float] = {}  # by the address of the weight's numbers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.float:
            return args[0].double()
        if getattr(func, "__name__", "") == "normal_":
            weight = kwargs["tensor"] if "tensor" in kwargs else args[0]
            self.deviations[weight.data_ptr()] = float(kwargs.get("std", 1.0))
            return weight.detach().fill_(kwargs.get("mean", 0.0))
        return func(*args, **kwargs)


@contextmanager
def _exactly() -> Iterator[dict[int, float]]:
    """Everything in double precision, for as long as the context lasts; the deviations of initial weights."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Exactly() as mode:
            yield mode.deviations
    finally:
        torch.set_default_dtype(before)


def _weights(
    model: nn.Module, optimizers: Sequence[torch.optim.Optimizer], deviations: dict[int, float]
) -> list[_Weight]:
    steps: dict[nn.Parameter, object] = {}
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            settings = sorted((name, repr(value)) for name, value in group.items() if name not in ("params", "lr"))
            steps.update(dict.fromkeys(group["params"], (type(optimizer).__name__, settings)))
    weights = []
    for parameter in model.parameters():
        mean, deviation = parameter.detach().clone(), deviations.get(parameter.data_ptr(), 0.0)
        mark = repr((tuple(parameter.shape), _summary(mean), deviation, steps.get(parameter)))
        weights.append(_Weight(parameter, mean, deviation, mark))
    return weights


def _ranks(weights: list[_Weight], gradients: list[Summary]) -> list[int]:
    """The number of each weight among those with its mark, in the order of their gradients. Weights that cannot be
    told apart so stand in the order of the file, which matters only if they are no mirror images of each other."""
    seen: Counter[str] = Counter()
    ranks = [0] * len(weights)
    for index in sorted(range(len(weights)), key=lambda index: gradients[index]):
        ranks[index] = seen[weights[index].mark]
        seen[weights[index].mark] += 1
    return ranks


# What the model answers -----------------------------------------------------------------------------------------------


def _probe(module: ModuleType, longest: int) -> Tensor:
    """The text of the probe, (1, T + 1) int64: half of it any bytes, half a few frequent ones."""
    asked = max(context_at(module, progress, longest) for progress in _moments())
    context = min(max(LEAST_CONTEXT, asked), module.LONGEST or longest)
    source = np.random.default_rng(0)
    rare = source.integers(0, 256, (1, context + 1))
    frequent = source.choice(FREQUENT, (1, context + 1))
    return torch.from_numpy(np.where(source.random(rare.shape) < 0.5, rare, frequent) % module.VOCAB)


def _response(
    module: ModuleType, model: nn.Module, tokens: Tensor, weights: list[_Weight], ranks: list[int]
) -> tuple[Summary, list[Summary]]:
    """Summaries of the logits and of every weight's gradient, where each weight has the values of its mark and rank."""
    for weight, rank in zip(weights, ranks, strict=True):
        seed = int.from_bytes(hashlib.sha256(f"{weight.mark} {rank}".encode()).digest()[:7], "big")
        noise = torch.randn(weight.mean.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        weight.parameter.data = weight.mean + (weight.deviation or SHIFT) * noise
        weight.parameter.grad = None
    logits = model(tokens[:, :-1])
    module.loss(logits, tokens[:, 1:]).mean().backward()
    gradients = [torch.zeros(1) if w.parameter.grad is None else w.parameter.grad for w in weights]
    nothing = NOTHING * max((gradient.norm().item() for gradient in gradients), default=0.0)
    return _summary(logits.detach()), [_summary(gradient, nothing) for gradient in gradients]


def _summary(x: Tensor, nothing: float = 0.0) -> Summary:
    """A tensor's norm and its projections on two fixed directions, rounded; () where the norm is `nothing` or less."""
    norm = x.norm().item()
    if norm <= nothing:
        return ()
    if not math.isfinite(norm):
        return (math.nan,)
    along = _directions(x.numel()) @ x.flatten() / norm
    return tuple(round(number, DECIMALS) + 0.0 for number in (math.log(norm), *along.tolist()))  # no −0


@lru_cache(maxsize=256)
def _directions(size: int) -> Tensor:
    """Two fixed directions in so many dimensions: (2, N)."""
    return torch.randn(2, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


# How it would be trained ----------------------------------------------------------------------------------------------


def _moments() -> list[float]:
    return [moment / MOMENTS for moment in range(MOMENTS)]


def _recipe(module: ModuleType, longest: int) -> tuple[object, ...]:
    """What the recipe says beside its loss, which the gradients have seen, and its optimizer, which the marks know."""
    course = [
        (context_at(module, t, longest), round(module.schedule(t), DECIMALS + 2), round(share_at(module, t), DECIMALS))
        for t in _moments()
    ]
    return (module.BATCH, module.CLIP, course)
