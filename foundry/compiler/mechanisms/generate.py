"""Sampling from a model token by token."""

import torch

from foundry.compiler.mechanisms.past import Past

LONGEST: int | None = None


@torch.no_grad()
def generate(model, tokens, count, temperature=1.0, generator=None):
    """`count` more tokens after `tokens` (B, T); temperature 0 takes the likeliest. Nothing is computed twice, but
    when the positions run out it starts again from the last half of them."""
    past, new = Past(last=True), tokens if LONGEST is None else tokens[:, -LONGEST:]
    for _ in range(count):
        if LONGEST is not None and past.position + new.size(1) > LONGEST:
            past, new = Past(last=True), tokens[:, -max(1, LONGEST // 2) :]
        logits = model(new, past)[:, -1]
        if temperature > 0:
            new = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        else:
            new = logits.argmax(-1, keepdim=True)
        tokens = torch.cat((tokens, new), 1)
    return tokens
