"""Training curves: the loss between two moments, and what is kept of it as a signal. Standard library only.

A curve is a sequence of (progress, bits per byte), each the mean over the steps since the point before.
"""

from __future__ import annotations

from collections.abc import Sequence

Curve = Sequence[Sequence[float]]

EARLY = {"bits_at_10": (0.05, 0.10), "bits_at_25": (0.15, 0.25), "bits_at_50": (0.40, 0.50)}  # name: from, to


def mean_between(curve: Curve, begin: float, end: float) -> float | None:
    """The mean bits per byte while progress goes from `begin` to `end`; None where the curve ends before."""
    total = weight = before = 0.0
    for progress, bits in curve:
        share = min(end, progress) - max(begin, before)
        if share > 0:
            total, weight = total + share * bits, weight + share
        before = progress
    return total / weight if before >= end and weight else None


def early_signals(curve: Curve) -> dict[str, float]:
    """Bits per byte around 10 %, 25 % and 50 % of training, as far as the curve goes."""
    means = {name: mean_between(curve, *window) for name, window in EARLY.items()}
    return {name: mean for name, mean in means.items() if mean is not None}
