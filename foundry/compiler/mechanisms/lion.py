"""Lion (Chen et al. 2023, arXiv:2302.06675)."""

import torch


class Lion(torch.optim.Optimizer):
    """Steps by the sign of a momentum, so that every element moves by the learning rate."""

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            lr, (fast, slow) = group["lr"], group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                if p not in self.state:
                    self.state[p] = {"momentum": torch.zeros_like(p)}
                momentum = self.state[p]["momentum"]
                p.mul_(1 - lr * group["weight_decay"])
                p.add_(momentum.lerp(p.grad, 1 - fast).sign_(), alpha=-lr)
                momentum.lerp_(p.grad, 1 - slow)


def lion(parameters, lr, betas, decay):
    """Lion over `parameters`. Matrices decay; vectors, filters and scalars do not."""
    parameters = list(parameters)
    matrices, others = ([p for p in parameters if (p.dim() == 2) == wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group | {"lr": lr, "peak_lr": lr, "betas": betas} for group in groups if group["params"]]
    return Lion(groups, {})
