"""Joining channels of values that broadcast."""

import torch


def concat(a, b):
    """The channels of a, then those of b, over all the other axes of both: (..., C) and (..., D) -> (..., C + D)."""
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return torch.cat((a.expand(*shape, -1), b.expand(*shape, -1)), -1)
