"""What each primitive means, straight from its definition: one plain function each, nothing fused, nothing chunked.

Every value has all five axes (B, H, T, K, C): batch, head, query token, key token, channel; an axis that a value lacks
has size 1. All numbers are float64, booleans are 0 and 1. Nothing here comes from the emitter or its mechanisms.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

AXES = 5
HEAD, TOKEN, KEY, CHANNEL = 1, 2, 3, 4


def constant(value: float) -> Tensor:
    return torch.tensor(float(value), dtype=torch.float64).view((1,) * AXES)


def along(axis: int, values: Tensor | range) -> Tensor:
    """Numbers along one axis."""
    shape = [1] * AXES
    shape[axis] = len(values)
    return torch.as_tensor(values, dtype=torch.float64).view(shape)


def yes(condition: Tensor) -> Tensor:
    return condition.double()


ELEMENTWISE: dict[str, Callable[..., Tensor]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "power": lambda a, b: a**b,
    "negate": lambda x: -x,
    "less": lambda a, b: yes(a < b),
    "less_equal": lambda a, b: yes(a <= b),
    "greater": lambda a, b: yes(a > b),
    "greater_equal": lambda a, b: yes(a >= b),
    "equal": lambda a, b: yes(a == b),
    "unequal": lambda a, b: yes(a != b),
    "both": lambda a, b: yes((a != 0) & (b != 0)),
    "either": lambda a, b: yes((a != 0) | (b != 0)),
    "invert": lambda x: yes(x == 0),
    "remainder": torch.remainder,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "rsqrt": lambda x: 1 / torch.sqrt(x),
    "abs": torch.abs,
    "floor": torch.floor,
    "sin": torch.sin,
    "cos": torch.cos,
    "tanh": torch.tanh,
    "sigmoid": lambda x: torch.exp(-softplus(-x)),
    "softplus": lambda x: softplus(x),
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "erf": torch.erf,
    "stop": lambda x: x.detach(),
    "minimum": torch.minimum,
    "maximum": torch.maximum,
    "where": lambda condition, a, b: torch.where(condition != 0, a, b),
    "mean": lambda x: x.sum(CHANNEL, True) / x.size(CHANNEL),
    "sum": lambda x: x.sum(CHANNEL, True),
    "largest": lambda x: x.amax(CHANNEL, True),
    "smallest": lambda x: x.amin(CHANNEL, True),
    "logsumexp": lambda x: logsumexp(x),
}


def softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros_like(x))


def logsumexp(x: Tensor) -> Tensor:
    high = x.detach().amax(CHANNEL, True)
    return high + (x - high).exp().sum(CHANNEL, True).log()


# ---- weights ----------------------------------------------------------------------------------------------------


def embed(rows: Tensor, weight: Tensor) -> Tensor:
    """weight (vocab, width): its row for each whole number."""
    return weight[rows[..., 0].long()]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """weight (out, in), bias (out)."""
    out = torch.einsum("...i,oi->...o", x, weight)
    return out if bias is None else out + bias


def param(weight: Tensor) -> Tensor:
    """weight (), (C), or (H, 1, 1 or C)."""
    if weight.dim() == 3:
        return weight[None, :, :, None, :]
    return weight.view((1,) * (AXES - 1) + (-1,))


def lookup(index: Tensor, weight: Tensor) -> Tensor:
    """weight (N) or (H, N): the number at each index, the nearest one where there is none."""
    rows = index.floor().clamp(0, weight.size(-1) - 1).long()
    if weight.dim() == 1:
        return weight[rows]
    return torch.cat([head[rows] for head in weight], HEAD)


# ---- along the sequence -----------------------------------------------------------------------------------------


def earlier(x: Tensor, t: int, by: int) -> Tensor:
    """x (B, H, T, 1, C) at position t - by, 0 before the start."""
    return x[:, :, t - by] if t >= by else torch.zeros_like(x[:, :, 0])


def shift(x: Tensor, by: int) -> Tensor:
    return torch.stack([earlier(x, t, by) for t in range(x.size(TOKEN))], TOKEN)


def conv(x: Tensor, weight: Tensor) -> Tensor:
    """weight (H * C, 1, kernel), the last tap for the token itself: y[t] = sum of weight[-1 - n] * x[t - n] over n."""
    kernel = weight.size(-1)
    taps = weight.view(1, x.size(HEAD), 1, x.size(CHANNEL), kernel)
    rows = []
    for t in range(x.size(TOKEN)):
        row = torch.zeros_like(x[:, :, 0])
        for n in range(kernel):
            row = row + taps[..., kernel - 1 - n] * earlier(x, t, n)
        rows.append(row)
    return torch.stack(rows, TOKEN)


def scan(a: Tensor, b: Tensor) -> Tensor:
    """h[t] = a[t] * h[t-1] + b[t]."""
    a = a.expand_as(b)
    h, rows = torch.zeros_like(b[:, :, 0]), []
    for t in range(b.size(TOKEN)):
        h = a[:, :, t] * h + b[:, :, t]
        rows.append(h)
    return torch.stack(rows, TOKEN)


def linear_attend(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
    """S[t] = decay[t] * S[t-1] + k[t] v[t]^T, and the result is q[t] S[t]; S (B, G, D, E), q (B, H, T, 1, D)."""
    decay = decay.expand(*k.shape[:4], -1)
    state, rows = k.new_zeros(k.size(0), k.size(HEAD), k.size(CHANNEL), v.size(CHANNEL)), []
    for t in range(k.size(TOKEN)):
        key, value, kept = k[:, :, t, 0, :, None], v[:, :, t, 0, None, :], decay[:, :, t, 0, :, None]
        state = kept * state + key * value
        rows.append(read(q[:, :, t, 0], state))
    return torch.stack(rows, TOKEN)[:, :, :, None]


def delta_attend(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor) -> Tensor:
    """S[t] = decay[t] * S[t-1] + beta[t] k[t] (v[t] - decay[t] * k[t] S[t-1])^T, and the result is q[t] S[t]."""
    beta, decay = (x.expand(*k.shape[:4], 1) for x in (beta, decay))
    state, rows = k.new_zeros(k.size(0), k.size(HEAD), k.size(CHANNEL), v.size(CHANNEL)), []
    for t in range(k.size(TOKEN)):
        key, value = k[:, :, t, 0, :, None], v[:, :, t, 0, None, :]
        rate, kept = beta[:, :, t, 0, :, None], decay[:, :, t, 0, :, None]
        held = (key * state).sum(-2, True)  # what the state gives for this key
        state = kept * state + rate * key * (value - kept * held)
        rows.append(read(q[:, :, t, 0], state))
    return torch.stack(rows, TOKEN)[:, :, :, None]


def read(q: Tensor, state: Tensor) -> Tensor:
    """q (B, H, D) from the states of the key heads (B, G, D, E): (B, H, E)."""
    heads = [(q[:, h, :, None] * state[:, key_head(h, q.size(1), state.size(1))]).sum(-2) for h in range(q.size(1))]
    return torch.stack(heads, 1)


def key_head(head: int, heads: int, key_heads: int) -> int:
    """Which key head a query head uses: the first ones share the first."""
    return head // (heads // key_heads)


def attend_logits(q: Tensor, k: Tensor, scale: float | None) -> Tensor:
    """The scaled product of each query with each key (B, H, T, K, 1)."""
    scale = 1 / math.sqrt(q.size(CHANNEL)) if scale is None else scale
    heads, key_heads = q.size(HEAD), k.size(HEAD)
    rows = [
        torch.einsum("btc,bkc->btk", q[:, h, :, 0], k[:, key_head(h, heads, key_heads), :, 0]) for h in range(heads)
    ]
    return torch.stack(rows, HEAD)[..., None] * scale


def attend_values(logits: Tensor, counts: Tensor, sink: Tensor | None, v: Tensor) -> Tensor:
    """The mean of the values (B, H, T, 1, E) by the softmax of the logits that count, 0 where none does.

    logits and counts (B, H, T, K, 1); sink: one more logit (B, H, T, 1, 1), which takes weight and gives nothing.
    """
    logits = torch.where(counts, logits, -math.inf)
    high = logits.detach().amax(KEY, True)
    if sink is not None:
        high = torch.maximum(high, sink.detach())
    shares = torch.where(counts, (logits - high).exp(), 0.0)
    total = shares.sum(KEY, True)
    if sink is not None:
        total = total + (sink - high).exp()
    weights = torch.where(counts, shares / total, 0.0)[..., 0]
    heads, key_heads = logits.size(HEAD), v.size(HEAD)
    values = [v[:, key_head(h, heads, key_heads), :, 0] for h in range(heads)]
    rows = [torch.einsum("btk,bkc->btc", weights[:, h], value) for h, value in enumerate(values)]
    return torch.stack(rows, HEAD)[:, :, :, None]


# ---- structure --------------------------------------------------------------------------------------------------


def split_heads(x: Tensor, heads: int) -> Tensor:
    each = x.size(CHANNEL) // heads
    return torch.cat([x[..., h * each : (h + 1) * each] for h in range(heads)], HEAD)


def merge_heads(x: Tensor) -> Tensor:
    return torch.cat([x[:, h : h + 1] for h in range(x.size(HEAD))], CHANNEL)


def concat(a: Tensor, b: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    return torch.cat((a.expand(*shape, -1), b.expand(*shape, -1)), CHANNEL)


def rotate(x: Tensor, angle: Tensor, interleaved: bool) -> Tensor:
    """Channel `first` of pair n and its partner turn by angle n."""
    pairs = x.size(CHANNEL) // 2
    channels: list[Tensor] = [x[..., 0]] * (2 * pairs)
    for n in range(pairs):
        first, second = (2 * n, 2 * n + 1) if interleaved else (n, n + pairs)
        turn = angle[..., n if angle.size(CHANNEL) > 1 else 0]
        a, b = x[..., first], x[..., second]
        channels[first] = a * turn.cos() - b * turn.sin()
        channels[second] = a * turn.sin() + b * turn.cos()
    return torch.stack(channels, CHANNEL)


def top(x: Tensor, count: int) -> Tensor:
    """Which channels are among the `count` largest; of equals, the earlier."""
    width, chosen = x.size(CHANNEL), []
    for n in range(width):
        before = (x > x[..., n : n + 1]).sum(CHANNEL) + (x[..., :n] == x[..., n : n + 1]).sum(CHANNEL)
        chosen.append(before < count)
    return yes(torch.stack(chosen, CHANNEL))


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return logsumexp(logits) - logits.gather(CHANNEL, y.long().expand(*logits.shape[:-1], 1))
