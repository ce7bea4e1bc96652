"""What each operation holds in memory: its result, what it keeps for the backward pass, and what passes in between.

As eager PyTorch does it on values in float32; sizes are in bytes. `docs/cost.md` says what is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from foundry.compiler.work import BYTES, INDEX_BYTES
from foundry.dsl.program import Node
from foundry.dsl.rules import CHUNK
from foundry.dsl.types import BOOLEAN, INTEGER, TensorType


@dataclass(frozen=True)
class Sizes:
    """How many sequences there are, and of how many tokens. rows may be a fraction: what the tokens of experts fill."""

    rows: float
    context: int

    def elements(self, t: TensorType) -> float:
        """How many elements a value has."""
        rows = self.rows if t.has("batch") else 1
        return t.fixed_size * rows * (self.context if t.has("token") else 1) * (self.context if t.has("key") else 1)

    def bytes(self, t: TensorType) -> float:
        """How many bytes a value takes."""
        return self.elements(t) * {BOOLEAN: 1, INTEGER: INDEX_BYTES}.get(t.dtype, BYTES)


@dataclass(frozen=True)
class Holding:
    """What an operation holds.

    view: the place of the operand whose memory is that of the result, or -1. inputs: the places of the operands that
    are kept for the backward pass; crossed: each of two only if the other has a gradient. result: whether the result is
    kept. more: bytes that are kept besides. forward, backward:
    bytes that are held while it runs and while its gradient is computed, besides operands, results and gradients.
    passes: the places of the operands whose gradient is the result's, or a view of it.
    """

    view: int = -1
    inputs: tuple[int, ...] = ()
    crossed: bool = False
    result: bool = False
    more: float = 0.0
    forward: float = 0.0
    backward: float = 0.0
    passes: tuple[int, ...] = ()


INPUT = frozenset({"log", "abs", "sin", "cos", "softplus", "erf"})  # keep what they take
RESULT = frozenset({"exp", "sqrt", "rsqrt", "tanh", "sigmoid", "relu"})  # keep what they give
FUSED = {
    # normalised: squares, means and what is scaled by them; then the product with the weights
    "rmsnorm": lambda size, scaled: Holding(inputs=(0,), more=size if scaled else 0, forward=size, backward=3 * size),
    "layernorm": lambda size, scaled: Holding(inputs=(0,)),
    "softmax": lambda size, scaled: Holding(result=True, backward=size),
}


def fused(kind: str, size: float, scaled: bool) -> Holding:
    """What a recognised operation holds: the size of its result, and whether a norm has weights."""
    return FUSED[kind](size, scaled) if kind in FUSED else Holding(inputs=(0,))


def pointwise(node: Node) -> Holding:
    """What an elementwise operation or a reduction holds."""
    tensors = tuple(n for n, i in enumerate(node.inputs) if isinstance(i, Node))
    match node.op:
        case "add":
            return Holding(passes=tensors)
        case "subtract":
            return Holding(passes=(0,))
        case "stop":
            return Holding(view=0)
        case "multiply" | "divide" | "power" | "minimum" | "maximum":
            kept = tensors if len(tensors) == 2 or node.op not in ("multiply", "divide") else ()
            return Holding(inputs=kept, crossed=node.op == "multiply", result=node.op == "power" and 1 in tensors)
        case "where":
            return Holding(inputs=(0,))
        case "largest" | "smallest" | "logsumexp":
            return Holding(inputs=(0,), result=True, backward=0)
        case "remainder":
            return Holding(inputs=tensors if 1 in tensors else ())
    return Holding(inputs=(0,) if node.op in INPUT else (), result=node.op in RESULT)


def structural(node: Node, sizes: Sizes) -> Holding:
    """What any other operation holds, attention with a score or a mask and experts excepted."""
    out = sizes.bytes(node.type)
    kind = RULES.get(node.op)
    return kind(node, sizes, out) if kind else Holding()


def _rotate(node: Node, sizes: Sizes, out: float) -> Holding:
    angle = node.tensors[1].type
    turned = out / node.type.fixed_size * node.type.width
    if not angle.has("batch"):
        turned /= sizes.rows
    return Holding(more=2 * turned, forward=2 * out, backward=2 * out)


def _attend(node: Node, sizes: Sizes, out: float) -> Holding:
    """Plain attention, fused: the sum of each query's exponentials is kept."""
    return Holding(inputs=(0, 1, 2), result=True, more=BYTES * node.type.heads * sizes.rows * sizes.context)


def _linear_attend(node: Node, sizes: Sizes, out: float) -> Holding:
    """Copies in chunks, the products of queries and keys, and the state before each chunk."""
    q, k, v = (sizes.bytes(i.type) for i in node.tensors[:3])
    decay = node.inputs[-1]
    wide = isinstance(decay, Node) and decay.type.width > 1
    length = min(sizes.context, CHUNK // 2 if wide else CHUNK)
    logits = BYTES * node.type.heads * sizes.rows * sizes.context * length
    type_k, type_v = node.tensors[1].type, node.tensors[2].type
    states = BYTES * sizes.rows * type_k.heads * type_k.width * type_v.width * (-(-sizes.context // length) + 1)
    keys = k * (length + 1) / 2 if wide else k
    more = 2 * q + 2 * k + v + keys + 2 * logits + states
    if node.op == "delta_attend":
        more += 2 * k + 2 * v + 3 * logits * type_k.heads / node.type.heads
    return Holding(more=more, forward=2 * out + states, backward=2 * (q + k + v) + 2 * logits + 2 * states)


Rule = Callable[[Node, Sizes, float], Holding]
RULES: dict[str, Rule] = {
    "linear": lambda node, sizes, out: Holding(inputs=(0,)),
    "unembed": lambda node, sizes, out: Holding(inputs=(0,)),
    "embed": lambda node, sizes, out: Holding(inputs=(0,)),
    "split_heads": lambda node, sizes, out: Holding(view=0, passes=(0,)),
    "merge_heads": lambda node, sizes, out: Holding(passes=(0,)),
    "slice": lambda node, sizes, out: Holding(view=0),
    "concat": lambda node, sizes, out: Holding(passes=(0, 1)),
    "penalty": lambda node, sizes, out: Holding(view=0, passes=(0,)),
    "shift": lambda node, sizes, out: Holding(passes=(0,)),
    # the sequence with zeros before it is kept
    "conv": lambda node, sizes, out: Holding(more=out, forward=out, backward=out),
    # steps, decays and what they are padded to; the same backwards
    "scan": lambda node, sizes, out: Holding(inputs=(0,), result=True, forward=3 * out, backward=6 * out),
    "rotate": _rotate,
    "attend": _attend,
    "linear_attend": _linear_attend,
    "delta_attend": _linear_attend,
    "top": lambda node, sizes, out: Holding(forward=3 * out),
    "lookup": lambda node, sizes, out: Holding(inputs=(0,), backward=out),
    "cross_entropy": lambda node, sizes, out: Holding(
        more=sizes.bytes(node.tensors[0].type), backward=2 * sizes.bytes(node.tensors[0].type)
    ),
}
