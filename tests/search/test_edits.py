"""What changed between two genomes comes apart into edits, each of which can be taken back."""

import random
from itertools import combinations

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.search.candidates import shipped_baselines
from foundry.search.edits import Edits
from foundry.search.operators import mutate

BASE = """@foundry(1);

# What a layer is.
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4);
  x + mlp(rmsnorm(x), hidden = 64)
};

model = embed(vocab = 256, width = 32) >> 3 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3, decay = 0.1), batch = 512);
"""


def meaning(text):
    return canonical_hash(load_program(text))


def changed(*replacements, base=BASE):
    text = base
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return Edits(base, text)


def described(edits):
    return [str(edit) for edit in edits.edits]


def test_changes_in_different_places_are_edits_of_their_own_in_genome_terms():
    edits = changed(("heads = 4", "heads = 2"), ("hidden = 64", "hidden = 48, act = relu2"), ("5e-3", "8e-3"))
    assert described(edits) == [
        "attention heads: 4 → 2",
        "mlp hidden: 64 → 48",
        "mlp act: gelu → relu2",
        "optimizer lr: 5e-3 → 8e-3",
    ]


def test_taking_one_back_leaves_the_others():
    edits = changed(("heads = 4", "heads = 2"), ("hidden = 64", "hidden = 48"))
    heads, hidden = edits.edits
    assert meaning(edits.without([heads])) == meaning(changed(("hidden = 64", "hidden = 48")).result)
    assert meaning(edits.without([hidden])) == meaning(changed(("heads = 4", "heads = 2")).result)
    assert meaning(edits.without([heads, hidden])) == meaning(BASE)
    assert edits.without([]) == edits.result


def test_what_defines_a_name_and_what_uses_it_are_one_edit():
    edits = changed(
        ("x + mlp(rmsnorm(x), hidden = 64)", "h = silu(linear(rmsnorm(x), 32));\n  x + h * mlp(h, hidden = 64)"),
        ("lr = 5e-3", "lr = 8e-3"),
    )
    assert len(edits.edits) == 2 and "lr" in described(edits)[1]
    assert meaning(edits.without(edits.edits[:1])) == meaning(changed(("lr = 5e-3", "lr = 8e-3")).result)


def test_a_definition_goes_with_its_uses():
    edits = changed(
        ("model =", "bump(x) = x * sigmoid(2 * x);\n\nmodel ="), ("hidden = 64", "hidden = 64, act = bump"),
    )  # fmt: skip
    (edit,) = edits.edits
    assert "bump" not in edits.without([edit])


def test_sizes_that_fit_only_together_are_one_edit():
    learned = BASE.replace(
        "model = embed(vocab = 256, width = 32)",
        "places(tokens) = embed(tokens, vocab = 256, width = 32)"
        " + embed(position(tokens), vocab = 128, width = 32);\n\nmodel = places",
    )
    edits = changed(("width = 32", "width = 48"), ("heads = 4", "heads = 2"), base=learned)
    assert described(edits) == ["attention heads: 4 → 2", "width: 32 → 48"]


def test_layers_that_were_put_in_and_taken_out_are_one_edit():
    edits = changed(
        ("model =", "flat(x) = x + mlp(x, hidden = 16);\n\nmodel ="), ("3 * layer", "2 * layer >> flat >> flat")
    )
    (edit,) = edits.edits
    assert meaning(edits.without([edit])) == meaning(BASE)


def test_other_names_for_the_same_are_no_edit():
    edits = changed(("x = x + attention", "y = x + attention"), ("x + mlp(rmsnorm(x)", "y + mlp(rmsnorm(y)"))
    assert edits.edits == () and meaning(edits.result) == meaning(BASE)


def test_a_change_behind_another_name_is_found():
    edits = changed(("x = x + attention", "y = x + attention"), ("x + mlp(rmsnorm(x)", "y + mlp(layernorm(y)"))
    assert len(edits.edits) == 1 and meaning(edits.without(edits.edits)) == meaning(BASE)


@pytest.mark.parametrize("name", ["rmsnorm", "rmsnorm_b"])
def test_a_copy_of_the_prelude_differs_by_what_was_changed_in_it(name):
    copy = (
        f"{name}(x, eps = 1e-6) = {{\n  weight = param(1, per = channel);\n  weight * x * rsqrt(mean(x * x) + eps)\n}};"
    )
    text = BASE.replace("rmsnorm", name).replace("# What a layer is.", f"{copy}\n\n# What a layer is.")
    assert meaning(text) == meaning(BASE)
    edits = Edits(BASE, text.replace("weight * x", "weight * tanh(x)").replace("heads = 4", "heads = 2"))
    assert len(edits.edits) == 2 and len(edits.hunks) == 2
    assert name + "(x, eps" not in edits.without([next(e for e in edits.edits if "heads" not in str(e))])


def test_another_optimizer_is_one_edit():
    edits = changed(("adamw(lr = 5e-3, decay = 0.1)", "muon(lr = 2e-2)"), ("batch = 512", "batch = 1024, clip = 0.5"))
    assert len(edits.edits) == 3


def test_comments_of_the_result_stay():
    assert "# What a layer is." in changed(("heads = 4", "heads = 2")).without(())


def descendant(seed):
    """A baseline and what some mutations made of it."""
    rng = random.Random(seed)
    base = rng.choice(sorted(shipped_baselines().values()))
    text = base
    for _ in range(rng.randint(2, 5)):
        text = mutate(text, rng).text
    return base, text


@pytest.mark.parametrize("seed", range(6))
def test_all_edits_of_a_line_of_descent_come_back_alone_and_together(seed):
    base, text = descendant(seed)
    edits = Edits(base, text)
    if meaning(base) == meaning(text):
        assert not edits.edits
        return
    assert meaning(edits.without(edits.edits)) == meaning(base)
    for edit in edits.edits:
        reverted = edits.without([edit])
        assert reverted is not None and meaning(reverted) != meaning(text)
    for pair in list(combinations(edits.edits, 2))[:3]:
        reverted = edits.without(pair)
        assert reverted is None or load_program(reverted)
