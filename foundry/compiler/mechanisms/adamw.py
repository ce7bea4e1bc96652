"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import torch


def adamw(parameters, lr, betas, decay, eps=1e-8):
    """AdamW over `parameters`. Matrices decay; vectors, filters and scalars do not."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if (p.dim() == 2) == matrix], "weight_decay": decay * matrix, "lr": lr, "peak_lr": lr}
        for matrix in (True, False)
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, betas=betas, eps=eps, fused=True)
