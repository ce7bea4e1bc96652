"""Where rounding decides: operations that jump or bend, at numbers that are equal but for rounding.

Two correct programs may add in another order and land on either side, so nothing can be told from such a place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from foundry.dsl.program import Node
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import FLOAT

NEAR = 1e-11  # for the size of two numbers
CHANNEL = -1


@dataclass
class Watch:
    """What a run came across.

    jumps: operations whose result hung on rounding. kinks: those whose slope did. finite: whether every number was.
    """

    jumps: set[str] = field(default_factory=set)
    kinks: set[str] = field(default_factory=set)
    finite: bool = True

    def see(self, node: Node, args: list[Any], result: Any) -> None:
        """Note one operation, its inputs and its result."""
        if not isinstance(result, Tensor):
            return
        self.finite = self.finite and bool(result.isfinite().all())
        values = [a.detach() for a in args if isinstance(a, Tensor)]
        if node.op == "top" and tie(values[0], node.attrs["count"], CHANNEL):
            self.jumps.add(node.op)
        deciding = node.inputs[:1] if node.op == "where" else node.inputs
        if node.op not in PRIMITIVES or not any(map(_is_decimal, deciding)):
            return  # whole numbers are equal or not
        if node.op in JUMPS and near(*JUMPS[node.op](*values)).any():
            self.jumps.add(node.op)
        if node.op in KINKS and near(*KINKS[node.op](*values)).any():
            self.kinks.add(node.op)
        if node.op in ("largest", "smallest") and tie(values[0] if node.op == "largest" else -values[0], 1, CHANNEL):
            self.kinks.add(node.op)


def tie(x: Tensor, count: int, axis: int) -> bool:
    """Whether the last of the `count` largest along an axis is as large as the next."""
    if count >= x.size(axis):
        return False
    last, after = x.sort(axis, descending=True).values.narrow(axis, count - 1, 2).unbind(axis)
    return bool(near(last, after).any())


def near(a: Tensor, b: Tensor) -> Tensor:
    """Where two numbers are equal but for rounding. Minus infinity, of a logit that does not count, is no choice."""
    close = (a - b).abs() <= NEAR * torch.maximum(a.abs(), b.abs())
    return close & a.isfinite() & b.isfinite()


def _is_decimal(value: Node | float) -> bool:
    return value.type.dtype == FLOAT if isinstance(value, Node) else not float(value).is_integer()


def _both(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return a, b


def _round(x: Tensor) -> tuple[Tensor, Tensor]:
    return x, x.round()


def _zero(x: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
    return x, torch.zeros_like(x)


def _either_zero(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    return _zero(a * b)


# The two values whose order decides, of operations that jump where they meet, and of those whose slope does.
Pair = Callable[..., tuple[Tensor, Tensor]]
JUMPS: dict[str, Pair] = {
    **dict.fromkeys(("less", "less_equal", "greater", "greater_equal", "equal", "unequal"), _both),
    **dict.fromkeys(("both", "either"), _either_zero),
    **dict.fromkeys(("where", "invert"), _zero),
    **dict.fromkeys(("floor", "lookup"), _round),
    "remainder": lambda a, b: _round(a / b),
}
KINKS: dict[str, Pair] = {
    **dict.fromkeys(("minimum", "maximum"), _both),
    **dict.fromkeys(("relu", "abs"), _zero),
}
