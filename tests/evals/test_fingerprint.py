"""The functional fingerprint: the same for one function in two dresses, another for whatever changes training."""

import random

import pytest
import torch

from foundry.compiler.cost import compute_per_token
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.source import shipped_genomes
from foundry.evals.fingerprint import fingerprint
from foundry.generate.draw import RandomDraw
from foundry.search.operators import Barren, mutate
from foundry.testing.respell import RESPELLINGS, genes

GENOME = """@foundry(1);

bend(x) = relu(x) ** 2 + 0.1 * x;

mix(x) = {
  gate = linear(x, 48);
  up = linear(x, 48);
  linear(bend(gate) * up, width(x))
};

layer(x) = {
  a = attention(rmsnorm(x), heads = 2, kv_heads = 1, pos = rope, norm = unitnorm);
  b = mix(rmsnorm(x));
  scale = param(0, per = channel);
  x + a + b + scale * shift(x, 1)
};

model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(
  optimizer = adamw(lr = 5e-3, betas = [0.9, 0.95], decay = 0.1),
  schedule = warmup_cosine,
  context = fn(t) => 64,
  batch = 256,
);
"""


ATTENTION = "a = attention(rmsnorm(x), heads = 2, kv_heads = 1, pos = rope, norm = unitnorm);"
MIX = "b = mix(rmsnorm(x));"
RATE = 1e6  # flop to train on a token: what a rewrite costs is the business of one test alone


def module_of(text):
    return load(emit(load_program(text)))


def of(text, rate=RATE):
    return fingerprint(module_of(text), rate, 256)


def with_change(before, after):
    assert before in GENOME
    return GENOME.replace(before, after)


@pytest.fixture(scope="module")
def plain():
    return of(GENOME)


def test_it_is_sixteen_hexadecimal_digits_the_same_every_time(plain):
    assert len(plain) == 16 and set(plain) <= set("0123456789abcdef")
    assert of(GENOME) == plain


@pytest.mark.parametrize(
    "before, after",
    [
        ("x + a + b + scale * shift(x, 1)", "(x + a + b + scale * shift(x, 1)) * 2 / 2"),
        ("x + a + b + scale * shift(x, 1)", "shift(x, 1) * scale + (b + (a + x))"),
        ("0.1 * x", "x / 10"),
        ("relu(x) ** 2", "relu(x) * max(x, 0)"),
        ("bend(gate) * up", "up * bend(gate)"),
        # the weights of the two are made, and stand in the file, in another order
        ("  gate = linear(x, 48);\n  up = linear(x, 48);\n", "  up = linear(x, 48);\n  gate = linear(x, 48);\n"),
        (f"  {ATTENTION}\n  {MIX}\n", f"  {MIX}\n  {ATTENTION}\n"),
        ("schedule = warmup_cosine", "schedule = fn(t) => warmup_cosine(t) * 3 / 3"),
        ("fn(t) => 64", "fn(t) => 8 * 8"),
    ],
)
def test_exact_rewrites_leave_it(plain, before, after):
    assert of(with_change(before, after)) == plain


def test_it_sees_more_than_the_canonical_hash():
    rewritten = with_change("0.1 * x", "x / 10")
    assert canonical_hash(load_program(rewritten)) != canonical_hash(load_program(GENOME))
    assert of(rewritten) == of(GENOME)


ROUTED = """@foundry(1);

limited(x, groups, picked) = {
  p = softmax(linear(x, 6));
  best = merge_heads(max(split_heads(p, 3)));
  kept = merge_heads(split_heads(p, 3) * split_heads(top(best, groups), 3));
  kept * top(kept, picked)
};

free(x, picked) = {
  p = softmax(linear(x, 6));
  p * top(p, picked)
};

layer(x) = x + experts(rmsnorm(x), ROUTER, glu(hidden = 16));

model = embed(vocab = 256, width = 16) >> layer >> rmsnorm >> unembed(tied = 1);
"""


def test_the_best_two_experts_are_always_among_the_best_two_groups_and_the_best_three_are_not():
    free, limited, three, limited_three = (
        of(ROUTED.replace("ROUTER", f"{router}(x{more})"))
        for router, more in (
            ("free", ", picked = 2"),
            ("limited", ", groups = 2, picked = 2"),
            ("free", ", picked = 3"),
            ("limited", ", groups = 2, picked = 3"),
        )
    )
    assert free == limited
    assert three != limited_three and free != three


@pytest.mark.parametrize("seed", range(3))
def test_other_spellings_leave_it(seed):
    draw, text = RandomDraw(random.Random(seed)), GENOME
    for name in draw.rng.sample(sorted(RESPELLINGS), 6):
        text = RESPELLINGS[name](genes(text), draw) or text
    assert text != GENOME
    assert of(text) == of(GENOME)


@pytest.mark.parametrize(
    "before, after",
    [
        ("0.1 * x", "0.101 * x"),
        ("relu(x) ** 2", "relu(x) ** 3"),
        ("kv_heads = 1", "kv_heads = 2"),
        ("pos = rope", "pos = rope(theta = 9e3)"),
        ("pos = rope", "pos = rope, mask = window(size = 100)"),
        ("norm = unitnorm", "norm = rmsnorm"),
        ("2 * layer", "3 * layer"),
        # silent at the start of training
        ("param(0, per = channel)", "param(1, per = channel)"),
        ("scale * shift(x, 1)", "scale * shift(x, 2)"),
        ("scale * shift(x, 1)", "scale * scale * shift(x, 1)"),
        # the same outputs, other gradients
        ("scale * shift(x, 1)", "stop(scale) * shift(x, 1)"),
        ("x + a + b", "stop(x) + a + b"),
        (MIX, "b = penalty(mix(rmsnorm(x)), 0.01 * mean(x * x));"),
        # the same function, other weights
        ("tied = 1", "tied = 0"),
        ("bend(gate) * up", "bend(gate) * gate"),
        # the same model, another recipe
        ("lr = 5e-3", "lr = 5.1e-3"),
        ("decay = 0.1", "decay = 0.2"),
        ("0.95]", "0.99]"),
        ("adamw(lr = 5e-3, betas = [0.9, 0.95], decay = 0.1)", "muon(lr = 5e-3)"),
        ("schedule = warmup_cosine", "schedule = fn(t) => warmup_cosine(t) * 0.99"),
        ("fn(t) => 64", "fn(t) => 32"),
        ("fn(t) => 64", "fn(t) => where(t < 0.5, 32, 64)"),
        ("batch = 256", "batch = 512"),
        ("batch = 256", "batch = 256, clip = 0.5"),
        ("batch = 256", "batch = 256, difficulty = fn(t) => 0.5 + t"),
    ],
)
def test_what_changes_training_changes_it(plain, before, after):
    changed = of(with_change(before, after))
    assert changed and changed != plain


def test_mutations_that_mean_something_else_compute_something_else(plain):
    rng, seen = random.Random(0), 0
    while seen < 12:
        try:
            child = mutate(GENOME, rng)
        except Barren:
            continue
        seen += 1
        assert of(child.text) != plain, child.text


def test_a_wasteful_way_to_compute_the_same_trains_for_fewer_steps_and_is_another():
    wasteful = with_change("bend(gate) * up", "bend(gate) * up * 2 / 2 * 3 / 3 * 5 / 5 * 7 / 7")
    rates = [compute_per_token(load_program(text), 128) for text in (GENOME, wasteful)]
    assert rates[1] > 1.1 * rates[0]
    assert of(wasteful) == of(GENOME)
    assert of(wasteful, rates[1]) != of(GENOME, rates[0])


def test_numbers_that_are_not_finite_have_no_fingerprint():
    assert of(with_change("0.1 * x", "x / (x - x)")) == ""


@pytest.mark.parametrize("name", ["channels/moe_softmax", "attention/mamba2", "attention/sink", "heads/multi_token"])
def test_every_kind_of_genome_has_one(name):
    assert len(of(shipped_genomes()[name].read_text("utf-8"))) == 16


def test_it_leaves_the_process_as_it_was():
    before = torch.get_default_dtype(), torch.initial_seed()
    of(GENOME)
    assert (torch.get_default_dtype(), torch.initial_seed()) == before
    assert {weight.dtype for weight in module_of(GENOME).Model().parameters()} == {torch.float32}
