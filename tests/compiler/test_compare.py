"""Differences between genomes: in genome terms, none where only the spelling differs, few where much does."""

import random
from dataclasses import asdict

import pytest

from foundry.compiler.compare import MOST, REORDERED, compare, describe_difference
from foundry.compiler.cost import cost
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.source import resource, resource_folder
from foundry.search.operators import crossover, mutate

LLAMA, GPT2 = resource("genomes", "llama.genome"), resource("genomes", "gpt2.genome")
GENOMES = resource_folder("genomes")
SHIPPED = sorted(str(path.relative_to(GENOMES)) for path in GENOMES.rglob("*.genome"))
LONGEST = 320  # characters of a line


def genome(model, definitions="", recipe=""):
    return f"@foundry(1);\n{definitions}\nmodel = {model};\n{recipe}"


def changed(*replacements, text=LLAMA):
    new = text
    for old, other in replacements:
        assert old in new
        new = new.replace(old, other)
    return describe_difference(text, new)


# one meaning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "replacements",
    [
        (("  ", " "), ("# Llama", "# Another remark")),
        (("layer", "block"),),
        (("act = silu", "act = fn(x) => x * sigmoid(x)"),),
        (("x + glu(rmsnorm(x), hidden = 176, act = silu)", "glu(rmsnorm(x), act = silu, hidden = 176) + x"),),
        (("4 * layer", "layer >> layer >> layer >> layer"),),
        (("lr = 5e-3", "lr = 0.01 / 2"), ("kv_heads = 2", "kv_heads = 4 / 2")),
    ],
    ids=["layout", "names", "a function written out", "order", "copies written out", "arithmetic"],
)
def test_genomes_that_differ_in_spelling_alone_do_not_differ(replacements):
    assert changed(*replacements) == []


def test_a_function_that_is_written_out_is_no_difference_beside_a_real_one():
    written = (
        "  h = rmsnorm(x);\n  g = linear(h, 176);\n  u = linear(h, 176);\n  x + linear(g * sigmoid(g) * u, width(x))"
    )
    lines = changed(("  x + glu(rmsnorm(x), hidden = 176, act = silu)", written), ("kv_heads = 2", "kv_heads = 1"))
    assert lines == ["attention kv_heads: 2 → 1"]


def test_a_norm_written_in_place_is_no_difference_beside_a_real_one():
    block = "layer(x) = x + mlp({norm}, hidden = 64);"
    model = "embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = {tied})"
    named = genome(model.format(tied=1), block.format(norm="unitnorm(x)"))
    written = genome(model.format(tied=0), block.format(norm="x * rsqrt(1e-6 + mean(x * x))"))
    assert describe_difference(named, written) == ["output: the embedding's weights → its own weights"]


# parts of a layer ----------------------------------------------------------------------------------------------------


def test_a_number():
    assert changed(("kv_heads = 2", "kv_heads = 1")) == ["attention kv_heads: 2 → 1"]


def test_a_number_that_was_left_at_its_default():
    assert changed(("kv_heads = 2, ", "")) == ["attention kv_heads: 2 → 4"]


def test_numbers_that_follow_from_another_are_not_listed():
    assert changed(("heads = 4, kv_heads = 2", "heads = 8, kv_heads = 2")) == ["attention heads: 4 → 8"]
    assert changed(("width = 64", "width = 128")) == ["width: 64 → 128"]


def test_a_number_with_a_name_of_its_own():
    size = "d = {};\nlayer(x) = x + mlp(rmsnorm(x), hidden = d);"
    model = "embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1)"
    old, new = (genome(model, size.format(n)) for n in (96, 128))
    assert describe_difference(old, new) == ["mlp hidden: 96 → 128"]


def test_an_activation():
    assert changed(("act = silu", "act = fn(x) => relu(x) ** 2")) == ["glu act: silu → fn(x) => relu(x) ** 2"]


def test_an_activation_of_the_genome_is_shown_with_what_it_does():
    lines = changed(("layer(x)", "bump(x) = x * tanh(x);\nlayer(x)"), ("silu", "bump"))
    assert lines == ["glu act: silu → bump(x) = x * tanh(x)"]


def test_a_formula_in_a_function_that_keeps_its_name():
    text = LLAMA.replace("layer(x)", "bump(x) = x * tanh(x);\nlayer(x)").replace("silu", "bump")
    assert changed(("tanh(x)", "tanh(2 * x)"), text=text) == [
        "glu act: bump(x) = x * tanh(x) → bump(x) = x * tanh(2 * x)"
    ]


def test_a_norm_in_every_place():
    assert changed(("rmsnorm", "layernorm")) == ["norm: rmsnorm → layernorm"]


def test_a_score_and_a_mask():
    old = LLAMA.replace("kv_heads = 2", "kv_heads = 2, mask = window(size = 16)")
    assert changed(("kv_heads = 2", "kv_heads = 2, mask = window(size = 16)")) == [
        "attention mask: everything → window(size = 16)"
    ]
    assert changed(("size = 16", "size = 32"), text=old) == ["attention mask: window(size = 16) → window(size = 32)"]
    assert changed(("kv_heads = 2", "score = softcap(cap = 20)")) == [
        "attention kv_heads: 2 → 4",
        "attention score: identity → softcap(cap = 20)",
    ]


def test_a_scale_that_was_left_at_its_default():
    own = "mine(x) = {{ q = split_heads(linear(x, 64), 4); linear(merge_heads(attend(q, q, q{})), 64) }};"
    model = "embed(vocab = 256, width = 64) >> 2 * (fn(x) => x + mine(rmsnorm(x))) >> unembed(tied = 1)"
    plain, scaled = (genome(model, own.format(more)) for more in ("", ", scale = 0.5"))
    assert describe_difference(plain, scaled) == ["mine scale: its default → 0.5"]
    assert describe_difference(plain, genome(model, own.format(", scale = 0.25"))) == []


def test_a_channel_mixer():
    assert changed(("glu(rmsnorm(x), hidden = 176, act = silu)", "mlp(rmsnorm(x), hidden = 256)")) == [
        "layer: glu(hidden = 176, act = silu) replaced by mlp(hidden = 256)"
    ]


def test_a_mixture_of_experts_in_place_of_a_gated_mlp():
    (line,) = changed(
        (
            "layer(x)",
            "sparse(x) = {\n  p = softmax(linear(x, 4));\n  experts(x, p * top(p, 2), glu(hidden = 64))\n};\nlayer(x)",
        ),
        ("glu(rmsnorm(x), hidden = 176, act = silu)", "sparse(rmsnorm(x))"),
    )
    assert line.startswith(
        "layer: glu(hidden = 176, act = silu) replaced by sparse(x) = { p = softmax(linear(x, 4)); experts("
    )


def test_the_number_of_experts():
    text = LLAMA.replace(
        "layer(x)",
        "sparse(x) = {\n  p = softmax(linear(x, 4));\n  experts(x, p * top(p, 2), glu(hidden = 64))\n};\nlayer(x)",
    ).replace("glu(rmsnorm(x), hidden = 176, act = silu)", "sparse(rmsnorm(x))")
    lines = changed(("linear(x, 4)", "linear(x, 8)"), ("hidden = 64", "hidden = 32"), text=text)
    assert "sparse experts: 4 → 8" in lines and "experts hidden: 64 → 32" in lines and len(lines) == 3


# wiring --------------------------------------------------------------------------------------------------------------


def test_something_put_between_two_parts():
    assert changed(("  x + glu", "  x = conv(x, kernel = 8);\n  x + glu")) == [
        "layer: added conv(x + attention, kernel = 8) before rmsnorm"
    ]


def test_something_taken_away():
    assert changed(("attention(rmsnorm(x)", "attention(x")) == ["layer: removed rmsnorm before attention"]


def test_a_residual_that_is_scaled():
    assert changed(("  x + glu", "  x + 0.5 * glu")) == ["layer: x + glu → x + 0.5 * glu"]


def test_parts_side_by_side_instead_of_one_after_the_other():
    lines = changed(
        ("  x = x + attention(rmsnorm(x), heads", "  h = rmsnorm(x);\n  x + attention(h, heads"),
        (";\n  x + glu(rmsnorm(x)", " + glu(h"),
    )
    assert lines == [
        "layer: removed rmsnorm before glu",
        "layer glu input: rmsnorm(x + attention) → rmsnorm(x)",
    ]


def test_weights_of_the_output():
    assert changed(("unembed(tied = 1)", "unembed()")) == ["output: the embedding's weights → its own weights"]


def test_a_table_of_positions():
    lines = describe_difference(LLAMA, GPT2)
    assert "added embed(position(tokens), 128, 64) before layer" in lines
    assert "attention pos: rope(theta = 1e4) → identity" in lines


def test_equal_operations_whose_weights_are_made_in_another_order():
    """The seeded initial values are part of what a genome means."""
    made = "both(x) = {{\n  {};\n  {};\n  a - relu(b)\n}};"
    model = "embed(vocab = 256, width = 64) >> both >> unembed(tied = 1)"
    a, b = "a = linear(x, 64)", "b = linear(x, 64)"
    lines = describe_difference(genome(model, made.format(a, b)), genome(model, made.format(b, a)))
    assert lines == [f"model: as it was → {REORDERED}"]


# layers --------------------------------------------------------------------------------------------------------------


def test_depth():
    assert changed(("4 * layer", "8 * layer")) == ["layers: 4 → 8"]


def test_layers_that_share_weights():
    assert changed(("4 * layer", "share(4 * layer)")) == [
        "layers: each with its own weights → 4 passes through 1 set of weights"
    ]


def test_some_layers_by_their_numbers():
    mixed = (
        "local(x) = {\n  x = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, mask = window(size = 32), "
        "pos = rope(theta = 1e4));\n  x + glu(rmsnorm(x), hidden = 176, act = silu)\n};\nmodel ="
    )
    assert changed(("4 * layer", "layer >> local >> layer >> local"), ("model =", mixed)) == [
        "layers 2, 4 attention mask: everything → window(size = 32)"
    ]
    assert changed(("4 * layer", "2 * (local >> layer)"), ("model =", mixed)) == [
        "layers 1, 3 attention mask: everything → window(size = 32)"
    ]


def test_many_layers_by_their_rule():
    block = "block(x, near) = x + attention(rmsnorm(x), heads = 4, mask = window(size = near));"
    model = "embed(vocab = 256, width = 64) >> {} >> unembed(tied = 1)"
    plain = genome(model.format("24 * block(near = 128)"), block)
    mixed = genome(model.format("4 * (5 * block(near = 128) >> block(near = 16))"), block)
    assert describe_difference(plain, mixed) == ["every 6th layer from 6 to 24 near: 128 → 16"]


def test_a_pattern_of_another_length():
    block = "block(x, mix) = x + mix(rmsnorm(x));\nlocal = attention(heads = 4);\nrecur = recurrence(hidden = 64);"
    model = "embed(vocab = 256, width = 64) >> {} >> unembed(tied = 1)"
    short = genome(model.format("3 * block(mix = recur) >> block(mix = local)"), block)
    long = genome(model.format("4 * (2 * block(mix = recur) >> block(mix = local))"), block)
    assert describe_difference(short, long) == [
        "layers: 4 (3 × block(mix = recurrence), block(mix = attention)) → "
        "12 (4 × (2 × block(mix = recurrence), block(mix = attention)))"
    ]


# recipes -------------------------------------------------------------------------------------------------------------


def test_an_optimizer_and_its_numbers():
    assert changed(("adamw(lr = 5e-3, betas = [0.9, 0.95], decay = 0.1)", "muon(lr = 0.03)")) == [
        "optimizer: adamw(lr = 5e-3) → muon(lr = 0.03)"
    ]
    assert changed(("5e-3", "2e-3")) == ["optimizer lr: 5e-3 → 2e-3"]


def test_functions_of_the_recipe_and_its_numbers():
    assert changed(("warmup_cosine", "fn(t) => 1 - t"), ("batch = 512", "batch = 256, context = 64")) == [
        "schedule: warmup_cosine → fn(t) => 1 - t",
        "context: 128 → 64",
        "batch: 512 → 256",
    ]
    assert changed(("batch = 512", "batch = 512, loss = z_loss")) == ["loss: cross_entropy → z_loss"]


def test_a_recipe_against_none():
    lines = changed((LLAMA[LLAMA.index("recipe =") :], ""))
    recipe = "train(optimizer = adamw(lr = 5e-3), schedule = warmup_cosine, batch = 512, transfer = 64)"
    assert lines == [f"recipe: {recipe} → the default"]


# any two genomes -----------------------------------------------------------------------------------------------------


def check_pair(a, b):
    """Lines where the meaning differs, none where it does not; few, and none too long. Gives their number."""
    lines = describe_difference(a, b)
    assert bool(lines) == (canonical_hash(load_program(a)) != canonical_hash(load_program(b)))
    assert len(lines) <= MOST + 1 and all(0 < len(line) <= LONGEST and "\n" not in line for line in lines)
    return len(lines)


@pytest.mark.parametrize("number", range(8))
def test_any_two_shipped_genomes_have_a_short_answer(number):
    texts = [resource("genomes", name) for name in SHIPPED]
    pairs = [(n, (n * 7 + 11 * number + 1) % len(texts)) for n in range(number, len(texts), 8)]
    counts = [check_pair(texts[a], texts[b]) for a, b in pairs]
    assert sorted(counts)[len(counts) // 2] <= 16  # the median


@pytest.mark.parametrize("name", ["llama.genome", "hybrid.genome", "channels/moe_softmax.genome"])
def test_a_child_differs_from_its_parent_and_a_line_of_descent_from_its_start(name):
    rng, start = random.Random(name), resource("genomes", name)
    text = start
    for _ in range(8):
        child = mutate(text, rng).text
        assert check_pair(text, child) <= 8
        check_pair(start, child)
        text = child


def test_a_crossing_differs_from_both_parents():
    rng = random.Random(5)
    for _ in range(6):
        child = crossover(LLAMA, GPT2, rng).text
        assert check_pair(LLAMA, child) and check_pair(GPT2, child)


def test_there_and_back_are_as_many_changes():
    for name in ("hybrid.genome", "gpt2.genome", "primer.genome"):
        other = resource("genomes", name)
        assert len(describe_difference(LLAMA, other)) == len(describe_difference(other, LLAMA))


def chain(terms):
    steps = "".join(f"  y = y + {n / 1000} * x;\n" for n in range(terms))
    return genome("embed(vocab = 256, width = 64) >> f >> unembed(tied = 1)", f"f(x) = {{\n  y = x;\n{steps}  y\n}};")


def test_a_long_function_that_changed_everywhere_is_rewritten():
    assert describe_difference(chain(300), chain(301))[0].startswith("f: rewritten as f(x) = { y = x; y = y + 0.0 * x;")


def test_values_that_double_do_not_take_twice_the_time():
    doubled = "f(x) = {{\n{}  x\n}};"
    model = "embed(vocab = 256, width = 64) >> f >> unembed(tied = 1)"
    sums, products = (genome(model, doubled.format(f"  x = x {sign} x;\n" * 60)) for sign in "+*")
    assert len(describe_difference(sums, products)) == 1


def test_two_hundred_layers_written_out_against_a_thousand_linear_maps():
    layers, maps = " >> ".join(["layer"] * 50), " >> ".join(["linear(64)"] * 90)
    block = "layer(x) = x + mlp(rmsnorm(x), hidden = 64);\nstack(x) = x >> {};\n"
    model = "embed(vocab = 256, width = 64) >> stack >> stack >> stack >> stack >> unembed(tied = 1)"
    assert check_pair(genome(model, block.format(layers)), genome(model, block.format(maps))) <= MOST


def test_a_function_that_is_shared_between_layers():
    parts = "whole(x) = x + mlp(rmsnorm(x), hidden = 64);\nagain = {};\nlayer(x) = x + glu(rmsnorm(x), hidden = 64);"
    model = "embed(vocab = 256, width = 64) >> 2 * (2 * layer >> again) >> rmsnorm >> unembed(tied = 1)"
    own, shared = (genome(model, parts.format(f)) for f in ("whole", "share(whole)"))
    assert describe_difference(own, own) == []
    assert describe_difference(own, shared) == [
        "layers: each with its own weights → 6 passes through 5 sets of weights"
    ]
    wider = genome(model, parts.format("share(whole)").replace("mlp(rmsnorm(x), hidden = 64)", "mlp(rmsnorm(x))"))
    assert describe_difference(shared, wider) == ["layers 3, 6 mlp hidden: 64 → 256"]


def test_text_that_is_no_genome():
    with pytest.raises(GenomeError):
        describe_difference(LLAMA, "no genome")


# side by side --------------------------------------------------------------------------------------------------------


def test_a_comparison_has_hashes_changes_and_the_cost_of_both():
    a, b = load_program(LLAMA), load_program(LLAMA.replace("4 * layer", "8 * layer"))
    comparison = compare(a, b)
    assert comparison.hashes == (canonical_hash(a), canonical_hash(b)) and not comparison.same
    assert [change.text for change in comparison.changes] == ["layers: 4 → 8"] and comparison.left_out == 0
    assert comparison.costs == (cost(a), cost(b))
    layers = (cost(b).parameters - cost(a).parameters) / 4
    assert layers == 64 * (64 + 64 + 32 + 32) + 3 * 64 * 176 + 2 * 64
    cache = comparison.figures["cache_bytes_per_token"]
    assert (cache["before"], cache["after"], cache["ratio"]) == (4 * 2 * 32 * 4, 8 * 2 * 32 * 4, 2.0)
    assert comparison.figures.keys() == asdict(cost(a)).keys()


def test_a_comparison_of_one_genome_with_itself():
    comparison = compare(load_program(LLAMA), load_program(LLAMA))
    assert comparison.same and comparison.changes == ()
    assert all(figure["ratio"] == 1 for figure in comparison.figures.values())


def test_what_there_was_none_of_has_no_ratio():
    without = genome("embed(vocab = 256, width = 64) >> 2 * (fn(x) => x + mlp(rmsnorm(x))) >> unembed(tied = 1)")
    figures = compare(load_program(without), load_program(LLAMA)).figures
    assert figures["cache_bytes_per_token"] == {"before": 0, "after": 1024, "ratio": None}
