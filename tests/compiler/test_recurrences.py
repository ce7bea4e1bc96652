"""The two recurrences whose state is a matrix, against a loop over time written from their definitions."""

import pytest
import torch
import torch.nn.functional as F

from foundry.compiler.mechanisms.delta_attend import delta_attend
from foundry.compiler.mechanisms.linear_attend import linear_attend
from foundry.compiler.mechanisms.past import Past

torch.set_num_threads(1)

BATCH, HEADS, GROUPS, D, E = 2, 4, 2, 6, 5
# What a decay may be: one number, or one per head, token, head and token, channel, or all of them.
SHAPES = {
    "number": None,
    "head": (1, GROUPS, 1, 1),
    "head without a batch": (GROUPS, 1, 1),
    "token": (BATCH, 1, "T", 1),
    "head and token": (BATCH, GROUPS, "T", 1),
    "channel": (1, GROUPS, 1, D),
    "channel and token": (BATCH, GROUPS, "T", D),
}
PER_HEAD = [name for name in SHAPES if not name.startswith("channel")]
MECHANISMS = [*(("linear", name) for name in SHAPES), *(("delta", name) for name in PER_HEAD)]


def given(tokens, decay="number", dtype=torch.float64, seed=0):
    """q, k of length 1, v, beta, and a decay of a shape, some of whose values are exactly 0 and exactly 1."""
    generator = torch.Generator().manual_seed(seed)

    def normal(heads, channels):
        return torch.randn(BATCH, heads, tokens, channels, generator=generator, dtype=dtype)

    q, k, v = normal(HEADS, D), F.normalize(normal(GROUPS, D), dim=-1), normal(GROUPS, E)
    beta = 2 * torch.rand(BATCH, GROUPS, tokens, 1, generator=generator, dtype=dtype)
    if SHAPES[decay] is None:
        return q, k, v, beta, 0.9
    shape = [tokens if size == "T" else size for size in SHAPES[decay]]
    rate = torch.rand(shape, generator=generator, dtype=dtype).sqrt()
    rate.view(-1)[5::7] = 0
    rate.view(-1)[1::4] = 1
    return q, k, v, beta, rate


def attend_to_state(mechanism, q, k, v, beta, decay, past=None):
    if mechanism == "linear":
        return linear_attend(q, k, v, decay, past)
    return delta_attend(q, k, v, beta, decay, past)


def looped(mechanism, q, k, v, beta, decay):
    """One token after the other, as the docstrings have it."""
    decay = torch.as_tensor(decay, dtype=k.dtype).expand(k.shape)
    state, out = k.new_zeros(BATCH, GROUPS, D, E), []
    for t in range(k.size(2)):
        key, value = k[:, :, t, :, None], v[:, :, t, None, :]
        state = decay[:, :, t, :, None] * state
        if mechanism == "linear":
            state = state + key * value
        else:
            state = state + beta[:, :, t, :, None] * key * (value - (key * state).sum(2, keepdim=True))
        per_head = state.repeat_interleave(HEADS // GROUPS, 1)
        out.append((q[:, :, t, :, None] * per_head).sum(2))
    return torch.stack(out, 2)


@pytest.mark.parametrize("tokens", [1, 2, 8, 9, 15, 16, 17, 37, 128])
@pytest.mark.parametrize(("mechanism", "decay"), MECHANISMS)
def test_chunks_give_what_a_loop_over_time_gives(mechanism, decay, tokens):
    inputs = given(tokens, decay)
    torch.testing.assert_close(attend_to_state(mechanism, *inputs), looped(mechanism, *inputs), rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("tokens", [1, 5, 16, 41])
@pytest.mark.parametrize(("mechanism", "decay"), MECHANISMS)
def test_gradients_are_those_of_the_loop(mechanism, decay, tokens):
    inputs = given(tokens, decay)
    leaves = [x.requires_grad_() for x in inputs if isinstance(x, torch.Tensor)]
    if mechanism == "linear":
        leaves = [x for x in leaves if x is not inputs[3]]  # no beta
    weights = torch.randn(BATCH, HEADS, tokens, E, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((attend_to_state(mechanism, *inputs) * weights).sum(), leaves)
    theirs = torch.autograd.grad((looped(mechanism, *inputs) * weights).sum(), leaves)
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("rate", [0, 1, 0.0, 1.0])
@pytest.mark.parametrize("mechanism", ["linear", "delta"])
def test_a_decay_of_exactly_0_or_1_is_a_number_like_others(mechanism, rate):
    q, k, v, beta, _ = given(37)
    expected = looped(mechanism, q, k, v, beta, rate)
    torch.testing.assert_close(attend_to_state(mechanism, q, k, v, beta, rate), expected)


@pytest.mark.parametrize(("mechanism", "channels"), [("linear", 1), ("linear", D), ("delta", 1)])
def test_what_came_before_a_decay_of_0_is_forgotten_altogether(mechanism, channels):
    q, k, v, beta, _ = given(60)
    rate = torch.full((BATCH, GROUPS, 60, channels), 0.99, dtype=torch.float64)
    rate[:, :, 21] = 0
    whole = attend_to_state(mechanism, q, k, v, beta, rate)
    after = attend_to_state(mechanism, *(x[:, :, 21:] for x in (q, k, v, beta, rate)))
    torch.testing.assert_close(whole[:, :, 21:], after, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("mechanism", "decay"), MECHANISMS)
def test_decoding_in_pieces_is_the_full_pass(mechanism, decay):
    tokens = 70
    q, k, v, beta, rate = given(tokens, decay, dtype=torch.float32)
    past, pieces, start = Past(), [], 0
    for size in (1, 1, 5, 16, 1, 24, 3, 19):
        part = slice(start, start + size)
        moves = isinstance(rate, torch.Tensor) and rate.dim() == 4 and rate.size(2) == tokens
        inputs = [x[:, :, part] for x in (q, k, v, beta)]
        pieces.append(attend_to_state(mechanism, *inputs, rate[:, :, part] if moves else rate, past))
        past.advance(size)
        start += size
    assert start == tokens
    assert past.slots[0]["state"].shape == (BATCH, GROUPS, D, E)
    full = attend_to_state(mechanism, q, k, v, beta, rate)
    torch.testing.assert_close(torch.cat(pieces, 2), full, rtol=1e-5, atol=1e-5)


def test_what_a_decoder_keeps_is_the_state_and_no_more():
    past = Past()
    for mechanism in ("linear", "delta"):
        attend_to_state(mechanism, *given(128), past)
    for slot in past.slots:
        assert slot["state"].untyped_storage().nbytes() == BATCH * GROUPS * D * E * 8


@pytest.mark.parametrize("tokens", [37, 64])
@pytest.mark.parametrize(("mechanism", "decay"), [m for m in MECHANISMS if "token" in m[1] or m[1] == "number"])
def test_no_bit_of_an_output_depends_on_a_later_token(mechanism, decay, tokens):
    inputs = given(tokens, decay, dtype=torch.float32)
    others = given(tokens, decay, dtype=torch.float32, seed=9)
    first = attend_to_state(mechanism, *inputs)
    for t in (1, 7, 8, 15, 16, 17, 30, tokens - 1):
        mixed = [
            torch.cat((x[:, :, :t], y[:, :, t:]), 2) if isinstance(x, torch.Tensor) else x
            for x, y in zip(inputs, others, strict=True)
        ]
        mixed[2][:, :, t:] *= 1e6  # values of another size altogether
        out = attend_to_state(mechanism, *mixed)
        assert torch.equal(out[:, :, :t], first[:, :, :t])
        assert not torch.equal(out[:, :, t:], first[:, :, t:])


@pytest.mark.parametrize(
    ("mechanism", "decay"), [("linear", "number"), ("linear", "channel and token"), ("delta", "token")]
)
def test_a_row_of_the_batch_does_not_see_the_others(mechanism, decay):
    q, k, v, beta, rate = given(37, decay, dtype=torch.float32)
    both = attend_to_state(mechanism, q, k, v, beta, rate)
    v = torch.cat((v[:1], 100 * v[1:]))
    again = attend_to_state(mechanism, q, k, v, beta, rate)
    assert torch.equal(both[0], again[0])
    assert not torch.equal(both[1], again[1])


@pytest.mark.parametrize(("mechanism", "decay"), MECHANISMS)
def test_float32_stays_close_to_the_exact_values_over_long_sequences(mechanism, decay):
    exact = given(512, decay)
    rounded = [x.float() if isinstance(x, torch.Tensor) else x for x in exact]
    expected = looped(mechanism, *exact)
    error = (attend_to_state(mechanism, *rounded) - expected).abs().max() / expected.abs().max()
    assert error < 1e-5


@pytest.mark.parametrize("rate", [0.0, 1e-45, 1e-30, 1e-4, 1.0])
@pytest.mark.parametrize(("mechanism", "channels"), [("linear", 1), ("linear", D), ("delta", 1)])
def test_no_decay_overflows_and_every_gradient_is_finite(mechanism, channels, rate):
    q, k, v, beta, _ = (
        x.requires_grad_() if isinstance(x, torch.Tensor) else x for x in given(64, dtype=torch.float32)
    )
    decay = torch.full((BATCH, GROUPS, 64, channels), rate)
    decay[:, :, ::5] = 1.0
    decay.requires_grad_()
    out = attend_to_state(mechanism, q, k, v, beta, decay)
    out.square().sum().backward()
    assert out.isfinite().all()
    for x in (q, k, v, decay) if mechanism == "linear" else (q, k, v, beta, decay):
        assert x.grad.isfinite().all()
        assert x.grad.abs().sum() > 0


def test_linear_attention_without_decay_is_a_product_with_the_future_cut_off():
    q, k, v, _, _ = given(50)
    k, v = (x.repeat_interleave(HEADS // GROUPS, 1) for x in (k, v))
    torch.testing.assert_close(linear_attend(q, k, v), (q @ k.mT).tril() @ v)


def test_linear_attention_with_a_decay_weighs_by_the_distance():
    q, k, v, _, _ = given(50)
    k, v = (x.repeat_interleave(HEADS // GROUPS, 1) for x in (k, v))
    distance = torch.arange(50)[:, None] - torch.arange(50)
    retention = (torch.tensor(0.8, dtype=torch.float64) ** distance.clamp(min=0)).tril()  # D of RetNet, equation 5
    torch.testing.assert_close(linear_attend(q, k, v, 0.8), (q @ k.mT * retention) @ v)


def test_two_tokens_by_hand():
    k = torch.tensor([[1.0, 0.0], [0.6, 0.8]]).view(1, 1, 2, 2)
    v = torch.tensor([[2.0], [5.0]]).view(1, 1, 2, 1)
    q = torch.tensor([[1.0, 1.0], [1.0, 1.0]]).view(1, 1, 2, 2)
    # linear: S = (2, 0), then 0.5 * (2, 0) + 5 * (0.6, 0.8) = (4, 4)
    assert linear_attend(q, k, v, 0.5).flatten().tolist() == pytest.approx([2, 8])
    # delta, beta 0.5: S = (1, 0), faded to (0.5, 0), which gives 0.3 for the key; 0.5 * (5 - 0.3) = 2.35 is written
    assert delta_attend(q, k, v, 0.5, 0.5).flatten().tolist() == pytest.approx([1, 0.5 + 2.35 * 1.4])


def test_the_delta_rule_gives_back_what_it_was_last_told():
    _, k, v, _, _ = given(40)
    torch.testing.assert_close(delta_attend(k, k, v, 1), v)  # beta 1: the old value of the key goes


def test_the_delta_rule_stays_bounded_when_one_key_comes_again_and_again():
    k = F.normalize(torch.ones(BATCH, GROUPS, 512, D), dim=-1)
    v = torch.ones(BATCH, GROUPS, 512, E)
    torch.testing.assert_close(delta_attend(k, k, v, 1.0), v, rtol=1e-5, atol=1e-5)


def test_the_delta_rule_with_keys_that_do_not_meet_is_linear_attention():
    k = torch.eye(D, dtype=torch.float64).expand(BATCH, GROUPS, D, D)
    q, _, v, beta, _ = given(D)
    torch.testing.assert_close(delta_attend(q, k, v, beta), linear_attend(q, k, beta * v))
