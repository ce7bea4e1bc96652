"""How much memory a genome takes: in a forward pass without gradients, and in a step of training.

`foundry/compiler/play.py` plays the program through. `docs/cost.md` says what is counted, and how near it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from foundry.compiler.cost import final_context
from foundry.compiler.holding import Sizes
from foundry.compiler.play import Play
from foundry.compiler.work import BYTES, INDEX_BYTES
from foundry.dsl.program import Program, Unit, parameter_count
from foundry.dsl.rules import param_shape


@dataclass(frozen=True)
class Memory:
    """Bytes, in float32.

    weights: learned numbers, and those that are kept as they are. optimizer: its state. forward: the most that is held
    in a forward pass without gradients, weights and tokens included. training: the same for a step of training, with
    gradients and the optimizer's state. rows, context: the batch that the figures hold for.
    """

    weights: int
    optimizer: int
    forward: float
    training: float
    rows: int
    context: int


def memory(program: Program, context: int | None = None, rows: int | None = None) -> Memory:
    """The memory of a program, by default for a batch of its recipe at the context that training ends with."""
    context = context or final_context(program)
    rows = rows or max(1, program.recipe.batch // context)
    sizes = Sizes(rows, context)
    learned = BYTES * parameter_count(program)
    weights = learned + BYTES * sum(_constants(program.model))
    optimizer = BYTES * optimizer_numbers(program)
    tokens = INDEX_BYTES * rows * context
    forward = Play(sizes, training=False)
    forward.run(program, weights + tokens)
    training = Play(sizes, training=True)
    training.run(program, weights + 2 * tokens + optimizer, learned)
    update = weights + 2 * tokens + optimizer + learned + _update(program)
    return Memory(weights, optimizer, forward.peak, max(training.peak, update), rows, context)


def optimizer_numbers(program: Program) -> int:
    """How many numbers the optimizer remembers: two for each weight (AdamW), or one (Lion; Muon for its matrices)."""
    total, name = parameter_count(program), program.recipe.optimizer.name
    hidden = sum(prod(shape) for shape in matrices(program.model)) if name == "muon" else 0
    return {"adamw": 2 * total, "lion": total, "muon": 2 * total - hidden}[name]


def matrices(unit: Unit, seen: set[int] | None = None) -> Iterator[tuple[int, int]]:
    """The shapes of the matrices of a unit's linear layers, shared ones once: what Muon steps."""
    seen = set() if seen is None else seen
    for node in unit.nodes:
        if (node.instance and node.instance in seen) or node.attrs.get("through"):
            continue
        seen.add(node.instance)
        if node.op == "linear":
            yield int(node.attrs["out"]), node.tensors[0].type.width
        if node.unit is not None:
            copies = 1 if node.attrs.get("shared") else int(node.attrs.get("times", 1))
            yield from list(matrices(node.unit, set(seen))) * copies


def _update(program: Program) -> float:
    """What the optimizer holds for a moment: Muon stacks the matrices of one shape, and iterates on them."""
    if program.recipe.optimizer.name == "lion":
        return 0.0
    if program.recipe.optimizer.name == "adamw":
        return 0.0
    shapes: dict[tuple[int, int], int] = {}
    for shape in matrices(program.model):
        shapes[shape] = shapes.get(shape, 0) + 1
    return max((BYTES * n * (4 * a * b + 3 * min(a, b) ** 2) for (a, b), n in shapes.items()), default=0.0)


def _constants(unit: Unit) -> Iterator[int]:
    """The sizes of what is kept with the weights and does not learn."""
    for node in unit.nodes:
        if node.op == "param" and not node.attrs["learn"]:
            yield prod(param_shape(node.type))
        for inner in (node.unit, *node.attrs.values()):
            if isinstance(inner, Unit) and not node.attrs.get("through"):
                copies = 1 if node.attrs.get("shared") else int(node.attrs.get("times", 1))
                yield from list(_constants(inner)) * copies
