"""The lead of the best of many allows for its having been picked."""

import random

import pytest

from foundry.search.leads import picked_leads

BASELINE, TUNED = "b" * 16, "c" * 16


def row(genome_hash, score, rung=0, seed=0, operator="number", parents=(), arm="search"):
    return {
        "genome_hash": genome_hash, "val_bpb": score, "test_bpb": None, "rung": rung, "seed": seed, "status": "ok",
        "operator": operator, "parent_hashes": list(parents), "arm": arm, "shared_with": "", "compute_budget": 1e11,
        "data_hash": "d",
    }  # fmt: skip


def search(children, baseline=3.0):
    """Rows of a search: a baseline on three seeds, 0.05 apart, and children on the first."""
    rows = [row(BASELINE, baseline + 0.05 * k, seed=seed, operator="seed") for seed, k in ((0, 0), (7, 1), (8, -1))]
    return rows + [row(f"{n:016x}", score) for n, score in enumerate(children)]


def test_a_lead_is_against_the_best_baseline_and_says_from_how_many_it_was_picked():
    rows = [*search([3.1, 2.7, 2.9]), row(TUNED, 2.95, operator="tune", parents=[BASELINE])]
    (found,) = picked_leads(rows, [BASELINE])
    assert (found.rung, found.child, found.baseline, found.picked_from) == (0, f"{1:016x}", TUNED, 3)
    assert found.lead.mean == pytest.approx(-0.25)
    assert found.lead.low < -0.25 < found.lead.high


def test_the_same_lead_is_worth_less_when_it_was_picked_from_more():
    few = picked_leads(search([2.7, 3.0]), [BASELINE])[0]
    many = picked_leads(search([2.7] + [3.0] * 40), [BASELINE])[0]
    assert few.lead.mean == many.lead.mean
    assert many.lead.high > few.lead.high and many.luck > 2 * few.luck


def test_noise_alone_seldom_leads():
    """Of searches whose genomes are all equal, few show a lead although the best always seems to have one."""
    shown = seeming = 0
    for number in range(300):
        rng = random.Random(number)
        rows = [row(BASELINE, rng.gauss(3, 0.1), seed=seed, operator="seed") for seed in range(6)]
        rows += [row(f"{n:016x}", rng.gauss(3, 0.1)) for n in range(25)]
        (found,) = picked_leads(rows, [BASELINE])
        shown += found.lead.high < 0
        seeming += found.lead.mean < 0
    assert seeming > 250 and shown <= 15


def test_what_random_control_found_and_what_has_no_noise_to_compare_with_says_nothing():
    control = [row("e" * 16, 1.0, arm="control")]
    assert picked_leads([*search([2.9]), *control], [BASELINE])[0].child == f"{0:016x}"
    assert picked_leads([row(BASELINE, 3.0, operator="seed"), row("e" * 16, 2.0)], [BASELINE]) == []
