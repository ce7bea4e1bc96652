"""The forms of one computation agree: fused and written out, and PyTorch's flex attention beside both."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.attention import flex_attention as flex

from foundry.dsl.program import Node, Unit
from foundry.testing.case import Case, Property, Skipped
from foundry.testing.definitions import AXES, HEAD
from foundry.testing.double import float64, load_double, stirred
from foundry.testing.general import emit_with_general_attention, emit_written_out
from foundry.testing.properties.meaning import CLOSE, differ, judge
from foundry.testing.reference import Attended, Reference
from foundry.testing.weights import weights_by_key

Spot = tuple[Tensor, Tensor, Tensor, Tensor]  # batch, head, position of the query, position of the key


def attention_forms(case: Case) -> None:
    same(case, emit_with_general_attention(case.program), "no attention that has a cheaper form")


def recognised(case: Case) -> None:
    same(case, emit_written_out(case.program), "no formula that PyTorch has an operation for")


def same(case: Case, source: str, otherwise: str) -> None:
    """Compare the emitted file with another one for the same program, on the same weights."""
    if source == case.source:
        raise Skipped(otherwise)
    with torch.no_grad(), float64():
        model = stirred(case.double, case.seed)
        other = load_double(source).Model().eval()
        weights = weights_by_key(case, other)
        for key, weight in weights_by_key(case, model).items():
            weights[key].copy_(weight)
        apart = differ(model(case.tokens), other(case.tokens))
        if apart > CLOSE:  # the reference knows whether rounding decides anything
            reference = Reference(weights)
            reference.logits(case.program, case.tokens)
            judge("logits of two forms", apart, reference)


def flex_agrees(case: Case) -> None:
    with torch.no_grad(), float64():
        model = stirred(case.double, case.seed)
        reference = Reference(weights_by_key(case, model))
        reference.logits(case.program, case.tokens)
        runs = {run.node: run for run in reference.attended if not run.node.attrs["top"]}  # flex has no such choice
        if not runs:
            raise Skipped("no attention that flex can say")
        for run in runs.values():
            judge(f"values of {run.node!r}", differ(by_flex(run, reference), run.result), reference)


def by_flex(run: Attended, reference: Reference) -> Tensor:
    """The result of an `attend` (B, H, T, 1, E) by PyTorch's flex attention, from the same score and mask.

    A sink is one more key, which every query sees, and whose value is 0.
    """
    node, (q, k, v, *rest) = run.node, run.inputs
    seen = rest[len(rest) - node.attrs["seen"] :]
    q, k, v = (x[:, :, :, 0] for x in (q, k, v))
    score, mask = (at_a_pair(node.attrs[name], seen, reference, run) for name in ("score", "mask"))
    keys = k.size(2)
    if node.attrs["sink"]:
        sink = rest[0].expand(q.size(0), q.size(1), q.size(2), 1, 1)[..., 0, 0]
        k, v = (torch.nn.functional.pad(x, (0, 0, 0, 1)) for x in (k, v))

    def counts(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        seen = j <= i if mask is None else (j <= i) & (mask(torch.zeros(()), (b, h, i, torch.minimum(i, j))) != 0)
        return seen | (j == keys)

    def logit(s: Tensor, b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        s = s if score is None else score(s, (b, h, i, torch.minimum(i, j)))
        return torch.where(j == keys, sink[b, h, i], s) if node.attrs["sink"] else s

    with warnings.catch_warnings(), patch.object(flex, "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG", True, create=True):
        warnings.simplefilter("ignore")
        block = flex.create_block_mask(counts, q.size(0), q.size(1), q.size(2), k.size(2), device="cpu")
        gqa = q.size(1) != k.size(1)
        out = flex.flex_attention(q, k, v, logit, block, scale=node.attrs["scale"], enable_gqa=gqa)
    return out[:, :, :, None]


def at_a_pair(
    unit: Unit | None, seen: list[Tensor], reference: Reference, run: Attended
) -> Callable[[Tensor, Spot], Tensor] | None:
    """A score or a mask as a function of one logit and its place, all of them tensors without axes."""
    if unit is None:
        return None

    def value(node: Node, s: Tensor, spot: Spot) -> Tensor:
        b, h, i, j = spot
        if "view" not in node.attrs:
            return {"s": s, "h": h.double(), "i": i.double(), "j": j.double()}[node.attrs["name"]]
        kind, index = node.attrs["view"]
        x = seen[index][..., 0, 0]  # (B, H or 1, T)
        return x[b if x.size(0) > 1 else 0 * b, h if x.size(HEAD) > 1 else 0 * h, i if kind == "query" else j]

    def at(s: Tensor, spot: Spot) -> Tensor:
        inputs = [value(node, s, spot).view((1,) * AXES) for node in unit.inputs]
        result = Reference(reference.weights, watch=None).run(unit, inputs, run.copies)
        return result[0, spot[1] if result.size(HEAD) > 1 else 0].reshape(())  # learned numbers have every head

    return at


PROPERTIES = (
    Property("attention-forms", "Every form of attention computes what the most general one does.", attention_forms),
    Property("recognised", "An operation of PyTorch computes what the formula says that it stands for.", recognised),
    Property("flex-attention", "Every attention is what PyTorch's flex attention makes of its score.", flex_agrees),
)
