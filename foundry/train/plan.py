"""The steps of a training run, known before it begins: progress, context, batch and learning rate of each."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

SHORTEST = 8  # tokens of context, and what a longer one is a multiple of
FEWEST_STEPS = 8
MOST_STEPS = 5_000_000  # all of them are planned, and kept in memory


class PlanError(ValueError):
    """A recipe that cannot be trained in this length. The message says why."""


@dataclass(frozen=True)
class Step:
    """progress: what is spent before this step, as a share of the whole. context, rows: the shape of the batch.
    factor: on every peak learning rate. compute: what the step spends, in the unit of the whole: flop-equivalents where
    a proxy is trained. share: of the data, the easiest first, that the step draws from."""

    progress: float
    context: int
    rows: int
    factor: float
    compute: float
    share: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens that this step trains on."""
        return self.rows * self.context


@dataclass(frozen=True)
class Length:
    """How long a run is: until what its steps cost adds up to `amount`, each `step`, and each of its tokens `token` and
    `reach` times the context. unit: what all four are in: tokens, steps or seconds."""

    amount: float
    unit: str
    step: float = 0.0
    token: float = 0.0
    reach: float = 0.0

    def cost(self, rows: int, context: int) -> float:
        """What a step costs."""
        return self.step + rows * context * (self.token + self.reach * context)


def plan_steps(
    module: ModuleType, *, compute: float, compute_per_token: Callable[[int], float], max_context: int
) -> list[Step]:
    """The steps that use up `compute` (flop-equivalents) as nearly as whole steps can.

    compute_per_token is asked at every step; it should remember its answers.

    Raises:
        PlanError: see `plan`.
    """
    return plan(module, compute, lambda rows, context: rows * context * compute_per_token(context), max_context)


def plan_length(module: ModuleType, length: Length, max_context: int) -> list[Step]:
    """The steps of a run of some length.

    Raises:
        PlanError: see `plan`.
    """
    return plan(module, length.amount, length.cost, max_context, f"a length of {length.amount:,.0f} {length.unit}")


def plan(
    module: ModuleType, whole: float, cost: Callable[[int, int], float], max_context: int, what: str = "the compute"
) -> list[Step]:
    """The steps that use up `whole` as nearly as whole steps can. cost: of a step, by its rows and its context.

    The schedule is a function of what is spent, so that it is complete at any budget. The context that
    the recipe asks for is rounded to a multiple of SHORTEST and clipped to [SHORTEST, max_context] and to the
    module's LONGEST; a step takes BATCH // context rows, at least one.

    Raises:
        PlanError: fewer than FEWEST_STEPS steps, more than MOST_STEPS, or a schedule, context or difficulty that is
            not a finite number.
    """
    steps: list[Step] = []
    spent = 0.0
    while True:
        progress = spent / whole
        context = context_at(module, progress, max_context)
        rows = max(1, module.BATCH // context)
        price = cost(rows, context)
        if spent + price / 2 > whole:
            break
        if len(steps) == MOST_STEPS:
            raise PlanError(f"{what} takes more than {MOST_STEPS:,} steps: train for less, or with a larger batch")
        factor = _finite(module.schedule, "schedule", progress)
        if factor < 0:
            raise PlanError(f"the schedule is {factor:.3g} at t = {progress:.3g}, and a rate below 0 unlearns")
        steps.append(Step(progress, context, rows, factor, price, share_at(module, progress)))
        spent += price
    if len(steps) < FEWEST_STEPS:
        raise PlanError(f"{what} allows {len(steps)} steps, and training needs {FEWEST_STEPS}")
    return steps


def context_at(module: ModuleType, progress: float, max_context: int) -> int:
    """The context that a recipe trains with at a progress, in tokens; see `plan_steps`.

    Raises:
        PlanError: it is not a finite number.
    """
    longest = max_context if module.LONGEST is None else min(max_context, module.LONGEST)
    asked = SHORTEST * round(_finite(module.context, "context", progress) / SHORTEST)
    return max(min(SHORTEST, longest), min(asked, longest))


def share_at(module: ModuleType, progress: float) -> float:
    """The part of the data that is in use at a progress: at most all of it.

    Raises:
        PlanError: it is not a finite number.
    """
    if not hasattr(module, "difficulty"):
        return 1.0
    return min(max(_finite(module.difficulty, "difficulty", progress), 0.0), 1.0)


def _finite(function: Callable[[float], float], name: str, progress: float) -> float:
    try:
        value = float(function(progress))
    except (ArithmeticError, ValueError, TypeError) as error:
        raise PlanError(f"the {name} has no value at t = {progress:.3g} ({error})") from None
    if not math.isfinite(value):
        raise PlanError(f"the {name} is {value} at t = {progress:.3g}")
    return value
