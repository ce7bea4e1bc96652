"""Cheap signals: what can be known of a genome before it is trained, and early in its training.

None of them is a score. `foundry.search.predictors` measures on an archive which of them say anything about the next
rung, at equal parameters, and the search stops using those that do not. A survey of such signals: Abdelfattah et al.
2021, arXiv:2101.08134; gradients that agree: Fort et al. 2019, arXiv:1901.09491; effective rank: Roy and Vetterli 2007.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANGED = 128  # added to a byte, modulo the vocabulary, to make another one


def untrained(module: ModuleType, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """The signals of a model with its initial weights on its first batch, (rows, context) int64 each.

    initial_bits: bits per byte. gradient_norm: of the first gradient. gradient_spread: standard deviation over the
    matrices of log10 of the gradient's size relative to the weight's. gradient_agreement: cosine between the gradients
    of two halves of the batch, where it has two rows. logit_entropy: bits, of the predictions. effective_rank: of the
    logits, which is at most that of the last activations. reach: how far the logits of the second half of the text move
    when the first half changes, as a share of their size.

    Costs two backward passes of half a batch, and a forward pass. What is not finite or not defined is left out.
    """
    halves = [_gradients(module, model, x[part::2], y[part::2]) for part in (0, 1) if len(x) > part]
    whole = [sum(parts) / len(halves) for parts in zip(*halves, strict=True)]
    matrices = [(p, g) for p, g in zip(model.parameters(), whole, strict=True) if p.dim() > 1]
    sizes = [_size(g) / _size(p) for p, g in matrices if _size(p) and _size(g)]
    agreement = F.cosine_similarity(_flat(halves[0]), _flat(halves[1]), 0).item() if len(halves) > 1 else math.nan
    found = {
        "gradient_norm": _flat(whole).norm().item(),
        "gradient_spread": torch.tensor(sizes).log10().std().item() if len(sizes) > 1 else math.nan,
        "gradient_agreement": agreement,
        **_predictions(model, x, y),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


@torch.no_grad()
def _predictions(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    logits = model(x)  # (B, T, V)
    half = x.size(1) // 2
    changed = x.clone()
    changed[:, :half] = (changed[:, :half] + CHANGED) % logits.size(-1)
    late, moved = logits[:, half:], model(changed)[:, half:]
    logs = logits.log_softmax(-1)
    rows = logits.flatten(0, 1)
    return {
        "initial_bits": F.cross_entropy(rows, y.flatten()).item() / math.log(2),
        "logit_entropy": -(logs.exp() * logs).sum(-1).mean().item() / math.log(2),
        "effective_rank": _effective_rank(rows - rows.mean(0)),
        "reach": ((moved - late).norm() / (late - late.mean((0, 1))).norm()).item(),
    }


def _effective_rank(rows: Tensor) -> float:
    """exp of the entropy of the singular values, as shares of their sum: (N, V) -> 1 to V; nan where there is none."""
    if not rows.isfinite().all():
        return math.nan
    spectrum = torch.linalg.svdvals(rows)
    shares = spectrum / spectrum.sum()
    return math.exp(-torch.xlogy(shares, shares).sum().item())


def _gradients(module: ModuleType, model: nn.Module, x: Tensor, y: Tensor) -> list[Tensor]:
    """The gradient of every weight; the model's own are not touched."""
    weights = list(model.parameters())
    loss = module.loss(model(x), y).mean()
    return list(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _size(tensor: Tensor) -> float:
    """The root of the mean square."""
    return tensor.detach().square().mean().sqrt().item()
