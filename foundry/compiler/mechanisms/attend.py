"""Softmax attention of each position to itself and to earlier ones (Vaswani et al. 2017, arXiv:1706.03762).

Queries are (B, H, T, D), keys (B, G, K, D) and values (B, G, K, E) with G dividing H (Ainslie et al. 2023,
arXiv:2305.13245); the result is (B, H, T, E). The last query and the last key stand at the same position.
"""

import torch
import torch.nn.functional as F

from foundry.compiler.mechanisms.past import position


def distance(q, k):
    """How many positions each query is after each key: (T, K), negative for later keys."""
    tokens, keys = q.size(2), k.size(2)
    ends = torch.arange(keys - tokens, keys, device=q.device)
    return ends[:, None] - torch.arange(keys, device=q.device)


def attend(q, k, v, scale=None, past=None):
    """Softmax attention to all earlier positions: q (B, H, T, D), k and v (B, G, T, D) with G dividing H."""
    if past is not None:
        k, v = past.join(k, v)
    whole = q.size(2) == k.size(2)
    mask = None if whole else distance(q, k) >= 0
    gqa = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=whole, scale=scale, enable_gqa=gqa)


def attend_window(q, k, v, window, scale=None, past=None):
    """Softmax attention to the last `window` positions: q (B, H, T, D), k and v (B, G, T, D) with G dividing H."""
    if past is not None:
        k, v = past.join(k, v, keep=window)
    back = distance(q, k)
    mask = (back >= 0) & (back < window)
    gqa = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, mask, scale=scale, enable_gqa=gqa)


def places(q, k, mask, past):
    """Head (H, 1, 1), query and key position (T, K) of every logit, and whether it counts.

    A logit that does not count gets the positions of one that does: a score may be infinite where nobody looks,
    and 0 times infinity would spoil the gradient.
    """
    h = torch.arange(q.size(1), device=q.device)[:, None, None]
    i = position(q.size(2), past, q.device)[:, None]
    back = distance(q, k)
    j = i - back.clamp(min=0)
    i, visible = i.expand_as(j), back >= 0
    if mask is not None:
        visible = visible & mask(h, i, j)
        first = visible.flatten().int().argmax()
        i, j = (torch.where(visible, x, x.expand_as(visible).flatten()[first]) for x in (i, j))
    return h, i, j, visible


def attend_bias(q, k, v, bias=None, mask=None, keep=None, scale=None, past=None):
    """Softmax attention with `bias(h, i, j)` added to the logits, where `mask(h, i, j)` holds.

    q (B, H, T, D), k and v (B, G, T, D) with G dividing H. `keep`: the positions that a mask can reach.
    """
    if past is not None:
        k, v = past.join(k, v, keep=keep)
    h, i, j, visible = places(q, k, mask, past)
    if bias is not None:
        visible = torch.where(visible, bias(h, i, j), -torch.inf)
    logits = visible.expand(1, q.size(1), -1, -1)
    gqa = q.size(1) != k.size(1)
    return F.scaled_dot_product_attention(q, k, v, logits, scale=scale, enable_gqa=gqa)


def attend_score(q, k, v, score, mask=None, keep=None, scale=None, past=None):
    """Attention by the softmax of `score(s, h, i, j)`, s being the scaled logit, where `mask(h, i, j)` holds.

    q (B, H, T, D), k and v (B, G, T, D) with G dividing H. `keep`: the positions that a mask can reach.
    """
    if past is not None:
        k, v = past.join(k, v, keep=keep)
    h, i, j, visible = places(q, k, mask, past)
    groups = q.size(1) // k.size(1)
    k, v = (x.repeat_interleave(groups, 1) if groups > 1 else x for x in (k, v))
    logits = (q * (q.size(-1) ** -0.5 if scale is None else scale)) @ k.mT
    logits = torch.where(visible, score(logits, h, i, j), -torch.inf)
    weights = torch.softmax(logits, -1)
    if mask is not None:
        weights = torch.where(visible, weights, 0)  # a position that sees nothing gives 0
    return weights @ v
