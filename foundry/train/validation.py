"""Bits per byte on held-out text: the one figure that models with different tokenizers can be compared by.

The bits are what the model needs for each token, −log2 p; the bytes are what those tokens stand for in UTF-8. Tokens
that stand for no text, such as the one that ends a document, cost bits and count no bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROWS = 32  # windows in one forward pass, at most ...
LOGITS = 1 << 25  # ... and how many logits it may have: 256 MiB of float64


def windows(data: np.ndarray, count: int, context: int) -> Tensor:
    """`count` evenly spaced windows of `context + 1` tokens, the same ones every time: (count, context + 1) int64.

    Raises:
        ValueError: `data` is shorter than one window.
    """
    if len(data) <= context:
        raise ValueError(f"{len(data):,} tokens are too few for a window of {context + 1:,}")
    starts = np.linspace(0, len(data) - context - 1, count).astype(np.int64)
    return torch.from_numpy(data[starts[:, None] + np.arange(context + 1)].astype(np.int64))


def bits_per_byte(
    model: nn.Module,
    text: Tensor,
    byte_lengths: np.ndarray | None = None,
    *,
    vocab: int | None = None,
    device: torch.device | str | None = None,
    share: tuple[int, int] = (0, 1),
    add_up: Callable[[Tensor], Tensor] = lambda sums: sums,
) -> float:
    """Mean bits that the model needs for a byte of tokens 1 … T of each window, from those before.

    text: (N, T + 1) int64, see `windows`. byte_lengths: (vocab,) UTF-8 bytes of each token; None: each is one byte.
    vocab: of the model, by which it goes how many windows it takes at once; it may be larger than the tokenizer's.
    device: where the model is, if not with the text. share: (rank, world): the part of the windows that this process
    takes, every world-th from its rank on. add_up: sums a tensor over all processes, which then agree on the result.
    The model is expected in eval mode.

    Raises:
        ValueError: the tokens stand for no bytes at all.
    """
    rank, world = share
    mine = text[rank::world]
    known = vocab or (None if byte_lengths is None else len(byte_lengths))
    bits = total_bits(model, mine, ROWS if known is None else _rows(text, known), device)
    targets = mine[:, 1:]
    size = targets.numel() if byte_lengths is None else int(byte_lengths[targets.numpy()].sum())
    bits, size = add_up(torch.tensor([bits, size], dtype=torch.float64, device=device)).tolist()
    if not size:
        raise ValueError("the tokens to predict stand for no text, so there are no bits per byte")
    return bits / size


@torch.inference_mode()
def total_bits(model: nn.Module, text: Tensor, rows: int, device: torch.device | str | None = None) -> float:
    """The bits for tokens 1 … T of all windows (N, T + 1), `rows` windows at a time; sums are float64."""
    nats = 0.0
    for part in text.split(rows):
        part = part if device is None else part.to(device)
        logits = model(part[:, :-1])
        nats += F.cross_entropy(logits.flatten(0, 1).double(), part[:, 1:].flatten(), reduction="sum").item()
    return nats / math.log(2)


def _rows(text: Tensor, vocab: int) -> int:
    """How many windows fit into one pass."""
    return max(1, min(ROWS, LOGITS // ((text.size(1) - 1) * vocab)))
