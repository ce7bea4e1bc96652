"""The reference PyTorch code of each primitive, against loops, other libraries and arithmetic by hand."""

import math

import pytest
import torch
import torch.nn.functional as F

from foundry.compiler.mechanisms.adamw import adamw
from foundry.compiler.mechanisms.attend import attend, attend_bias, attend_score, attend_window
from foundry.compiler.mechanisms.conv import Conv
from foundry.compiler.mechanisms.heads import merge_heads, split_heads
from foundry.compiler.mechanisms.lion import lion
from foundry.compiler.mechanisms.muon import muon, orthogonal
from foundry.compiler.mechanisms.past import Past, position
from foundry.compiler.mechanisms.rotate import cos_sin_of, cos_sin_of_pairs, rotate, rotate_pairs
from foundry.compiler.mechanisms.scan import scan
from foundry.compiler.mechanisms.shift import shift

torch.set_num_threads(1)


def qkv(heads=4, kv_heads=2, tokens=9, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((heads, 6), (kv_heads, 6), (kv_heads, 6))
    return [torch.randn(2, h, tokens, d, generator=generator, dtype=dtype) for h, d in shapes]


def by_hand(q, k, v, score=lambda s, h, i, j: s, mask=lambda h, i, j: True):
    """Softmax attention, one logit at a time."""
    out = torch.zeros(*q.shape[:3], v.size(-1), dtype=q.dtype)
    for b in range(q.size(0)):
        for h in range(q.size(1)):
            group = h // (q.size(1) // k.size(1))
            for i in range(q.size(2)):
                seen = [j for j in range(i + 1) if mask(h, i, j)]
                logits = [score(float(q[b, h, i] @ k[b, group, j]) / math.sqrt(q.size(-1)), h, i, j) for j in seen]
                if seen:
                    weights = torch.softmax(torch.tensor(logits, dtype=q.dtype), 0)
                    out[b, h, i] = sum(w * v[b, group, j] for w, j in zip(weights, seen, strict=True))
    return out


def test_attend_is_softmax_over_earlier_positions():
    q, k, v = qkv()
    torch.testing.assert_close(attend(q, k, v), by_hand(q, k, v))


def test_a_window_sees_its_last_positions_only():
    q, k, v = qkv()
    expected = by_hand(q, k, v, mask=lambda h, i, j: i - j < 3)
    torch.testing.assert_close(attend_window(q, k, v, 3), expected)


def test_a_bias_is_added_to_the_logits():
    q, k, v = qkv()
    expected = by_hand(q, k, v, lambda s, h, i, j: s - 0.25 * (h + 1) * (i - j))
    torch.testing.assert_close(attend_bias(q, k, v, bias=lambda h, i, j: -0.25 * (h + 1) * (i - j)), expected)


def test_any_score_and_mask():
    q, k, v = qkv()
    expected = by_hand(q, k, v, lambda s, h, i, j: 2 * math.tanh(s / 2), lambda h, i, j: (i - j) % 2 == 0)
    found = attend_score(q, k, v, score=lambda s, h, i, j: 2 * torch.tanh(s / 2), mask=lambda h, i, j: (i - j) % 2 == 0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("way", ["bias", "score"])
def test_a_position_that_sees_nothing_gives_zero_and_spoils_no_gradient(way):
    q, k, v = (x.requires_grad_() for x in qkv())
    slope = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)

    def mask(h, i, j):
        return j < i  # position 0 sees nothing, and log(i - j) is infinite wherever this is false

    if way == "bias":
        out = attend_bias(q, k, v, bias=lambda h, i, j: -slope * torch.log(i - j), mask=mask)
    else:
        out = attend_score(q, k, v, score=lambda s, h, i, j: torch.tanh(s) - slope * torch.log(i - j), mask=mask)
    assert torch.equal(out[:, :, 0], torch.zeros_like(out[:, :, 0]))
    out.square().sum().backward()
    for x in (q, k, v, slope):
        assert x.grad.isfinite().all()
        assert x.grad.abs().sum() > 0


def test_the_future_is_clamped_so_that_a_log_distance_has_a_finite_gradient():
    q, k, v = qkv()
    slope = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    out = attend_bias(q, k, v, bias=lambda h, i, j: -slope * torch.log(1 + i - j))
    out.sum().backward()
    assert slope.grad.isfinite()
    torch.testing.assert_close(out, by_hand(q, k, v, lambda s, h, i, j: s - 0.5 * math.log(1 + i - j)))


def looped(a, b):
    h, out = torch.zeros_like(b[..., 0, :]), []
    for t in range(b.size(-2)):
        h = a[..., t, :] * h + b[..., t, :]
        out.append(h)
    return torch.stack(out, -2)


@pytest.mark.parametrize("tokens", [1, 2, 3, 16, 37, 128])
def test_scan_is_the_recurrence(tokens):
    generator = torch.Generator().manual_seed(1)
    a = torch.rand(2, tokens, 5, generator=generator, dtype=torch.float64)
    a[:, ::3] = 0  # forgets everything
    a[:, 1::7] = 1e-300  # whose products underflow
    b = torch.randn(2, tokens, 5, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(scan(a, b), looped(a, b), rtol=1e-13, atol=1e-13)


def test_scan_is_stable_in_float32():
    a = torch.full((1, 4096, 2), 0.999)
    a[..., 1] = 1e-20
    b = torch.ones(1, 4096, 2)
    h = scan(a, b)
    assert h[0, -1, 0].item() == pytest.approx((1 - 0.999**4096) / (1 - 0.999), rel=1e-3)
    assert h[0, -1, 1].item() == 1


def test_scan_has_the_gradient_of_the_loop():
    generator = torch.Generator().manual_seed(2)
    a = torch.rand(2, 11, 3, generator=generator, dtype=torch.float64).requires_grad_()
    b = torch.randn(2, 11, 3, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(scan, (a, b))
    weights = torch.randn(2, 11, 3, generator=generator, dtype=torch.float64)
    ours = torch.autograd.grad((scan(a, b) * weights).sum(), (a, b))
    theirs = torch.autograd.grad((looped(a, b) * weights).sum(), (a, b))
    for x, y in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, y)


def test_scan_takes_a_number_and_values_per_channel():
    b = torch.randn(2, 3, 8, 4, dtype=torch.float64)
    torch.testing.assert_close(scan(0.5, b), looped(torch.full_like(b, 0.5), b))
    decay = torch.rand(3, 1, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a: scan(a, b[:1, :, :4]), (decay,))


@pytest.mark.parametrize("shape", [(2, 7, 6), (2, 3, 7, 2)])
def test_conv_is_a_causal_depthwise_conv1d(shape):
    x = torch.randn(*shape, dtype=torch.float64)
    conv = Conv(6, 4).double()
    torch.nn.init.normal_(conv.weight)
    flat = x if x.dim() == 3 else merge_heads(x)
    expected = F.conv1d(F.pad(flat.mT, (3, 0)), conv.weight, groups=6).mT
    torch.testing.assert_close(conv(x), expected if x.dim() == 3 else split_heads(expected, 3))


def test_conv_has_the_right_gradient():
    conv = Conv(4, 3).double()
    torch.nn.init.normal_(conv.weight)
    for shape in ((2, 5, 4), (2, 2, 5, 2)):
        x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        weight = conv.weight.detach().clone().requires_grad_()
        assert torch.autograd.gradcheck(lambda x, w: torch.func.functional_call(conv, {"weight": w}, (x,)), (x, weight))


def test_shift_moves_values_later():
    x = torch.arange(1, 5).view(1, 4, 1)
    assert shift(x)[0, :, 0].tolist() == [0, 1, 2, 3]
    assert shift(x, 3)[0, :, 0].tolist() == [0, 0, 0, 1]
    assert shift(x, 9)[0, :, 0].tolist() == [0, 0, 0, 0]


def test_rotate_turns_pairs():
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0]])  # pairs (1, 3) and (2, 4)
    quarter = torch.tensor([[math.pi / 2, 0.0]])
    torch.testing.assert_close(rotate(x, cos_sin_of(quarter, 4)), torch.tensor([[-3.0, 2.0, 1.0, 4.0]]))
    torch.testing.assert_close(rotate_pairs(x, cos_sin_of_pairs(quarter)), torch.tensor([[-2.0, 1.0, 3.0, 4.0]]))


def test_position_goes_on_where_the_past_ends():
    past = Past()
    assert position(3, past).tolist() == [0, 1, 2]
    past.advance(3)
    assert position(2, past).tolist() == [3, 4]


def test_adamw_decays_matrices_only():
    model = torch.nn.Linear(3, 2)
    groups = adamw(model.parameters(), lr=0.1, betas=(0.9, 0.95), decay=0.3).param_groups
    assert [(g["weight_decay"], g["peak_lr"], [p.shape for p in g["params"]]) for g in groups] == [
        (0.3, 0.1, [model.weight.shape]),
        (0.0, 0.1, [model.bias.shape]),
    ]


def test_lion_steps_by_the_sign_of_its_momentum():
    p = torch.nn.Parameter(torch.tensor([[1.0, -2.0]]))
    optimizer = lion([p], lr=0.1, betas=(0.9, 0.99), decay=0.5)
    p.grad = torch.tensor([[3.0, -0.1]])
    optimizer.step()
    torch.testing.assert_close(p.data, torch.tensor([[1 * 0.95 - 0.1, -2 * 0.95 + 0.1]]))
    p.grad = torch.tensor([[-0.2, -0.1]])  # 0.9 * 0.03 - 0.1 * 0.2 > 0: the momentum wins
    optimizer.step()
    torch.testing.assert_close(p.data, torch.tensor([[0.85 * 0.95 - 0.1, -1.8 * 0.95 + 0.1]]))


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 8, 32), (2, 32, 8)])
def test_newton_schulz_brings_singular_values_near_one(shape):
    x = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonal(x))
    assert values.min() > 0.3
    assert values.max() < 1.3
    u, _, vh = torch.linalg.svd(x, full_matrices=False)
    assert F.cosine_similarity(orthogonal(x).flatten(), (u @ vh).flatten(), dim=0) > 0.95


def test_muon_takes_hidden_matrices_and_leaves_the_rest():
    class Tiny(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(8, 4)
            self.up = torch.nn.Linear(4, 6)
            self.unembed = torch.nn.Linear(6, 8, bias=False)

    model = Tiny()
    (hidden,), rest = muon(model, lr=0.1, momentum=0.9, decay=0.0)
    assert [p is model.up.weight for g in hidden.param_groups for p in g["params"]] == [True]
    assert {id(p) for p in rest} == {id(model.embed.weight), id(model.up.bias), id(model.unembed.weight)}
    before = model.up.weight.detach().clone()
    model.up.weight.grad = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    hidden.step()
    values = torch.linalg.svdvals((before - model.up.weight.detach()) / (0.1 * (6 / 4) ** 0.5))
    assert values.min() > 0.3
    assert values.max() < 1.3
