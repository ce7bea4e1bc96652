"""What a decoder remembers, and which positions the tokens at hand are."""

import torch


class Past:
    """What decoding remembers, so that no token is computed twice.

    Each operation that looks back claims a slot, in the order in which they run; `advance` ends a call of the model.
    """

    def __init__(self):
        self.position = 0  # tokens seen
        self.slots, self.claimed = [], 0
        self.joined = []  # what this call has joined: layers that share keys and values keep them once

    def slot(self):
        if self.claimed == len(self.slots):
            self.slots.append({})
        self.claimed += 1
        return self.slots[self.claimed - 1]

    def join(self, *tensors, keep=None):
        """Each tensor (..., T, D) after what earlier calls left here; the last `keep` positions stay for the next."""
        for known, kept, whole in self.joined:
            if kept == keep and len(known) == len(tensors) and all(a is b for a, b in zip(known, tensors, strict=True)):
                return whole
        slot, whole = self.slot(), list(tensors)
        if slot:
            whole = [torch.cat((old, x), -2) for old, x in zip(slot["kept"], tensors, strict=True)]
        slot["kept"] = [x if keep is None else x[..., max(0, x.size(-2) - keep) :, :] for x in whole]
        self.joined.append((tensors, keep, whole))
        return whole

    def advance(self, tokens):
        self.position += tokens
        self.claimed, self.joined = 0, []


def position(tokens, past=None, device=None):
    """The index of each of the next `tokens` positions: (T,)."""
    start = past.position if past is not None else 0
    return torch.arange(start, start + tokens, device=device)
