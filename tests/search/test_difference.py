"""Differences between genomes, in genome terms."""

import pytest

from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.source import resource
from foundry.search.difference import describe_difference

LLAMA = resource("genomes", "llama.genome")


def changed(*replacements):
    text = LLAMA
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return describe_difference(LLAMA, text)


def test_a_genome_does_not_differ_from_itself_whatever_its_layout():
    assert describe_difference(LLAMA, LLAMA) == []
    assert describe_difference(LLAMA, LLAMA.replace("  ", " ").replace("# Llama", "# Another remark")) == []


def test_another_optimizer():
    assert changed(("adamw(lr = 5e-3, betas = [0.9, 0.95], decay = 0.1)", "muon(lr = 0.02)")) == [
        "optimizer: adamw(lr = 5e-3, betas = [0.9, 0.95], decay = 0.1) → muon(lr = 0.02)"
    ]


def test_a_number_of_the_optimizer():
    assert changed(("5e-3", "2e-3")) == ["optimizer: lr 5e-3 → 2e-3"]


def test_an_activation():
    assert changed(("act = silu", "act = fn(x) => relu(x) ** 2")) == ["layer: act silu → fn(x) => relu(x) ** 2"]


def test_an_argument_given_and_taken_away():
    assert changed(("kv_heads = 2,", "short = conv(kernel = 3),")) == [
        "layer: attention without kv_heads = 2",
        "layer: attention with short = conv(kernel = 3)",
    ]


def test_layers_of_two_kinds():
    lines = changed(
        ("4 * layer", "3 * layer >> layer_b"),
        ("model =", "layer_b(x) = { x = x + gated_conv(rmsnorm(x)); x + glu(rmsnorm(x), hidden = 176) };\nmodel ="),
    )
    assert lines == [
        "layer_b, a copy of layer: attention(rmsnorm(x), heads = 4, kv_heads = 2, pos = rope(theta = 1e4)) → "
        "gated_conv(rmsnorm(x))",
        "layer_b, a copy of layer: glu without act = silu",
        "model: 4 * layer → 3 * layer >> layer_b",
    ]


def test_a_definition_that_is_new_and_one_that_is_gone():
    with_act = LLAMA.replace("layer(x)", "bump(x) = x * sigmoid(x);\nlayer(x)").replace("silu", "bump")
    assert describe_difference(LLAMA, with_act) == [
        "bump: new, fn(x) => x * sigmoid(x)",
        "layer: act silu → bump",
    ]
    assert "bump: dropped" in describe_difference(with_act, LLAMA)


def test_a_binding_inserted():
    assert changed(("  x + glu", "  h = shift(x);\n  h + glu")) == [
        "layer: with h = shift(x)",
        "layer: x → h",
    ]


def test_text_that_is_no_genome():
    with pytest.raises(GenomeError):
        describe_difference(LLAMA, "no genome")
