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
    groups = [
        {"params": [p for p in parameters if (p.dim() == 2) == matrix], "weight_decay": decay * matrix, "lr": lr, "peak_lr": lr, "betas": betas}
        for matrix in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    return Lion(groups, {})
