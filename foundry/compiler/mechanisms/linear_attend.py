"""Linear attention: a matrix per head that remembers, and fades (Katharopoulos et al. 2020, arXiv:2006.16236).

One decay per head is RetNet (Sun et al. 2023, arXiv:2307.08621) or, where it depends on the token, Mamba-2 (Dao and Gu
2024, arXiv:2405.21060); one per channel of the key is gated linear attention (Yang et al. 2023, arXiv:2312.06635).
Within a chunk of the sequence the tokens meet in matrix products; the state goes from chunk to chunk. Decays are only
ever multiplied: nothing is divided and no logarithm is taken, so that 0 and 1 are as good as any.
"""

import torch
import torch.nn.functional as F


def in_chunks(x, length, fill=0.0):
    """Cut the sequence into chunks, the last one filled up: (B, G, ..., T, D) -> (N, B * G, ..., length, D)."""
    if x.size(-2) % length:
        x = F.pad(x, (0, 0, 0, -x.size(-2) % length), value=fill)
    return x.unflatten(-2, (-1, length)).movedim(-3, 0).flatten(1, 2).contiguous()


def rates(x, k):
    """A number, or a tensor that broadcasts to k (B, G, T, D): (B, G, T, 1) or (B, G, T, D)."""
    x = torch.as_tensor(x, dtype=k.dtype, device=k.device)
    return x.expand(*k.shape[:3], x.size(-1) if x.dim() else 1)


class Decays(torch.autograd.Function):
    """What is left, at each position of a chunk, of what came before it: decay (..., C, 1).

    Gives what is left at i of j (..., C, C), 0 where j is later; at i of the state before the chunk (..., C, 1); at the
    end of j (..., C, 1); and at the end of that state (..., 1, 1).
    """

    @staticmethod
    def forward(ctx, decay):
        size = decay.size(-2) + 1  # position 0 is the state before the chunk
        ones = decay.new_ones(size, size)
        left = torch.addcmul(ones.triu(), F.pad(decay, (0, 0, 1, 0)), ones.tril(-1))
        left = left.cumprod_(-2).mul_(ones.tril())  # [i, j]: the product of the decays after j, up to i
        ctx.save_for_backward(left)
        return left[..., 1:, 1:], left[..., 1:, :1], left[..., -1:, 1:].mT, left[..., -1:, :1]

    @staticmethod
    def backward(ctx, within, start, end, total):
        (left,) = ctx.saved_tensors
        grad = F.pad(within, (1, 0, 1, 0))
        grad[..., 1:, :1] = start
        grad[..., -1:, 1:] += end.mT
        grad[..., -1:, :1] += total
        # A decay at t stands between the positions from t on and those before: left[i, j] = left[i, t] d left[t-1, j]
        return ((left.mT @ grad)[..., 1:, :] * left[..., :-1, :]).sum(-1, keepdim=True)


class DecayedKeys(torch.autograd.Function):
    """The products of a chunk's queries with its keys, where each channel of a key fades by itself.

    q (..., R, C, D) for R heads of a group; k and decay (..., 1, C, D). Gives the products (..., R, C, C), 0 where the
    key is later; what is left at each position of the state before the chunk (..., 1, C, D); the keys at the end of
    the chunk (..., 1, C, D); and what is left there of that state (..., 1, 1, D).
    """

    @staticmethod
    def forward(ctx, q, k, decay):
        length = k.size(-2)
        products = q.new_zeros(*q.shape[:-1], length)
        keys = [F.pad(k, (0, 0, 1, 0), value=1.0)]  # keys[n][j]: the key of j, n positions later; 0 is the state
        for n in range(length):
            products.diagonal(-n, -2, -1).copy_((q[..., n:, :] * keys[n][..., 1:, :]).sum(-1))
            keys.append(keys[n][..., :-1, :] * decay[..., n:, :])
        ctx.save_for_backward(q, decay, *keys)
        start = torch.cat([x[..., :1, :] for x in keys[1:]], -2)
        end = torch.cat([x[..., -1:, :] for x in keys[-2::-1]], -2)
        return products, start, end, keys[-1]

    @staticmethod
    def backward(ctx, products, start, end, total):
        q, decay, *keys = ctx.saved_tensors
        length = q.size(-2)
        grad_q, grad_decay = torch.zeros_like(q), torch.zeros_like(decay)
        grad_keys = torch.cat((total, end), -2)
        for n in reversed(range(length)):
            grad, near = grad_keys[..., : length - n, :], products.diagonal(-n, -2, -1).unsqueeze(-1)
            grad[..., :1, :].add_(start[..., n : n + 1, :])
            grad_decay[..., n:, :].addcmul_(grad, keys[n][..., :-1, :])
            grad.mul_(decay[..., n:, :])
            grad_q[..., n:, :].addcmul_(near, keys[n][..., 1:, :])
            for r in range(q.size(-3)):
                grad_keys[..., 0, 1 : length - n + 1, :].addcmul_(near[..., r, :, :], q[..., r, n:, :])
        return grad_q, grad_keys[..., 1:, :], grad_decay


class Carry(torch.autograd.Function):
    """The state before each chunk, and the one after the last: state[n + 1] = decay[n] * state[n] + new[n]."""

    @staticmethod
    def forward(ctx, decay, new, state):
        states = torch.cat((state[None], new))
        for n in range(len(new)):
            states[n + 1].addcmul_(decay[n], states[n])
        ctx.save_for_backward(decay, states)
        return states[:-1], states[-1]

    @staticmethod
    def backward(ctx, before, last):
        decay, states = ctx.saved_tensors
        grad = torch.cat((before, last[None]))
        for n in reversed(range(len(decay))):
            grad[n].addcmul_(decay[n], grad[n + 1])
        return (grad[1:] * states[:-1]).sum_to_size(decay.shape), grad[1:], grad[0]


def linear_attend(q, k, v, decay=1, past=None):
    """Attention without a softmax: (B, H, T, E), which is S[t]^T q[t] with S[t] = decay[t] * S[t-1] + k[t] v[t]^T.

    q (B, H, T, D), k (B, G, T, D) and v (B, G, T, E) with G dividing H. `decay`, from 0 to 1: a number, or a tensor
    that broadcasts to (B, G, T, 1) or to (B, G, T, D), the rows of S.
    """
    slot = past.slot() if past is not None else {}
    batch, groups, tokens, channels = k.shape
    state = slot["state"] if slot else k.new_zeros(batch, groups, channels, v.size(-1))
    q, decay = q.unflatten(1, (groups, -1)), rates(decay, k)  # q (B, G, H / G, T, D)
    if tokens == 1:
        state = slot["state"] = decay.mT * state + k.mT * v
        return (q.squeeze(-2) @ state).flatten(1, 2).unsqueeze(2)
    length = min(tokens, 16 if decay.size(-1) == 1 else 8)  # what is fastest at 128 and 512 tokens, 16 to 32 channels
    q, k, v = in_chunks(q, length), in_chunks(k, length)[:, :, None], in_chunks(v, length)[:, :, None]
    decay = in_chunks(decay, length, fill=1.0)[:, :, None]
    if decay.size(-1) == 1:
        within, start, end, total = Decays.apply(decay)
        weights, end = q @ k.mT * within, k * end
    else:
        weights, start, end, total = DecayedKeys.apply(q, k, decay)
    before, last = Carry.apply(total.mT, end.mT @ v, state.flatten(0, 1)[:, None])
    slot["state"] = last.view_as(state).clone()  # not a view that keeps all the states
    out = weights @ v + (q * start) @ before  # (N, B * G, H / G, length, E)
    return out.movedim(0, 2).flatten(2, 3).unflatten(0, (batch, groups)).flatten(1, 2)[:, :, :tokens]
