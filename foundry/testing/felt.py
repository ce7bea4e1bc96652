"""Which weights of a program the loss can feel: worked out from the program alone, operation by operation.

A weight is felt where a chain of operations that pass a gradient on leads from it to the loss. Autograd has to find
the same ones; a chain that it loses, or one that it should not have, is a fault of the compiler.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from typing import Any

from torch import nn

from foundry.compiler.flow import reached
from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.registry import PRIMITIVES


@dataclass(frozen=True)
class Weight:
    """A learned tensor of a program.

    name: the primitive that holds it, and what of it. size: how many numbers. felt: whether the loss feels it.
    """

    name: str
    size: int
    felt: bool


def weights(program: Program) -> list[Weight]:
    """Every learned tensor of a program, in the order in which a model makes them."""
    logits = [i for i in program.recipe.loss.inputs if i.attrs["name"] == "logits"]
    walk = _Walk()
    walk.unit(program.model, bool(reached(program.recipe.loss) & set(logits)), ())
    return [Weight(name, size, walk.felt[key]) for key, (name, size) in walk.made.items()]


@dataclass
class _Walk:
    """Goes through a program as a model is made. Keys say which weights are one: where they belong, and which."""

    made: dict[tuple, tuple[str, int]] = field(default_factory=dict)
    felt: dict[tuple, bool] = field(default_factory=dict)
    embeddings: dict[int, tuple] = field(default_factory=dict)

    def add(self, key: tuple, name: str, size: int, felt: bool) -> None:
        self.made.setdefault(key, (name, size))
        self.felt[key] = self.felt.get(key, False) or felt

    def unit(self, unit: Unit, felt: bool, scope: tuple, owners: dict[Node, tuple] | None = None) -> None:
        """The weights of a unit. felt: whether the loss feels its result. owners: whose are the weights of the
        shared functions among its inputs."""
        owners = dict(owners or {})
        inside = reached(unit) if felt else set()
        for place, node in enumerate(unit.nodes):
            key = (*scope, ("shared", node.instance) if node.instance else place)
            if node.op == "shared":
                owners[node] = key
                self.unit(self.body(node), False, (*key, 0))
            elif node.unit is not None:
                self.applied(node, node in inside, key, owners)
            else:
                self.primitive(node, node in inside, key)

    def body(self, node: Node) -> Unit:
        assert node.unit is not None
        return node.unit

    def applied(self, node: Node, felt: bool, key: tuple, owners: dict[Node, tuple]) -> None:
        """The weights of a call, of each pass of a repeat, or of each expert."""
        body, inputs = self.body(node), node.tensors
        if node.attrs.get("through"):
            key, inputs = owners[inputs[0]], inputs[1:]
        inner = {i: owners[o] for i, o in zip(body.inputs, inputs, strict=False) if o in owners}
        times = int(node.attrs.get("times", 1))
        goes_on = node.op != "repeat" or body.inputs[0] in reached(body)
        for n in range(times):
            last = n == times - 1
            copy = (*key, 0 if node.attrs.get("shared") else n)
            self.unit(body, felt and (last or goes_on), copy, inner)

    def primitive(self, node: Node, felt: bool, key: tuple) -> None:
        if node.op == "unembed" and node.attrs["tied"]:
            tied = self.embeddings[node.instance]
            self.felt[tied] = self.felt[tied] or felt
        elif node.op in PRIMITIVES:
            types = tuple(i.type if isinstance(i, Node) else i for i in node.inputs)
            for name, shape in PRIMITIVES[node.op].weights(types, node.attrs).items():
                self.add((*key, name), f"the {name} of {node.op} {node.name}".strip(), prod(shape), felt)
                if node.op == "embed" and node.instance:
                    self.embeddings[node.instance] = (*key, name)
        for slot in ("score", "mask"):
            unit = node.attrs.get(slot)
            if isinstance(unit, Unit):
                self.unit(unit, felt and slot == "score", (*key, slot))


@contextmanager
def recorded() -> Iterator[list[nn.Parameter]]:
    """The parameters of whatever module is made inside, in the order in which they are made."""
    made: list[nn.Parameter] = []
    register = nn.Module.register_parameter

    def record(self: nn.Module, name: str, param: nn.Parameter | None) -> None:
        register(self, name, param)
        made.extend([] if param is None else [param])

    nn.Module.register_parameter = record  # type: ignore[method-assign]
    try:
        yield made
    finally:
        nn.Module.register_parameter = register  # type: ignore[method-assign]


def matched(program: Program, module: Any) -> tuple[Any, list[tuple[Weight, nn.Parameter]]]:
    """A new model, and each of its parameters with the weight of the program that it is.

    Raises:
        ValueError: the model has other weights than the program.
    """
    with recorded() as made:
        model = module.Model()
    wanted = weights(program)
    if [w.size for w in wanted] != [p.numel() for p in made]:
        raise ValueError(
            f"the model makes weights of {[p.numel() for p in made]} numbers, not {[w.size for w in wanted]}"
        )
    return model, list(zip(wanted, made, strict=True))
