"""Every promise of the compiler, each on genomes at random, on mutants, and on genomes of people.

All promises meet the same genomes, so that each is drawn and built once.
"""

import os
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings

from foundry.dsl.check import examine
from foundry.dsl.source import shipped_genomes
from foundry.testing.candidates import draw_genome
from foundry.testing.case import Case, Skipped
from foundry.testing.failures import attempt
from foundry.testing.properties import PROPERTIES
from foundry.testing.reduce import smallest
from foundry.testing.strategies import genomes

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RANDOM, DRAWN = (1000, 1000) if LONG else (10, 14)  # genomes by hypothesis, and as a campaign draws them
WRITTEN = Path(__file__).parent / "genomes"
SHRINKING = 300.0 if LONG else 10.0  # seconds for a failure
# What random genomes seldom have: attention with everything that people have added to it, experts, recurrences, ties.
SHIPPED = (
    "attention/differential", "attention/hybrid_jamba", "attention/mla", "attention/sink", "attention/top_k_sparse",
    "channels/moe_shared_experts", "heads/multi_token", "positions/learned", "positions/rope_partial",
    "recipes/curriculum_difficulty", "recipes/transfer", "residual/hyper_connections", "residual/shared_block",
)  # fmt: skip
each_property = pytest.mark.parametrize("tested", PROPERTIES, ids=lambda tested: tested.name)


@cache
def random_cases():
    """Genomes that hypothesis draws, and what campaigns draw: mutants and crossings among them."""
    texts = []
    assert examine(shipped_cases()[0].text).ok  # a check raises the recursion limit, and hypothesis warns of that

    @settings(max_examples=RANDOM)
    @given(genomes())
    def collect(text):
        texts.append(text)

    collect()
    texts += [draw_genome(0, "runs", number).content for number in range(DRAWN)]
    return [Case(text, seed) for seed, text in enumerate(dict.fromkeys(texts))]


@cache
def shipped_cases():
    """Genomes of people, and small ones that hold what neither those nor the random ones often have."""
    paths = shipped_genomes()
    names = [name for name in paths if not name.startswith("families/")] if LONG else SHIPPED
    written = [*sorted(WRITTEN.glob("*.genome")), *(paths[name] for name in names)]
    return [Case(path.read_text("utf-8"), seed) for seed, path in enumerate(written)]


def holds(tested, case):
    """Whether a property says something about a case; fails, with a small genome, where it does not hold."""
    try:
        failure = attempt(tested, case)
    except Skipped:
        return False
    if failure is not None:
        small = smallest(failure, lambda text: again(tested, text, case.seed), SHRINKING)
        told = f"{small.kind} at {small.place}: {small.message}"
        pytest.fail(f"{tested.statement}\n{told}\nwith the seed {case.seed} and the genome\n\n{small.content}", False)
    return True


def again(tested, text, seed):
    try:
        return attempt(tested, Case(text, seed))
    except Skipped:
        return None


@each_property
def test_it_holds_of_genomes_at_random(tested):
    for case in random_cases():
        holds(tested, case)


@each_property
def test_it_holds_of_genomes_of_people_and_says_something_about_one(tested):
    assert sum(holds(tested, case) for case in shipped_cases()) > 0


def test_names_are_apart():
    names = [tested.name for tested in PROPERTIES]
    assert len(set(names)) == len(names) > 30
