"""Token shift (Peng et al. 2023, arXiv:2305.13048)."""

import torch.nn.functional as F


def shift(x, by=1, past=None):
    """The value `by` positions earlier, 0 before the start: x (..., T, D)."""
    tokens = x.size(-2)
    if past is not None:
        (x,) = past.join(x, keep=by)
    return F.pad(x, (0, 0, by, 0))[..., -tokens - by : -by, :]
