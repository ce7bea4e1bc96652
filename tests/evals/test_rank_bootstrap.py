"""The bootstrap with all draws at once: draw by draw what the plain one gives."""

import math

import numpy as np
import pytest

from foundry.evals.correlation import bootstrap_interval, partial_spearman, spearman
from foundry.evals.rank_bootstrap import spearman_interval


@pytest.mark.parametrize("seed", range(3))
def test_it_agrees_with_one_draw_after_another(seed):
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=(2, 25))
    y = x + z + rng.normal(size=25)
    x, z = np.round(x, 1), np.round(z)  # with ties
    options = {"seed": seed, "draws": 300, "confidence": 0.9}
    assert spearman_interval(x, y, **options) == pytest.approx(bootstrap_interval(spearman, x, y, **options))
    assert spearman_interval(x, y, z, **options) == pytest.approx(
        bootstrap_interval(partial_spearman, x, y, z, **options)
    )


def test_a_third_variable_without_spread_changes_nothing():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 20))
    assert spearman_interval(x, y, np.ones(20), seed=0) == spearman_interval(x, y, seed=0)


def test_a_constant_has_no_interval():
    assert all(map(math.isnan, spearman_interval([1.0] * 9, range(9), seed=0)))
