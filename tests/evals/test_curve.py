"""Training curves: the mean loss between two moments."""

import pytest

from foundry.evals.curve import early_signals, mean_between

CURVE = ((0.25, 8.0), (0.5, 6.0), (0.75, 5.0), (0.99, 4.0))


@pytest.mark.parametrize(
    "begin, end, mean",
    [
        (0.0, 0.25, 8.0),
        (0.0, 0.5, 7.0),
        (0.25, 0.75, 5.5),
        (0.4, 0.6, 5.5),  # half of it at 6, half at 5
        (0.45, 0.55, 5.5),
        (0.5, 0.7, 5.0),
    ],
)
def test_the_mean_weighs_each_point_by_the_progress_that_it_covers(begin, end, mean):
    assert mean_between(CURVE, begin, end) == pytest.approx(mean)


def test_a_curve_that_ends_before_the_moment_says_nothing_of_it():
    assert mean_between(CURVE[:2], 0.25, 0.75) is None
    assert mean_between((), 0.0, 0.25) is None


def test_early_signals_are_those_that_the_curve_reaches():
    twenty = [(0.05 * k, 9.0 - 0.1 * k) for k in range(1, 21)]
    assert early_signals(twenty) == pytest.approx(
        {"bits_at_10": 8.8, "bits_at_25": (8.6 + 8.5) / 2, "bits_at_50": (8.1 + 8.0) / 2}
    )
    assert early_signals(twenty[:6]).keys() == {"bits_at_10", "bits_at_25"}
    assert early_signals(()) == {}
