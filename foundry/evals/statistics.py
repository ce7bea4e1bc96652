"""How sure a difference is: t intervals, also for looking again and for the best of many; noise; a verdict.

Standard library only.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

CONFIRMED, NO_DIFFERENCE, WORSE = "confirmed", "no difference shown", "worse"
EFFECT = 4.0  # the size of a difference that `sequential_difference` is quickest with, in deviations of one pair


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
    differences = _paired(a, b)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return student_interval(statistics.mean(differences), error, len(differences) - 1, len(differences), confidence)


def unpaired_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """Welch's interval for the difference of two means, their variances not assumed equal (Biometrika 34, 1947).

    Raises:
        ValueError: fewer than two values on a side, or values that are not finite.
    """
    parts = [statistics.variance(_finite(side)) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    squares = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    freedom = sum(parts) ** 2 / squares if squares else len(a) + len(b) - 2
    return student_interval(statistics.mean(a) - statistics.mean(b), error, freedom, min(len(a), len(b)), confidence)


def sequential_difference(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Difference:
    """An interval for the mean of a[i] − b[i] that holds however often one looks, and whenever one stops.

    Student's interval is right for a number of pairs that was fixed beforehand. Who adds pairs until it excludes zero
    will be fooled more often than it says: in 18 of 100 cases of no difference, with 3 to 12 pairs. These intervals
    are a sequence that contains the truth at all sizes at once with the given confidence.

    Each value for the mean is judged by a Bayes factor: of the differences over their deviation being normal around
    that value, against around one that is itself normal around it, EFFECT deviations wide, for a deviation that may be
    anything. Where the value is true, the factor is a martingale that starts at 1, whatever the deviation, and so
    reaches 1 / (1 − confidence) at some time with a probability of 1 − confidence at most (Ville). The interval has
    the values whose factor is below that. p is one over the factor of zero: below 0.05 where the interval excludes 0.

    With EFFECT = 4 it excludes zero after 3.1, 3.6, 4.5, 6.2 and 15 pairs on average where the true difference is 10,
    5, 3, 2 and 1 deviations of one pair. After two pairs it has no ends: 20 to 1 cannot be reached.

    Lai, Annals of Statistics 4 (1976); Wang & Ramdas, Anytime-valid t-tests and confidence sequences for Gaussian
    means with unknown variance, arXiv 2310.03722. The differences must be near to normal, and their order no choice.

    Raises:
        ValueError: samples of different sizes, fewer than two pairs, or values that are not finite.
    """
    differences = _paired(a, b)
    n, mean = len(differences), statistics.mean(differences)
    error = statistics.stdev(differences) / math.sqrt(n)
    wider = 1 + n * EFFECT**2  # the variance of the mean where it is spread by EFFECT, over that where it is not
    bar = (math.sqrt(wider) / (1 - confidence)) ** (2 / n)
    ratio = (bar - 1) / (1 - bar / wider) if bar < wider else math.inf  # t² / freedom, at which the factor is enough
    reach = math.sqrt((n - 1) * ratio) * error if math.isfinite(ratio) else math.inf
    square = (mean / error) ** 2 / (n - 1) if error else math.inf if mean else 0.0  # t² / freedom of zero
    better = wider if math.isinf(square) else (1 + square) / (1 + square / wider)
    factor = n / 2 * math.log(better) - math.log(wider) / 2  # its logarithm
    return Difference(mean, mean - reach, mean + reach, math.exp(-max(0.0, factor)), n - 1, n)


def expected_best(m: int, sigma: float, n: int = 1) -> float:
    """How much better than it is the best of m equal genomes looks, in the unit of sigma.

    Each score is the mean of n evaluations, one of which has the standard deviation sigma. It is the expected
    largest of m normal values (Tippett, Biometrika 17, 1925): 0.56 sigma for 2, 1.54 for 10, 2.51 for 100.

    Raises:
        ValueError: m or n below one.
    """
    if m < 1 or n < 1:
        raise ValueError("the best of none, or of genomes that were never evaluated")
    # E = ∫ P(largest > x) − P(largest < −x) dx from 0; beyond 9 nothing is left for any m that can be paid for.
    steps, width = 1800, 0.005
    total = 0.0
    for step in range(steps + 1):
        above = math.erfc(step * width / math.sqrt(2)) / 2
        height = -math.expm1(m * math.log1p(-above)) - above**m
        total += height * (0.5 if step in (0, steps) else 1.0)
    return total * width * sigma / math.sqrt(n)


def sidak(m: int, confidence: float = 0.95) -> float:
    """The confidence that each of m intervals needs, so that all of them hold at once with `confidence`.

    So `paired_difference(a, b, sidak(m))` holds although a was picked on these very values as the best of m. Exact
    for independent differences, and on the safe side where they share a baseline (Šidák, JASA 62, 1967).
    """
    return confidence ** (1 / m)


def lead_of_best(lead: float, sigma: float, freedom: float, m: int, n: int = 1, confidence: float = 0.95) -> Difference:
    """What the lead of the best of m genomes over another one is worth, by a noise that was measured elsewhere.

    lead: the mean of n evaluations of the best minus that of n evaluations of the other. sigma: the standard
    deviation of one evaluation, known with `freedom` (see `noise`). The interval is simultaneous for all m leads, and
    p is the chance of such a lead, either way, among m genomes that are no different. Common seeds make the noise of
    a difference smaller than is taken for granted here, which is the safe side.
    """
    error = sigma * math.sqrt(2 / n)
    single = student_interval(lead, error, freedom, n, sidak(m, confidence))
    return replace(single, p=-math.expm1(m * math.log1p(-single.p)) if single.p < 1 else 1.0)


@dataclass(frozen=True)
class Signs:
    """How often each side was ahead, how often neither, and the two-sided p of equal chances."""

    wins: int
    losses: int
    ties: int
    p: float


def sign_test(differences: Iterable[float]) -> Signs:
    """The exact sign test; a positive difference is a win. Ties say nothing (Conover, Practical Nonparametric
    Statistics, section 3.4). With 5 pairs p is 0.0625 at best: then the test alone can never reach 0.05.

    Raises:
        ValueError: a value is not a number.
    """
    values = list(differences)
    if any(math.isnan(value) for value in values):
        raise ValueError("a difference is not a number")
    wins, losses = sum(value > 0 for value in values), sum(value < 0 for value in values)
    trials, rarer = wins + losses, min(wins, losses)
    tail = sum(math.comb(trials, k) for k in range(rarer + 1)) / 2**trials
    return Signs(wins, losses, len(values) - trials, min(1.0, 2 * tail))


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


def _paired(a: Sequence[float], b: Sequence[float]) -> list[float]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} values against {len(b)}: they do not pair")
    return [x - y for x, y in zip(_finite(a), _finite(b), strict=True)]


def _finite(values: Sequence[float]) -> Sequence[float]:
    if len(values) < 2:
        raise ValueError("an interval needs at least two values")
    if not all(map(math.isfinite, values)):
        raise ValueError("a value is not finite")
    return values


def student_interval(mean: float, error: float, freedom: float, n: int, confidence: float = 0.95) -> Difference:
    """The interval by Student's t of a mean whose standard error is known with so many degrees of freedom."""
    reach = t_quantile(confidence, freedom) * error
    p = t_probability(mean / error, freedom) if error else float(mean == 0)
    return Difference(mean, mean - reach, mean + reach, p, freedom, n)
