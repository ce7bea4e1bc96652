"""What a decoder remembers, and which positions the tokens at hand are."""

import torch


class Past:
    """What decoding remembers, so that no token is computed twice.

    Each operation that looks back claims a slot, in the order in which they run; `advance` ends a call of the model.
    """

    def __init__(self):
        self.position = 0  # tokens seen
        self.slots, self.claimed = [], 0
        self.joined = []  # what this call has joined: a tensor that several layers use is kept once

    def slot(self):
        if self.claimed == len(self.slots):
            self.slots.append({})
        self.claimed += 1
        return self.slots[self.claimed - 1]

    def join(self, *tensors, keep=None):
        """Each tensor (..., T, D) after what earlier calls left here; the last `keep` positions stay for the next."""
        return [self.grown(x, keep) for x in tensors]

    def grown(self, x, keep):
        for known, kept, whole in self.joined:
            if known is x and kept == keep:
                return whole
        slot, whole = self.slot(), x
        if slot:
            whole = torch.cat((slot["kept"], x), -2)
        slot["kept"] = whole if keep is None else whole[..., max(0, whole.size(-2) - keep) :, :]
        self.joined.append((x, keep, whole))
        return whole

    def advance(self, tokens):
        self.position += tokens
        self.claimed, self.joined = 0, []


def position(tokens, past=None, device=None):
    """The index of each of the next `tokens` positions: (T,)."""
    start = past.position if past is not None else 0
    return torch.arange(start, start + tokens, device=device)
