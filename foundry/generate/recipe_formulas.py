"""The formulas of a recipe: schedules and curricula, which are functions of progress, and losses."""

from __future__ import annotations

from foundry.dsl.syntax import Expr, Function
from foundry.generate.draw import Draw, weighted
from foundry.generate.formulas import with_used_parameters
from foundry.generate.trees import call, expr, fn, op, rounded


def random_schedule(draw: Draw, depth: int = 1) -> Function:
    """`fn(t) => …`: a warm-up times a way down, never below 0."""
    warmup = draw.choice((0.02, 0.05, 0.1, 0.01, 0.2))
    floor = draw.choice((0.1, 0.0, 0.05, 0.02, 0.2))
    down: list[tuple[float, Expr]] = [
        (2, op(0.5, "*", op(1, "+", call("cos", op("pi", "*", "t"))))),
        (2, op(1, "-", "t")),
        (2, call("min", 1, op(op(1, "-", "t"), "/", draw.choice((0.3, 0.5, 0.2, 0.7))))),
        (1, op(op(1, "-", "t"), "**", draw.choice((2, 1.5, 0.5)))),
        (1, op(1, "-", op("t", "**", draw.choice((2, 3, 0.5))))),
        (0.5, op(call("exp", op(-draw.choice((3, 2, 5)), "*", "t")), "*", op(1, "-", op("t", "**", 4)))),
    ]
    shape = weighted(draw, down)
    if floor:
        shape = op(floor, "+", op(rounded(1 - floor), "*", shape))
    return fn(("t",), op(call("min", op("t", "/", warmup), 1), "*", shape))


def random_context(draw: Draw, depth: int = 1) -> Function:
    """`fn(t) => …`: the training context in tokens, growing up to 128."""
    turn = draw.choice((0.3, 0.5, 0.2, 0.7))
    shapes: list[tuple[float, Expr]] = [
        (2, expr(128)),
        (2, call("where", op("t", "<", turn), 64, 128)),
        (1, call("where", op("t", "<", turn), 32, 128)),
        (1, call("where", op("t", "<", 0.2), 32, call("where", op("t", "<", 0.6), 64, 128))),
        (1, call("min", 128, op(32, "+", op(160, "*", "t")))),
    ]
    return fn(("t",), weighted(draw, shapes))


def random_difficulty(draw: Draw, depth: int = 1) -> Function:
    """`fn(t) => …`: the easiest share of the data in use, growing to all of it."""
    first = draw.choice((0.3, 0.5, 0.2, 0.7))
    turn = draw.choice((0.5, 0.3, 0.7))
    shapes: list[tuple[float, Expr]] = [
        (2, call("min", 1, op(first, "+", op(rounded((1 - first) / turn), "*", "t")))),
        (1, call("where", op("t", "<", turn), first, 1)),
        (1, call("min", 1, op(first, "+", call("sqrt", "t")))),
    ]
    return fn(("t",), weighted(draw, shapes))


def random_loss(draw: Draw, depth: int = 1) -> Function:
    """`fn(logits, y, teacher) => …` with only what it uses: cross entropy per token, and a small extra.

    The divergence from a teacher is nothing where there is none: the model's own logits, held fixed, then teach it.
    """
    loss: Expr = call("cross_entropy", "logits", "y")
    small = draw.choice((1e-4, 1e-3, 3e-5))
    extras: list[tuple[float, Expr]] = [
        (2, op(small, "*", op(call("logsumexp", "logits"), "**", 2))),
        (1, op(draw.choice((0.01, 0.03)), "*", op(call("logsumexp", "logits"), "-", call("mean", "logits")))),
        (0.7, op(small, "*", call("mean", op("logits", "*", "logits")))),
        (0.3, op(draw.choice((0.5, 1.0, 0.2)), "*", _divergence("teacher", "logits"))),
    ]
    body = op(loss, "+", weighted(draw, extras))
    if draw.chance(0.15):
        body = op(loss, "*", op(0.5, "+", op(0.5, "*", call("tanh", loss))))
    return with_used_parameters(("logits", "y", "teacher"), body)


def _divergence(of: str, to: str) -> Expr:
    """The Kullback-Leibler divergence of the shares of one set of logits from those of another, per token."""
    surprise = op(op(of, "-", call("logsumexp", of)), "-", op(to, "-", call("logsumexp", to)))
    return call("sum", op(call("softmax", of), "*", surprise))
