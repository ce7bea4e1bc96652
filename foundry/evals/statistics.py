"""How sure a difference is: t intervals, pooled noise, and a verdict. Standard library only."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

CONFIRMED, NO_DIFFERENCE, WORSE = "confirmed", "no difference shown", "worse"


@dataclass(frozen=True)
class Difference:
    """The mean of a − b with its 95 % interval, the two-sided p of no difference, and the degrees of freedom.

    n: pairs, or for unpaired samples the smaller of the two sizes.
    """

    mean: float
    low: float
    high: float
    p: float
    freedom: float
    n: int


def paired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Student's interval for the mean of a[i] − b[i]; pairs share a seed, hence their data order.

    Raises:
        ValueError: samples of different sizes, fewer than two pairs, or values that are not finite.
    """
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values against {len(b)}: they do not pair")
    differences = [x - y for x, y in zip(_finite(a), _finite(b), strict=True)]
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return _interval(statistics.mean(differences), error, len(differences) - 1, len(differences), confidence)


def unpaired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Welch's interval for the difference of two means, their variances not assumed equal (Biometrika 34, 1947).

    Raises:
        ValueError: fewer than two values on a side, or values that are not finite.
    """
    parts = [statistics.variance(_finite(side)) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    squares = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    freedom = sum(parts) ** 2 / squares if squares else len(a) + len(b) - 2
    return _interval(statistics.mean(a) - statistics.mean(b), error, freedom, min(len(a), len(b)), confidence)


def noise(*groups: Iterable[float]) -> float:
    """The standard deviation of one evaluation: pooled over groups that each repeat one genome with other seeds.

    Raises:
        ValueError: no group has two values, or a value is not finite.
    """
    squares, freedom = 0.0, 0
    for group in groups:
        values = list(group)
        if len(values) > 1:
            squares += statistics.variance(_finite(values)) * (len(values) - 1)
            freedom += len(values) - 1
    if not freedom:
        raise ValueError("noise needs at least two evaluations of one genome")
    return math.sqrt(squares / freedom)


def verdict(difference: Difference, sigma: float) -> str:
    """What a candidate's bits per byte minus the baseline's allows to say; lower is better.

    `confirmed` or `worse` if the whole interval lies on one side of zero and the mean is larger than `sigma`, the
    standard deviation of one evaluation (see `noise`); `no difference shown` otherwise.
    """
    if abs(difference.mean) > sigma and difference.high < 0:
        return CONFIRMED
    if abs(difference.mean) > sigma and difference.low > 0:
        return WORSE
    return NO_DIFFERENCE


def t_probability(t: float, freedom: float) -> float:
    """P(|T| > |t|) for Student's t: the regularised incomplete beta at f / (f + t²) with f/2 and 1/2."""
    return incomplete_beta(freedom / 2, 0.5, freedom / (freedom + t * t))


def t_quantile(confidence: float, freedom: float) -> float:
    """The t with P(|T| < t) = confidence, by bisection to the last digits of a float."""
    low, high = 0.0, 1.0
    while t_probability(high, freedom) > 1 - confidence:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        if t_probability(middle, freedom) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by Lentz's continued fraction.

    Abramowitz & Stegun 26.5.8; Press et al., Numerical Recipes, section 6.4.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        before = fraction
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(fraction - before) <= 1e-16 * abs(fraction):
            break
    return front * fraction / a


def _finite(values: Sequence[float]) -> Sequence[float]:
    if len(values) < 2:
        raise ValueError("an interval needs at least two values")
    if not all(map(math.isfinite, values)):
        raise ValueError("a value is not finite")
    return values


def _interval(mean: float, error: float, freedom: float, n: int, confidence: float) -> Difference:
    reach = t_quantile(confidence, freedom) * error
    p = t_probability(mean / error, freedom) if error else float(mean == 0)
    return Difference(mean, mean - reach, mean + reach, p, freedom, n)
