"""How much memory tensors hold while something runs, to the byte: every storage from its making to its end.

What a kernel allocates for itself and frees before it returns is no tensor, and is not seen.
"""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):
    """Follows the storages of the tensors that operations inside make.

    now: bytes that are held. peak: the most that were held after any operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: dict[int, tuple[Any, int]] = {}

    def follow(self, tensors: Any) -> None:
        """Count the storages of these tensors too, each once: what is there before."""
        for tensor in tree_leaves(tensors):
            if isinstance(tensor, Tensor):
                self._add(tensor.untyped_storage())

    def _add(self, storage: Any) -> None:
        key = storage._cdata
        if key in self.known:
            return
        size = storage.nbytes()
        self.known[key] = weakref.ref(storage, partial(self._remove, key)), size
        self.now += size
        self.peak = max(self.peak, self.now)

    def _remove(self, key: int, reference: Any) -> None:
        self.now -= self.known.pop(key)[1]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.follow(out)
        return out


@dataclass(frozen=True)
class Held:
    """Bytes: of what stays (weights, constants, optimizer state), and at the highest point of a run."""

    resting: int
    peak: int


def forward_peak(model: nn.Module, tokens: Tensor) -> Held:
    """What a forward pass without gradients holds: the model, the tokens and what it makes of them."""
    with torch.no_grad(), Live() as live:
        live.follow([list(model.parameters()), list(model.buffers()), tokens])
        resting = live.now
        model(tokens)
    return Held(resting, live.peak)


def step_peak(module: ModuleType, model: nn.Module, tokens: Tensor) -> Held:
    """What a step of training holds once there are gradients and optimizer state: the second of two like those of
    `foundry.train.loop`."""
    optimizers = module.optimizers(model)
    _step(module, model, optimizers, tokens)
    gc.collect()
    with Live() as live:
        live.follow([list(model.parameters()), list(model.buffers()), tokens])
        live.follow([dict(o.state) for o in optimizers])
        live.follow([p.grad for p in model.parameters()])
        resting = live.now
        _step(module, model, optimizers, tokens)
    return Held(resting, live.peak)


def _step(module: ModuleType, model: nn.Module, optimizers: list[Any], tokens: Tensor) -> None:
    logits = model(tokens[:, :-1])
    loss = module.loss(logits, tokens[:, 1:]).mean()
    with torch.no_grad():
        F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten()).item()
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    if module.CLIP > 0:
        nn.utils.clip_grad_norm_(model.parameters(), module.CLIP)
    for optimizer in optimizers:
        optimizer.step()
