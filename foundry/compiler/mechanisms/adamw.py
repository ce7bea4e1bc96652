"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import torch


def adamw(parameters, lr, betas, decay, eps=1e-8):
    """AdamW over `parameters`. Matrices decay; vectors, filters and scalars do not."""
    parameters = list(parameters)
    matrices, others = ([p for p in parameters if (p.dim() == 2) == wanted] for wanted in (True, False))
    groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
    groups = [group | {"lr": lr, "peak_lr": lr} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=betas, eps=eps, fused=True)
