"""Statistics against printed tables and against worked examples."""

import math
import statistics

import pytest

from foundry.evals.statistics import (
    CONFIRMED,
    NO_DIFFERENCE,
    WORSE,
    Difference,
    incomplete_beta,
    noise,
    paired_difference,
    t_probability,
    t_quantile,
    unpaired_difference,
    verdict,
)

# The two-sided t table of the NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2.
TABLE = {
    1: (6.314, 12.706, 63.657),
    2: (2.920, 4.303, 9.925),
    3: (2.353, 3.182, 5.841),
    4: (2.132, 2.776, 4.604),
    5: (2.015, 2.571, 4.032),
    7: (1.895, 2.365, 3.499),
    10: (1.812, 2.228, 3.169),
    15: (1.753, 2.131, 2.947),
    30: (1.697, 2.042, 2.750),
    60: (1.671, 2.000, 2.660),
    100: (1.660, 1.984, 2.626),
}


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_are_those_of_the_t_table(freedom):
    found = [t_quantile(confidence, freedom) for confidence in (0.90, 0.95, 0.99)]
    assert found == pytest.approx(TABLE[freedom], abs=5.1e-4)


@pytest.mark.parametrize("t", [0.0, 0.1, 1.0, 12.7, 1e6])
def test_probabilities_agree_with_closed_forms(t):
    assert t_probability(t, 1) == pytest.approx(1 - 2 * math.atan(t) / math.pi, abs=1e-9)  # Cauchy
    assert t_probability(t, 2) == pytest.approx(1 - t / math.sqrt(2 + t * t), abs=1e-9)
    assert t_probability(t, 1e7) == pytest.approx(2 * (1 - statistics.NormalDist().cdf(t)), abs=1e-6)


@pytest.mark.parametrize("x", [0.0, 1e-9, 0.3, 0.5, 0.99, 1.0])
def test_the_incomplete_beta_agrees_with_closed_forms(x):
    assert incomplete_beta(1, 1, x) == pytest.approx(x)
    assert incomplete_beta(3, 1, x) == pytest.approx(x**3)
    assert incomplete_beta(2, 3, x) == pytest.approx(6 * x**2 - 8 * x**3 + 3 * x**4)


def test_a_paired_difference_worked_by_hand():
    # differences −0.2 −0.1 −0.3 −0.2: mean −0.2, s = √(0.02/3), error s/2, t(3) = 3.182
    found = paired_difference([2.0, 2.2, 2.1, 2.5], [2.2, 2.3, 2.4, 2.7])
    reach = 3.1824463 * math.sqrt(0.02 / 3) / 2
    assert (found.mean, found.low, found.high) == pytest.approx((-0.2, -0.2 - reach, -0.2 + reach))
    assert (found.freedom, found.n) == (3, 4)
    assert found.p == pytest.approx(t_probability(0.2 / (math.sqrt(0.02 / 3) / 2), 3))


def test_the_paired_sleep_data_of_student():
    # Student, Biometrika 6 (1908); R's t.test(paired = TRUE): t = -4.0621, df = 9, p = 0.002833
    first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    paired = paired_difference(first, second)
    assert (paired.mean, paired.low, paired.high) == pytest.approx((-1.58, -2.4598858, -0.7001142), abs=1e-6)
    assert paired.p == pytest.approx(0.002833, abs=1e-6)
    # the same data, Welch: t = -1.8608, df = 17.776, p = 0.07939, interval -3.3654832 0.2054832
    welch = unpaired_difference(first, second)
    assert (welch.low, welch.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)
    assert welch.freedom == pytest.approx(17.776, abs=1e-3)
    assert welch.p == pytest.approx(0.07939, abs=1e-5)


def test_equal_differences_have_an_interval_of_no_width():
    found = paired_difference([1.0, 2.0], [1.5, 2.5])
    assert (found.low, found.mean, found.high, found.p) == (-0.5, -0.5, -0.5, 0.0)
    assert paired_difference([1.0, 2.0], [1.0, 2.0]).p == 1.0
    assert unpaired_difference([1.0, 1.0], [1.0, 1.0, 1.0]).p == 1.0


@pytest.mark.parametrize("compare", [paired_difference, unpaired_difference])
@pytest.mark.parametrize("a, b", [([1.0], [2.0]), ([], []), ([1.0, math.nan], [1.0, 2.0])])
def test_too_little_or_unfinished_data_is_an_error(compare, a, b):
    with pytest.raises(ValueError):
        compare(a, b)


def test_samples_that_do_not_pair_are_an_error():
    with pytest.raises(ValueError, match="3 values against 2"):
        paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])


def test_noise_pools_groups_by_their_degrees_of_freedom():
    assert noise([1.0, 2.0, 3.0]) == pytest.approx(1.0)
    # variances 1 (two degrees of freedom) and 8 (one), and a group that says nothing
    assert noise([1.0, 2.0, 3.0], [10.0, 14.0], [99.0]) == pytest.approx(math.sqrt((2 * 1 + 8) / 3))
    with pytest.raises(ValueError, match="at least two"):
        noise([1.0], [])


def interval(low, high):
    return Difference(mean=(low + high) / 2, low=low, high=high, p=0.0, freedom=4, n=5)


@pytest.mark.parametrize(
    "low, high, answer",
    [
        (-0.4, -0.2, CONFIRMED),
        (-0.6, 0.01, NO_DIFFERENCE),  # the interval holds zero
        (-0.06, -0.02, NO_DIFFERENCE),  # certain, and smaller than the noise
        (0.2, 0.4, WORSE),
        (0.02, 0.06, NO_DIFFERENCE),
        (-0.01, 0.6, NO_DIFFERENCE),
    ],
)
def test_a_verdict_needs_an_interval_beside_zero_and_a_mean_beyond_the_noise(low, high, answer):
    assert verdict(interval(low, high), sigma=0.1) == answer
