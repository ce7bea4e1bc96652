"""The multiplier is the factor on compute that it is said to be."""

import math

import pytest
from studies import drive, luck

from foundry.search.multiplier import LEAST, MOST, STEP, multipliers

COMPUTE = 3e12
SEEDS = (11, 12, 13)


def world(noise=0.0, **saves):
    """Scores on one curve of compute, on which each genome has an advantage: the factor on its compute."""

    def score(wanted):
        effective = wanted.compute * saves.get(wanted.text, 1.0)
        return 8 - 0.5 * math.log(effective / 1e9) + luck(0.1, wanted.seed) + luck(noise, wanted)

    return score


def measure(score, seeds=SEEDS, budget=10**9):
    study = multipliers("winner", {"baseline": "baseline", "control": "control"}, COMPUTE, seeds)
    return drive(study, score, budget)


@pytest.mark.parametrize("factor", [0.5, 1.3, 3.0, 3.7, 12.0])
def test_without_noise_it_is_exact(factor):
    found, _ = measure(world(winner=factor))
    assert found.against["baseline"].value == pytest.approx(factor, rel=1e-6)
    assert found.against["baseline"].low <= factor * 1.03 and found.against["baseline"].high >= factor * 0.97


def test_each_rival_has_its_own():
    found, _ = measure(world(0.01, winner=4.0, control=2.5))
    baseline, control = found.against["baseline"], found.against["control"]
    assert baseline.low < 4.0 < baseline.high and control.low < 1.6 < control.high
    assert baseline.value / control.value == pytest.approx(2.5, rel=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    hits = 0
    for number in range(200):
        score = world(0.04, winner=3.0)
        found, _ = measure(score, [1000 * number + seed for seed in SEEDS])
        one = found.against["baseline"]
        low, high = (one.low or 0.0), (one.high or math.inf)
        hits += low <= 3.0 <= high
    assert 181 <= hits <= 198  # 190 give or take three deviations of chance, and not because it says nothing


def test_smaller_runs_are_added_until_the_winner_is_worse_beyond_doubt():
    found, asked = measure(world(0.01, winner=9.0))
    least = min(one.compute for one in asked)
    assert COMPUTE / 9 / STEP**3 < least < COMPUTE / 9
    assert found.against["baseline"].high is not None


def test_a_winner_that_needs_more_compute_gets_more():
    found, asked = measure(world(0.01, winner=0.6))
    assert max(one.compute for one in asked) > COMPUTE and found.against["baseline"].value < 1


@pytest.mark.parametrize(("factor", "low", "high"), [(1e6, True, False), (1e-6, False, True)])
def test_beyond_what_is_tried_it_is_open(factor, low, high):
    found, asked = measure(world(winner=factor))
    one = found.against["baseline"]
    assert one.value is None and (one.low is not None, one.high is not None) == (low, high)
    computes = [wanted.compute for wanted in asked]
    assert min(computes) >= COMPUTE / MOST * 0.99 and max(computes) <= COMPUTE / LEAST


def test_runs_that_are_too_short_to_train_end_the_curve():
    score = world(winner=1e3)
    found, _ = measure(lambda wanted: score(wanted) if wanted.compute > COMPUTE / 8 else None)
    assert found.against["baseline"].tried[1] == pytest.approx(4.5 * STEP, rel=1e-6)
    assert found.against["baseline"].value is None


def test_a_rival_without_scores_has_none():
    score = world(winner=3.0)
    found, _ = measure(lambda wanted: None if wanted.text == "control" else score(wanted))
    assert found.against["control"] is None and found.against["baseline"].value == pytest.approx(3.0)


def test_all_train_on_the_same_seeds_and_are_scored_on_test_text():
    _, asked = measure(world(winner=3.0))
    assert {one.split for one in asked} == {"test"}
    groups = {(one.text, one.compute) for one in asked}
    assert all({a.seed for a in asked if (a.text, a.compute) == group} == set(SEEDS) for group in groups)


def test_one_seed_is_refused_and_no_budget_is_no_crash():
    with pytest.raises(ValueError, match="two seeds"):
        measure(world(), [1])
    found, _ = measure(world(), budget=0)
    assert found.against == {"baseline": None, "control": None}
