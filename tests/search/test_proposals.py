"""The same results give the same proposals; every proposal is new and within bounds."""

from collections import Counter

import pytest

from foundry.search import candidates
from foundry.search.bandit import operators_of
from foundry.search.genes import skeleton
from foundry.search.operators import CROSSINGS, OPERATORS
from foundry.search.population import SEED, Population
from foundry.search.proposals import KINDS, kind_of, propose


def row(genome_hash, score, **more):
    fixed = {"rung": 0, "seed": 0, "status": "ok", "wall_s": 1.0, "compute_budget": 1.0}
    return {"genome_hash": genome_hash, "behaviour_hash": genome_hash, "val_bpb": score} | fixed | more


@pytest.fixture(scope="module")
def start():
    """The baselines with scores at the first rung, their texts, and their band."""
    population = Population()
    texts = {}
    baselines = [candidates.read(text) for text in candidates.shipped_baselines().values()]
    for number, baseline in enumerate(baselines):
        texts[baseline.genome_hash] = baseline.text
        population.add(baseline.genome_hash, SEED, (), baseline.family)
        population.observe(row(baseline.genome_hash, 3.0 + number))
    return population, texts, candidates.band(baselines)


def proposals(start, seed, count=6, **more):
    population, texts, band = start
    return [propose(number, seed, population, texts.__getitem__, band, **more) for number in range(count)]


def test_a_seed_fixes_the_sequence_of_proposals(start):
    first = proposals(start, seed=3)
    assert proposals(start, seed=3) == first
    assert [p.candidate.genome_hash for p in proposals(start, seed=4)] != [p.candidate.genome_hash for p in first]


def test_a_proposal_depends_on_its_number_and_not_on_those_before_it(start):
    population, texts, band = start
    assert propose(5, 3, population, texts.__getitem__, band) == proposals(start, seed=3)[5]


def test_proposals_are_new_within_the_band_and_say_where_they_come_from(start):
    population, _, band = start
    parents = {"mutate": 1, "crossover": 2, "random": 0, "optuna": 1}
    for proposal in proposals(start, seed=0, count=12):
        assert proposal.candidate.genome_hash not in population
        assert band.holds(proposal.candidate)
        assert proposal.description and proposal.arm == "search"
        assert len(proposal.parents) == parents[kind_of(proposal.operator)]


def test_every_operator_belongs_to_a_kind():
    assert {kind_of(operator) for operator in (*OPERATORS, *CROSSINGS, "random", "optuna")} == set(KINDS)


def test_a_search_takes_several_steps_at_once_when_it_begins_and_single_ones_later(start):
    population, texts, band = start
    early = [p.operator for p in proposals(start, seed=1, count=12) if kind_of(p.operator) == "mutate"]
    old = Population()
    for baseline in population.baselines():
        old.add(baseline.genome_hash, SEED, (), baseline.family)
        old.observe(row(baseline.genome_hash, baseline.scores[0, 0]))
    for number in range(3_000):
        old.add(f"old{number}", "wrap", (), "attend")
    late = [p.operator for p in proposals((old, texts, band), seed=1, count=8) if kind_of(p.operator) == "mutate"]
    assert any(" + " in operator for operator in early)
    assert sum(" + " in operator for operator in late) <= 1


def only(monkeypatch, name):
    for other in set(KINDS) - {name}:
        monkeypatch.delitem(KINDS, other)


def test_optuna_changes_the_numbers_of_its_parent_alone(start, monkeypatch):
    only(monkeypatch, "optuna")
    for proposal in proposals(start, seed=0, count=3):
        assert proposal.operator == "optuna"
        assert skeleton(proposal.candidate.text) == skeleton(start[1][proposal.parents[0]])


def test_what_wins_is_proposed_more_often(start):
    """The same population, and as many children again: those of one operator win, those of others do not."""
    population, texts, band = start
    learnt, texts = Population(), dict(texts)
    for baseline in population.baselines():
        learnt.add(baseline.genome_hash, SEED, (), baseline.family)
        learnt.observe(row(baseline.genome_hash, baseline.scores[0, 0]))
    best = population.best(population.baselines(), 0)[0]
    for number in range(60):
        operator, score = ("swap activation", 2.5) if number % 2 else ("number", 3.5)
        child = f"{number:016x}"
        texts[child] = best_text = texts[best.genome_hash]
        assert best_text
        learnt.add(child, operator, (best.genome_hash,), best.family)
        learnt.observe(row(child, score, behaviour_hash="alike"))
    made = Counter(
        operator for p in proposals((learnt, texts, band), seed=0, count=24) for operator in operators_of(p.operator)
    )
    assert made["swap activation"] >= 6 > 3 > made["number"]


# Control ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [{"strategy": "random"}, {"arm": "control"}])
def test_a_control_draws_fresh_genomes_and_uses_no_parents(start, how):
    assert {(p.operator, p.parents) for p in proposals(start, 0, 4, **how)} == {("random", ())}


def test_numbers_alone_change_no_structure(start):
    _population, texts, _ = start
    made = proposals(start, 0, 6, strategy="numbers")
    assert {p.operator for p in made} == {"optuna"}
    for proposal in made:
        assert skeleton(proposal.candidate.text) == skeleton(texts[proposal.parents[0]])


def test_a_control_is_the_same_whatever_the_search_has_learnt(start):
    _, texts, band = start
    before = proposals(start, 0, 3, arm="control")
    empty = Population()
    assert [propose(n, 0, empty, texts.__getitem__, band, arm="control") for n in range(3)] == before
    assert {p.arm for p in before} == {"control"}


def test_nothing_is_proposed_where_nothing_fits(start):
    population, texts, _ = start
    nowhere = candidates.Band(parameters=1.0, compute_per_token=1.0)
    assert propose(0, 0, population, texts.__getitem__, nowhere, "random") is None
