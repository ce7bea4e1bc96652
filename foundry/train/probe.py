"""What only trying tells: how many tokens fit into memory at once, and how long a step takes.

Trial steps are steps of the real loop; the weights are put back afterwards.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import nn

from foundry.data.order import windows
from foundry.train.checkpoint import weights
from foundry.train.devices import Machine
from foundry.train.loop import Forward, updates
from foundry.train.plan import Length, Step

WARM = 2  # steps that are not timed: memory is taken, kernels are compiled
TIMED = 3  # steps at least that are timed ...
LONG_ENOUGH = 2.0  # ... and seconds
MOMENTS = 2  # that an optimizer keeps of every weight, at most


class ProbeError(ValueError):
    """A model that cannot be trained here. One line."""


def fitting(forward: Forward, model: nn.Module, step: Step, machine: Machine) -> int | None:
    """How many tokens of `step` go through the model at once on every process, beside the gradients of those before
    and what the optimizer keeps; None: all of them.

    Asks the device by trying, from a whole share of the step down by halves. On a CPU, and where a failure of one
    process would leave others waiting (FSDP), everything is taken to fit.

    Raises:
        ProbeError: not even one row fits.
    """
    if machine.device.type != "cuda" or machine.shard == "fsdp":
        return None
    rows = -(-step.rows // machine.world)
    most = rows
    while True:
        (failed,) = machine.agree(_fails(forward, model, rows, step.context, machine))
        model.zero_grad()
        torch.cuda.empty_cache()
        if not failed:
            return None if rows == most else rows * step.context
        if rows == 1:
            raise ProbeError(
                f"one row of {step.context:,} tokens does not fit into the memory of the device: "
                "try --checkpoint-activations, --shard fsdp, or a shorter --set context=…"
            )
        rows = max(1, rows // 2)


def _fails(forward: Forward, model: nn.Module, rows: int, context: int, machine: Machine) -> bool:
    try:
        kept = [torch.empty_like(weight) for weight in model.parameters() for _ in range(MOMENTS)]
        x = torch.zeros(rows, context, dtype=torch.int64, device=machine.device)
        for _ in range(2):
            with machine.autocast():
                loss, _ = forward(x, x, True)
            loss.backward()
        del kept
    except torch.OutOfMemoryError:
        return True
    return False


def measured(
    module: ModuleType,
    model: nn.Module,
    steps: Sequence[Step],
    data: np.ndarray,
    seconds: float,
    machine: Machine,
    forward: Forward,
    micro: int | None,
    clock: Callable[[], float] = time.perf_counter,
) -> Length:
    """The length of a run that takes `seconds`: what a token costs at the shortest and at the longest context of
    `steps`, and between them in proportion."""
    kept = {name: tensor.detach().clone() for name, tensor in weights(model).items()}
    optimizers = module.optimizers(model)
    costs = {}
    for step in (min(steps, key=lambda s: s.context), max(steps, key=lambda s: s.context)):
        if step.context not in costs:
            order = (
                [batch] for batch in windows(data, _endless(step), 0, step.context, 0, machine.rank, machine.world)
            )
            trial = updates(
                module, model, optimizers, _endless(step), order, [], machine=machine, forward=forward, micro=micro
            )
            costs[step.context] = _seconds(trial, machine, clock) / step.tokens
    with torch.no_grad():
        for name, tensor in weights(model).items():
            tensor.copy_(kept[name])
    model.zero_grad()
    (short, low), (long, high) = min(costs.items()), max(costs.items())
    reach = max(0.0, (high - low) / (long - short)) if long > short else 0.0
    return Length(seconds, "seconds", token=max(low - reach * short, low / 10), reach=reach)


def _endless(step: Step) -> list[Step]:
    return [step] * 10_000


def _seconds(trial, machine: Machine, clock: Callable[[], float]) -> float:
    """How long a step takes, as all processes agree."""
    for _ in range(WARM):
        next(trial)
    began, count = clock(), 0
    while True:
        next(trial)
        count += 1
        (enough, taken) = machine.agree(
            float(machine.first and count >= TIMED and clock() - began >= LONG_ENOUGH),
            (clock() - began) if machine.first else 0.0,
        )
        if enough:
            trial.close()
            return taken / count
