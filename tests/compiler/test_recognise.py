"""What PyTorch has one operation for is recognised in any spelling, and nothing else is."""

import pytest

from foundry.compiler.recognise import affine_of, allows_everything, recognise, window_of
from foundry.dsl.check import load_program

GENOME = """@foundry(1);
f(x) = {body};
model = embed(vocab = 16, width = 8) >> f >> unembed(tied = 1);
"""
ATTEND = "{{ q = split_heads(x, 2); merge_heads(attend(q, q, q, {})) }}"


def unit_of(body):
    (call,) = [n for n in load_program(GENOME.replace("{body}", body)).model.nodes if n.op == "call"]
    return call.unit


def slot(argument):
    (node,) = [n for n in unit_of(ATTEND.format(argument)).nodes if n.op == "attend"]
    return node.attrs[argument.split()[0]]


@pytest.mark.parametrize(
    ("body", "kind", "eps"),
    [
        ("{ g = param(1, per = channel); g * x * rsqrt(mean(x * x) + 1e-6) }", "rmsnorm", 1e-6),
        ("{ g = param(1, per = channel); x / sqrt(1e-5 + mean(x ** 2)) * g }", "rmsnorm", 1e-5),
        ("{ g = 1 + param(0, per = channel); x * (mean(x * x) + 1e-6) ** -0.5 * g }", "rmsnorm", 1e-6),  # Gemma's
        ("x * rsqrt(sum(x * x) / width(x) + 1e-6)", "rmsnorm", 1e-6),
        (
            "{ g = param(1, per = channel); b = param(0, per = channel); c = x - mean(x);"
            " g * c * rsqrt(mean(c * c) + 1e-5) + b }",
            "layernorm",
            1e-5,
        ),
        ("(x - mean(x)) / sqrt(mean((x - mean(x)) ** 2) + 1e-5)", "layernorm", 1e-5),
        ("x * sigmoid(x)", "silu", 0),
        ("0.5 * x * (1 + erf(x / sqrt(2)))", "gelu", 0),
        ("x * (0.5 + erf(x * 0.7071067811865476) / 2)", "gelu", 0),
        ("x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3)))", "gelu_tanh", 0),
    ],
)
def test_fused_forms(body, kind, eps):
    fused = recognise(unit_of(body))
    assert fused is not None and (fused.kind, fused.eps) == (kind, eps)
    assert (fused.weight is not None) == ("g =" in body) and (fused.bias is not None) == ("b =" in body)


@pytest.mark.parametrize(
    "body",
    [
        "x / (mean(abs(x)) + 1e-6)",
        "x * rsqrt(mean(x) + 1e-6)",
        "{ g = param(1, per = channel); g * x * rsqrt(mean(x * x) + 1e-6) + x }",
        "{ g = param(1); g * x * rsqrt(mean(x * x) + 1e-6) }",  # one weight for all channels
        "x * sigmoid(1.702 * x)",
        "x * (1 + erf(x / sqrt(2)))",
        "0.5 * x * (1 + tanh(sqrt(2 / pi) * (x + 0.05 * x ** 3)))",
        "relu(x) ** 2",
    ],
)
def test_what_only_looks_like_a_fused_form(body):
    assert recognise(unit_of(body)) is None


@pytest.mark.parametrize(
    ("mask", "window"),
    [
        ("fn(i, j) => i - j < 4", 4),
        ("fn(i, j) => i - j <= 4", 5),
        ("fn(i, j) => i < j + 4", 4),
        ("fn(i, j) => 4 > i - j", 4),
        ("fn(i, j) => j > i - 4", 4),
        ("fn(i, j) => 2 * (i - j) < 7", 4),
        ("fn(i, j) => (i - j < 4) & (j <= i)", 4),
        ("fn(i, j) => (i - j < 4) & (i - j < 3)", 3),
        ("window(size = 64)", 64),
        ("fn(i, j) => i - j > 4", None),
        ("fn(i, j) => i + j < 4", None),
        ("fn(i, j) => remainder(i - j, 2) == 0", None),
        ("fn(i, j) => j < 4", None),
        ("fn(h, i, j) => i - j < 4 + h", None),
        ("fn(i, j) => i - j < 0", None),
    ],
)
def test_causal_windows(mask, window):
    assert window_of(slot(f"mask = {mask}")) == window


def test_masks_that_remove_nothing():
    assert allows_everything(None)
    assert allows_everything(slot("mask = fn(i, j) => i - j >= 0"))
    assert allows_everything(slot("mask = fn(i, j) => i + 1 > j"))
    assert not allows_everything(slot("mask = fn(i, j) => i > j"))


@pytest.mark.parametrize(
    ("score", "scale", "biased"),
    [
        ("fn(s) => 2 * s", 2, False),
        ("fn(s) => (s + s) / 4", 0.5, False),
        ("alibi", 1, True),
        ("log_distance", 1, True),
        ("fn(s, i, j) => 3 * (s - log(1 + i - j))", 3, True),
    ],
)
def test_affine_scores(score, scale, biased):
    affine = affine_of(slot(f"score = {score}"))
    assert affine is not None and (affine.scale, affine.biased) == (scale, biased)


@pytest.mark.parametrize("score", ["softcap", "fn(s) => -s", "sharpen", "fn(s, j) => s * j", "fn(s) => s + relu(s)"])
def test_scores_that_are_not_affine(score):
    assert affine_of(slot(f"score = {score}")) is None
