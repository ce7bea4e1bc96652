"""Muon: momentum whose matrices are made orthogonal (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon)."""

import torch
from torch import nn


def orthogonal(x, steps=5):
    """The nearest matrices to x (N, rows, columns) whose singular values are about 1, by Newton-Schulz iteration."""
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal; matrices of one shape go together."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            shapes: dict = {}
            for p in group["params"]:
                if p.grad is not None:
                    shapes.setdefault(p.shape, []).append(p)
            for shape, matrices in shapes.items():
                updates = []
                for p in matrices:
                    if p not in self.state:
                        self.state[p] = {"momentum": torch.zeros_like(p)}
                    momentum = self.state[p]["momentum"]
                    momentum.lerp_(p.grad, 1 - group["momentum"])
                    updates.append(p.grad.lerp(momentum, group["momentum"]))
                step = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for p, update in zip(matrices, orthogonal(torch.stack(updates)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-step)


def muon(model, lr, momentum, decay):
    """Muon over the matrices of hidden layers, and the parameters that are left for another optimizer."""
    layers = [m for name, m in model.named_modules() if isinstance(m, nn.Linear) and "unembed" not in name]
    matrices = {layer.weight: None for layer in layers}
    rest = [p for p in model.parameters() if p not in matrices]
    group = {"params": list(matrices), "lr": lr, "peak_lr": lr, "momentum": momentum, "weight_decay": decay}
    return [Muon([group], {})] if matrices else [], rest
