"""Ways of making children get the shares that their children earn."""

import random

import pytest
from individuals import add

from foundry.search.bandit import FEW, FLOOR, HALF_LIFE, MANY, Record, Trial, first_rung_noise, records, shares, trials
from foundry.search.population import Population


def mean_shares(prior, known, draws=400, entrants=MANY):
    rng = random.Random(0)
    drawn = [shares(prior, known, rng, entrants) for _ in range(draws)]
    return {name: sum(one[name] for one in drawn) / draws for name in prior}


def test_a_draw_adds_up_to_one_and_follows_from_the_generator():
    prior = {"a": 3.0, "b": 1.0, "c": 2.0}
    known = {"a": Record(1, 4, 4)}
    assert sum(shares(prior, known, random.Random(3)).values()) == pytest.approx(1)
    assert shares(prior, known, random.Random(3)) == shares(prior, known, random.Random(3))
    assert shares(prior, known, random.Random(3)) != shares(prior, known, random.Random(4))


def test_without_records_shares_are_about_the_prior():
    found = mean_shares({"a": 1.0, "b": 1.0, "c": 2.0, "d": 6.0}, {}, draws=1500, entrants=FEW)
    assert found == pytest.approx({"a": 0.1, "b": 0.1, "c": 0.2, "d": 0.6}, abs=0.05)
    small = {f"o{number}": 1.0 + number % 4 for number in range(40)}
    assert mean_shares(small, {}, draws=1500) == pytest.approx({k: v / 100 for k, v in small.items()}, rel=0.25)


def test_what_works_gets_more_and_nothing_disappears():
    prior = dict.fromkeys(("good", "bad", "new"), 1.0)
    found = mean_shares(prior, {"good": Record(15, 20, 20), "bad": Record(0, 20, 20)})
    assert found["good"] > found["new"] > found["bad"] >= FLOOR / 3
    assert found["good"] > 5 * found["bad"]


def test_what_costs_more_for_the_same_success_gets_less():
    prior = {"cheap": 1.0, "dear": 1.0}
    found = mean_shares(prior, {"cheap": Record(5, 20, 20), "dear": Record(5, 20, 60)})
    assert found["cheap"] > 2 * found["dear"]


def test_an_old_success_counts_less_than_a_new_one():
    old = [Trial("a", True), *[Trial("b", False)] * HALF_LIFE]
    new = [*[Trial("b", False)] * HALF_LIFE, Trial("a", True)]
    assert records(old)["a"].wins == pytest.approx(0.5 * records(new)["a"].wins)


def test_operators_can_be_counted_together():
    counted = records([Trial("x", True), Trial("y", False, cost=4.0)], way=lambda operator: "both")
    assert counted["both"].wins == pytest.approx(1, abs=0.01) and counted["both"].cost == pytest.approx(5, abs=0.01)


def test_a_child_of_several_operators_counts_for_each():
    counted = records([Trial("x + y", True)])
    assert set(counted) == {"x", "y"} and all(record.wins == 1 for record in counted.values())
    assert records([Trial("x + y", True)], way=lambda operator: "kind")["kind"].tries == 1


# Simulated searches: success chances known, shares learned --------------------------------------------------------


def simulated_wins(chances, prior, learn, children=400, seed=0):
    rng, done = random.Random(seed), []
    for number in range(children):
        chance = chances(number)
        weights = shares(prior, records(done), rng) if learn else prior
        (name,) = rng.choices(list(weights), list(weights.values()))
        done.append(Trial(name, rng.random() < chance[name]))
    return sum(trial.won for trial in done)


def test_a_search_that_learns_wins_more_than_one_by_prior_shares():
    names = [f"o{number}" for number in range(12)]
    chance = {name: 0.35 if name in ("o3", "o7") else 0.05 for name in names}
    prior = dict.fromkeys(names, 1.0)
    learnt, fixed = (
        sum(simulated_wins(lambda number: chance, prior, learn, seed=seed) for seed in range(4))
        for learn in (True, False)
    )
    assert learnt > 1.5 * fixed


def test_it_notices_when_what_worked_stops_working():
    names = [f"o{number}" for number in range(8)]
    early, late = ({name: 0.4 if name == best else 0.05 for name in names} for best in ("o0", "o5"))

    def moving(number):
        return early if number < 200 else late

    prior = dict.fromkeys(names, 1.0)
    learnt = sum(simulated_wins(moving, prior, True, 700, seed) for seed in range(2))
    fixed = sum(simulated_wins(moving, prior, False, 700, seed) for seed in range(2))
    assert learnt > 1.4 * fixed


# What is a win -----------------------------------------------------------------------------------------------------


def outcome(population):
    return [(trial.genome_hash, trial.won, trial.failed) for trial in trials(population)]


def test_a_child_wins_by_beating_all_its_parents():
    population = Population()
    add(population, "x", 2.0, operator="seed")
    add(population, "y", 1.5, operator="seed")
    add(population, "won", 1.4, operator="cross", parents=("x", "y"))
    add(population, "half", 1.8, operator="cross", parents=("x", "y"))
    add(population, "dead", None, operator="cross", parents=("x", "y"))
    assert outcome(population) == [("won", True, False), ("half", False, False), ("dead", False, True)]
    assert trials(population)[1].lead == pytest.approx(-0.3)


def test_a_lead_within_the_noise_is_no_win():
    population = Population()
    add(population, "base", 2.0, operator="seed")
    for seed, score in ((1, 2.1), (2, 1.9)):
        add(population, "base", score, seed=seed)
    assert first_rung_noise(population) == pytest.approx(0.1)
    add(population, "lucky", 1.95, parents=("base",))
    add(population, "good", 1.85, parents=("base",))
    assert outcome(population) == [("lucky", False, False), ("good", True, False)]


def test_a_genome_from_nothing_competes_with_the_middle_of_those_before_it():
    population = Population()
    for name, score in (("a", 3.0), ("b", 2.0), ("c", 1.0)):
        add(population, name, score, operator="seed")
    add(population, "fresh", 1.9, operator="random")
    add(population, "worse", 2.1, operator="random")
    assert outcome(population) == [("fresh", True, False), ("worse", False, False)]


def test_what_is_shared_wins_nothing_and_costs_nothing():
    population = Population()
    add(population, "base", 3.0, operator="seed")
    add(population, "good", 2.0, parents=("base",))
    add(population, "copy", None, parents=("base",), status="ok", shared_with="good-0-0", compute_spent=0.0)
    assert [(trial.won, trial.cost) for trial in trials(population)] == [(True, 1.0), (False, 0.0)]


def test_a_child_that_is_stopped_early_is_cheap_and_one_that_is_killed_for_its_time_dear():
    population = Population()
    add(population, "base", 3.0, operator="seed")
    add(population, "slow", None, parents=("base",), status="timeout")
    add(population, "hopeless", None, parents=("base",), status="abandoned", compute_spent=1.0)
    slow, hopeless = trials(population)
    assert slow.failed and not hopeless.failed
    assert slow.cost == 4.0 and hopeless.cost == 0.25


def test_controls_and_learning_rates_are_no_trials():
    population = Population()
    add(population, "base", 3.0, operator="seed")
    add(population, "quick", 2.0, operator="tune", parents=("base",))
    add(population, "swapped", 2.0, operator="control", parents=("base", "quick"))
    add(population, "fresh", 2.0, operator="random", arm="control")
    assert trials(population) == []
