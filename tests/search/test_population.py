"""Who may be a parent and who moves up follows from the rows, and nothing else."""

import random
from collections import Counter

import pytest

from foundry.search.population import FLOOR, Population, better, shares


def add(population, name, score, operator="wrap", parents=(), family="attend", rung=0, seed=0, behaviour=None):
    population.add(name, operator, parents, family)
    row = {
        "genome_hash": name,
        "rung": rung,
        "seed": seed,
        "status": "ok" if score is not None else "diverged",
        "wall_s": 2.0,
        "compute_budget": 4.0,
        "behaviour_hash": behaviour or name,
        "val_bpb": score,
    }
    population.observe(row)
    return population.individuals[name]


def test_the_top_third_of_a_rung_moves_up():
    population = Population()
    add(population, "base", 1.0, operator="seed")
    for number in range(7):
        add(population, f"c{number}", 3.0 - number / 10)
    add(population, "broken", None)
    assert [i.genome_hash for i in population.promotable(0, 0)] == ["c6", "c5"]
    assert len(population.promotable(0, 0, places=4)) == 4
    assert population.promotable(1, 0) == []


def test_what_computes_the_same_does_not_move_up_twice():
    population = Population()
    for number, behaviour in enumerate(["same", "same", "other", "c3", "c4", "c5"]):
        add(population, f"c{number}", 2.0 + number / 10, behaviour=behaviour)
    assert [i.genome_hash for i in population.promotable(0, 0)] == ["c0", "c2"]


def test_genomes_compare_at_the_highest_rung_that_both_have_reached():
    population = Population()
    fast, slow, new = (add(population, name, score) for name, score in (("fast", 2.0), ("slow", 2.5), ("new", 2.2)))
    add(population, "fast", 1.9, rung=1)
    add(population, "slow", 1.7, rung=1)
    assert better(slow, fast) and not better(fast, slow)
    assert better(fast, new) and better(new, slow)


def test_a_score_on_test_text_does_not_count():
    population = Population()
    individual = add(population, "a", 2.0)
    row = {"genome_hash": "a", "rung": 3, "seed": 9, "status": "ok", "wall_s": 1, "compute_budget": 1}
    population.observe(row | {"behaviour_hash": "a", "val_bpb": None, "test_bpb": 0.1})
    assert individual.top == 0 and individual.rungs() == {0: 2.0}


def test_variants_belong_to_their_origin():
    population = Population()
    add(population, "base", 2.0, operator="seed")
    add(population, "tuned", 1.9, operator="tune", parents=("base",))
    add(population, "child", 1.8, parents=("base",))
    add(population, "quick", 1.7, operator="tune", parents=("child",))
    assert population.is_baseline(population.individuals["tuned"])
    assert {i.genome_hash for i in population.children()} == {"child", "quick"}


def test_parents_are_good_and_of_all_families():
    population = Population()
    for number in range(40):
        add(population, f"a{number}", 2.0 + number / 40)
    for number in range(4):
        add(population, f"s{number}", 4.0 + number, family="scan")
    rng = random.Random(0)
    chosen = Counter(population.choose_parent(rng).genome_hash for _ in range(2000))
    of_scan = sum(count for name, count in chosen.items() if name.startswith("s")) / 2000
    assert 0.1 < of_scan < 0.25  # three in ten tournaments are within a family, and half of those within this one
    assert chosen["a0"] > 5 * max(1, chosen["a30"])


def test_the_old_retire_unless_they_lead_their_family():
    population = Population()
    for number in range(200):
        add(population, f"a{number}", 2.0 if number == 3 else 3.0)
    names = {i.genome_hash for i in population.parents()}
    assert "a3" in names and "a199" in names and "a50" not in names


def test_an_operator_that_works_gets_a_larger_share_and_none_disappears():
    prior = {"good": 1.0, "bad": 1.0, "new": 2.0}
    result = shares(prior, {"good": (20, 15), "bad": (20, 0)})
    assert sum(result.values()) == pytest.approx(1)
    assert result["good"] > 4 * result["bad"]
    assert result["bad"] > FLOOR / 4
    assert shares(prior, {}) == pytest.approx({"good": 0.25, "bad": 0.25, "new": 0.5})


def test_the_record_counts_children_that_beat_all_their_parents():
    population = Population()
    add(population, "x", 2.0, operator="seed")
    add(population, "y", 1.5, operator="seed")
    add(population, "won", 1.4, operator="cross", parents=("x", "y"))
    add(population, "half", 1.8, operator="cross", parents=("x", "y"))
    add(population, "dead", None, operator="cross", parents=("x", "y"))
    add(population, "fresh", 1.9, operator="random")
    assert population.record() == {"cross": (3, 1), "random": (1, 0)}
