"""Settings from the command line: each says in the genome's text what it means, and nothing else changes."""

import pytest

from foundry.dsl.check import load_program
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.source import read_genome, shipped_genomes
from foundry.train.settings import SettingError, override

MODEL = "model = embed(vocab = 256, width = 32) >> rmsnorm >> unembed(tied = 1);\n"


def genome(recipe="", before=""):
    return f"@foundry(1);\n\n# What it is for.\n{MODEL}{before}{recipe}"


def recipe(text):
    return load_program(text).recipe


def shipped(name):
    return read_genome(str(shipped_genomes()[name]))


@pytest.mark.parametrize(
    ("pair", "line"),
    [
        ("lr=1e-3", "recipe = train(optimizer = adamw(lr = 1e-3, decay = 0.2), batch = 512);"),
        ("decay = 0", "recipe = train(optimizer = adamw(lr = 3e-3, decay = 0), batch = 512);"),
        ("batch=8192", "recipe = train(optimizer = adamw(lr = 3e-3, decay = 0.2), batch = 8192);"),
        ("optimizer=muon(lr = 0.02)", "recipe = train(optimizer = muon(lr = 0.02), batch = 512);"),
        ("optimizer=lion", "recipe = train(optimizer = lion(), batch = 512);"),
    ],
)
def test_a_setting_changes_its_place_in_the_recipe_and_nothing_else(pair, line):
    text = format_genome(parse(genome("recipe = train(optimizer = adamw(lr = 3e-3, decay = 0.2), batch = 512);")))
    before, _, old = text.rpartition("recipe")
    assert old
    assert override(text, [pair]) == f"{before}{line}\n"


@pytest.mark.parametrize(
    ("pair", "end"),
    [
        ("clip=0.5", "clip = 0.5)"),
        ("context=64", "context = 64)"),
        ("schedule=trapezoid", "schedule = trapezoid)"),
        ("schedule=fn(t) => 1 - t", "schedule = fn(t) => 1 - t)"),
        ("loss=fn(logits, y) => cross_entropy(logits, y)", "loss = fn(logits, y) => cross_entropy(logits, y))"),
        ("difficulty=fn(t) => 0.3 + t", "difficulty = fn(t) => 0.3 + t)"),
        ("transfer=64", "transfer = 64)"),
        ("betas=[0.8, 0.9]", "train(optimizer = adamw(betas = [0.8, 0.9]))"),
    ],
)
def test_every_argument_of_the_recipe_can_be_set_where_the_genome_has_none(pair, end):
    assert override(genome(), [pair]).endswith(f"{end};\n")


def test_what_stands_without_a_name_is_replaced_in_its_place():
    text = override(genome("recipe = train(adamw(5e-3), warmup_linear);\n"), ["lr=2e-3", "schedule=trapezoid"])
    assert "recipe = train(adamw(2e-3), trapezoid);" in text


def test_an_optimizer_with_a_name_of_its_own_is_changed_where_it_is_defined():
    text = override(genome("recipe = train(optimizer = mine);\n", "mine = muon(lr = 0.01);\n"), ["lr=0.03"])
    assert "mine = muon(lr = 0.03);" in text and "optimizer = mine" in text


def test_settings_take_effect_in_their_order():
    text = override(genome(), ["optimizer=muon", "adamw_lr=1e-3", "lr=0.01", "lr=0.05"])
    assert recipe(text).optimizer.name == "muon"
    assert (recipe(text).optimizer.settings["lr"], recipe(text).optimizer.settings["adamw_lr"]) == (0.05, 1e-3)


def test_another_vocabulary_keeps_the_rest():
    before, after = load_program(shipped("llama")), load_program(override(shipped("llama"), ["vocab=1000", "lr=1e-3"]))
    assert after.vocab == 1000
    assert after.recipe.batch == before.recipe.batch


def test_no_settings_leave_the_text_as_it_is():
    assert override(shipped("gpt2"), []) == shipped("gpt2")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("learning_rate=1e-3", "did you mean lr? known are optimizer, schedule"),
        ("momentum=0.9", "no such setting; known are"),
        ("wd=0.1", "did you mean decay?"),
        ("batchh=64", "did you mean batch?"),
        ("lr", "write key=value, such as lr=1e-3"),
        ("lr=", "write key=value"),
        ("=1", "write key=value"),
        ("lr=1; model = x", "more than one expression"),
        ("lr=)", "no expression"),
        ("lr=50", "lr of adamw is 50"),
        ("batch=1.5", "batch of train is 1.5"),
        ("schedule=nonsense", "nonsense"),
        ("optimizer=3", "optimizer is"),
        ("vocab=many", "a whole number"),
        ("vocab=1", "a whole number"),
        ("vocab=99999999999999999999", "a whole number"),
        ("\x1b[31mlr=1", "no such setting"),
    ],
)
def test_a_bad_setting_is_one_line_that_names_it(pair, words):
    with pytest.raises(SettingError) as caught:
        override(shipped("llama"), [pair])
    assert words in str(caught.value)
    assert "--set" in str(caught.value) and str(caught.value).isprintable()


@pytest.mark.parametrize("context", ["129", "512", "fn(t) => where(t < 0.5, 32, 256)"])
def test_rows_longer_than_the_positions_of_a_model_are_refused(context):
    with pytest.raises(SettingError, match="the model has 128 positions, and a row cannot have more tokens"):
        override(shipped("gpt2"), [f"context={context}"])


@pytest.mark.parametrize("context", ["128", "fn(t) => where(t < 0.5, 32, 128)", "fn(t) => 1 / (t - t)"])
def test_rows_that_fit_are_set_and_those_without_a_value_left_to_the_plan(context):
    assert f"context = {context}" in override(shipped("gpt2"), [f"context={context}"])


def test_a_recipe_that_is_computed_is_left_alone():
    text = genome("recipe = { rate = 1e-3; train(optimizer = adamw(lr = rate)) };\n")
    assert recipe(text).optimizer.settings["lr"] == 1e-3
    with pytest.raises(SettingError, match="not written as train"):
        override(text, ["lr=1"])
