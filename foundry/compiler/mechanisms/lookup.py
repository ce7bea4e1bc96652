"""Learned numbers by index: relative positions (Raffel et al. 2019, arXiv:1910.10683) and other biases."""


def lookup(table, index):
    """The number of each index, the nearest where there is none: table (N) or (H, N) -> index's shape, after (H)."""
    return table[..., index.long().clamp(0, table.size(-1) - 1)]
