"""The same results give the same proposals; every proposal is new and within bounds."""

import pytest

from foundry.search import candidates
from foundry.search.operators import CROSSINGS, OPERATORS
from foundry.search.population import SEED, Population
from foundry.search.proposals import propose


@pytest.fixture(scope="module")
def start():
    """The baselines with scores at the first rung, their texts, and their band."""
    population = Population()
    texts = {}
    baselines = [candidates.read(text) for text in candidates.shipped_baselines().values()]
    for number, baseline in enumerate(baselines):
        texts[baseline.genome_hash] = baseline.text
        population.add(baseline.genome_hash, SEED, (), baseline.family)
        row = {"genome_hash": baseline.genome_hash, "rung": 0, "seed": 0, "status": "ok", "wall_s": 1.0}
        population.observe(row | {"compute_budget": 1.0, "behaviour_hash": str(number), "val_bpb": 3.0 + number})
    return population, texts, candidates.band(baselines)


def proposals(start, seed, strategy="evolve", count=6):
    population, texts, band = start
    return [propose(number, seed, population, texts.__getitem__, band, strategy) for number in range(count)]


def test_a_seed_fixes_the_sequence_of_proposals(start):
    first = proposals(start, seed=3)
    assert proposals(start, seed=3) == first
    assert [p.candidate.genome_hash for p in proposals(start, seed=4)] != [p.candidate.genome_hash for p in first]


def test_a_proposal_depends_on_its_number_and_not_on_those_before_it(start):
    population, texts, band = start
    assert propose(5, 3, population, texts.__getitem__, band, "evolve") == proposals(start, seed=3)[5]


def test_proposals_are_new_within_the_band_and_say_where_they_come_from(start):
    population, _, band = start
    for proposal in proposals(start, seed=0, count=12):
        assert proposal.candidate.genome_hash not in population
        assert band.holds(proposal.candidate)
        assert proposal.operator in {*OPERATORS, *CROSSINGS, "random"} and proposal.description
        assert len(proposal.parents) == (0 if proposal.operator == "random" else 1 + (proposal.operator in CROSSINGS))


def test_random_search_uses_no_parents(start):
    assert {(p.operator, p.parents) for p in proposals(start, 0, "random", 4)} == {("random", ())}


def test_nothing_is_proposed_where_nothing_fits(start):
    population, texts, _ = start
    nowhere = candidates.Band(parameters=1.0, compute_per_token=1.0)
    assert propose(0, 0, population, texts.__getitem__, nowhere, "random") is None
