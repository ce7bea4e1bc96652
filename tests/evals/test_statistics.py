"""Statistics against printed tables and against worked examples."""

import math
import random
import statistics

import numpy
import pytest

from foundry.evals.statistics import (
    CONFIRMED,
    NO_DIFFERENCE,
    WORSE,
    Difference,
    expected_best,
    incomplete_beta,
    lead_of_best,
    noise,
    paired_difference,
    sequential_difference,
    sidak,
    sign_test,
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


# ---- looking again ----

MOST = 12  # pairs after which a simulated comparison is given up


def stops(effect, paths, compare=sequential_difference):
    """After how many pairs each of some comparisons stops, since the interval excludes zero; None: never."""
    found = []
    for path in numpy.random.default_rng(11).normal(effect, 1.0, (paths, MOST)).tolist():
        for n in range(3, MOST + 1):
            shown = compare(path[:n], [0.0] * n)
            if shown.low > 0 or shown.high < 0:
                found.append(n)
                break
        else:
            found.append(None)
    return found


def test_who_stops_when_zero_is_excluded_is_fooled_in_one_of_twenty_cases_at_most():
    fooled = sum(n is not None for n in stops(0.0, paths=4000))
    assert fooled / 4000 <= 0.05


def test_students_interval_fools_those_who_stop_when_it_excludes_zero():
    """The test above can fail: it does with an interval for a number of pairs that is fixed beforehand."""
    quantiles = {n: t_quantile(0.95, n - 1) for n in range(3, MOST + 1)}

    def fixed(a, b):
        reach = quantiles[len(a)] * statistics.stdev(a) / math.sqrt(len(a))
        mean = statistics.mean(a)
        return Difference(mean, mean - reach, mean + reach, 0.0, len(a) - 1, len(a))

    fooled = sum(n is not None for n in stops(0.0, paths=1000, compare=fixed))
    assert 0.14 < fooled / 1000 < 0.22


@pytest.mark.parametrize("effect, expected", [(10.0, 3.1), (5.0, 3.6), (-3.0, 4.5), (2.0, 6.2)])
def test_a_large_difference_is_clear_after_a_few_pairs(effect, expected):
    found = stops(effect, paths=600)
    assert statistics.mean(MOST if n is None else n for n in found) == pytest.approx(expected, abs=0.2)
    assert sum(n is not None for n in found) / 600 > 0.97


def test_the_truth_is_inside_at_every_size_in_nineteen_of_twenty_cases():
    left_out = 0
    for path in numpy.random.default_rng(3).normal(0.7, 2.0, (400, 60)).tolist():
        shown = [sequential_difference(path[:n], [0.0] * n) for n in (2, 3, 4, 5, 7, 9, 12, 16, 22, 30, 42, 60)]
        left_out += any(not s.low <= 0.7 <= s.high for s in shown)
    assert left_out / 400 <= 0.05


def mixture(differences, scale):
    """The Bayes factor of `sequential_difference` by summing over a grid: the effect normal with `scale`, the
    deviation with the prior 1/sigma in both."""
    x, n = numpy.array(differences), len(differences)
    log_sigma = numpy.linspace(-12, 12, 1000)[:, None]
    effect = numpy.linspace(-6, 6, 2001) * scale
    weight = numpy.exp(-((effect / scale) ** 2) / 2)
    weight /= weight.sum()

    def likelihood(shift):  # of the differences by sigma and effect, the constant that both share left out
        sigma = numpy.exp(log_sigma)
        squares = (x**2).sum() - 2 * x.sum() * shift * sigma + n * (shift * sigma) ** 2
        return numpy.exp(-squares / (2 * sigma**2) - n * log_sigma)

    return (likelihood(effect) * weight).sum() / likelihood(numpy.zeros(1)).sum()


@pytest.mark.parametrize("path", [[0.3, 0.5, 0.1], [1.0, 1.2, 0.9, 1.1], [-0.2, 0.1, 0.4, -0.3, 0.2, 0.0]])
def test_the_p_of_a_sequence_is_one_over_the_factor_of_the_mixture(path):
    assert sequential_difference(path, [0.0] * len(path)).p == pytest.approx(min(1, 1 / mixture(path, 4.0)), rel=1e-3)


def test_zero_is_excluded_where_p_is_below_one_twentieth():
    rng = random.Random(0)
    for _ in range(500):
        path = [rng.gauss(rng.choice((0, 1, 4)), 1) for _ in range(rng.randint(3, 9))]
        shown = sequential_difference(path, [0.0] * len(path))
        assert (shown.low > 0 or shown.high < 0) == (shown.p < 0.05)


def test_two_pairs_cannot_be_enough():
    shown = sequential_difference([1.0, 1.0], [2.0, 2.0])
    assert (shown.low, shown.high) == (-math.inf, math.inf) and shown.mean == -1.0 and shown.p > 0.05


def test_equal_samples_show_nothing_however_many():
    shown = sequential_difference([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0])
    assert (shown.low, shown.mean, shown.high, shown.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_thousand_clear_pairs_are_no_overflow():
    assert sequential_difference([1.0, 1.1] * 500, [0.0] * 1000).p == pytest.approx(0, abs=1e-300)


# ---- the best of many ----

# Expected largest of m standard normal values: Tippett (1925); Harter, Biometrika 48 (1961), table 1.
LARGEST = {1: 0.0, 2: 0.56419, 3: 0.84628, 5: 1.16296, 10: 1.53875, 20: 1.86748, 50: 2.24907, 100: 2.50759}


@pytest.mark.parametrize("m", LARGEST)
def test_the_best_of_equal_genomes_looks_better_by_what_the_table_says(m):
    assert expected_best(m, 1.0) == pytest.approx(LARGEST[m], abs=5.1e-6)
    assert expected_best(m, 0.06, n=4) == pytest.approx(0.03 * LARGEST[m], abs=1e-6)


@pytest.mark.parametrize("m, n", [(0, 1), (3, 0)])
def test_the_best_of_nothing_is_an_error(m, n):
    with pytest.raises(ValueError):
        expected_best(m, 1.0, n)


def test_intervals_by_sidak_hold_together():
    assert sidak(1) == pytest.approx(0.95)
    assert sidak(10) ** 10 == pytest.approx(0.95)
    assert 1 - sidak(10) == pytest.approx(0.0051162, abs=1e-7)  # Abdi, Encyclopedia of Measurement (2007)


def luckiest(m, pairs, confidence):
    """How often the best of m genomes that are no better than the baseline is confirmed."""
    rng, fooled = numpy.random.default_rng(m), 0
    quantile = t_quantile(confidence, pairs - 1)
    for _ in range(2000):
        baseline = rng.normal(0, 1, pairs)
        differences = rng.normal(0, 1, (m, pairs)) - baseline
        best = differences[differences.mean(1).argmin()]
        fooled += best.mean() + quantile * best.std(ddof=1) / math.sqrt(pairs) < 0
    return fooled / 2000


def test_the_luckiest_of_ten_is_seldom_confirmed_by_a_simultaneous_interval():
    assert luckiest(10, pairs=6, confidence=sidak(10)) <= 0.03
    assert luckiest(10, pairs=6, confidence=0.95) > 0.08  # what happens without


def test_the_lead_of_one_is_students_interval_and_that_of_many_is_wider():
    reach = 2.228 * 0.05 * math.sqrt(2 / 4)  # the table's t for ten degrees of freedom
    one = lead_of_best(-0.2, sigma=0.05, freedom=10, m=1, n=4)
    assert (one.low, one.high) == pytest.approx((-0.2 - reach, -0.2 + reach), abs=1e-4)
    many = lead_of_best(-0.2, sigma=0.05, freedom=10, m=50, n=4)
    assert many.low < one.low and many.high > one.high
    assert many.p == pytest.approx(1 - (1 - one.p) ** 50)


def test_the_lead_of_the_luckiest_is_seldom_shown():
    rng, shown = numpy.random.default_rng(2), 0
    for _ in range(600):
        sigma = math.sqrt(rng.chisquare(12) / 12)
        lead = rng.normal(0, 1, 30).min() - rng.normal()
        shown += lead_of_best(float(lead), sigma, freedom=12, m=30).high < 0
    assert shown / 600 <= 0.04  # half of 5 %, and what chance adds


# ---- signs ----


def test_the_sign_test_counts_heads_and_tails():
    assert sign_test([0.1] * 5).p == 2 / 32
    four = sign_test([0.1, 0.2, -0.1, 0.3, 0.4])
    assert (four.wins, four.losses, four.ties, four.p) == (4, 1, 0, 2 * 6 / 32)
    # Conover, Practical Nonparametric Statistics, example 3.4.1: 8 of 9 changes one way, one-sided 0.0195
    assert sign_test([1.0] * 8 + [-1.0] + [0.0]).p == pytest.approx(2 * 0.01953125)
    assert sign_test([1.0, -1.0]).p == 1.0
    assert sign_test([]).p == 1.0


def test_a_difference_that_is_no_number_has_no_sign():
    with pytest.raises(ValueError):
        sign_test([1.0, math.nan])
