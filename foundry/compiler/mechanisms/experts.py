"""Mixtures of experts (Shazeer et al. 2017, arXiv:1701.06538; Fedus et al. 2021, arXiv:2101.03961)."""


def experts(x, gates, functions):
    """The sum of gates[..., e] * functions[e](x), each computed for the tokens whose gate is not 0.

    x (B, T, C), gates (B, T, N), and N functions of (1, tokens, C); every token gets all that it chooses.
    """
    flat, gates = x.flatten(0, 1)[None], gates.flatten(0, 1)  # (1, tokens, C), (tokens, N)
    out = 0
    for e, function in enumerate(functions):
        chosen = gates[:, e].nonzero().squeeze(-1)
        part = function(flat[:, chosen])[0] * gates[chosen, e, None]
        out = part.new_zeros(len(gates), part.size(-1)).index_add(0, chosen, part) + out
    return out.unflatten(0, x.shape[:2])
