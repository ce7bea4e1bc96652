"""Mixtures of experts (Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021, arXiv:2101.03961)."""

import torch


def experts(x, gates, functions):
    """The sum of gates[..., e] * functions[e](x), each computed for the tokens whose gate is not 0.

    x (B, T, C), gates (B, T, N), and N functions of (1, tokens, C); every token gets all that it chooses.
    """
    flat, gates = x.flatten(0, 1)[None], gates.flatten(0, 1)  # (1, tokens, C), (tokens, N)
    places, parts = [], []
    for e, function in enumerate(functions):
        chosen = gates[:, e].nonzero().squeeze(-1)
        places.append(chosen)
        parts.append(function(flat[:, chosen])[0] * gates[chosen, e, None])
    out = parts[0].new_zeros(len(gates), parts[0].size(-1)).index_add(0, torch.cat(places), torch.cat(parts))
    return out.unflatten(0, x.shape[:2])
