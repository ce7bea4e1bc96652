"""Whether two results are the same: in every bit, or but for rounding.

A genome may hold functions that jump (a floor, a comparison, the largest channels), and where a value stands on the
edge, two right computations that round differently disagree. So a disagreement counts only if the model itself stays
put when its weights change by about as little as rounding does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from foundry.testing.case import Broken, Case, Skipped
from foundry.testing.double import float64
from foundry.testing.reference import Reference
from foundry.testing.weights import weights_by_key

RELATIVE = 1e-9  # of the size of the values, in float64
NUDGE = 1e-13  # of each weight: what some hundred roundings in float64 add up to
DRAWS = 3  # of nudged weights


def size(x: Tensor) -> float:
    """The largest magnitude among the finite values of x, at least 1e-30."""
    finite = x[x.isfinite()]
    return max(finite.abs().max().item() if finite.numel() else 0.0, 1e-30)


def distance(found: Tensor, expected: Tensor) -> float:
    """The largest difference relative to the size of `expected`; inf where one is finite and the other is not."""
    if found.shape != expected.shape:
        raise Broken(f"the shape is {tuple(found.shape)} instead of {tuple(expected.shape)}")
    finite = expected.isfinite()
    if not torch.equal(finite, found.isfinite()):
        return float("inf")
    gap = (found - expected)[finite]
    return gap.abs().max().item() / size(expected) if gap.numel() else 0.0


def require_same_bits(found: Tensor, expected: Tensor, what: str) -> None:
    """Raises `Broken` where two tensors differ in any bit. One NaN is like another."""
    if found.shape != expected.shape:
        raise Broken(f"{what}: the shape is {tuple(found.shape)} instead of {tuple(expected.shape)}")
    if found.dtype != expected.dtype:
        raise Broken(f"{what}: {found.dtype} instead of {expected.dtype}")
    same = (found == expected) | ((found != found) & (expected != expected))
    if not same.all():
        raise Broken(f"{what}: {(~same).sum().item()} of {same.numel()} values differ, by {gap(found, expected):.3g}")


def gap(found: Tensor, expected: Tensor) -> float:
    """The largest difference between two tensors of one shape."""
    return (found.double() - expected.double()).abs().max().item() if found.numel() else 0.0


def require_close(
    found: Tensor, expected: Tensor, what: str, noise: Callable[[], float], relative: float = RELATIVE
) -> None:
    """Raises `Broken` where two tensors differ by more than rounding explains.

    noise: how far the expected values move, relative to their size, when the weights are nudged; asked only if there
    is a difference. Raises `Skipped` if that is enough to explain it.
    """
    if not expected.isfinite().any():
        raise Skipped("no value is finite")
    apart = distance(found, expected)
    if apart <= relative:
        return
    moved = noise()
    if apart <= 1000 * moved:
        raise Skipped(f"rounding alone moves the values by {moved:.1g} of their size")
    raise Broken(f"{what}: the difference is {apart:.2g} of the size of the values, and rounding makes {moved:.1g}")


def rounding(case: Case, run: Callable[[Any], Tensor], nudge: float = NUDGE) -> float:
    """How far what `run` makes of a case's model moves, relative to its size, when every weight is nudged.

    Raises `Skipped` where something is decided between equal numbers: a token that comes twice makes equal logits,
    whatever the weights, so that nudging them tells nothing.
    """
    if hangs_on_rounding(case):
        raise Skipped("a choice between numbers that are equal but for rounding")
    expected = run(case.model)
    return max(distance(run(nudged(case, nudge, draw)), expected) for draw in range(DRAWS))


def hangs_on_rounding(case: Case) -> bool:
    """Whether the reference, on the case's tokens, meets a choice between numbers that are equal but for rounding."""
    with torch.no_grad(), float64():
        reference = Reference(weights_by_key(case, case.model))
        reference.logits(case.program, case.tokens)
    return reference.watch is not None and bool(reference.watch.jumps)


def nudged(case: Case, nudge: float, draw: int) -> nn.Module:
    """The case's model with every weight, and every embedded token by itself, changed by about `nudge` of its value.

    By itself, since one token here and there gives two values that are equal but for rounding: a tie that no change of
    the weights would break.
    """
    model = case.fresh()
    generator = torch.Generator().manual_seed(case.seed + 17 + draw)

    def moved(x: Tensor) -> Tensor:
        return x * (1 + nudge * torch.randn(x.shape, generator=generator, dtype=x.dtype))

    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(moved(weight))
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.register_forward_hook(lambda module, args, out: moved(out))
    return model


class Overflow(TorchDispatchMode):
    """Notes whether any operation inside gave a value that is infinite or no number.

    Minus infinity is what a logit has that does not count, so it alone is no overflow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.seen = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, Tensor) and x.is_floating_point() and not self.seen:
                self.seen = bool((x.isnan() | (x == torch.inf)).any())
        return out
