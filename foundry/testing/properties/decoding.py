"""Decoding with a past gives what the full pass gives, in pieces of any length."""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from torch import Tensor

from foundry.testing.agreement import require_close, require_same_bits, rounding
from foundry.testing.case import Broken, Case, Property, Skipped

GREEDY = 9  # tokens that are generated
CLOSE_CALL = 1e-6  # a lead of the likeliest token, relative to its logit, that rounding may turn over


def decoded(case: Case, chunks: list[int]) -> Tensor:
    """The logits of the case's tokens, decoded in pieces of these lengths."""
    past, parts, done = case.module.Past(), [], 0
    for chunk in case.tokens.split(chunks, 1):
        parts.append(case.model(chunk, past))
        done += chunk.size(1)
        if past.position != done:
            raise Broken(f"after {done} tokens the past is at {past.position}")
    return torch.cat(parts, 1)


def in_pieces(case: Case) -> None:
    """Logits of tokens decoded one by one, at once, or in any pieces, are those of the full pass."""
    length = case.tokens.size(1)
    draw = random.Random(case.seed)
    fives = [5] * (length // 5) + [length % 5] * (length % 5 > 0)
    for chunks in ([1] * length, [length], fives, pieces(draw, length), pieces(draw, length)):
        with torch.no_grad():
            found = decoded(case, chunks)
        require_close(found, case.logits, f"decoding in pieces of {chunks}", lambda: noise(case))


def pieces(draw: random.Random, length: int) -> list[int]:
    """Lengths that add up to `length`."""
    cuts = sorted(draw.sample(range(1, length), draw.randint(1, length - 1))) if length > 1 else []
    return [b - a for a, b in zip([0, *cuts], [*cuts, length], strict=True)]


def noise(case: Case) -> float:
    """How far rounding moves the logits."""
    return rounding(case, lambda model: model(case.tokens))


def pasts_can_be_copied(case: Case) -> None:
    """A copied past goes on as the original does, and neither disturbs the other."""
    length = case.tokens.size(1)
    if length < 3:
        raise Skipped("sequences of less than three tokens")
    cut = random.Random(case.seed).randint(1, length - 2)
    first, second = case.tokens[:, :cut], case.tokens[:, cut:]
    other = (second + 1) % case.module.VOCAB
    with torch.no_grad():
        past = case.module.Past()
        case.model(first, past)
        twin = copy.deepcopy(past)
        wrong = copy.deepcopy(past)
        case.model(other, wrong)  # another continuation, which nobody may notice
        found = case.model(second, past)
        require_same_bits(copy.deepcopy(case.model)(second, twin), found, "a copied past")
        require_close(found, case.logits[:, cut:], "after a copy of the past went on", lambda: noise(case))


def generates(case: Case) -> None:
    """Greedy generation chooses the likeliest token of the full pass, again and again."""
    module, start = case.module, case.tokens[:, :2]
    out = module.generate(case.model, start, GREEDY, temperature=0)
    if out.shape != (len(start), start.size(1) + GREEDY) or not torch.equal(out[:, : start.size(1)], start):
        raise Broken(f"generation made {tuple(out.shape)} of {tuple(start.shape)}")
    if not (out.min() >= 0 and out.max() < module.VOCAB):
        raise Broken("generation made a token outside the vocabulary")
    reach = min(out.size(1), module.LONGEST or out.size(1))
    with torch.no_grad():
        logits = case.model(out[:, :reach])
    if not logits.isfinite().all():
        raise Skipped("values overflow")
    for t in range(start.size(1), reach):
        chosen = logits[:, t - 1].gather(-1, out[:, t, None])[:, 0]
        best = logits[:, t - 1].amax(-1)
        behind = (best - chosen) / best.abs().clamp(min=1e-30)
        if behind.max() > CLOSE_CALL:
            if noise(case) > 1e-9:
                raise Skipped("rounding alone moves the logits")
            raise Broken(f"token {t} is not the likeliest: behind by {behind.max().item():.2g}")


def nothing_is_left_behind(case: Case) -> None:
    """Two sequences decoded in turn with two pasts do not disturb each other, and a batch decodes like its rows."""
    length = case.tokens.size(1)
    with torch.no_grad():
        pasts: list[Any] = [case.module.Past() for _ in case.tokens]
        parts = [
            torch.cat([case.model(row[None, t : t + 1], past) for row, past in zip(case.tokens, pasts, strict=True)])
            for t in range(length)
        ]
    require_close(torch.cat(parts, 1), case.logits, "sequences decoded in turn", lambda: noise(case))


PROPERTIES = (
    Property("decoding", "Decoding with a past equals the full pass, in pieces of any length.", in_pieces),
    Property("past-copies", "A copied past goes on as its origin would.", pasts_can_be_copied),
    Property("pasts-apart", "Sequences decoded in turn do not disturb each other.", nothing_is_left_behind),
    Property("generates", "Greedy generation follows the logits of the full pass.", generates),
)
