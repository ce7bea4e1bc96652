"""Rotary positions (Su et al. 2021, arXiv:2104.09864)."""

import torch


def rotate(x, angle):
    """Turn each channel of the first half with its partner in the second: x (..., T, D), angle (..., T, D / 2 or 1)."""
    half = x.size(-1) // 2
    angle = angle.expand(*angle.shape[:-1], half)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return x * torch.cat((cos, cos), -1) + x.roll(half, -1) * torch.cat((-sin, sin), -1)


def rotate_pairs(x, angle):
    """Turn each channel with its neighbour, 0 with 1, 2 with 3: x (..., T, D), angle (..., T, D / 2 or 1)."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
