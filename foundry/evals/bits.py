"""Bits per byte of a trained model, and the two checks that a score is real."""

from __future__ import annotations

import copy
import zlib

import numpy as np
import torch
from torch import Tensor, nn

from foundry.train.validation import bits_per_byte, windows

__all__ = ["bits_per_byte", "first_leak", "implausible_below", "windows"]

ROUNDING = 1e-9  # of the largest logit: what regrouped sums may differ by in float64
SAMPLE = 1 << 18  # bytes that the compressor sees
TOO_GOOD = 0.25  # of what the compressor needs


@torch.inference_mode()
def first_leak(model: nn.Module, text: Tensor, vocab: int, groups_tokens: bool = False) -> int | None:
    """The first place where changing all later tokens changes earlier logits by as much as a bit, or None.

    A black box test: it asks nothing about how the model computes. text is (N, T) int64; each of its rows is changed
    from a place of its own on, so that what leaks now and then, or by what the text says, is seen somewhere.

    groups_tokens: the model gathers tokens into groups whose sizes depend on them all, as experts do. A matrix product
    rounds by its number of rows, so later tokens do reach the last bits of earlier ones, and through a close choice
    between two experts more than those. In float64 both are far below `ROUNDING`, and leaks are not.
    """
    if groups_tokens:
        model = copy.deepcopy(model).double()
    rows, length = text.shape
    before = model(text)
    cuts = 1 + torch.arange(rows)[:, None] * (length - 1) // rows  # (N, 1)
    later = torch.arange(length) >= cuts  # (N, T)
    after = model(torch.where(later, (text + vocab // 2) % vocab, text))
    allowed = ROUNDING * before.abs().max().item() if groups_tokens else 0.0
    same = torch.isclose(after, before, rtol=0, atol=allowed).all(-1) | later
    leaking = cuts[~same.all(1)]
    return int(leaking.min()) if leaking.numel() else None


def implausible_below(data: np.ndarray) -> float:
    """Bits per byte that nothing honest reaches at proxy budgets: a quarter of what zlib needs for the same text.

    About 0.48 on the standard library, where good proxies reach 2.0. Taken from the text, so that a very
    repetitive one does not put every model under suspicion.
    """
    sample = data[:SAMPLE].tobytes()
    return TOO_GOOD * 8 * len(zlib.compress(sample)) / len(sample)
