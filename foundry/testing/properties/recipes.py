"""What follows from progress, and the learning rates that follow from the graph, are the same wherever computed."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

import torch
from torch import nn

from foundry.compiler.transfer import matrices
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.definitions import constant
from foundry.testing.double import float64
from foundry.testing.reference import Reference

PROGRESS = (0.0, 1e-3, 0.0137, 0.1, 0.25, 0.3141, 0.5, 0.7071, 0.9, 0.9973, 1.0)
CLOSE = 1e-9


def recipe(case: Case) -> None:
    compared = sum(agrees(case, name, unit, t) for name, unit in followers(case) for t in PROGRESS)
    if not compared:
        raise Skipped("nowhere finite")


def followers(case: Case) -> Iterator[tuple[str, Unit]]:
    """The functions of progress that a recipe has, by name."""
    r = case.program.recipe
    yield from (("schedule", r.schedule), ("context", r.context))
    if r.difficulty is not None:
        yield "difficulty", r.difficulty


def agrees(case: Case, name: str, unit: Unit, t: float) -> bool:
    """Compare one function at one point; False where it has no finite value there.

    Emitted Python, arithmetic by the checker's own rules, and the reference on tensors have to agree.
    """
    try:
        folded = number(unit, t)
    except (ArithmeticError, ValueError):
        return False
    reference = Reference({})
    with float64():
        expected = reference.run(unit, [constant(t)] * len(unit.inputs)).item()
    if reference.watch is None or not reference.watch.finite or reference.watch.jumps:
        return False
    found = float(getattr(case.module, name)(t))
    for other, value in (("emitted", found), ("folded", folded)):
        if abs(value - expected) > CLOSE * max(1.0, abs(expected)):
            raise Broken(f"{name} at {t} is {value} when {other}, and should be {expected}")
    return True


def number(unit: Unit, t: float) -> float:
    """A schedule, a context or a difficulty at progress t, by Python's own arithmetic.

    Raises ArithmeticError or ValueError where an operation has no finite value.
    """
    values: dict[Node, float] = dict.fromkeys(unit.inputs, t)
    for node in unit.nodes:
        if node.op == "number":
            values[node] = node.attrs["value"]
            continue
        values[node] = _folded(node.op, [values[i] if isinstance(i, Node) else i for i in node.inputs])
    return float(values[unit.result])


def _folded(op: str, args: list[float]) -> float:
    """One operation on numbers, as the checker computes it."""
    fold = PRIMITIVES[op].fold
    assert fold is not None, f"{op} of numbers"
    value = fold(*args)
    if isinstance(value, complex) or not math.isfinite(value):
        raise ArithmeticError(f"{op} of {args} is {value}")
    return value


def rates(case: Case) -> None:
    """The emitted optimizers give each matrix the rate that follows from the graph, and all else the recipe's."""
    of = case.program.recipe
    if not of.transfer:
        raise Skipped("no transfer")
    usual = float(str(of.optimizer.settings.get("adamw_lr", of.optimizer.settings["lr"])))
    model = case.fresh(torch.float32)
    linear = {id(m.weight) for m in model.modules() if isinstance(m, nn.Linear)}
    found: Counter[float] = Counter()
    for group in (group for optimizer in case.module.optimizers(model) for group in optimizer.param_groups):
        if "momentum" in group:  # Muon's
            continue
        factor = round(group["peak_lr"] / usual, 9)
        found[factor] += sum(id(p) in linear for p in group["params"])
        if factor != 1 and not all(id(p) in linear for p in group["params"]):
            raise Broken(f"something that is no matrix has {factor} times the rate")
    wanted: Counter[float] = Counter()
    for matrix in matrices(case.program):
        wanted[round(matrix.factor, 9)] += matrix.copies
    if +found != +wanted:
        raise Broken(f"the factors on the rates of matrices are {dict(found)}, and should be {dict(wanted)}")


PROPERTIES = (
    Property("recipe", "Schedules are the same in Python, when folded, and in the reference.", recipe),
    Property("rates", "Every matrix has the learning rate that follows from its inputs.", rates),
)
