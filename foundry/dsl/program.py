"""The typed program: what a genome means, with every function applied and every size known.

A program is a tree of units. A unit is one function applied to inputs of known types: its
nodes in the order in which they run, the last of them being the result. A function that the
genome calls stays a unit of its own, so that the compiler can mirror the genome's structure; a
lambda used in place is part of its surroundings.

The order of nodes is also the order in which weights are created and initialised, so it is part of
the meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import NOWHERE, Genome, Span
from foundry.dsl.types import TensorType


@dataclass(eq=False)
class Node:
    """One operation.

    op: `input`, `number` (a constant result: `value` in attrs), `call`, `repeat`, `shared`, or the name of
        a primitive in the registry. `shared` is a function with its weights, for units inside this one to call: such
        a call has `through` in attrs, and the function as its first input.
    inputs: tensors (nodes of the same unit) and compile-time numbers, in the registry's order.
    attrs: compile-time arguments by name: numbers, strings, axis names; for `attend` also
        `score` and `mask`, a Unit each or None; for `input` its `name`; for `repeat` its `times`; for `experts`
        how many there are, `times`, and how many of them a token uses, `active`.
    unit: the body of a `call` or a `repeat`, or what each of the `experts` does to its tokens.
    instance: nodes of one program with the same non-zero instance share their weights. For a
        `repeat`, `shared` in attrs says that all its passes use one set.
    name: what the genome calls it ("" where it has no name): a binding, or a function.
    bound: whether the name is that of a binding whose value this is.
    """

    op: str
    inputs: tuple[Node | float | int, ...]
    attrs: dict[str, Any]
    type: TensorType
    unit: Unit | None = None
    instance: int = 0
    name: str = ""
    span: Span = NOWHERE
    comments: tuple[str, ...] = ()
    bound: bool = False

    @property
    def tensors(self) -> tuple[Node, ...]:
        """The inputs that are tensors."""
        return tuple(i for i in self.inputs if isinstance(i, Node))

    def __repr__(self) -> str:
        return f"<{self.op} {self.name or ''} : {self.type}>"


@dataclass(eq=False)
class Unit:
    """A function applied to inputs of known types.

    name: the function's name in the genome or the prelude; "" for an anonymous one.
    inputs: nodes with op `input`, in parameter order, then what the body captures from outside.
    nodes: every other node, in execution order; only those that the result needs.
    constants: the compile-time numbers bound to its parameters, by parameter name.
    """

    name: str
    inputs: list[Node]
    nodes: list[Node]
    result: Node
    constants: dict[str, int | float] = field(default_factory=dict)
    comments: tuple[str, ...] = ()
    span: Span = NOWHERE

    def subunits(self) -> Iterator[Unit]:
        """The units that this one's nodes refer to, in order: calls, repeats, scores and masks."""
        for node in self.nodes:
            if node.unit is not None:
                yield node.unit
            for value in node.attrs.values():
                if isinstance(value, Unit):
                    yield value


@dataclass(frozen=True)
class Optimizer:
    """`name` is adamw, lion or muon; `settings` holds its numbers, defaults filled in."""

    name: str
    settings: dict[str, object]


@dataclass
class Recipe:
    """How to train: every part has a default.

    schedule: a unit from progress t in [0, 1] to the factor on the learning rate.
    loss: a unit from (logits, y), and perhaps a teacher's logits, to one number per token.
    context: a unit from t to the training context in tokens.
    difficulty: a unit from t to the easiest share of the data that is in use; None for all of it.
    batch: tokens per step. clip: the largest norm of the gradient (0: no clipping).
    transfer: the inputs of a matrix at which learning rates hold as they are; with more they go down (0: never).
    """

    optimizer: Optimizer
    schedule: Unit
    loss: Unit
    context: Unit
    batch: int
    clip: float
    difficulty: Unit | None = None
    transfer: int = 0


@dataclass
class Program:
    """A checked genome. `model` takes tokens and gives logits `seq[vocab]`."""

    genome: Genome
    model: Unit
    recipe: Recipe
    vocab: int


def learns(node: Node) -> bool:
    """Whether a node is or contains learned weights, or constants that are kept with them.

    What is called through a `shared` node has its weights there.
    """
    if node.attrs.get("through"):
        return False
    if node.op in PRIMITIVES and (PRIMITIVES[node.op].kind == "weights" or node.op == "conv"):
        return True
    units = [u for u in (node.unit, *node.attrs.values()) if isinstance(u, Unit)]
    return any(learns(inner) for unit in units for inner in unit.nodes)


def all_units(program: Program) -> Iterator[Unit]:
    """Every unit of the model, outermost first, each as often as it is referred to."""
    stack = [program.model]
    while stack:
        unit = stack.pop()
        yield unit
        stack.extend(reversed(list(unit.subunits())))


def parameter_count(program: Program) -> int:
    """How many numbers the model learns. Shared and tied weights count once."""
    return _parameters(program.model, set())


def _parameters(unit: Unit, seen: set[int]) -> int:
    total = 0
    for node in unit.nodes:
        if (node.instance and node.instance in seen) or node.attrs.get("through"):
            continue
        if node.instance:
            seen.add(node.instance)
        if node.unit is not None:
            copies = 1 if node.attrs.get("shared") else int(node.attrs.get("times", 1))
            total += copies * _parameters(node.unit, set(seen))
        elif node.op in PRIMITIVES:
            types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
            total += sum(prod(shape) for shape in PRIMITIVES[node.op].weights(types, node.attrs).values())
        total += sum(_parameters(value, seen) for value in node.attrs.values() if isinstance(value, Unit))
    return total


def operation_count(program: Program, copies: bool = True) -> int:
    """The operations of the model with every call written out, and with `copies` also every repeat and every expert."""
    return _operations(program.model, copies, {})


def _operations(unit: Unit, copies: bool, known: dict[int, int]) -> int:
    """known: what was counted before, by the id of its unit; a shared one is called from many places."""
    if id(unit) not in known:
        total = 0
        for node in unit.nodes:
            slots = sum(_operations(value, copies, known) for value in node.attrs.values() if isinstance(value, Unit))
            inside = 0 if node.unit is None or node.op == "shared" else _operations(node.unit, copies, known)
            total += 1 + slots + inside * (int(node.attrs.get("times", 1)) if copies else 1)
        known[id(unit)] = total
    return known[id(unit)]
