"""Units that share one class or function differ in nothing but the numbers that it takes."""

import pytest
import torch

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import check, load_program

torch.set_num_threads(1)


def genome(layer, *more):
    return "\n".join(
        ("@foundry(1);", *more, f"layer(x) = {layer};", "model = embed(vocab = 64, width = 32) >> layer >> unembed();")
    )


def built(text):
    module = load(emit(load_program(text)))
    model = module.Model()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return module, model


def tokens(length=13):
    return torch.randint(64, (2, length), generator=torch.Generator().manual_seed(1))


def gradients(text):
    module, model = built(text)
    module.loss(model(tokens()), tokens()).mean().backward()
    return [p.grad for p in model.parameters()]


HEADS = "q = split_heads(linear(x, 32), 4);"


@pytest.mark.parametrize(
    "named, plain",
    [
        (
            genome("{ a = m(linear(x, 16)); b = m(x); x + a * linear(x, 32) + b }", "m(x) = mean(slice(x, 8, 16));"),
            genome("{ y = linear(x, 16); a = mean(slice(y, 8, 16)); b = mean(slice(x, 8, 16));"
                   " x + a * linear(x, 32) + b }"),
        ),
        (
            genome("{ y = split_heads(linear(x, 8), 1); " + HEADS
                   + " x + linear(merge_heads(join(q, q)) + merge_heads(join(q, y)), 32) }",
                   "join(a, b) = concat(a, b);"),
            genome("{ y = split_heads(linear(x, 8), 1); " + HEADS
                   + " x + linear(merge_heads(concat(q, q)) + merge_heads(concat(q, y)), 32) }"),
        ),
        (
            genome("{ a = pen(linear(x, 32), 1); b = pen(linear(x, 32), 100); x + a + b }",
                   "pen(x, c) = penalty(x, mean(x * x), c);"),
            genome("{ a = linear(x, 32); a = penalty(a, mean(a * a)); b = linear(x, 32);"
                   " b = penalty(b, mean(b * b), 100); x + a + b }"),
        ),
        (
            genome("x + t(x, [1, 2]) + t(x, [3, 4])", "t(x, n) = mean(table(x, n)) * x;"),
            genome("x + 1.5 * x + 3.5 * x"),
        ),
        (
            genome("{ " + HEADS + " x + merge_heads(a(q, 0) + a(q, 4) + a(q, 9)) }",
                   "a(q, n) = attend(q, q, q, mask = fn(i, j) => i - j < where(n, n, 64), top = n);"),
            genome("{ " + HEADS + " x + merge_heads(attend(q, q, q) + attend(q, q, q, mask = fn(i, j) => i - j < 4)"
                   " + attend(q, q, q, mask = fn(i, j) => i - j < 9)) }"),
        ),
    ],
)  # fmt: skip
def test_a_function_used_with_other_numbers_means_what_it_says(named, plain):
    (_, one), (_, other) = built(named), built(plain)
    torch.testing.assert_close(one(tokens()), other(tokens()), atol=1e-5, rtol=1e-5)
    for a, b in zip(gradients(named), gradients(plain), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mask", ["fn(h, i, j) => h < 2 | i - j < 4", "fn(i, j) => key(d) > 0 | i == j"])
def test_a_table_of_biases_goes_with_a_mask_per_head_or_per_row(mask):
    text = genome(
        "{ " + HEADS + " d = linear(x, 1); x + merge_heads(attend(q, q, q, score = rel, mask = " + mask + ")) }",
        "rel(s, i, j) = s + lookup(i - j, size = 8, per = head);",
    )
    _, model = built(text)
    ids = tokens()[:1].expand(2, -1)
    both = model(ids)
    assert both.shape == (2, 13, 64)
    torch.testing.assert_close(both[0], both[1])
    torch.testing.assert_close(both[:1], model(ids[:1]), atol=1e-6, rtol=1e-6)


def test_two_values_without_a_name_can_be_read_in_one_score():
    text = genome(
        "{ " + HEADS + " x + merge_heads(attend(q, q, q, score = look(linear(x, 1), linear(x, 1)))) }",
        "look(u, w) = fn(s) => s + query(u) * key(w);",
    )
    gradients(text)


def test_a_score_over_values_per_token_is_not_asked_about_what_lies_ahead():
    text = genome(
        "{ " + HEADS + " c = scan(1, sigmoid(linear(x, 1)));"
        " x + merge_heads(attend(q, q, q, score = fn(s) => s - sqrt(0.01 + query(c) - key(c)))) }"
    )
    assert all(grad.isfinite().all() for grad in gradients(text))


def test_a_shared_function_without_weights_is_that_function():
    text = genome("{ f = share(relu); inner(f(x), f) }", "inner(x, f) = x + f(linear(x, 32));")
    plain = genome("inner(relu(x))", "inner(x) = x + relu(linear(x, 32));")
    (_, one), (_, other) = built(text), built(plain)
    assert torch.equal(one(tokens()), other(tokens()))


@pytest.mark.parametrize("more", ["x + shift(x, 3) + shift(x, 3)", "x + shift(x, 3) + conv(x, kernel = 4)"])
def test_what_two_filters_look_back_at_is_kept_once(more):
    program = load_program(genome(more))
    module = load(emit(program))
    model, past = module.Model(), module.Past()
    model(tokens(16)[:1], past)
    assert sum(4 * slot["kept"].numel() for slot in past.slots) == cost(program, 16).cache_bytes_fixed == 3 * 32 * 4


@pytest.mark.parametrize(
    "layer, message",
    [
        ("penalty(x, 1)", "something to lessen"),
        ("x + experts(x, sigmoid(linear(x, 2)), fn(y) => { z = linear(y, 32); penalty(z, z) })", "has a penalty"),
        ("x + experts(x, sigmoid(linear(x, 2)), fn(y) => relu(silu(y)))", "learns nothing"),
    ],
)
def test_misuse(layer, message):
    (found,) = check(genome(layer)).diagnostics
    assert message in found.message


def test_a_view_that_nothing_needs_is_not_kept():
    unused = genome("{ " + HEADS + " a = linear(x, 1);"
                    " x + merge_heads(attend(q, q, q, score = fn(s) => { z = query(a); s * 2 })) }")  # fmt: skip
    program = load_program(unused)
    assert cost(program, 16).cache_bytes_per_token == 32 * 4
    assert "seen=" not in emit(program)
