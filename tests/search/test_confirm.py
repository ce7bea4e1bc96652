"""Confirmation compares what it says it compares, and plans with the time that there is."""

import pytest

from foundry.dsl.check import load_program
from foundry.search import candidates
from foundry.search.confirm import makespan, rounded_down, transplant_recipe

HOST = """@foundry(1);

ramp(x) = relu(x);
slow(t) = 1 - t;
model = embed(vocab = 256, width = 16) >> ramp >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = 1e-3), schedule = slow);
"""
DONOR = """@foundry(1);

ramp(t) = t;
warm(t) = min(2 * ramp(t), 1);
model = embed(vocab = 256, width = 32) >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = muon(lr = 2e-2), schedule = warm, batch = 512);
"""


def test_a_control_has_one_genomes_architecture_and_the_others_recipe():
    control = transplant_recipe(HOST, DONOR)
    recipe, given = load_program(control).recipe, load_program(DONOR).recipe
    assert candidates.read(control).architecture == candidates.read(HOST).architecture
    assert (recipe.optimizer, recipe.batch) == (given.optimizer, given.batch)
    assert "slow" not in control and "ramp2(t) = t;" in control and "ramp(x) = relu(x);" in control


def test_a_recipe_that_is_the_same_changes_nothing():
    assert candidates.read(transplant_recipe(HOST, HOST)).genome_hash == candidates.read(HOST).genome_hash


def test_a_donor_without_a_recipe_gives_the_defaults():
    control = transplant_recipe(HOST, DONOR[: DONOR.index("recipe")])
    assert "recipe" not in control
    assert load_program(control).recipe.optimizer.name == "adamw"


@pytest.mark.parametrize(
    "durations, workers, seconds", [([], 2, 0), ([3, 3, 3], 1, 9), ([3, 3, 3], 2, 6), ([5, 1, 1, 1], 2, 5), ([2], 8, 2)]
)
def test_free_workers_take_the_next_in_line(durations, workers, seconds):
    assert makespan(durations, workers) == seconds


@pytest.mark.parametrize(("value", "rounded"), [(1.2366e12, 1.23e12), (999_900.0, 999_000.0), (5e11, 5e11), (0.0, 0.0)])
def test_a_share_of_the_budget_is_never_rounded_up(value, rounded):
    assert rounded_down(value) == pytest.approx(rounded, rel=1e-12)
    assert rounded_down(value) <= value
