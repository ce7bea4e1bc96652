"""Rank correlation, with and without a third variable, and how sure it is by bootstrap. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

FEWEST = 3  # values that a correlation is taken of


def spearman(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation of two samples, ties at their mean rank (American Journal of Psychology 15, 1904).

    nan where one of them has no spread.

    Raises:
        ValueError: samples of different sizes, fewer than three values, or values that are not finite.
    """
    ranks = [_ranks(sample) for sample in _samples(x, y)]
    return _pearson(*ranks)


def partial_spearman(x: ArrayLike, y: ArrayLike, z: ArrayLike) -> float:
    """The rank correlation of x and y with z held fixed: what is left of their ranks when the part that follows
    linearly from the ranks of z is taken out (Kendall & Stuart, The Advanced Theory of Statistics 2, chapter 27).

    nan where z says all there is to say about one of them. A z without spread changes nothing.

    Raises:
        ValueError: as `spearman`.
    """
    rx, ry, rz = (_ranks(sample) for sample in _samples(x, y, z))
    if np.ptp(rz) == 0:
        return _pearson(rx, ry)
    xy, xz, yz = _pearson(rx, ry), _pearson(rx, rz), _pearson(ry, rz)
    left = (1 - xz**2) * (1 - yz**2)
    return math.nan if math.isnan(left) or left < 1e-12 else float(np.clip((xy - xz * yz) / math.sqrt(left), -1, 1))


def bootstrap_interval(
    function: Callable[..., float], *arrays: ArrayLike, seed: int, confidence: float = 0.95, draws: int = 2000
) -> tuple[float, float]:
    """The percentile bootstrap interval of a function of samples whose values belong together by their index.

    Items are drawn with replacement, in all arrays alike (Efron, Annals of Statistics 7, 1979). Draws for which the
    function is nan, such as a correlation of equal values, are left out; (nan, nan) where they are most. With fewer
    than some twenty items it is too narrow.

    Raises:
        ValueError: samples of different sizes, or what the function raises.
    """
    samples = [np.asarray(array, dtype=float) for array in arrays]
    if not samples or any(len(sample) != len(samples[0]) for sample in samples):
        raise ValueError("the samples differ in size")
    rng = np.random.default_rng(seed)
    values = np.empty(draws)
    for draw in range(draws):
        chosen = rng.integers(len(samples[0]), size=len(samples[0]))
        values[draw] = function(*(sample[chosen] for sample in samples))
    if np.isnan(values).mean() > 0.5:
        return math.nan, math.nan
    low, high = np.nanquantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _samples(*given: ArrayLike) -> list[np.ndarray]:
    samples = [np.asarray(sample, dtype=float) for sample in given]
    if any(sample.shape != samples[0].shape or sample.ndim != 1 for sample in samples):
        raise ValueError("the samples differ in size")
    if len(samples[0]) < FEWEST:
        raise ValueError(f"a correlation needs at least {FEWEST} values")
    if not all(np.isfinite(sample).all() for sample in samples):
        raise ValueError("a value is not finite")
    return samples


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1, equal values at the mean of the ranks that they take up together."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[which]


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    dx, dy = x - x.mean(), y - y.mean()
    size = math.sqrt((dx @ dx) * (dy @ dy))
    return float(np.clip(dx @ dy / size, -1, 1)) if size > 0 else math.nan
