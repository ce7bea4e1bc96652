"""A comparison at growing sizes says whether a gain grows, holds or fades."""

import math
from functools import cache

import numpy as np
import pytest
from studies import drive, luck

from foundry.compiler.scale.search import ScaleError
from foundry.evals.statistics import Difference
from foundry.search.candidates import read, shipped_baselines
from foundry.search.holding import at_once, evaluations, grown, hold, trend, verdict
from foundry.search.tune import learning_rate

RIVAL = shipped_baselines()["llama"]
GENOME = RIVAL.replace("act = silu", "act = relu2")
SIZES = grown(GENOME, RIVAL, 3, 1e12)
WORDS, CODE = "a" * 16, "b" * 16


def test_sizes_double_and_tokens_per_parameter_stay():
    small = read(RIVAL)
    assert SIZES[0].texts == (GENOME, RIVAL) and SIZES[0].compute == 1e12
    for doublings, size in enumerate(SIZES):
        rival = read(size.texts[1])
        assert size.parameters[1] == rival.parameters
        assert size.parameters[1] / small.parameters == pytest.approx(2**doublings, rel=0.1)
        assert size.parameters[0] / size.parameters[1] == pytest.approx(1, rel=0.2)
        tokens = size.compute / rival.compute_per_token
        assert tokens / rival.parameters == pytest.approx(1e12 / small.compute_per_token / small.parameters, rel=0.01)


def test_a_genome_that_cannot_grow_is_refused():
    fixed = GENOME.replace("4 * layer", "layer").replace("heads = 4, kv_heads = 2", "heads = 4, kv_heads = 2")
    narrow = "@foundry(1);\n\nmodel = embed(vocab = 256, width = 2) >> unembed(tied = 1);\n"
    assert len(grown(fixed, RIVAL, 2, 1e12)) == 2
    with pytest.raises(ScaleError):
        grown(narrow, RIVAL, 14, 1e12)


@cache
def parameters(text):
    return read(text).parameters


def world(gain, best=(1.0, 1.0), noise=0.01, texts=None):
    """Scores in which the genome saves gain(doublings), and the best factor on a rate is known for each side."""
    own = {learning_rate(GENOME): 0, learning_rate(RIVAL): 1}
    assert len(own) == 1  # both begin with one rate

    def score(wanted):
        side = 0 if "relu2" in wanted.text else 1
        doublings = round(math.log2(parameters(wanted.text) / SIZES[0].parameters[1]))
        wrong = abs(math.log2(learning_rate(wanted.text) / next(iter(own)) / best[side]))
        saved = (gain(doublings) if texts is None else texts[wanted.data](doublings)) * (side == 0)
        chance = luck(0.05, wanted.seed) + luck(noise, side, doublings, wanted.seed, wanted.split, wanted.data)
        return 3 - 0.2 * doublings - saved + 0.1 * wrong + chance

    return score


def compare(score, data=(WORDS,), seeds=3, budget=10**9):
    return drive(hold(SIZES, seeds, data), score, budget)


@pytest.mark.parametrize(
    ("gain", "means"),
    [
        (lambda k: 0.2, "holds"),
        (lambda k: 0.1 + 0.1 * k, "grows"),
        (lambda k: 0.3 - 0.1 * k, "fades"),
        (lambda k: 0.0, "no gain"),
        (lambda k: -0.1 * k, "no gain"),
        (lambda k: 0.2 if k < 2 else 0.0, "fades"),
    ],
)
def test_the_verdict_follows_the_gain(gain, means):
    found, _ = compare(world(gain))
    (text,) = found.texts
    assert found.verdict == text.verdict == means
    for doublings, one in enumerate(text.gains):
        assert one.low < gain(doublings) < one.high


def test_the_worst_text_decides():
    found, _ = compare(world(None, texts={WORDS: lambda k: 0.2, CODE: lambda k: 0.0}), (WORDS, CODE))
    assert [text.verdict for text in found.texts] == ["holds", "no gain"] and found.verdict == "no gain"


def test_both_sides_get_their_own_learning_rate_at_every_size():
    found, asked = compare(world(lambda k: 0.0, best=(2.0, 0.5)))
    assert [size.rates for size in found.sizes] == [(2.0, 0.5)] * 3
    assert found.verdict == "no gain"  # at one rate for both, the genome would have lost or won by its rate
    tuned = {one.text for one in asked if one.split == "test"}
    assert {learning_rate(text) for text in tuned if "relu2" in text} == {2 * learning_rate(GENOME)}


def test_a_rate_at_the_end_of_the_sweep_is_followed_one_step_further():
    found, asked = compare(world(lambda k: 0.1, best=(4.0, 1.0)))
    assert [size.rates for size in found.sizes] == [(4.0, 1.0)] * 3
    assert max(learning_rate(one.text) for one in asked) == pytest.approx(4 * learning_rate(GENOME))


def test_rates_are_chosen_on_validation_text_and_by_a_seed_that_is_not_compared():
    _, asked = compare(world(lambda k: 0.1), (WORDS, CODE))
    chosen = {one.seed for one in asked if one.split == "validation"}
    compared = {one.seed for one in asked if one.split == "test"}
    assert chosen.isdisjoint(compared) and len(compared) == 3
    assert {one.data for one in asked if one.split == "validation"} == {WORDS}
    assert {one.data for one in asked if one.split == "test"} == {WORDS, CODE}


def test_a_failure_leaves_a_gap_and_no_crash():
    score = world(lambda k: 0.2)
    largest = SIZES[-1].compute
    found, _ = compare(lambda wanted: None if wanted.compute == largest else score(wanted))
    (text,) = found.texts
    assert text.gains[-1] is None and text.gains[0].low > 0 and text.verdict == "fades"
    found, _ = compare(score, budget=0)
    assert found.verdict == "no gain" and found.texts[0].trend is None


def test_what_it_takes_is_told_beforehand():
    count, flop = evaluations(SIZES, 3, 2)
    _, asked = compare(world(lambda k: 0.2), (WORDS, CODE))
    assert count == pytest.approx(len(asked), rel=0.15)
    assert flop == pytest.approx(sum(one.compute for one in asked), rel=0.15)


def test_gains_at_several_sizes_share_their_noise_and_hold_at_once():
    first, second, none = at_once([[0.1, 0.2, 0.3], [0.5, 0.7, 0.6], []])
    assert (first.mean, second.mean, none) == (pytest.approx(0.2), pytest.approx(0.6), None)
    # both have a deviation of 0.1; 4 degrees of freedom, and 0.95 ** (1 / 3) of Student's t is within 3.97
    assert first.high - first.mean == pytest.approx(3.97 * 0.1 / math.sqrt(3), rel=0.01)
    assert at_once([[0.1], []]) == (None, None)


def test_no_gain_is_seldom_taken_for_one():
    wrong = 0
    for number in range(400):
        saved = [[luck(0.01, size, seed, number) for seed in range(3)] for size in range(3)]
        wrong += verdict(at_once(saved), None) != "no gain"
    assert wrong <= 0.04 * 400  # half of the twentieth part is on the side of a loss


def test_a_trend_is_the_slope_of_least_squares_with_students_interval():
    x, y = [0, 0, 0, 1, 1, 1, 2, 2, 2], [1.0, 1.2, 0.9, 1.4, 1.1, 1.6, 1.5, 1.9, 1.4]
    found = trend(x, y)
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    assert found.mean == pytest.approx(slope) and found.freedom == 7
    assert found.high - found.mean == pytest.approx(2.364624 * math.sqrt(covariance[0][0]), rel=1e-5)  # t, 7 degrees
    assert trend([1, 1, 1], [1, 2, 3]) is None and trend([0, 1], [0, 1]) is None


def between(low, high):
    return Difference((low + high) / 2, low, high, 0.01, 2, 3)


@pytest.mark.parametrize(
    ("gains", "slope", "means"),
    [
        ([between(0.1, 0.2), between(0.1, 0.2)], None, "holds"),
        ([between(0.1, 0.2), between(0.1, 0.2)], between(-0.1, 0.1), "holds"),
        ([between(-0.1, 0.2), between(0.1, 0.2)], between(0.01, 0.1), "grows"),
        ([between(0.3, 0.4), between(0.1, 0.2)], between(-0.2, -0.1), "fades"),
        ([between(0.3, 0.4), between(-0.1, 0.2)], between(-0.2, 0.1), "fades"),
        ([between(-0.1, 0.4), between(-0.1, 0.5)], between(0.2, 0.3), "no gain"),
        ([None, None], None, "no gain"),
    ],
)
def test_verdicts(gains, slope, means):
    assert verdict(gains, slope) == means
