"""Nobody sees the future, and no sequence sees another.

Later tokens are exchanged, and made large: the vectors that they are embedded as grow ten-thousandfold. Large but
finite, since 0 times infinity would spoil what is right.
"""

from __future__ import annotations

import copy
import random
from typing import Any

import torch
from torch import Tensor, nn

from foundry.dsl.program import all_units
from foundry.testing.agreement import Overflow, require_close, require_same_bits, rounding
from foundry.testing.case import Broken, Case, Property, Skipped

SCALES = (1.0, 1e4, 30.0)  # of the vectors of the tokens that are changed


def causal(case: Case) -> None:
    """Later tokens, exchanged for others and large, change no earlier logit by a bit."""
    length = case.tokens.size(1)
    if length < 2:
        raise Skipped("sequences of one token")
    for cut in {1, length - 1, random.Random(case.seed).randint(1, length - 1)}:
        changed = torch.zeros_like(case.tokens, dtype=torch.bool)
        changed[:, cut:] = True
        rest_stays(case, changed, f"tokens from {cut} on change earlier logits")


def rows_apart(case: Case) -> None:
    """Other sequences of the batch, exchanged for others and large, change no logit of a sequence by a bit."""
    for row in range(case.tokens.size(0)):
        changed = torch.ones_like(case.tokens, dtype=torch.bool)
        changed[row] = False
        rest_stays(case, changed, f"other sequences change the logits of sequence {row}")


def rest_stays(case: Case, changed: Tensor, what: str) -> None:
    """Raises `Broken` if other tokens, or large ones, in some places change the logits of the rest.

    changed: which places, (B, T) booleans. A genome with experts puts tokens together at run time, so that its
    sums may round otherwise; the logits of any other have to be the same in every bit.
    """
    tokens, kept = exchanged(case, changed), ~changed
    checked = False
    for scale in SCALES:
        model = enlarged(case.model, changed, scale)
        with torch.no_grad(), Overflow() as overflow:
            found = model(tokens)
        try:
            if groups_tokens(case):
                require_close(found[kept], case.logits[kept], what, partial_rounding(case, kept))
            else:
                require_same_bits(found[kept], case.logits[kept], f"{what}, {scale:g} times as large")
            checked = True
        except Broken:
            if not overflow.seen:  # infinity times 0 is not our fault
                raise
    if not checked:
        raise Skipped("values overflow")


def exchanged(case: Case, changed: Tensor) -> Tensor:
    """The tokens, with those in some places exchanged for others."""
    vocab = case.module.VOCAB
    generator = torch.Generator().manual_seed(case.seed + 4)
    by = torch.randint(1, vocab, case.tokens.shape, generator=generator)
    return torch.where(changed, (case.tokens + by) % vocab, case.tokens)


def enlarged(model: nn.Module, changed: Tensor, scale: float) -> Any:
    """A copy of a model in which the vectors of the tokens in some places are `scale` times as large."""
    model = copy.deepcopy(model)

    def enlarge(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        if args[0].dim() == 1:  # positions
            return out
        return torch.where(changed[..., None], scale * out, out)

    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(enlarge)
    return model


def groups_tokens(case: Case) -> bool:
    """Whether tokens are put together at run time: those of one expert."""
    return any(node.op == "experts" for unit in all_units(case.program) for node in unit.nodes)


def partial_rounding(case: Case, part: Tensor) -> Any:
    """What rounding makes of the logits in some places, as a function to be asked."""
    return lambda: rounding(case, lambda model: model(case.tokens)[part])


def rows_in_any_order(case: Case) -> None:
    """Sequences in another order give their logits in that order; one by itself gives what it gives among others."""
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        close(case, case.model(case.tokens[order]), case.logits[order], "sequences in another order")
        for row in range(case.tokens.size(0)):
            found = case.model(case.tokens[row : row + 1])
            close(case, found, case.logits[row : row + 1], f"sequence {row} by itself")


def prefixes_agree(case: Case) -> None:
    """The logits of the beginning of a sequence are the beginning of its logits."""
    length = case.tokens.size(1)
    for count in {1, 2, length - 1, random.Random(case.seed).randint(1, length)} & set(range(1, length + 1)):
        with torch.no_grad():
            close(case, case.model(case.tokens[:, :count]), case.logits[:, :count], f"the first {count} tokens alone")


def close(case: Case, found: Tensor, expected: Tensor, what: str) -> None:
    """Raises `Broken` unless logits agree but for rounding."""
    require_close(found, expected, what, lambda: rounding(case, lambda model: model(case.tokens)))


PROPERTIES = (
    Property("causal", "No logit depends, by a bit, on a later token.", causal),
    Property("rows-apart", "No logit depends, by a bit, on another sequence of the batch.", rows_apart),
    Property(
        "rows-in-any-order", "The order and the number of a batch's sequences make no difference.", rows_in_any_order
    ),
    Property("prefix", "The logits of a prefix are a prefix of the logits.", prefixes_agree),
)
