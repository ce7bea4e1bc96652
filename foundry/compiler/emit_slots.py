"""How an `attend` is computed: which mechanism, and what is left of its score and mask functions."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.compiler.recognise import affine_of, allows_everything, window_of
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES


@dataclass(frozen=True)
class Attention:
    """A plan for one `attend`.

    mechanism: attend (attend_window or attend_within where there is a window), attend_bias, attend_score or
        attend_general.
    scale: what the logits are multiplied by; None for one over the square root of the head dimension.
    window: how many positions the mask reaches back, where it is a window.
    function: the unit of the bias or the score, or None. mask: the unit of a mask that is no window, or None.
    """

    mechanism: str
    scale: float | None = None
    window: int | None = None
    function: Unit | None = None
    mask: Unit | None = None

    @property
    def slots(self) -> tuple[tuple[str, Unit], ...]:
        """The functions that are left, each with the argument of the mechanism that takes it."""
        named = (("bias" if self.mechanism == "attend_bias" else "score", self.function), ("mask", self.mask))
        return tuple((name, unit) for name, unit in named if unit is not None)


def plan(node: Node) -> Attention:
    """The cheapest mechanism that computes an `attend`."""
    score, mask, scale = (node.attrs.get(name) for name in ("score", "mask", "scale"))
    assert isinstance(score, Unit | None) and isinstance(mask, Unit | None) and isinstance(scale, int | float | None)
    plain_scale = scale
    if allows_everything(mask):
        mask = None
    window = window_of(mask)
    if window is not None:
        mask = None
    affine = affine_of(score)
    if len(node.inputs) > 3 or node.attrs["top"]:  # a sink, or values that the score or the mask reads
        return Attention("attend_general", scale, window, score, mask)
    if affine is None:
        return Attention("attend_score", scale, window, score, mask)
    if affine.scale != 1:
        q = node.tensors[0].type
        scale = affine.scale * (q.width**-0.5 if scale is None else scale)
    bias = without_logit(score) if score is not None and affine.biased else None
    if _weights(score) != _weights(bias):  # a weight that is multiplied by 0 is still a weight of the model
        return Attention("attend_score", plain_scale, window, score, mask)
    if bias is not None:
        return Attention("attend_bias", scale, window, bias, mask)
    return Attention("attend_bias" if mask else "attend", scale, window, None, mask)


def _weights(unit: Unit | None) -> int:
    return sum(node.op in ("param", "lookup") for node in unit.nodes) if unit is not None else 0


def without_logit(score: Unit) -> Unit:
    """The score function at s = 0, as a unit of its other inputs."""
    values: dict[Node, Node | int | float] = {i: 0 if i.attrs["name"] == "s" else i for i in score.inputs}
    nodes: list[Node] = []
    for node in score.nodes:
        inputs = tuple(values[i] if isinstance(i, Node) else i for i in node.inputs)
        value = _simplified(node.op, inputs)
        if value is None:
            op = node.op
            if op == "subtract" and not isinstance(inputs[0], Node) and inputs[0] == 0:
                op, inputs = "negate", inputs[1:]
            value = Node(
                op, inputs, node.attrs, node.type, instance=node.instance, name=node.name, comments=node.comments
            )
            nodes.append(value)
        values[node] = value
    result = values[score.result]
    if not isinstance(result, Node):
        result = Node("number", (), {"value": result}, score.result.type)
        nodes.append(result)
    places = [i for i in score.inputs if i.attrs["name"] != "s"]
    return Unit(score.name, places, nodes, result, score.constants, score.comments, score.span)


def _simplified(op: str, inputs: tuple[Node | int | float, ...]) -> Node | int | float | None:
    """What an operation is where an input is 0 or all of them are numbers; None: still an operation."""
    primitive = PRIMITIVES.get(op)
    if primitive is None or primitive.fold is None:
        return None
    numbers = [i for i in inputs if not isinstance(i, Node)]
    if len(numbers) == len(inputs):
        return primitive.fold(*numbers)
    zeros = tuple(not isinstance(i, Node) and i == 0 for i in inputs)
    if (op == "add" and any(zeros)) or (op == "subtract" and zeros == (False, True)):
        return inputs[zeros.index(False)]
    if (op == "multiply" and any(zeros)) or (op == "divide" and zeros[0]):
        return 0
    return None
