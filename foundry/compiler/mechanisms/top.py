"""The largest channels: what sparse routing chooses by (Shazeer et al. 2017, arXiv:1701.06538)."""

import torch


def top(x, count):
    """Which of the last axis of x are among its `count` largest: booleans of the shape of x."""
    chosen = torch.zeros_like(x, dtype=torch.bool)
    return chosen.scatter(-1, x.topk(count, -1).indices, True)
