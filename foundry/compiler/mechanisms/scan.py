"""Elementwise linear recurrences (Martin and Cundy 2018, arXiv:1709.04057)."""

import torch
import torch.nn.functional as F


def recur(a, b):
    """h[t] = a[t] * h[t-1] + b[t] from h = 0, over a and b (..., T, D).

    Chunks run side by side, then pass on their last value. Nothing is divided, so any a will do, 0 included.
    """
    tokens = b.size(-2)
    length = max(1, int(tokens**0.5))
    pad = -tokens % length
    a, b = (F.pad(x, (0, 0, 0, pad)).unflatten(-2, (-1, length)) for x in (a, b))  # (..., chunks, length, D)
    h, decay = b.clone(), a.clone()
    steps, decays, factors = h.unbind(-2), decay.unbind(-2), a.unbind(-2)
    for t in range(1, length):
        steps[t].addcmul_(factors[t], steps[t - 1])
        decays[t].mul_(decays[t - 1])
    carry = steps[-1].clone()  # (..., chunks, D): the value at the end of each chunk
    ends, factors = carry.unbind(-2), decays[-1].unbind(-2)
    for c in range(1, len(ends)):
        ends[c].addcmul_(factors[c], ends[c - 1])
    h[..., 1:, :, :].addcmul_(decay[..., 1:, :, :], carry[..., :-1, None, :])
    return h.flatten(-3, -2)[..., :tokens, :]


class Scan(torch.autograd.Function):
    """`recur`, whose gradient is the same recurrence run backwards."""

    @staticmethod
    def forward(ctx, a, b):
        h = recur(a, b)
        ctx.save_for_backward(a, h)
        return h

    @staticmethod
    def backward(ctx, grad):
        a, h = ctx.saved_tensors
        later = F.pad(a[..., 1:, :], (0, 0, 0, 1))
        grad_b = recur(later.flip(-2), grad.flip(-2)).flip(-2)
        return grad_b * F.pad(h[..., :-1, :], (0, 0, 1, 0)), grad_b


def scan(a, b, past=None):
    """The linear recurrence h[t] = a[t] * h[t-1] + b[t]: b (..., T, D), a number or a tensor that broadcasts to it."""
    a = torch.as_tensor(a, dtype=b.dtype, device=b.device).expand_as(b)
    slot = past.slot() if past is not None else {}
    if slot:  # go on from the last value
        b = torch.cat((torch.addcmul(b[..., :1, :], a[..., :1, :], slot["h"]), b[..., 1:, :]), -2)
    h = Scan.apply(a, b)
    slot["h"] = h[..., -1:, :]
    return h
