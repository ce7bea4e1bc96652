"""Rank correlations against worked examples, and intervals that contain the truth as often as they say."""

import math

import numpy
import pytest

from foundry.evals.correlation import bootstrap_interval, partial_spearman, spearman

# Hours of television a week against intelligence quotient: the example of Wikipedia's article on Spearman's
# coefficient, without ties; rho = -29/165.
QUOTIENT = [106, 100, 86, 101, 99, 103, 97, 113, 112, 110]
HOURS = [7, 27, 2, 50, 28, 29, 20, 12, 6, 17]


def test_a_worked_example_without_ties():
    assert spearman(QUOTIENT, HOURS) == pytest.approx(-29 / 165)


def test_ties_have_the_mean_of_their_ranks():
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, squares 4.5 and 5
    assert spearman([10, 20, 20, 30], [1, 2, 3, 4]) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_only_order_counts():
    x = numpy.random.default_rng(0).normal(size=40)
    assert spearman(x, numpy.exp(3 * x)) == pytest.approx(1)
    assert spearman(x, -(x**3)) == pytest.approx(-1)


def test_values_without_spread_correlate_with_nothing():
    assert math.isnan(spearman([1, 1, 1], [1, 2, 3]))
    assert math.isnan(partial_spearman([1, 2, 3, 4], [2, 1, 4, 3], [1, 2, 3, 4]))  # z is x


@pytest.mark.parametrize("x, y", [([1, 2], [1, 2]), ([1, 2, 3], [1, 2]), ([1, 2, math.nan], [1, 2, 3])])
def test_samples_that_cannot_correlate_are_an_error(x, y):
    with pytest.raises(ValueError):
        spearman(x, y)


def test_what_a_third_variable_explains_is_taken_out():
    rng = numpy.random.default_rng(4)
    z = rng.normal(size=3000)
    x, y = z + 0.3 * rng.normal(size=3000), z + 0.3 * rng.normal(size=3000)
    assert spearman(x, y) > 0.85
    assert abs(partial_spearman(x, y, z)) < 0.1
    assert partial_spearman(x, y + 0.3 * (x - z), z) > 0.15


def test_the_partial_correlation_is_that_of_the_residuals_of_ranks():
    x, y, z = numpy.random.default_rng(8).normal(size=(3, 25)) + numpy.arange(25) / 5
    ranks = [numpy.argsort(numpy.argsort(v)).astype(float) for v in (x, y, z)]
    given = numpy.column_stack([numpy.ones(25), ranks[2]])
    left = [r - given @ numpy.linalg.lstsq(given, r, rcond=None)[0] for r in ranks[:2]]
    assert partial_spearman(x, y, z) == pytest.approx(numpy.corrcoef(*left)[0, 1])
    assert partial_spearman(x, y, numpy.ones(25)) == pytest.approx(spearman(x, y))


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    rho, inside = 0.6, 0
    truth = 6 / math.pi * math.asin(rho / 2)  # of Spearman's coefficient for two normal variables: Pearson (1907)
    for trial in range(100):
        x, noise = numpy.random.default_rng(trial).normal(size=(2, 60))
        low, high = bootstrap_interval(
            spearman, x, rho * x + math.sqrt(1 - rho**2) * noise, seed=trial, confidence=0.9, draws=200
        )
        inside += low <= truth <= high
    assert 0.83 <= inside / 100 <= 0.97


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    x = numpy.random.default_rng(1).normal(size=400)
    low, high = bootstrap_interval(lambda v: float(v.mean()), x, seed=0, draws=4000)
    error = x.std() / 20
    assert (low, high) == pytest.approx((x.mean() - 1.96 * error, x.mean() + 1.96 * error), abs=0.1 * error)


def test_equal_seeds_give_equal_intervals_and_a_draw_without_a_value_is_left_out():
    x, y = numpy.random.default_rng(5).normal(size=(2, 30))
    first, again, other = (bootstrap_interval(spearman, x, y, seed=seed, draws=200) for seed in (7, 7, 8))
    assert first == again != other
    four = bootstrap_interval(spearman, x[:4], y[:4], seed=7, draws=200)  # one value four times in 64 draws
    assert all(map(math.isfinite, four))
    assert all(map(math.isnan, bootstrap_interval(spearman, numpy.ones(4), y[:4], seed=7, draws=200)))


def test_arrays_of_different_sizes_have_no_interval():
    with pytest.raises(ValueError, match="size"):
        bootstrap_interval(spearman, [1.0, 2.0, 3.0], [1.0, 2.0], seed=0)
