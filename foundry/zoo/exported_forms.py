"""The mechanisms of an emitted file as a tracer can follow them: no branch and no loop depends on how long a text is.

What the emitter copies is made for speed and for training: it cuts the sequence into chunks, counts tokens and writes
in place. A graph that holds for every batch and length needs the same values by other means: a recurrence is one
`scan`, experts are all computed and weighed. `followed` puts these in the place of the emitted ones; a file that lacks
one of the names does not get it. There is no decoding and no gradient: `past` is always None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._higher_order_ops.scan import scan as over

Rule = Callable[..., Any]


def followed(module: ModuleType) -> ModuleType:
    """The same loaded module, with every mechanism that it has in the form of this file."""
    for name, form in FORMS.items():
        if hasattr(module, name):
            setattr(module, name, form)
    return module


def attend(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, past: None = None) -> Tensor:
    """Softmax attention to all earlier positions: q (B, H, T, D), k and v (B, G, T, D) with G dividing H."""
    k, v = _to_heads(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=scale)


def attend_window(
    q: Tensor, k: Tensor, v: Tensor, window: int, scale: float | None = None, past: None = None
) -> Tensor:
    """The same to the last `window` positions."""
    k, v = _to_heads(q, k, v)
    i = torch.arange(q.size(2), device=q.device)
    behind = i[:, None] - i
    return F.scaled_dot_product_attention(q, k, v, (behind >= 0) & (behind < window), scale=scale)


def _to_heads(q: Tensor, *shared: Tensor) -> list[Tensor]:
    """Keys or values (B, G, T, D) for every head of q (B, H, T, D)."""
    groups = q.size(1) // shared[0].size(1)
    return [x.repeat_interleave(groups, 1) if groups > 1 else x for x in shared]


def places(q: Tensor, k: Tensor, mask: Rule | None, window: int | None, past: None) -> tuple[Tensor, ...]:
    """Head, query position and key position of every logit, and whether it counts.

    Where it does not count the position is not replaced by another: that matters to gradients alone.
    """
    h = torch.arange(q.size(1), device=q.device)[:, None, None]
    j = torch.arange(k.size(2), device=q.device)
    i = j[:, None]
    visible = j <= i
    j = torch.minimum(i, j)
    if window is not None:
        visible = visible & (i - j < window)
    if mask is not None:
        visible = visible & mask(h, i, j)
    return h, i, j, visible


def attend_bias(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Rule | None = None,
    mask: Rule | None = None,
    window: int | None = None,
    scale: float | None = None,
    past: None = None,
) -> Tensor:
    """Softmax attention with `bias(h, i, j)` added to the logits, where `mask(h, i, j)` holds, or within a window."""
    h, i, j, visible = places(q, k, mask, window, past)
    added = torch.zeros((), dtype=q.dtype, device=q.device) if bias is None else bias(h, i, j)
    logits = torch.where(visible, added, -torch.inf).to(q.dtype).expand(1, q.size(1), -1, -1)
    k, v = _to_heads(q, k, v)
    return F.scaled_dot_product_attention(q, k, v, logits, scale=scale)


def attend_general(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    score: Rule | None = None,
    mask: Rule | None = None,
    window: int | None = None,
    scale: float | None = None,
    top: int | None = None,
    sink: float | Tensor | None = None,
    seen: Sequence[Tensor] = (),
    past: None = None,
) -> Tensor:
    """Attention by the softmax of `score(s, h, i, j)`, with the `top` largest logits of each query alone and one logit
    more, `sink`, that gives nothing. seen: values per token (B, 1 or H, T, 1) that the score and the mask read."""
    shown = [view for x in seen for view in (x, x.mT)]
    h, i, j, visible = places(q, k, mask and (lambda h, i, j: mask(h, i, j, *shown)), window, past)
    k, v = _to_heads(q, k, v)
    logits = (q * (q.size(-1) ** -0.5 if scale is None else scale)) @ k.mT
    if score is not None:
        logits = score(logits, h, i, j, *shown)
    logits = torch.where(visible, logits, -torch.inf)
    if top is not None:  # padded, so that there always are that many
        least = F.pad(logits, (0, top), value=-torch.inf).topk(top, -1).values[..., -1:]
        logits = torch.where(logits < least, -torch.inf, logits)
    tokens = k.size(2)
    if sink is not None:
        sink = torch.as_tensor(sink, dtype=q.dtype, device=q.device).expand(*q.shape[:3], 1)
        logits = torch.cat((logits.expand(*q.shape[:3], -1), sink), -1)
    weights = torch.softmax(logits, -1)[..., :tokens]
    if mask is not None:
        weights = torch.where(visible, weights, 0)  # a position that sees nothing gives 0
    return weights @ v


def attend_score(q: Tensor, k: Tensor, v: Tensor, score: Rule, **how: Any) -> Tensor:
    """`attend_general` by a score, without a sink."""
    return attend_general(q, k, v, score, **how)


def experts(x: Tensor, gates: Tensor, functions: Sequence[Rule]) -> Tensor:
    """The sum of gates[..., e] * functions[e](x): every expert for every token, x (B, T, C), gates (B, T, N)."""
    flat, gates = x.flatten(0, 1)[None], gates.flatten(0, 1)
    parts = [function(flat)[0] * gates[:, e, None] for e, function in enumerate(functions)]
    return torch.stack(parts).sum(0).view(x.size(0), x.size(1), -1)


def shift(x: Tensor, by: int = 1, past: None = None) -> Tensor:
    """The value `by` positions earlier, 0 before the start: x (..., T, D)."""
    return F.pad(x, (0, 0, by, 0))[..., : x.size(-2), :]


def taps(x: Tensor, weights: Tensor) -> Tensor:
    """y[t] = sum over k of x[t + k] * weights[k]: x (..., T + K - 1, D), weights (K, ..., 1, D)."""
    tokens = x.size(-2) - len(weights) + 1
    parts = [x[..., k : k + tokens, :] * weights[k] for k in range(len(weights))]
    return torch.stack(parts).sum(0)


def scan(a: float | Tensor, b: Tensor, past: None = None) -> Tensor:
    """The linear recurrence h[t] = a[t] * h[t-1] + b[t]: b (..., T, D), a number or a tensor that broadcasts to it."""
    a = torch.as_tensor(a, dtype=b.dtype, device=b.device).expand_as(b)

    def step(h: Tensor, at: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        h = at[0] * h + at[1]
        return h, h.clone()

    factors, new = (x.movedim(-2, 0).contiguous() for x in (a, b))
    return over(step, torch.zeros_like(b.select(-2, 0)), (factors, new))[1].movedim(0, -2)


def linear_attend(q: Tensor, k: Tensor, v: Tensor, decay: float | Tensor = 1, past: None = None) -> Tensor:
    """S[t]^T q[t] with S[t] = decay[t] * S[t-1] + k[t] v[t]^T: q (B, H, T, D), k (B, G, T, D), v (B, G, T, E)."""

    def step(state: Tensor, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        q, k, v, decay = at
        state = decay[..., None] * state + k[..., None] * v[..., None, :]
        return state, q @ state

    return _remembered(step, q, k, v, _rates(decay, k))


def delta_attend(
    q: Tensor, k: Tensor, v: Tensor, beta: float | Tensor, decay: float | Tensor = 1, past: None = None
) -> Tensor:
    """The same where the state corrects what it gives for a key:
    S[t] = decay[t] * S[t-1] + beta[t] * k[t] (v[t] - decay[t] * S[t-1]^T k[t])^T."""

    def step(state: Tensor, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        q, k, v, decay, beta = at
        state = decay[..., None] * state
        wrong = v - (k[..., None, :] @ state)[..., 0, :]
        state = state + k[..., None] * (beta * wrong)[..., None, :]
        return state, q @ state

    return _remembered(step, q, k, v, _rates(decay, k), _rates(beta, k))


def _remembered(step: Rule, q: Tensor, k: Tensor, v: Tensor, *rates: Tensor) -> Tensor:
    """Run `step` over the sequence, from a state (B, G, D, E) of zeros; at each position it has q (B, G, H / G, D)."""
    groups = k.size(1)
    q = q.unflatten(1, (groups, q.size(1) // groups)).movedim(-2, 0)  # (T, B, G, H / G, D)
    rest = [x.movedim(-2, 0).contiguous() for x in (k, v, *rates)]
    state = k.new_zeros(k.size(0), groups, k.size(-1), v.size(-1))
    out = over(step, state, (q.contiguous(), *rest))[1]  # (T, B, G, H / G, E)
    return out.movedim(0, -2).flatten(1, 2)


def _rates(x: float | Tensor, k: Tensor) -> Tensor:
    """A number, or a tensor that broadcasts to k (B, G, T, D): (B, G, T, 1) or (B, G, T, D)."""
    x = torch.as_tensor(x, dtype=k.dtype, device=k.device)
    return x.expand(*k.shape[:3], x.size(-1) if x.dim() else 1)


def penalty(x: Tensor, term: Tensor) -> Tensor:
    """x: the loss is none of an exported graph's business."""
    return x


FORMS: dict[str, Any] = {
    "attend": attend,
    "attend_window": attend_window,
    "attend_bias": attend_bias,
    "attend_score": attend_score,
    "attend_general": attend_general,
    "places": places,
    "experts": experts,
    "shift": shift,
    "Taps": SimpleNamespace(apply=taps),
    "scan": scan,
    "linear_attend": linear_attend,
    "delta_attend": delta_attend,
    "penalty": penalty,
}
