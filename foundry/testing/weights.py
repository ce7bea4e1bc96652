"""The weights that a program means, without building anything: each once, in the order of a module's parameters.

A module lists what it holds itself before what its parts hold, and its parts in the order in which the program makes
them. A tie or a shared weight is one weight; a copy in a repeated block is one of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from foundry.dsl.program import Node, Program, Unit
from foundry.dsl.types import TensorType
from foundry.testing.case import Broken, Case

Copies = tuple[int, ...]  # which pass of each repeated unit around it, and which expert
Key = tuple[Copies, int, str]  # where, the instance of its node, and weight or bias


@dataclass(frozen=True)
class Weight:
    """One tensor of a model.

    init: the number that all of it starts as, None where it is drawn. learned: whether training changes it.
    """

    key: Key
    shape: tuple[int, ...]
    init: float | None = None
    learned: bool = True


def weights_of(program: Program) -> list[Weight]:
    """Every weight of the model, the numbers that are kept as they are (`learn = 0`) among them."""
    found: dict[Key, Weight] = {}
    for weight in _of_unit(program.model, ()):
        found.setdefault(weight.key, weight)
    return list(found.values())


def _of_unit(unit: Unit, copies: Copies) -> Iterator[Weight]:
    for node in unit.nodes:
        if node.op in ("param", "lookup"):
            yield _number(node, copies)
    for node in unit.nodes:
        yield from _of_primitive(node, copies)
        if node.unit is not None and not node.attrs.get("through"):  # those of a shared function are where it stands
            for n in range(passes(node)):
                yield from _of_unit(node.unit, (*copies, n) if is_copied(node) else copies)
        for function in node.attrs.values():
            if isinstance(function, Unit):
                yield from _of_unit(function, copies)


def is_copied(node: Node) -> bool:
    """Whether a node's unit has copies with weights of their own."""
    return node.op in ("repeat", "experts")


def passes(node: Node) -> int:
    """How many sets of weights there are for a node's unit."""
    return 1 if node.attrs.get("shared") else int(node.attrs.get("times", 1))


def _number(node: Node, copies: Copies) -> Weight:
    if node.op == "lookup":
        heads, size = node.attrs["heads"], node.attrs["size"]
        shape: tuple[int, ...] = (heads, size) if heads else (size,)
        return Weight((copies, node.instance, "weight"), shape, node.attrs["init"])
    return Weight((copies, node.instance, "weight"), _shape(node.type), node.attrs["init"], bool(node.attrs["learn"]))


def _shape(t: TensorType) -> tuple[int, ...]:
    """Of a learned number: (), one per channel (C), or one per head (H, 1, 1 or C)."""
    if t.has("head"):
        return (t.heads, 1, t.width if t.has("channel") else 1)
    return (t.width,) if t.has("channel") else ()


def _of_primitive(node: Node, copies: Copies) -> Iterator[Weight]:
    match node.op:
        case "embed":
            yield Weight((copies, node.instance, "weight"), (node.attrs["vocab"], node.attrs["width"]))
        case "linear" | "unembed" if not node.attrs.get("tied"):
            yield Weight((copies, node.instance, "weight"), (node.type.width, node.tensors[0].type.width))
            if node.attrs["bias"]:
                yield Weight((copies, node.instance, "bias"), (node.type.width,), 0.0)
        case "conv":
            x = node.tensors[0].type
            channels = x.width * (x.heads if x.has("head") else 1)
            yield Weight((copies, node.instance, "weight"), (channels, 1, node.attrs["kernel"]))


def weights_by_key(case: Case, model: Any) -> dict[Key, Tensor]:
    """The model's own tensors by what the program says they are: parameters in their order, then buffers in theirs."""
    wanted = weights_of(case.program)
    found: dict[Key, Tensor] = {}
    for kind, tensors in (("learned", dict(model.named_parameters())), ("kept", dict(model.named_buffers()))):
        these = [w for w in wanted if w.learned == (kind == "learned")]
        if [w.shape for w in these] != [tuple(t.shape) for t in tensors.values()]:
            named = ", ".join(f"{name} {tuple(t.shape)}" for name, t in tensors.items())
            raise Broken(f"{kind} weights {[w.shape for w in these]} are meant, but the module has {named}")
        found |= {w.key: t for w, t in zip(these, tensors.values(), strict=True)}
    return found
