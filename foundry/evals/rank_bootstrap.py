"""The bootstrap interval of a rank correlation, all draws at once: what `bootstrap_interval` gives, in milliseconds.

A draw is how often it holds each item. An item's rank in a draw is the number of smaller ones there, and half of those
that are equal to it; so ranks are running sums over the sorted items, and correlations weighted sums.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

AT_ONCE = 200_000  # items of all draws together that are held in memory


def spearman_interval(
    x: ArrayLike, y: ArrayLike, z: ArrayLike | None = None, *, seed: int, confidence: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """The percentile bootstrap interval of Spearman's correlation of x and y, or of what is left of it with z held
    fixed; see `foundry.evals.correlation`, whose `bootstrap_interval` this agrees with draw by draw.

    (nan, nan) where the correlation is undefined in most draws.
    """
    samples = [np.asarray(sample, dtype=float) for sample in (x, y, *([] if z is None else [z]))]
    n = len(samples[0])
    drawn = np.random.default_rng(seed).integers(n, size=(draws, n))
    rho = np.concatenate([_drawn(samples, block) for block in np.array_split(drawn, 1 + draws * n // AT_ONCE)])
    if np.isnan(rho).mean() > 0.5:
        return math.nan, math.nan
    low, high = np.nanquantile(np.clip(rho, -1, 1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _drawn(samples: list[np.ndarray], drawn: np.ndarray) -> np.ndarray:
    """The correlation within every draw: items by their index, (draws, N) -> (draws,)."""
    n = drawn.shape[1]
    counts = np.stack([np.bincount(draw, minlength=n) for draw in drawn]).astype(float)  # (draws, N)
    x, y, *z = (_ranks(sample, counts) for sample in samples)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = _correlation(x, y, counts)
        if not z:
            return rho
        with_x, with_y = _correlation(x, z[0], counts), _correlation(y, z[0], counts)
        left = (1 - with_x**2) * (1 - with_y**2)
        held = np.where(left < 1e-12, np.nan, (rho - with_x * with_y) / np.sqrt(left))
    return np.where(_constant(z[0], counts), rho, held)


def _ranks(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The rank of every item in every draw, from 1, equal ones at their mean: (draws, N)."""
    order = np.argsort(values)
    _, starts, group = np.unique(values[order], return_index=True, return_inverse=True)
    equal = np.add.reduceat(counts[:, order], starts, axis=1)  # how many of each value: (draws, values)
    smaller = np.cumsum(equal, axis=1) - equal
    ranks = np.empty_like(counts)
    ranks[:, order] = (smaller + (equal + 1) / 2)[:, group]
    return ranks


def _correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Pearson's correlation within every draw, nan where one side is constant: (draws,)."""
    n = counts.shape[1]
    dx, dy = (ranks - (counts * ranks).sum(1, keepdims=True) / n for ranks in (x, y))
    xx, yy, xy = ((counts * a * b).sum(1) for a, b in ((dx, dx), (dy, dy), (dx, dy)))
    size = np.sqrt(xx * yy)
    return np.where(size > 1e-9, xy / size, np.nan)


def _constant(ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Whether all items of a draw have one rank: (draws,)."""
    held = counts > 0
    return np.where(held, ranks, -np.inf).max(1) == np.where(held, ranks, np.inf).min(1)
