"""Where a number went wrong: the first layer whose output is not finite, and the first such gradient."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foundry.train.devices import Machine, whole


def first_not_finite(model: nn.Module, inputs: Iterable[Tensor], machine: Machine) -> str:
    """The name of the first layer that makes what is not finite of what is, for one of `inputs` (B, T); or "".

    Layers are asked in the order in which they end, so that of nested ones the innermost is named.
    """
    found: list[str] = []

    def watch(name: str):
        def look(module: nn.Module, given: Any, output: Any) -> None:
            if not found and not _finite(output) and _finite(given):
                found.append(name)

        return look

    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules() if name]
    try:
        with torch.no_grad(), machine.autocast():
            for x in inputs:
                model(x.to(machine.device))
    finally:
        for hook in hooks:
            hook.remove()
    return machine.first_word(found[0] if found else "")


def first_bad_gradient(model: nn.Module) -> str:
    """The name of the first parameter whose gradient is not finite, or ""; every process has to ask."""
    named = ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    return next((name for name, gradient in named if not whole(gradient).isfinite().all()), "")


def _finite(value: Any) -> bool:
    return all(bool(tensor.isfinite().all()) for tensor in _tensors(value))


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
