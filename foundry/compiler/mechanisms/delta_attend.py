"""Linear attention that rewrites: the delta rule (Schlag et al. 2021, arXiv:2102.11174).

In chunks as by Yang et al. 2024, arXiv:2406.06484: within one, what its tokens write solves a triangular system. With
decay it is gated DeltaNet (Yang et al. 2024, arXiv:2412.06464).
"""

import torch

from foundry.compiler.mechanisms.linear_attend import Decays, in_chunks, rates


class Writes(torch.autograd.Function):
    """What the tokens write, chunk by chunk, with the state before each chunk and the one after the last.

    mix (N, B, C, C), below its diagonal; read and k (N, B, C, D), v (N, B, C, E), decay (N, B, 1, 1), state (B, D, E):
    (1 + mix[n]) writes[n] = v[n] - read[n] state[n], and state[n + 1] = decay[n] * state[n] + k[n]^T writes[n].
    """

    @staticmethod
    def forward(ctx, mix, read, v, k, decay, state):
        one = torch.eye(mix.size(-1), dtype=mix.dtype, device=mix.device).expand_as(mix)
        inverse = torch.linalg.solve_triangular(mix, one, upper=False, unitriangular=True)
        writes, states = torch.empty_like(v), state.new_empty(len(v) + 1, *state.shape)
        states[0] = state
        for n in range(len(v)):
            torch.bmm(inverse[n], torch.baddbmm(v[n], read[n], states[n], alpha=-1), out=writes[n])
            torch.mul(decay[n], states[n], out=states[n + 1]).baddbmm_(k[n].mT, writes[n])
        ctx.save_for_backward(inverse, read, k, decay, writes, states)
        return writes, states[:-1], states[-1]

    @staticmethod
    def backward(ctx, grad, before, last):
        inverse, read, k, decay, writes, states = ctx.saved_tensors
        grad, grad_v, grad_states = grad.clone(), torch.empty_like(grad), torch.cat((before, last[None]))
        for n in reversed(range(len(grad))):
            grad[n].baddbmm_(k[n], grad_states[n + 1])
            torch.bmm(inverse[n].mT, grad[n], out=grad_v[n])
            grad_states[n].addcmul_(decay[n], grad_states[n + 1]).baddbmm_(read[n].mT, grad_v[n], alpha=-1)
        before, later = states[:-1], grad_states[1:]
        grad_mix, grad_read = -(grad_v @ writes.mT).tril(-1), -(grad_v @ before.mT)
        grad_decay = (later * before).sum((-2, -1), keepdim=True)
        return grad_mix, grad_read, grad_v, writes @ later.mT, grad_decay, grad_states[0]


def delta_attend(q, k, v, beta, decay=1, past=None):
    """Attention to a state that corrects what it gives for a key: S[t]^T q[t] is the result (B, H, T, E), and

        S[t] = decay[t] * S[t-1] + beta[t] * k[t] (v[t] - decay[t] * S[t-1]^T k[t])^T.

    q (B, H, T, D), k (B, G, T, D) and v (B, G, T, E) with G dividing H; keys of length 1 keep it stable. `beta` in
    [0, 2] and `decay` in [0, 1]: numbers, or tensors that broadcast to (B, G, T, 1).
    """
    slot = past.slot() if past is not None else {}
    batch, groups, tokens, channels = k.shape
    state = slot["state"] if slot else k.new_zeros(batch, groups, channels, v.size(-1))
    q, beta, decay = q.unflatten(1, (groups, -1)), rates(beta, k), rates(decay, k)  # q (B, G, H / G, T, D)
    if tokens == 1:
        state = decay * state
        state = slot["state"] = state + k.mT * (beta * (v - k @ state))
        return (q.squeeze(-2) @ state).flatten(1, 2).unsqueeze(2)
    length = min(tokens, 16)  # what is fastest at 128 and 512 tokens, 16 to 32 channels
    q, k, v, beta = (in_chunks(x, length) for x in (q, k, v, beta))
    within, start, end, total = Decays.apply(in_chunks(decay, length, fill=1.0))
    mix = beta * (k @ k.mT) * within
    writes, before, last = Writes.apply(mix, k * (beta * start), beta * v, k * end, total, state.flatten(0, 1))
    slot["state"] = last.view_as(state).clone()  # not a view that keeps all the states
    within, start, k, writes, before = (x[:, :, None] for x in (within, start, k, writes, before))
    out = (q @ k.mT * within) @ writes + (q * start) @ before  # (N, B * G, H / G, length, E)
    return out.movedim(0, 2).flatten(2, 3).unflatten(0, (batch, groups)).flatten(1, 2)[:, :, :tokens]
