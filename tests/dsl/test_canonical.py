"""The content hash: spelling never changes it, meaning always does."""

import os
import re
import subprocess
import sys
import time

import pytest

from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.program import parameter_count

LLAMA = """@foundry(1);
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, pos = rope(theta = 1e4));
  x + glu(rmsnorm(x), hidden = 96, act = silu)
};
model = embed(vocab = 256, width = 32) >> 4 * layer >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = 3e-3), batch = 512);
"""


def digest(text: str) -> str:
    return canonical_hash(load_program(text))


def of(body: str) -> str:
    """The hash of a small genome whose layer is `body`, a function of x of width 8."""
    return digest(
        f"@foundry(1);\nlayer(x) = {body};\nmodel = embed(vocab = 16, width = 8) >> layer >> unembed(tied = 1);\n"
    )


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param("{ a = linear(x, 8); a * x }", "{ other = linear(x, 8); other * x }", id="renaming"),
        pytest.param("{ a = relu(x); a * x }", "relu(x) * x", id="naming"),
        pytest.param("x + 1 + relu(x)", "relu(x) + (1 + x)", id="order of operands"),
        pytest.param("linear(x, 8, bias = 0)", "linear(x, 8)", id="default spelled out"),
        pytest.param("linear(x, out = 8, bias = 1)", "linear(x, 8, 1)", id="named and positional"),
        pytest.param("linear(x, bias = 1, out = 8)", "linear(x, out = 8, bias = 1)", id="order of arguments"),
        pytest.param("x * 1.0 + 0.50", "1 * x + 5e-1", id="numbers"),
        pytest.param("x * (2 + 3)", "x * 5", id="arithmetic"),
        pytest.param("{ b = x + 1; identity(x) }", "x", id="unused code and identity"),
        pytest.param("silu(x)", "x * sigmoid(x)", id="a prelude function by hand"),
        pytest.param("where(x > 0, x, 0)", "where(0 < x, x, 0)", id="a comparison read backwards"),
        pytest.param("x >> 2 * (linear(8) >> relu)", "x >> linear(8) >> relu >> linear(8) >> relu", id="unrolling"),
        pytest.param("x >> share(2 * linear(8))", "{ f = share(linear(8)); f(f(x)) }", id="two ways to share"),
        pytest.param(
            "mlp(x, hidden = 16, act = relu)", "{ up = linear(x, 16); linear(relu(up), 8) }", id="a mixer by hand"
        ),
        pytest.param(
            "rmsnorm(x)", "{ g = param(1, per = channel); g * x * rsqrt(mean(x * x) + 1e-6) }", id="a norm by hand"
        ),
        pytest.param("x * position(x)", "x * position(linear(x, 4))", id="weights that nothing needs"),
    ],
)  # fmt: skip
def test_spelling_does_not_change_the_hash(a, b):
    assert of(a) == of(b)


ATTEND = "{{ q = split_heads(x, 2); merge_heads(attend(q, q, q{})) }}"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (", score = identity", ""),
        (", mask = everything", ""),
        (", mask = fn(i, j) => i >= j", ""),
        (", mask = fn(j, i) => j <= i", ""),
        (", scale = 0.5", ""),  # one over the square root of the head dimension, 4
        (", mask = fn(i, j) => i - j < 4", ", mask = window(size = 4)"),
        (", score = softcap(cap = 50)", ", score = fn(s) => 50 * tanh(s / 50)"),
    ],
)
def test_scores_and_masks_are_functions_of_their_slots(a, b):
    assert of(ATTEND.format(a)) == of(ATTEND.format(b))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        pytest.param("{ f = share(linear(8)); f(x) + f(x) }", "linear(x, 8) + linear(x, 8)", id="sharing"),
        pytest.param("{ a = linear(x, 8); a + a }", "linear(x, 8) + linear(x, 8)", id="use twice"),
        pytest.param("linear(relu(x), 8) * 2", "linear(relu(x), 8) * 3", id="a number"),
        pytest.param("x - relu(x)", "relu(x) - x", id="operands that do not commute"),
        pytest.param(
            "{ a = linear(x, 8); b = linear(x, 8); a - b }", "{ b = linear(x, 8); a = linear(x, 8); a - b }",
            id="order of weights",
        ),
        pytest.param("concat(x, relu(x)) >> linear(8)", "concat(relu(x), x) >> linear(8)", id="order of channels"),
        pytest.param("x * param(1, per = channel)", "x * param(1)", id="axes of a parameter"),
        pytest.param("conv(x, kernel = 3)", "conv(x, kernel = 4)", id="a kernel"),
        pytest.param("conv(x) + conv(x)", "{ a = conv(x); a + a }", id="two filters and one"),
        pytest.param(
            ATTEND.format(", mask = window(size = 4)"), ATTEND.format(", mask = window(size = 5)"), id="a mask"
        ),
        pytest.param(
            ATTEND.format(", score = fn(s) => s * param(1)"), ATTEND.format(", score = fn(s) => s * 1"), id="learning"
        ),
    ],
)  # fmt: skip
def test_meaning_changes_the_hash(a, b):
    assert of(a) != of(b)


def test_comments_layout_and_unused_definitions_do_not_count():
    noisy = LLAMA.replace("layer(x) = {", "# a layer\nunused(x) = linear(x, 8);\n\n\nlayer(x) = {  # here")
    assert digest(noisy) == digest(LLAMA)


def test_renamed_functions_and_parameters_do_not_count():
    renamed = re.sub(r"\bx\b", "stream", LLAMA.replace("layer", "block"))
    assert digest(renamed) == digest(LLAMA)


def test_the_recipe_counts_in_one_hash_and_not_in_the_other():
    other = load_program(LLAMA.replace("lr = 3e-3", "lr = 4e-3"))
    program = load_program(LLAMA)
    assert canonical_hash(other) != canonical_hash(program)
    assert architecture_hash(other) == architecture_hash(program)


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("batch = 512", "batch = 512, clip = 1.0"),
        ("batch = 512", "batch = 512, loss = cross_entropy"),
        ("batch = 512", "batch = 512, context = fn(t) => 128"),
        ("lr = 3e-3", "lr = 0.003, betas = [0.9, 0.95]"),
    ],
)
def test_defaults_of_the_recipe_may_be_spelled_out(written, same):
    assert digest(LLAMA.replace(written, same)) == digest(LLAMA)


def test_the_form_of_the_hash_and_its_speed():
    program = load_program(LLAMA)
    start = time.perf_counter()
    value = canonical_hash(program)
    assert time.perf_counter() - start < 0.05
    assert len(value) == 16 and set(value) <= set("0123456789abcdef")


def test_the_hash_is_the_same_in_every_process():
    code = (
        "import sys; from foundry.dsl.check import load_program; from foundry.dsl.canonical import canonical_hash; "
        "print(canonical_hash(load_program(sys.stdin.read())))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], input=LLAMA, capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
        ).stdout.strip()
        for seed in ("0", "1")
    }  # fmt: skip
    assert found == {digest(LLAMA)}


def parameters(body: str) -> int:
    text = f"@foundry(1);\nlayer(x) = {body};\nmodel = embed(vocab = 16, width = 8) >> layer >> unembed(tied = 1);\n"
    return parameter_count(load_program(text))


@pytest.mark.parametrize(
    ("index", "plain"),
    [
        ("position(linear(x, 4))", "position(x)"),
        ("channel_index(linear(x, 4), 8)", "channel_index(x, 8)"),
        ("table(linear(x, 4), [2])", "table(x, [2])"),
        (
            "merge_heads(split_heads(x, 2) * head_index(split_heads(linear(x, 2), 2)))",
            "merge_heads(split_heads(x, 2) * head_index(split_heads(x, 2)))",
        ),
    ],
)
def test_an_index_needs_no_weights(index, plain):
    assert of(f"x * {index}") == of(f"x * {plain}")
    assert parameters(f"x * {index}") == parameters(f"x * {plain}") == 128
