"""AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101)."""

import torch


def adamw(parameters, lr, betas, decay, eps=1e-8):
    """AdamW over `parameters`. Matrices decay; vectors, filters and scalars do not."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() == 2], "weight_decay": decay},
        {"params": [p for p in parameters if p.dim() != 2], "weight_decay": 0.0},
    ]
    groups = [group | {"peak_lr": lr} for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)
