"""The training loop, for every model: proxies of a few seconds and longer runs alike.

A module is what the compiler emits: it brings the model, the loss, the optimizers and the
schedules. The loop brings what a genome cannot set: the data, their order, and the compute.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foundry.data.difficulty import easiest_first, places
from foundry.train.plan import Step, plan_steps

CURVE_POINTS = 20
UNIFORM = 8.0  # bits per byte of a model that knows nothing
PATIENCE = 20  # steps over which the loss is averaged before a run is given up
HOPELESS = 1.0  # bits per byte above both the first step and UNIFORM


@dataclass(frozen=True)
class Trained:
    """What training did.

    compute: spent, in the same units as the budget. losses: bits per byte of the batch of each step, which is the
    cross-entropy whatever loss the genome trains with. curve: (progress, mean bits per byte since the point before).
    diverged: why training stopped early, or "". abandoned: why it was stopped at a limit, or "".
    """

    steps: int
    tokens: int
    compute: float
    losses: tuple[float, ...]
    curve: tuple[tuple[float, float], ...]
    diverged: str
    abandoned: str = ""


def train(
    module: ModuleType,
    model: nn.Module,
    data: np.ndarray,
    *,
    compute: float,
    compute_per_token: Callable[[int], float],
    seed: int,
    max_context: int,
    on_step: Callable[[Step, float], None] | None = None,
    limits: Sequence[tuple[float, float]] = (),
) -> Trained:
    """Train `model` on `data` (uint8 tokens) for `compute` flop-equivalents.

    compute_per_token: training compute of one token at a context length. on_step is called after each step with
    the step and its bits per byte. The same seed gives the same result to the bit, on one thread.

    limits: pairs of progress and bits per byte. Training stops at a progress where the mean loss since the pair before
    (since the start, for the first) is above the limit; one that is never reached has no say.

    Raises:
        PlanError: the recipe cannot be trained with this compute.
    """
    steps = plan_steps(module, compute=compute, compute_per_token=compute_per_token, max_context=max_context)
    optimizers = module.optimizers(model)
    losses: list[float] = []
    diverged = abandoned = ""
    looks = checkpoints(steps, limits)
    model.train()

    for step, (x, y) in zip(steps, batches(data, steps, seed, max_context), strict=True):
        if len(losses) in looks:
            abandoned = hopeless(losses, *looks[len(losses)])
            if abandoned:
                break
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * step.factor

        logits = model(x)  # (B, T, V)
        loss = module.loss(logits, y).mean()
        with torch.no_grad():
            losses.append(F.cross_entropy(logits.flatten(0, 1), y.flatten()).item() / math.log(2))
        diverged = divergence(loss.item(), losses)
        if diverged:
            break

        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        if module.CLIP > 0:
            nn.utils.clip_grad_norm_(model.parameters(), module.CLIP)
        for optimizer in optimizers:
            optimizer.step()
        if on_step is not None:
            on_step(step, losses[-1])

    done = steps[: len(losses)]
    return Trained(
        steps=len(done),
        tokens=sum(step.tokens for step in done),
        compute=sum(step.compute for step in done),
        losses=tuple(losses),
        curve=curve(done, losses),
        diverged=diverged,
        abandoned=abandoned,
    )


def batches(data: np.ndarray, steps: list[Step], seed: int, max_context: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of each step, (rows, context) int64, from windows at random places.

    The k-th window of a run starts at the same byte for every genome that trains with this seed, whatever
    its batch and context, unless it has a curriculum over difficulty.
    """
    source, last = np.random.default_rng(seed), len(data) - max_context
    order = easiest_first(data) if any(step.share < 1 for step in steps) else None
    for step in steps:
        draws = source.random(step.rows)
        starts = (draws * last).astype(np.int64) if order is None else places(order, draws, step.share, last - 1)
        windows = torch.from_numpy(data[starts[:, None] + np.arange(step.context + 1)].astype(np.int64))
        yield windows[:, :-1], windows[:, 1:]


def divergence(loss: float, losses: list[float]) -> str:
    """Why to give up, or "": a loss that is not finite, or one far above a guess for PATIENCE steps."""
    if not math.isfinite(loss) or not math.isfinite(losses[-1]):
        return f"the loss is {loss} at step {len(losses)}"
    recent = sum(losses[-PATIENCE:]) / PATIENCE
    if len(losses) > PATIENCE and recent > max(losses[0], UNIFORM) + HOPELESS:
        return f"the loss is {recent:.1f} bits per byte after {len(losses)} steps, {losses[0]:.1f} at the first"
    return ""


def checkpoints(steps: list[Step], limits: Sequence[tuple[float, float]]) -> dict[int, tuple[int, float, float]]:
    """Where to look at the loss: before step k, at that of the steps from `start` on; {k: (start, progress, limit)}."""
    looks, start = {}, 0
    begins = [step.progress for step in steps]
    for progress, limit in sorted(limits):
        k = bisect_right(begins, progress)
        if start < k < len(steps):
            looks[k] = start, progress, limit
        start = k
    return looks


def hopeless(losses: Sequence[float], start: int, progress: float, limit: float) -> str:
    """Why to stop at a limit, or ""."""
    since = float(np.mean(losses[start:]))
    return f"{since:.3f} bits per byte at {progress:.0%} of training, above {limit:.3f}" if since > limit else ""


def curve(steps: list[Step], losses: list[float]) -> tuple[tuple[float, float], ...]:
    """About CURVE_POINTS points (progress, bits per byte), each the mean over the steps since the one before."""
    points = []
    for part in np.array_split(np.arange(len(losses)), min(CURVE_POINTS, len(losses))):
        points.append((steps[part[-1]].progress, float(np.mean([losses[i] for i in part]))))
    return tuple(points)
