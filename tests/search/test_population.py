"""What a population knows, who moves up, and who may be a parent follow from the rows, and nothing else."""

import random
from collections import Counter

import pytest
from individuals import add, row

from foundry.search.parents import parents, sensitivity
from foundry.search.population import Population, better, population_of


def names(individuals):
    return [i.genome_hash for i in individuals]


def parent_names(population, island=0):
    return names(parents(population, island).individuals)


# Promotions ---------------------------------------------------------------------------------------------------------


def test_the_top_third_of_a_rung_moves_up():
    population = Population()
    add(population, "base", 1.0, operator="seed")
    for number in range(7):
        add(population, f"c{number}", 3.0 - number / 10)
    add(population, "broken", None)
    assert names(population.promotable(0, 0)) == ["c6", "c5"]
    assert len(population.promotable(0, 0, places=4)) == 4
    assert population.promotable(1, 0) == []


def test_what_was_abandoned_makes_nobody_elses_promotion_harder():
    population = Population()
    for number in range(6):
        add(population, f"c{number}", 2.0 + number, status="ok" if number < 3 else "abandoned")
    assert names(population.promotable(0, 0)) == ["c0", "c1"]


def test_what_computes_the_same_does_not_move_up_twice():
    population = Population()
    for number, behaviour in enumerate(["same", "same", "other", "c3", "c4", "c5"]):
        add(population, f"c{number}", 2.0 + number / 10, behaviour_hash=behaviour)
    assert names(population.promotable(0, 0)) == ["c0", "c2"]


def test_genomes_compare_at_the_highest_rung_that_both_have_reached():
    population = Population()
    fast, slow, new = (add(population, name, score) for name, score in (("fast", 2.0), ("slow", 2.5), ("new", 2.2)))
    add(population, "fast", 1.9, rung=1)
    add(population, "slow", 1.7, rung=1)
    assert better(slow, fast) and not better(fast, slow)
    assert better(fast, new) and better(new, slow)


def test_a_level_is_a_score_at_the_first_rung_or_what_one_at_a_longer_rung_would_have_been_there():
    population = Population()
    for name, first, second in (("a", 3.0, 2.5), ("b", 3.2, 2.7), ("c", 3.4, 2.1)):
        add(population, name, first)
        add(population, name, second, rung=1)
    add(population, "short", 3.1)
    add(population, "tuned", 2.3, operator="tune", parents=("a",), rung=1)
    level = population.levels()
    assert level["short"] == 3.1
    assert level["tuned"] == pytest.approx(2.3 + 0.5)  # the median of the drops 0.5, 0.5 and 1.3
    assert level["c"] < level["a"] < level["b"]  # c began slowly and overtook them


# Rows ---------------------------------------------------------------------------------------------------------------


def test_a_score_on_test_text_does_not_count():
    population = Population()
    individual = add(population, "a", 2.0)
    population.observe(row("a", None, rung=3, seed=9, status="ok", test_bpb=0.1))
    assert individual.top == 0 and individual.rungs() == {0: 2.0}


def test_an_abandoned_training_gives_no_score_and_is_no_failure():
    population = Population()
    add(population, "a", 2.0)
    individual = add(population, "a", None, rung=1, status="abandoned", compute_spent=1.0)
    assert not individual.failed and (1, 0) in individual.tried and individual.top == 0
    assert individual.seconds == 2.0  # per flop that was spent, not per flop that was asked for
    assert individual in population.children() and parent_names(population) == ["a"]


def test_a_shared_result_is_that_of_the_genome_that_computes_the_same():
    population = Population()
    add(population, "first", 2.0, tokens=2)
    copy = add(population, "copy", None, status="ok", shared_with="first-0-0", compute_spent=0.0)
    for number in range(7):
        add(population, f"c{number}", 3.0)
    assert copy.scores == {(0, 0): 2.0} and copy.shared and copy.compute_per_token == 2.0
    assert names(population.promotable(0, 0)) == ["first", "c0", "c1"]
    assert "copy" not in parent_names(population)


def test_costs_per_token_come_from_the_rows():
    population = Population()
    individual = add(population, "a", 2.0, tokens=8, compute_spent=4.0, cache_bytes_per_token=512.0)
    assert (individual.compute_per_token, individual.cache_bytes_per_token) == (0.5, 512.0)
    assert individual.niche == (-2, 9, "attend")


def test_variants_belong_to_their_origin_and_to_its_arm():
    population = Population()
    add(population, "base", 2.0, operator="seed")
    add(population, "tuned", 1.9, operator="tune", parents=("base",))
    add(population, "child", 1.8, parents=("base",))
    add(population, "quick", 1.7, operator="tune", parents=("child",))
    add(population, "fresh", 2.0, operator="random", arm="control")
    add(population, "slower", 2.0, operator="tune", parents=("fresh",))
    assert population.is_baseline(population.individuals["tuned"])
    assert names(population.children()) == ["child", "quick"]
    assert names(population.children("control")) == ["fresh", "slower"]


def test_a_population_follows_from_rows_of_either_version():
    old = row("a", 2.0) | {"operator": "seed", "parent_hashes": []}
    new = row("b", 1.0) | {"operator": "random", "parent_hashes": [], "arm": "control", "proposal": 5}
    population = population_of([old, new])
    a, b = population.individuals.values()
    assert (a.arm, a.number, b.arm, b.number) == ("search", -1, "control", 5)


# Arms ---------------------------------------------------------------------------------------------------------------


def test_the_search_never_sees_the_control_arm():
    population = Population()
    add(population, "base", 3.0, operator="seed")
    for number in range(6):
        add(population, f"c{number}", 2.0, operator="random", arm="control")
        add(population, f"s{number}", 2.5, operator="random")
    stock, rng = parents(population), random.Random(0)
    chosen = {stock.choose(rng).genome_hash for _ in range(200)}
    assert not {name for name in chosen if name.startswith("c")} and "s0" in chosen
    assert names(population.promotable(0, 0)) == ["s0", "s1"]
    assert names(population.promotable(0, 0, arm="control")) == ["c0", "c1"]
    assert set(population.levels()) == {"base", *(f"s{number}" for number in range(6))}


# Parents ------------------------------------------------------------------------------------------------------------


def settled(population, children=1500):
    """The population of a long search: the children that ran before have all retired."""
    for number in range(children):
        population.add(f"old{number}", "wrap", (), "attend")
    return population


def test_parents_are_good_and_in_a_long_search_of_all_kinds():
    shares = {}
    for name, population in (("short", Population()), ("long", settled(Population()))):
        for number in range(40):
            add(population, f"a{number}", 2.0 + number / 40)
        for number in range(4):
            add(population, f"s{number}", 4.0 + number, family="scan")
        stock, rng = parents(population), random.Random(0)
        chosen = Counter(stock.choose(rng).genome_hash for _ in range(2000))
        shares[name] = sum(count for parent, count in chosen.items() if parent.startswith("s")) / 2000
        assert chosen["a0"] > 10 * max(1, chosen["a30"])
    assert 0.05 < shares["long"] < 0.15  # 14 in 100 tournaments are within a niche, and half of those in this one
    assert shares["short"] < 0.04


def test_a_cheaper_genome_has_children_although_others_score_better():
    population = settled(Population())
    for number in range(30):
        add(population, f"big{number}", 2.0 + number / 100, tokens=1, cache_bytes_per_token=4096.0)
    add(population, "small", 2.5, tokens=1.1, cache_bytes_per_token=3000.0)  # in the niche of the others
    stock, rng = parents(population), random.Random(1)
    chosen = Counter(stock.choose(rng).genome_hash for _ in range(3000))
    assert chosen["small"] > 60 > chosen["big29"]  # by the Pareto tournaments; it loses the others


def test_the_old_retire_unless_they_lead_their_niche():
    population = Population()
    for number in range(200):
        add(population, f"a{number}", 2.0 if number == 3 else 3.0)
    add(population, "lean", 4.0, cache_bytes_per_token=64.0)
    for number in range(200, 300):
        add(population, f"a{number}", 3.0)
    kept = parent_names(population)
    assert "a3" in kept and "a299" in kept and "lean" in kept and "a50" not in kept


def test_baselines_are_on_every_island_and_children_on_that_of_their_proposal():
    population = Population(islands=2)
    add(population, "base", 3.0, operator="seed")
    for number in range(6):
        add(population, f"c{number}", 2.0, number=number)
    add(population, "quick", 1.9, operator="tune", parents=("c3",))
    assert parent_names(population, 0) == ["base", "c0", "c2", "c4"]
    assert parent_names(population, 1) == ["base", "c1", "c3", "c5", "quick"]


def test_nobody_is_a_parent_without_a_score():
    with pytest.raises(LookupError, match="no genome has a score"):
        parents(Population()).choose(random.Random(0))


def test_sensitivity_is_measured_where_most_rates_ran():
    population = Population()
    add(population, "a", 3.0)
    add(population, "a", 2.0, rung=1)
    add(population, "up", 2.3, operator="tune", parents=("a",), rung=1)
    rates = {"a": 1.0, "up": 2.718281828}.__getitem__
    assert sensitivity(population, population.individuals["a"], rates) == pytest.approx(0.3)
    assert sensitivity(population, add(population, "b", 2.0), rates) is None
