"""The hash of a genome: other spellings have the same, and what has the same hash is the same model."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch

from foundry.compiler.cost import cost, evaluate
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine
from foundry.dsl.format import LEVELS, format_genome
from foundry.dsl.program import Recipe, all_units, parameter_count
from foundry.dsl.syntax import Binary, Call, Name, Number, Path, Tree, put
from foundry.generate.draw import Draw, RandomDraw
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.fingerprint import elsewhere, fingerprint
from foundry.testing.respell import RESPELLINGS, Genes, genes

SPELLINGS = 8  # of each genome, of those that there are
STEPS = 3  # respellings of a genome that is then run
CHANGES = 12  # of each genome, that may change what it means
CLOSE = 1e-9
PROGRESS = (0.0, 0.013, 0.1, 0.37, 0.5, 0.9, 1.0)
JUMPING = frozenset({"floor", "remainder", "top", "less", "less_equal", "greater", "greater_equal", "equal", "unequal"})


def spelled(case: Case) -> None:
    draw = RandomDraw(random.Random(case.seed))
    of = genes(case.text)
    for name in draw.rng.sample(sorted(RESPELLINGS), SPELLINGS):
        text = RESPELLINGS[name](of, draw)
        if text is not None:
            same(name, text, case)


def same(name: str, text: str, case: Case) -> None:
    """Raise unless another spelling checks and has the case's hash."""
    checked = examine(text)
    if checked.program is None:
        first = checked.diagnostics[0]
        raise Broken(f"with {name}: {first.code} {first.message}, in\n{text}")
    if canonical_hash(checked.program) != canonical_hash(case.program):
        raise Broken(f"{name} changes the hash, in\n{text}")


def respelled(case: Case) -> None:
    """A genome in other words is the same model: its weights have the same shapes, and begin with the same values."""
    draw = RandomDraw(random.Random(case.seed))
    text = case.text
    for name in draw.rng.sample(sorted(RESPELLINGS), STEPS):
        text = RESPELLINGS[name](genes(text), draw) or text
    alike(case, Case(text, case.seed), text)


def meant(case: Case) -> None:
    """What a change leaves the hash of has not changed."""
    draw = RandomDraw(random.Random(case.seed))
    of = genes(case.text)
    own = canonical_hash(case.program)
    unchanged = 0
    for text in changes(of, draw):
        program = examine(text).program
        if program is not None and canonical_hash(program) == own:
            unchanged += 1
            alike(case, Case(text, case.seed), text)
    if not unchanged:
        raise Skipped("every change that was tried changes the hash")


def changes(of: Genes, draw: Draw) -> Iterator[str]:
    """Texts with one place changed: a number, a sign, the order of two operands, a name, an argument left out."""
    places = [(p, e) for p, e in of.expressions if isinstance(e, (Number, Binary, Name, Call))]
    for _ in range(min(CHANGES, len(places))):
        path, node = draw.choice(places)
        new = changed(of, path, node, draw)
        if new is not None:
            yield format_genome(put(of.tree, path, new))


def changed(of: Genes, path: Path, node: Tree, draw: Draw) -> Tree | None:
    if isinstance(node, Number):
        return Number(draw.choice((node.value + 1, node.value * 2, 0, 1)))
    if isinstance(node, Binary):
        if draw.chance(0.5):
            return Binary(node.operator, node.right, node.left)
        return Binary(draw.choice(tuple(LEVELS)), node.left, node.right)
    if isinstance(node, Name):
        others = sorted({e.id for p, e in of.expressions if isinstance(e, Name) and e.id != node.id})
        return Name(draw.choice(others)) if others else None
    if isinstance(node, Call) and node.arguments:
        arguments = list(node.arguments)
        if draw.chance(0.5):
            arguments.pop(draw.integer(0, len(arguments) - 1))
        else:
            arguments.reverse()
        return Call(node.function, tuple(arguments))
    return None


def alike(case: Case, other: Case, text: str) -> None:
    """Raise unless two cases with one hash are one model and one recipe."""
    if parameter_count(other.program) != parameter_count(case.program):
        raise Broken(f"another number of parameters with the same hash, in\n{text}")
    first, second = cost(case.program), cost(other.program)
    if (first.cache_bytes_per_token, first.cache_bytes_fixed) != (
        second.cache_bytes_per_token,
        second.cache_bytes_fixed,
    ):
        raise Broken(f"another cache with the same hash, in\n{text}")
    if recipe(case.program.recipe) != recipe(other.program.recipe):
        raise Broken(f"another recipe with the same hash, in\n{text}")
    models = case.fresh(stir=0), other.fresh(stir=0)
    weights = [sorted(_digest(w) for w in model.state_dict().values()) for model in models]
    if weights[0] != weights[1]:
        raise Broken(f"other initial values with the same hash, in\n{text}")
    tokens = case.tokens
    with torch.no_grad():
        logits = [model(tokens) for model in models]
        losses = [c.double.loss(logits[0], tokens) for c in (case, other)]
    for what, (a, b) in (("logits", logits), ("a loss", losses)):
        _close(what, a, b, case, text)


def _digest(weight: torch.Tensor) -> tuple[tuple[int, ...], bytes]:
    return tuple(weight.shape), weight.numpy().tobytes()


def _close(what: str, a: torch.Tensor, b: torch.Tensor, case: Case, text: str) -> None:
    """Raise where two results differ by more than rounding can."""
    if not (a.isfinite().all() and b.isfinite().all()):
        return
    apart = float((a - b).abs().max()) / max(1.0, float(a.abs().max()))
    if apart > CLOSE:
        if any(node.op in JUMPING for unit in all_units(case.program) for node in unit.nodes):
            raise Skipped("rounding may decide")
        raise Broken(f"the same hash and {what} that differ by {apart:.1e}, in\n{text}")


def recipe(of: Recipe) -> tuple[object, ...]:
    """What a recipe says: its settings, and its functions at some moments."""
    functions = [unit for unit in (of.schedule, of.context, of.difficulty) if unit is not None]
    values = tuple(_value(unit, t) for unit in functions for t in PROGRESS)
    settings = tuple(sorted(of.optimizer.settings.items()))  # 0 and 0.0 are one number
    return of.optimizer.name, settings, of.batch, of.clip, of.transfer, values


def _value(unit: object, t: float) -> object:
    try:
        return f"{evaluate(unit, {'t': t}):.9g}"  # type: ignore[arg-type]
    except (ArithmeticError, ValueError, TypeError) as error:
        return type(error).__name__


def everywhere(case: Case) -> None:
    here = fingerprint(case.text, case.seed)
    there = elsewhere(case.text, case.seed)
    for name in here:
        if here[name] != there[name]:
            raise Broken(f"another process has another {name}: {there[name]!r} instead of {here[name]!r}")


PROPERTIES = (
    Property("spelling", "Another spelling of a genome checks clean and has the same hash.", spelled, runs=False),
    Property("respelled-model", "A genome in other words has the same weights, initial values and logits.", respelled),
    Property("hash-meaning", "What has the same hash has the same recipe, weights, initial values and logits.", meant),
    Property("determinism", "Another process gives the same hash, file, names and initial values.", everywhere),
)
