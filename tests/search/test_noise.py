"""The noise of each rung: pooled over repeated genomes, and over nothing that was picked for its luck."""

import math
import random

import pytest

from foundry.search.noise import Noise, noise_by_rung


def row(genome, seed, value, rung=0, operator="seed", **more):
    columns = {"genome_hash": genome, "seed": seed, "val_bpb": value, "test_bpb": None, "rung": rung, "status": "ok"}
    return {**columns, "operator": operator, "compute_budget": 1e11 * 3**rung, "data_hash": "feed", **more}


def test_one_genome_with_three_seeds_gives_the_standard_deviation_of_its_scores():
    (found,) = noise_by_rung([row("a", 0, 3.0), row("a", 1, 3.1), row("a", 2, 3.2), row("b", 0, 9.0)])
    assert found == Noise(0, 1e11, "feed", "validation", pytest.approx(0.1), freedom=2, genomes=1, n=3)


def test_genomes_are_pooled_by_their_degrees_of_freedom_and_rungs_are_kept_apart():
    rows = [row("a", s, v) for s, v in enumerate((1.0, 2.0, 3.0))] + [row("b", s, v) for s, v in enumerate((10, 14))]
    first, second = noise_by_rung([*rows, row("a", 0, 1.0, rung=1), row("a", 1, 2.0, rung=1)])
    assert (first.rung, first.freedom, first.genomes, first.n) == (0, 3, 2, 5)
    assert first.sigma == pytest.approx(math.sqrt((2 * 1 + 8) / 3))
    assert (second.rung, second.sigma) == (1, pytest.approx(math.sqrt(0.5)))


def test_test_text_and_other_data_have_a_noise_of_their_own():
    rows = [row("a", 0, 1.0), row("a", 1, 2.0), row("a", 2, None, test_bpb=5.0), row("a", 3, None, test_bpb=5.2)]
    rows += [row("a", 4, 1.0, data_hash="f00d"), row("a", 5, 1.1, data_hash="f00d")]
    assert {(m.data_hash, m.split): m.n for m in noise_by_rung(rows)} == {
        ("feed", "validation"): 2,
        ("feed", "test"): 2,
        ("f00d", "validation"): 2,
    }


@pytest.mark.parametrize("more", [{"status": "diverged"}, {"status": "abandoned"}, {"shared_with": "a-0-0"}])
def test_what_was_not_trained_to_a_score_repeats_nothing(more):
    assert noise_by_rung([row("a", 0, 1.0), row("a", 1, 2.0, **more)]) == []


def test_no_repetition_gives_no_noise():
    assert noise_by_rung([row("a", 0, 1.0), row("b", 0, 2.0), row("a", 0, 1.0)]) == []


def test_rows_of_old_runs_lack_columns():
    old = [row("a", seed, 1.0 + seed / 10) for seed in (0, 1)]
    for each in old:
        del each["data_hash"]
    assert noise_by_rung(old)[0].sigma == pytest.approx(math.sqrt(0.005))


def test_the_score_that_got_a_child_picked_is_left_out_and_that_of_a_baseline_is_not():
    rows = [row("child", seed, value, operator="wrap") for seed, value in ((0, 1.0), (1, 2.0), (2, 2.2))]
    (found,) = noise_by_rung(rows, chosen_by={0: 0})
    assert (found.n, found.sigma) == (2, pytest.approx(math.sqrt(0.02)))
    assert noise_by_rung([row("base", s, float(s)) for s in (0, 1, 2)], chosen_by={0: 0})[0].n == 3


def test_the_luckiest_of_many_do_not_inflate_the_noise():
    """Thirty equal genomes, of which the best three run with two more seeds; the truth is 0.1."""
    rng, with_luck, without = random.Random(1), [], []
    for _ in range(200):
        first = sorted((rng.gauss(3, 0.1), f"{number}") for number in range(30))
        rows = [row(genome, 0, value, operator="wrap") for value, genome in first]
        rows += [row(genome, s, rng.gauss(3, 0.1), operator="wrap") for _, genome in first[:3] for s in (1, 2)]
        with_luck.append(noise_by_rung(rows)[0].sigma ** 2)
        without.append(noise_by_rung(rows, chosen_by={0: 0})[0].sigma ** 2)
    assert math.sqrt(sum(without) / 200) == pytest.approx(0.1, abs=0.006)
    assert math.sqrt(sum(with_luck) / 200) > 0.12
