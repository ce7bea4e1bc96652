"""Recipes: an optimizer with its rates, and what else a model trains by."""

from __future__ import annotations

from collections.abc import Callable

from foundry.dsl.syntax import Call
from foundry.generate.draw import Draw, weighted
from foundry.generate.parts import small_part
from foundry.generate.trees import Value, call, list_of, rounded


def random_optimizer(draw: Draw) -> Call:
    """An optimizer with rates that suit it at this size."""
    betas = list_of(draw.choice((0.9, 0.85, 0.95)), draw.choice((0.95, 0.98, 0.99)))
    decay = draw.choice((0.1, 0.0, 0.03, 0.3))

    def rate(low: float, high: float) -> float:
        return rounded(low * (high / low) ** draw.number(0, 1))

    options: list[tuple[float, Callable[[], Call]]] = [
        (3, lambda: call("adamw", lr=rate(2e-3, 1.2e-2), betas=betas, decay=decay)),
        (3, lambda: call("muon", lr=rate(8e-3, 4e-2), decay=decay, adamw_lr=rate(2e-3, 1e-2))),
        (1, lambda: call("lion", lr=rate(2e-4, 1.5e-3), betas=list_of(0.9, 0.99), decay=decay)),
    ]
    return weighted(draw, options)()


def random_recipe(draw: Draw) -> Call:
    """`train(…)`: optimizer and schedule, nearly always rates by inputs, at times a loss, curricula and a clip."""
    given: dict[str, Value] = {"optimizer": random_optimizer(draw), "schedule": small_part(draw, "schedule")}
    if draw.chance(0.2):
        given["loss"] = small_part(draw, "loss")
    if draw.chance(0.25):
        given["context"] = small_part(draw, "context")
    if draw.chance(0.1):
        given["difficulty"] = small_part(draw, "difficulty")
    given["batch"] = draw.choice((1024, 512, 2048))
    if draw.chance(0.2):
        given["clip"] = draw.choice((0.5, 2.0))
    if draw.chance(0.9):
        given["transfer"] = draw.choice((64, 64, 64, 32, 128))
    return call("train", **given)
