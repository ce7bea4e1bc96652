"""Rotary positions (Su et al. 2021, arXiv:2104.09864)."""

import torch


def cos_sin_of(angle, width):
    """What `rotate` takes: cosines and signed sines, (..., T, width) each, of an angle (..., T, width / 2 or 1)."""
    angle = angle.expand(*angle.shape[:-1], width // 2)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


def cos_sin_of_pairs(angle):
    """What `rotate_pairs` takes: the cosines and the sines of an angle (..., T, D / 2 or 1)."""
    return angle.cos(), angle.sin()


def rotate(x, cos_sin):
    """Turn each channel of the first half with its partner in the second: x (..., T, D)."""
    cos, sin = cos_sin
    return x * cos.to(x.dtype) + x.roll(x.size(-1) // 2, -1) * sin.to(x.dtype)


def rotate_pairs(x, cos_sin):
    """Turn each channel with its neighbour, 0 with 1, 2 with 3: x (..., T, D)."""
    even, odd = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos_sin[0].to(x.dtype), cos_sin[1].to(x.dtype)
    return torch.stack((even * cos - odd * sin, odd * cos + even * sin), -1).flatten(-2)
