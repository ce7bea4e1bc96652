"""Softmax attention of each position to itself and to earlier ones (Vaswani et al. 2017, arXiv:1706.03762).

Queries are (B, H, T, D), keys (B, G, K, D) and values (B, G, K, E) with G dividing H (Ainslie et al. 2023,
arXiv:2305.13245); the result is (B, H, T, E). The last query and the last key stand at the same position.
"""

import torch
import torch.nn.functional as F

from foundry.compiler.mechanisms.past import position


def attend(q, k, v, scale=None, past=None):
    """Softmax attention to all earlier positions: q (B, H, T, D), k and v (B, G, T, D) with G dividing H."""
    if past is not None:
        k, v = past.join(k, v)
    tokens, keys = q.size(2), k.size(2)
    whole, mask, gqa = tokens == keys, None, q.size(1) != k.size(1)
    if 1 < tokens < keys:
        mask = torch.ones(tokens, keys, dtype=torch.bool, device=q.device).tril(keys - tokens)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, scale=scale, enable_gqa=gqa)


def attend_window(q, k, v, window, scale=None, past=None):
    """Softmax attention to the last `window` positions: q (B, H, T, D), k and v (B, G, T, D) with G dividing H."""
    if past is not None:
        k, v = past.join(k, v, keep=window)
    tokens, keys = q.size(2), k.size(2)
    if tokens == 1:
        k, v, mask = k[..., -window:, :], v[..., -window:, :], None
    else:
        mask = torch.ones(tokens, keys, dtype=torch.bool, device=q.device)
        mask = mask.tril(keys - tokens).triu(keys - tokens - window + 1)
    gqa = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=gqa)


def attend_within(q, k, v, window, scale=None, past=None):
    """Softmax attention to the last `window` positions, or to all earlier ones where it is None."""
    if window is None:
        return attend(q, k, v, scale, past)
    return attend_window(q, k, v, window, scale, past)


def places(q, k, mask, window, past):
    """Head, query position and key position of every logit, and whether it counts.

    A logit that does not count gets the positions of one that does: a score may be infinite where nobody looks,
    and 0 times infinity would spoil the gradient. (H, 1, 1), (T, 1), (T, K) and (T, K), the last three with heads or
    with batch and heads before where the mask has them.
    """
    h = torch.arange(q.size(1), device=q.device)[:, None, None]
    i = position(q.size(2), past, q.device)[:, None]
    j = i[-1] + 1 - k.size(2) + torch.arange(k.size(2), device=q.device)
    visible = j <= i
    j = torch.minimum(i, j)
    if window is not None:
        visible = visible & (i - j < window)
    if mask is not None:
        visible = visible & mask(h, i, j)
    if window is not None or mask is not None:
        first = visible.flatten().int().argmax()
        i, j = (torch.where(visible, x, x.expand(visible.shape).flatten()[first]) for x in (i, j))
    return h, i, j, visible


def attend_bias(q, k, v, bias=None, mask=None, window=None, scale=None, past=None):
    """Softmax attention with `bias(h, i, j)` added to the logits, where `mask(h, i, j)` holds, or within a window.

    q (B, H, T, D), k and v (B, G, T, D) with G dividing H.
    """
    if past is not None:
        k, v = past.join(k, v, keep=window)
    h, i, j, visible = places(q, k, mask, window, past)
    if bias is not None:
        visible = torch.where(visible, bias(h, i, j), -torch.inf).to(q.dtype)
    logits = visible.expand(1, q.size(1), -1, -1)
    gqa = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, logits, scale=scale, enable_gqa=gqa)


def logits_of(q, k, v, score, mask, window, scale, past, seen=()):
    """The logits of every pair, -inf where it does not count, whether it counts, and v for every query head.

    seen: values per token (B, 1 or H, K, 1); of each, the mask and the score take what it is at the query and at the
    key, or where the pair does not count at the query twice.
    """
    at = [(x[..., -q.size(2) :, :], x.mT) for x in seen]
    shown = [view for pair in at for view in pair]
    h, i, j, visible = places(q, k, mask and (lambda h, i, j: mask(h, i, j, *shown)), window, past)
    shown = [view for here, there in at for view in (here, torch.where(visible, there, here))]
    groups = q.size(1) // k.size(1)
    k, v = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (k, v))
    logits = (q * (q.size(-1) ** -0.5 if scale is None else scale)) @ k.mT
    if score is not None:
        logits = score(logits, h, i, j, *shown)
    return torch.where(visible, logits, -torch.inf), visible, v


def attend_score(q, k, v, score, mask=None, window=None, scale=None, past=None):
    """Attention by the softmax of `score(s, h, i, j)`, s being the scaled logit, where `mask(h, i, j)` holds, or within
    a window: q (B, H, T, D), k and v (B, G, T, D) with G dividing H.
    """
    if past is not None:
        k, v = past.join(k, v, keep=window)
    logits, visible, v = logits_of(q, k, v, score, mask, window, scale, past)
    weights = torch.softmax(logits, -1)
    if mask is not None:
        weights = torch.where(visible, weights, 0)  # a position that sees nothing gives 0
    return weights @ v


def attend_general(q, k, v, score=None, mask=None, window=None, scale=None, top=None, sink=None, seen=(), past=None):
    """The same, by the `top` largest logits of each query alone (Zhao et al. 2019, arXiv:1912.11637), and by one logit
    more, `sink`, which takes weight and gives nothing (Xiao et al. 2023, arXiv:2309.17453).

    sink: a number, or (H, 1, 1), or (B, H, T, 1). seen: values per token (B, 1 or H, T, 1) that the score and the mask
    read, after h, i and j.
    """
    if past is not None:
        k, v, *seen = past.join(k, v, *seen, keep=window)
    logits, visible, v = logits_of(q, k, v, score, mask, window, scale, past, seen)
    if top is not None and top < logits.size(-1):
        logits = torch.where(logits < logits.topk(top, -1).values[..., -1:], -torch.inf, logits)
    if sink is not None:
        sink = torch.as_tensor(sink, dtype=q.dtype, device=q.device).expand(*q.shape[:3], 1)
        logits = torch.cat((logits.expand(*q.shape[:3], -1), sink), -1)
    weights = torch.softmax(logits, -1)[..., : k.size(2)]
    if mask is not None:
        weights = torch.where(visible, weights, 0)
    return weights @ v
