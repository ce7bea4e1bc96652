"""Channels to heads and back."""


def split_heads(x, heads):
    """Cut the channels into heads: (B, T, H * D) -> (B, H, T, D)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(x):
    """Join the heads: (B, H, T, D) -> (B, T, H * D)."""
    return x.transpose(1, 2).flatten(-2)
