"""The budget of a run: wall-clock time, evaluations or floating-point operations, all of it included."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

UNITS = {  # what a unit is called, the kind of budget, and its size in that kind
    "s": ("seconds", 1.0), "sec": ("seconds", 1.0), "min": ("seconds", 60.0), "m": ("seconds", 60.0),
    "h": ("seconds", 3600.0), "d": ("seconds", 86400.0),
    "evals": ("evals", 1.0), "eval": ("evals", 1.0),
    "flop": ("flop", 1.0), "flops": ("flop", 1.0),
}  # fmt: skip

# The least in which the baselines are measured and tuned, some children are tried, and the best of them
# is confirmed on three seeds.
SHORTEST = {"seconds": 60.0, "evals": 40.0, "flop": 1e13}
LONGEST = {"seconds": 365 * 86400.0, "evals": 1e9, "flop": 1e24}

EXAMPLES = "write it like 10min, 90s, 2h, 500evals or 1e15flop"


class BudgetError(ValueError):
    """A budget that cannot be used. The message is one line: what is wrong, and what to write instead."""


@dataclass(frozen=True)
class Budget:
    """`amount` of `kind`: seconds of wall-clock time, evals (evaluations of any length), or flop.

    flop counts training as the cost model does: three forward passes, and bytes moved at their worth.
    """

    kind: str
    amount: float

    def __str__(self) -> str:
        if self.kind != "seconds":
            return f"{self.amount:g}{self.kind}"
        for unit, size in (("h", 3600), ("min", 60)):
            if self.amount >= size and self.amount % size == 0:
                return f"{self.amount / size:g}{unit}"
        return f"{self.amount:g}s"


def parse_budget(text: str) -> Budget:
    """`10min`, `90s`, `2h`, `500evals` or `1e15flop` as a Budget.

    Raises:
        BudgetError: it is not such a text, or too little to confirm anything, or beyond bounds.
    """
    shown = text if len(text) <= 40 else text[:40] + "…"
    match = re.fullmatch(
        r"\s*([-+]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:e[-+]?\d{1,4})?)\s*([a-z]*)\s*", text.lower(), re.ASCII
    )
    if match is None:
        raise BudgetError(f"budget {shown!r} is not a number with a unit; {EXAMPLES}")
    number, unit = float(match[1]), match[2]
    if not unit:
        raise BudgetError(f"budget {shown!r} has no unit; {EXAMPLES}")
    if unit not in UNITS:
        raise BudgetError(f"budget {shown!r}: unknown unit {unit[:20]!r}; {EXAMPLES}")
    kind, size = UNITS[unit]
    amount = number * size
    if amount <= 0 or not math.isfinite(amount):
        raise BudgetError(f"budget {shown!r} is not a positive, finite amount; {EXAMPLES}")
    if kind == "evals" and amount != int(amount):
        raise BudgetError(f"budget {shown!r}: evaluations come in whole numbers; {EXAMPLES}")
    if amount < SHORTEST[kind]:
        shortest = Budget(kind, SHORTEST[kind])
        raise BudgetError(f"budget {shown!r} is too short to confirm anything; the shortest that can is {shortest}")
    if amount > LONGEST[kind]:
        raise BudgetError(f"budget {shown!r} is beyond all bounds; the longest is {Budget(kind, LONGEST[kind])}")
    return Budget(kind, amount)
