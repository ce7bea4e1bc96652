"""The plan: equal compute, a complete schedule, contexts within bounds, and recipes that cannot be trained."""

import math

import pytest

from foundry.train.plan import FEWEST_STEPS, PlanError, plan_steps


def plan(module, compute=51_200.0, per_token=lambda context: 1.0, max_context=256):
    return plan_steps(module, compute=compute, compute_per_token=per_token, max_context=max_context)


def test_steps_are_what_the_compute_pays_for(module):
    # 51,200 units at one unit a token and 256 tokens a step
    assert len(plan(module)) == 200
    assert len(plan(module, per_token=lambda context: 4.0)) == 50


@pytest.mark.parametrize("batch", [96, 256, 1000])
@pytest.mark.parametrize("price", [1.0, 3.7, 11.0])
def test_the_compute_spent_differs_by_at_most_half_a_step(module, batch, price):
    module.BATCH = batch
    steps = plan(module, compute=200_000.0, per_token=lambda context: price)
    spent = sum(step.compute for step in steps)
    assert spent == pytest.approx(sum(step.tokens for step in steps) * price)
    assert abs(spent - 200_000) <= max(step.compute for step in steps) / 2


def test_progress_is_compute_and_the_schedule_is_complete(module):
    module.context = lambda t: 64 if t < 0.5 else 128
    steps = plan(module, per_token=lambda context: context / 64)
    spent = 0.0
    for step in steps:
        assert step.progress == pytest.approx(spent / 51_200)
        assert step.factor == module.schedule(step.progress)
        spent += step.compute
    assert steps[0].factor == 0.0
    assert 0.98 < steps[-1].progress < 1
    # half of the compute, so two thirds of the tokens, at 64
    assert sum(s.tokens for s in steps if s.context == 64) == pytest.approx(25_600, abs=256)
    assert sum(s.tokens for s in steps if s.context == 128) == pytest.approx(12_800, abs=256)


@pytest.mark.parametrize(
    "asked, longest, context",
    [(61, None, 64), (59.9, None, 56), (1e9, None, 256), (0, None, 8), (-5, None, 8), (128, 100, 100), (128, 4, 4)],
)
def test_context_is_rounded_and_clipped(module, asked, longest, context):
    module.context, module.LONGEST = lambda t: asked, longest
    assert {step.context for step in plan(module)} == {context}


def test_a_batch_holds_at_least_one_row(module):
    module.context = lambda t: 104
    assert plan(module)[0].rows == 2
    module.BATCH = 64
    assert plan(module)[0].rows == 1


def test_too_few_steps_are_refused(module):
    assert len(plan(module, compute=256.0 * FEWEST_STEPS)) == FEWEST_STEPS
    with pytest.raises(PlanError, match="the compute allows 7 steps, and training needs 8"):
        plan(module, compute=256.0 * (FEWEST_STEPS - 1))


@pytest.mark.parametrize("name", ["schedule", "context"])
@pytest.mark.parametrize(
    "function",
    [
        lambda t: 1 / (t - t),
        lambda t: math.log(-1 - t),
        lambda t: float("nan"),
        lambda t: float("inf"),
        lambda t: (-1.0 - t) ** 0.5,
        lambda t: math.exp(1e4 * (1 + t)),
    ],
)
def test_a_schedule_without_a_finite_value_is_refused(module, name, function):
    setattr(module, name, function)
    with pytest.raises(PlanError, match=f"the {name} (has no value|is (nan|inf)) at t = 0"):
        plan(module)


def test_a_schedule_below_zero_is_no_schedule(module):
    module.schedule = lambda t: 0.5 - t
    with pytest.raises(PlanError, match="the schedule is -"):
        plan(module)


def test_a_curriculum_over_difficulty_sets_the_share_of_the_data(module):
    assert {step.share for step in plan(module)} == {1.0}, "all of the data where the recipe does not say"
    module.difficulty = lambda t: 2 * t - 0.1
    shares = [step.share for step in plan(module)]
    assert shares[0] == 0.0 and shares[-1] == 1.0 and shares == sorted(shares)
    module.difficulty = lambda t: math.nan
    with pytest.raises(PlanError, match="the difficulty is nan"):
        plan(module)
