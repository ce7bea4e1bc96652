"""Spelling never changes the hash, and what has one hash is one model, here and in every other process."""

import os
import random
from functools import cache

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine
from foundry.dsl.source import shipped_genomes
from foundry.generate.draw import RandomDraw
from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD
from foundry.testing.case import Broken, Case
from foundry.testing.fingerprint import elsewhere, fingerprint
from foundry.testing.properties.spelling import alike, same
from foundry.testing.respell import RESPELLINGS, genes
from foundry.testing.texts import arbitrary

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
GENOMES = 300 if LONG else 14
SHIPPED = (
    "llama",
    "hybrid",
    "attention/mla",
    "channels/moe_softmax",
    "heads/multi_token",
    "residual/hyper_connections",
)

HEAD = "@foundry(1);\n\n"
TAIL = "\nmodel = embed(vocab = 16, width = 8) >> layer >> unembed();\n"


@cache
def cases():
    """Genomes of people and at random."""
    rng = random.Random(0)
    shipped = [shipped_genomes()[name].read_text("utf-8") for name in SHIPPED]
    return [
        Case(text, seed) for seed, text in enumerate([*shipped, *(random_genome(rng, WILD) for _ in range(GENOMES))])
    ]


@pytest.mark.parametrize("name", RESPELLINGS)
def test_another_spelling_has_the_same_hash(name):
    written = 0
    for case in cases():
        text = RESPELLINGS[name](genes(case.text), RandomDraw(random.Random(case.seed)))
        if text is not None and text != case.text:
            same(name, text, case)
            written += 1
    assert written >= 2, f"{name} finds too few places"


def test_many_respellings_one_after_another_are_the_same_model():
    for case in cases()[:: 1 if LONG else 4]:
        draw = RandomDraw(random.Random(case.seed))
        text = case.text
        for name in draw.rng.sample(sorted(RESPELLINGS), 6):
            text = RESPELLINGS[name](genes(text), draw) or text
        same("many respellings", text, case)
        alike(case, Case(text, case.seed), text)


OTHERWISE = [
    ("x + linear(relu(x), 8)", "x + linear(relu(x) * 2, 8)"),
    ("x - relu(x)", "relu(x) - x"),
    ("x / (1 + x * x)", "(1 + x * x) / x"),
    ("2 ** x", "x ** 2"),
    ("where(x < 1, x, 0)", "where(x <= 1, x, 0)"),
    ("where(x > 1, x, 0)", "where(x < 1, x, 0)"),
    ("shift(x)", "shift(x, by = 2)"),
    ("conv(x, kernel = 3)", "conv(x, kernel = 4)"),
    ("x * param(1)", "x * param(2)"),
    ("x * param(1)", "x * param(1, learn = 0)"),
    ("x * param(1, per = channel)", "x * param(1)"),
    ("rmsnorm(x)", "rmsnorm(x, eps = 1e-5)"),
    ("linear(x, 8)", "linear(x, 8, bias = 1)"),
    ("{ f = share(linear(8)); f(f(x)) }", "linear(linear(x, 8), 8)"),
    ("x >> 2 * linear(8)", "x >> share(2 * linear(8))"),
    ("slice(x, 0, 4) >> linear(8)", "slice(x, 4, 8) >> linear(8)"),
    ("x * top(x, 2)", "x * top(x, 3)"),
    ("x * channel_index(x, 8)", "x * position(x)"),
    ("x * table(x, [1, 2, 3, 4, 5, 6, 7, 8])", "x * table(x, [1, 2, 3, 4, 5, 6, 8, 7])"),
    ("x + attention(x, heads = 2)", "x + attention(x, heads = 4)"),
    ("x + attention(x, heads = 2)", "x + attention(x, heads = 2, kv_heads = 1)"),
    ("x + attention(x, heads = 2)", "x + attention(x, heads = 2, mask = fn(i, j) => i - j < 4)"),
    ("x + attention(x, heads = 2)", "x + attention(x, heads = 2, score = fn(s) => 2 * s)"),
    ("x + attention(x, heads = 2, pos = rope)", "x + attention(x, heads = 2, pos = rope(theta = 99))"),
    ("scan(sigmoid(x), x)", "scan(x, sigmoid(x))"),
    ("penalty(x, x)", "x"),
    ("penalty(x, x, 2)", "penalty(x, x, 3)"),
    ("x + stop(x)", "x + x"),
]


def hash_of(body):
    return canonical_hash(examine(f"{HEAD}layer(x) = {body};{TAIL}").program)


@pytest.mark.parametrize(("one", "other"), OTHERWISE)
def test_another_meaning_has_another_hash(one, other):
    assert hash_of(one) != hash_of(other)


RECIPES = [
    ("optimizer = adamw(lr = 1e-3)", "optimizer = adamw(lr = 2e-3)"),
    ("optimizer = adamw(betas = [0.9, 0.95])", "optimizer = adamw(betas = [0.95, 0.9])"),
    ("optimizer = lion(lr = 1e-3)", "optimizer = adamw(lr = 1e-3)"),
    ("clip = 1.0", "clip = 0"),
    ("batch = 512", "batch = 513"),
    ("schedule = fn(t) => 1 - t", "schedule = fn(t) => t"),
    ("context = fn(t) => 64", "context = fn(t) => 32"),
    ("difficulty = fn(t) => 0.5", "batch = 2048"),
    ("difficulty = fn(t) => 0.5", "context = fn(t) => 0.5"),
    ("loss = fn(logits, y) => cross_entropy(logits, y) * 2", "loss = cross_entropy"),
    (
        "loss = fn(logits, y) => cross_entropy(logits, y) * 2",
        "loss = fn(logits, y) => 2 * cross_entropy(logits * 2, y)",
    ),
]


@pytest.mark.parametrize(("one", "other"), RECIPES)
def test_another_recipe_has_another_hash(one, other):
    first, second = (
        canonical_hash(examine(f"{HEAD}layer(x) = x;{TAIL}recipe = train({recipe});").program)
        for recipe in (one, other)
    )
    assert first != second


def test_what_differs_is_not_alike():
    one, other = (Case(f"{HEAD}layer(x) = {body};{TAIL}") for body in ("x * 2", "x * 3"))
    with pytest.raises(Broken, match="logits that differ"):
        alike(one, other, other.text)
    more = Case(f"{HEAD}layer(x) = linear(x, 8);{TAIL}")
    with pytest.raises(Broken, match="number of parameters"):
        alike(one, more, more.text)


def test_another_process_says_the_same_of_right_and_of_wrong_genomes():
    texts = [case.text for case in cases()]
    texts += [text for seed in range(60) if isinstance(text := arbitrary(random.Random(seed)), str)]
    for seed, text in enumerate(texts):
        text = text.encode("utf-8", "replace").decode()
        assert elsewhere(text, seed) == fingerprint(text, seed)


def test_a_fingerprint_tells_genomes_and_seeds_apart():
    text = cases()[0].text
    one, other = fingerprint(text, 1), fingerprint(text, 2)
    assert one["values"] != other["values"] and one["file"] == other["file"]
    assert set(fingerprint("model = 1;", 0)) == {"diagnostics"}
