"""The training loop, for every model: proxies of a few seconds and runs of weeks alike.

A module is what the compiler emits: it brings the model, the loss, the optimizers and the schedules. The loop brings
what a genome cannot set: the data, their order, and the compute. `updates` is the loop; `train` runs it for a proxy,
`foundry.train.run` for everything else.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from foundry.data.order import Batch, windows
from foundry.train.devices import ALONE, Machine, whole
from foundry.train.fault import first_not_finite
from foundry.train.plan import Step, plan_steps

CURVE_POINTS = 20
UNIFORM = 8.0  # bits per byte of a model that knows nothing
PATIENCE = 20  # steps over which the loss is averaged before a run is given up
HOPELESS = 1.0  # bits per byte above both the first step and UNIFORM

Forward = Callable[[Tensor, Tensor, bool], tuple[Tensor, Tensor]]


class Diverged(Exception):
    """There is no use in training on. The message says why."""


@dataclass(frozen=True)
class Update:
    """A step that was taken. bits: bits per byte of its batch, before it. norm: of the gradient, before it was
    clipped. tokens: that the loss counted."""

    step: Step
    bits: float
    norm: float
    tokens: int


def updates(
    module: ModuleType,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    steps: Sequence[Step],
    data: Iterable[Sequence[Batch]],
    losses: list[float],
    *,
    machine: Machine = ALONE,
    forward: Forward | None = None,
    micro: int | None = None,
    byte_lengths: np.ndarray | None = None,
) -> Iterator[Update]:
    """Take the steps that are not taken yet, one at each turn, and append the bits per byte of each to `losses`.

    losses: of the steps that were taken before; its length says where to go on. data: for each step that is left, the
    batches that make it up. forward: see `forward_pass`, which is the default. micro: at most so many tokens go
    through the model at once; the sum over the parts is the gradient of the whole step. byte_lengths: (vocab,) UTF-8
    bytes of each token; None: each is one byte.

    Raises:
        Diverged: the loss is not finite, or hopeless; the weights are those before the step. Where a layer made what
            is not finite, it is named.
    """
    forward = forward or forward_pass(module, model)
    model.train()
    for step, batches in zip(steps[len(losses) :], data, strict=True):
        for optimizer in optimizers:
            optimizer.zero_grad()
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * step.factor

        tokens, size = batches[0].valid, 0
        loss = nats = torch.zeros((), device=machine.device)
        for x, y in parts(batches, micro):
            size += int((y >= 0).sum() if byte_lengths is None else byte_lengths[y[y >= 0].numpy()].sum())
            if hasattr(module, "Penalty"):  # a term that is a mean over tokens, and not a sum
                module.Penalty.share = machine.gradient_scale * int((y >= 0).sum()) / tokens
            with machine.autocast():
                part, entropy = forward(x.to(machine.device), y.to(machine.device), bool((y >= 0).all()))
            (part / (tokens / machine.gradient_scale)).backward()
            loss, nats = loss + part.detach(), nats + entropy

        if machine.world > 1:
            nats, loss, sizes = machine.add_up(torch.stack([nats.double(), loss.double(), nats.new_tensor(size)]))
            size = int(sizes)
        losses.append((nats / size).item() / math.log(2))
        if reason := divergence((loss / tokens).item(), losses):
            layer = first_not_finite(model, (x for x, _ in parts(batches, micro)), machine)
            raise Diverged(reason + (f", first in {layer}" if layer else ""))

        machine.add_gradients(model)
        norm = clip(model, module.CLIP)
        for optimizer in optimizers:
            optimizer.step()
        yield Update(step, losses[-1], norm, tokens)


def forward_pass(module: ModuleType, model: nn.Module, plain: bool = False) -> Forward:
    """The part of a step that can be compiled: from tokens to (the sum of the losses, the sum of the cross-entropies).

    Both sums are over the targets that are not -1; the third argument says whether that is all of them. plain: the
    loss is the cross-entropy, so that there is nothing to compute twice.
    """

    def forward(x: Tensor, y: Tensor, everywhere: bool) -> tuple[Tensor, Tensor]:
        logits = model(x)  # (B, T, V)
        losses = module.loss(logits, y if everywhere else y.clamp(min=0))  # (B, T, 1)
        loss = losses.sum() if everywhere else losses.squeeze(-1).where(y >= 0, 0).sum()
        if plain:
            return loss, loss.detach()
        with torch.no_grad():
            return loss, F.cross_entropy(logits.flatten(0, 1), y.flatten(), ignore_index=-1, reduction="sum")

    return forward


def parts(batches: Sequence[Batch], micro: int | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs and targets of a step, whole rows of at most `micro` tokens at a time, but one row at least."""
    for batch in batches:
        rows = len(batch.x) if micro is None else max(1, micro // batch.x.size(1))
        yield from zip(batch.x.split(rows), batch.y.split(rows), strict=True)


def clip(model: nn.Module, most: float) -> float:
    """Shorten the gradient to a norm of `most`, unless that is 0; the norm that it had. One that is not finite stays as
    it is, so that it can be seen where it went wrong."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    total = nn.utils.get_total_norm(gradients)
    norm = whole(total).item()
    if most > 0 and math.isfinite(norm):
        nn.utils.clip_grads_with_norm_(model.parameters(), most, total)
    return norm


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
    losses: list[float] = []
    diverged = abandoned = ""
    looks = checkpoints(steps, limits)
    order = ([batch] for batch in windows(data, steps, seed, max_context))
    try:
        for update in updates(module, model, module.optimizers(model), steps, order, losses):
            if on_step is not None:
                on_step(update.step, update.bits)
            if len(losses) in looks:
                abandoned = hopeless(losses, *looks[len(losses)])
                if abandoned:
                    break
    except Diverged as reason:
        diverged = str(reason)

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
