"""What a decoder remembers, and which positions the tokens at hand are."""

import torch


class Past:
    """What decoding remembers, so that no token is computed twice.

    Each operation that looks back claims a slot, in the order in which they run; `advance` ends a call of the model.
    last: of each call, the logits of the last position alone are wanted.
    """

    def __init__(self, last=False):
        self.last, self.position = last, 0  # tokens seen
        self.slots, self.claimed = [], 0
        self.buffers = {}  # by number of a slot: a tensor with room for more, and where it ends
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
        slot = self.slot()
        whole = self.append(slot, x) if slot else x
        slot["kept"] = whole if keep is None else whole[..., max(0, whole.size(-2) - keep) :, :]
        self.joined.append((x, keep, whole))
        return whole

    def append(self, slot, x):
        """What a slot has kept and then x, in a buffer that is twice as long as needed when it is made."""
        kept, (buffer, end) = slot["kept"], self.buffers.get(self.claimed, (None, 0))
        old, new = kept.size(-2), x.size(-2)
        if buffer is None or end + new > buffer.size(-2):
            end, buffer = old, x.new_empty(*x.shape[:-2], 2 * (old + new), x.size(-1))
            buffer.narrow(-2, 0, old).copy_(kept)
        buffer.narrow(-2, end, new).copy_(x)
        self.buffers[self.claimed] = buffer, end + new
        return buffer.narrow(-2, end - old, old + new)

    def keep_rows(self, rows):
        """Go on with these rows of the batch alone: their numbers, a tensor of int64."""
        self.buffers = {}
        for slot in self.slots:
            slot.update({name: x[rows] for name, x in slot.items() if x.size(0) > 1})  # 1: the same for all rows

    def advance(self, tokens):
        self.position += tokens
        self.claimed, self.joined = 0, []


def position(tokens, past=None, device=None):
    """The index of each of the next `tokens` positions: (T,)."""
    start = past.position if past is not None else 0
    return torch.arange(start, start + tokens, device=device)


def asked(x, past=None):
    """The positions of x (B, T, C) whose logits are wanted: all of them, or while decoding the last one."""
    return x[:, -1:] if past is not None and past.last else x
