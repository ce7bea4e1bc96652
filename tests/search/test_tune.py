"""Learning rates are scaled wherever the genome keeps them, and Optuna looks for the best."""

import math

import pytest

from foundry.dsl.check import load_program
from foundry.dsl.parse import parse
from foundry.search.candidates import shipped_baselines
from foundry.search.tune import FIRST, RANGE, learning_rate, next_factor, scale_learning_rate

MODEL = "@foundry(1);\n\nmodel = embed(vocab = 256, width = 16) >> rmsnorm >> unembed(tied = 1);\n"


def optimizer(text):
    return load_program(text).recipe.optimizer


@pytest.mark.parametrize(
    "recipe, rates",
    [
        ("", {"lr": 6e-3}),  # twice the default of AdamW
        ("recipe = train(batch = 512);", {"lr": 6e-3}),
        ("recipe = train(optimizer = adamw(lr = 1e-3));", {"lr": 2e-3}),
        ("recipe = train(optimizer = adamw(decay = 0));", {"lr": 6e-3}),
        ("recipe = train(optimizer = muon(lr = 1e-2));", {"lr": 2e-2, "adamw_lr": 6e-3}),
        ("fast = lion(lr = 2e-4);\nrecipe = train(optimizer = fast);", {"lr": 4e-4}),
        ("recipe = train(optimizer = adamw(lr = 0.9));", {"lr": 1.0}),  # the largest legal
    ],
)
def test_every_rate_is_scaled(recipe, rates):
    settings = optimizer(scale_learning_rate(MODEL + recipe, 2.0)).settings
    assert {name: settings[name] for name in rates} == pytest.approx(rates)


def test_nothing_else_changes():
    text = shipped_baselines()["llama"]
    scaled = scale_learning_rate(text, 3.0)
    assert learning_rate(scaled) == pytest.approx(3 * learning_rate(text))
    assert parse(scale_learning_rate(scaled, 1 / 3)) == parse(text)


def test_the_search_for_a_rate_comes_near_the_best():
    trials = [(1.0, 3.0)]
    while len(trials) < 12:
        factor = next_factor(trials, seed=1)
        assert RANGE[0] <= factor <= RANGE[1]
        trials.append((factor, 2.0 + abs(math.log(factor / 4))))
    assert trials[1][0] == FIRST[1]
    assert min(score for _, score in trials) < 2.25
    assert next_factor(trials, 1) == next_factor(trials, 1)


def test_a_rate_that_diverged_is_no_obstacle():
    assert RANGE[0] <= next_factor([(1.0, 3.0), (3.0, None), (9.0, None)], seed=0) <= RANGE[1]
