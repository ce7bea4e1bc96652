"""Learned numbers by index: relative positions (Raffel et al. 2019, arXiv:1910.10683) and other biases."""

import torch


def lookup(table, index):
    """The number of each index, the nearest where there is none: table (N) or (H, N), index (T, K) or (H, T, K)."""
    index = index.long().clamp(0, table.size(-1) - 1)
    if table.dim() == 1:
        return table[index]
    return table[torch.arange(table.size(0), device=table.device)[:, None, None], index]
