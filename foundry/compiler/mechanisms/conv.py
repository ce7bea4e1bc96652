"""Short causal convolutions along the sequence (So et al. 2021, arXiv:2109.08668)."""

import torch
import torch.nn.functional as F
from torch import nn


class Taps(torch.autograd.Function):
    """y[t] = sum over k of x[t + k] * taps[k]: at these sizes faster than conv1d with a group per channel."""

    @staticmethod
    def forward(ctx, x, taps):
        ctx.save_for_backward(x, taps)
        tokens = x.size(-2) - len(taps) + 1
        y = x[..., :tokens, :] * taps[0]
        for k in range(1, len(taps)):
            y.addcmul_(x[..., k : k + tokens, :], taps[k])
        return y

    @staticmethod
    def backward(ctx, grad):
        x, taps = ctx.saved_tensors
        tokens = grad.size(-2)
        grad_x, grad_taps = torch.zeros_like(x), []
        for k in range(len(taps)):
            grad_x[..., k : k + tokens, :].addcmul_(grad, taps[k])
            grad_taps.append((x[..., k : k + tokens, :] * grad).sum_to_size(taps[k].shape))
        return grad_x, torch.stack(grad_taps)


class Conv(nn.Module):
    """A causal convolution with one filter per channel (and head) of x (B, T, C) or (B, H, T, D)."""

    def __init__(self, channels, kernel):
        super().__init__()
        self.kernel = kernel
        self.weight = nn.Parameter(torch.zeros(channels, 1, kernel))

    def forward(self, x, past=None):
        tokens, back = x.size(-2), self.kernel - 1
        if past is not None:
            (x,) = past.join(x, keep=back)
        x = F.pad(x, (0, 0, back, 0))[..., -tokens - back :, :]
        heads = () if x.dim() == 3 else (x.size(1),)
        taps = self.weight.flatten(1).t().contiguous()  # (kernel, channels)
        return Taps.apply(x, taps.view(self.kernel, *heads, 1, x.size(-1)))
