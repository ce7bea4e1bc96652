"""Terms of the loss that arise inside the model."""

import torch


class Penalty(torch.autograd.Function):
    """x as it is; the backward pass starts from `term` too, as if it were added to the loss."""

    share = 1.0  # of a step's tokens, where a pass sees but some of them

    @staticmethod
    def forward(ctx, x, term):
        ctx.save_for_backward(term)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        (term,) = ctx.saved_tensors
        return grad, torch.full_like(term, Penalty.share)


def average(x):
    """The mean over the tokens: (B, T, C) -> (1, C), (B, H, T, D) -> (H, 1, D)."""
    return x.float().mean(0).mean(-2, keepdim=True)


def penalty(x, term):
    """x, while training also lessens the sum of `term`."""
    return Penalty.apply(x, term.sum())
