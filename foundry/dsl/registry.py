"""The primitives of the language, each described once.

The checker, the cost model, the emitter, the documentation, the mutation operators and the
generators all read this table. To add a primitive: one entry here, and where it needs code of its
own one file in `foundry/compiler/mechanisms/` named by `mechanism`.

Rules are functions of the input types (tensors as `TensorType`, numbers as numbers) and the
compile-time arguments. Sizes are per token: a rule that returns 96 for a `seq[96]` means 96 for
each of the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from foundry.dsl import rules
from foundry.dsl.rules import Attrs, Types
from foundry.dsl.types import INTEGER, TensorType

REQUIRED = object()


@dataclass(frozen=True)
class Arg:
    """An argument: its sort, its default, and for numbers the legal interval.

    Sorts of tensors: tokens, seq, heads, value (any tensor), factor (any tensor, or a number). Of what is known at
    compile time: integer, number, flag, axes, numbers (a list), score, mask and function. And like: a tensor of which
    the type alone matters.
    """

    name: str
    sort: str
    default: Any = REQUIRED
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_tensor(self) -> bool:
        return self.sort in ("tokens", "seq", "heads", "value", "factor")


@dataclass(frozen=True)
class Primitive:
    """One primitive.

    shape: the type of the result. flops: multiplications and additions per token, forward, at the
    given context length. weights: parameter shapes by name. keeps: what a decoder keeps, as
    (elements that grow with each token, elements that do not). fold: the same operation on
    compile-time numbers.
    """

    name: str
    kind: str  # pointwise, reduce, weights, sequence, structure, loss
    args: tuple[Arg, ...]
    doc: str
    shape: Callable[[Types, Attrs], TensorType]
    flops: Callable[[Types, Attrs, TensorType, int], float]
    weights: Callable[[Types, Attrs], dict[str, tuple[int, ...]]] = field(default=lambda types, attrs: {})
    keeps: Callable[[Types, Attrs, int], tuple[int, int]] = field(default=lambda types, attrs, context: (0, 0))
    fold: Callable[..., float] | None = None
    commutative: bool = False
    mechanism: str = ""

    @property
    def stateful(self) -> bool:
        """Whether the result at one position depends on earlier positions, or on which position it is."""
        return self.kind == "sequence"


MAX_SIZE = 1 << 24
X = Arg("x", "value")


def _pointwise_primitive(
    name: str, doc: str, fold: Callable[..., float], arity: int = 1, flops: int = 1, **more: Any
) -> Primitive:
    names = ("x",) if arity == 1 else ("a", "b") if arity == 2 else ("condition", "a", "b")
    shape = more.pop("shape", rules.as_float if arity == 1 else rules.pointwise)
    return Primitive(
        name,
        "pointwise",
        tuple(Arg(n, "factor") for n in names),
        doc,
        shape,
        rules.elementwise_flops(flops),
        fold=fold,
        **more,
    )


def _reduction(name: str, doc: str) -> Primitive:
    return Primitive(name, "reduce", (X,), doc, rules.reduce, rules.reduce_flops)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


_ENTRIES = (
    # arithmetic: what the operators + - * / ** < … mean
    _pointwise_primitive("add", "a + b", lambda a, b: a + b, 2, commutative=True),
    _pointwise_primitive("subtract", "a - b", lambda a, b: a - b, 2),
    _pointwise_primitive("multiply", "a * b", lambda a, b: a * b, 2, commutative=True),
    _pointwise_primitive("divide", "a / b", lambda a, b: a / b, 2, shape=rules.as_float),
    _pointwise_primitive("power", "a ** b", lambda a, b: a**b, 2, flops=4, shape=rules.as_float),
    _pointwise_primitive("negate", "-x", lambda x: -x, shape=rules.negate),
    _pointwise_primitive("less", "a < b", lambda a, b: float(a < b), 2, shape=rules.as_boolean),
    _pointwise_primitive("less_equal", "a <= b", lambda a, b: float(a <= b), 2, shape=rules.as_boolean),
    _pointwise_primitive("greater", "a > b", lambda a, b: float(a > b), 2, shape=rules.as_boolean),
    _pointwise_primitive("greater_equal", "a >= b", lambda a, b: float(a >= b), 2, shape=rules.as_boolean),
    _pointwise_primitive("equal", "a == b", lambda a, b: float(a == b), 2, shape=rules.as_boolean, commutative=True),
    _pointwise_primitive("unequal", "a != b", lambda a, b: float(a != b), 2, shape=rules.as_boolean, commutative=True),
    _pointwise_primitive(
        "both", "a & b", lambda a, b: float(bool(a) and bool(b)), 2, shape=rules.as_boolean, commutative=True
    ),
    _pointwise_primitive(
        "either", "a | b", lambda a, b: float(bool(a) or bool(b)), 2, shape=rules.as_boolean, commutative=True
    ),
    _pointwise_primitive("invert", "!x", lambda x: float(not x), shape=rules.as_boolean),
    _pointwise_primitive("remainder", "a modulo b, with the sign of b", lambda a, b: a % b, 2, shape=rules.remainder),
    # elementwise functions
    _pointwise_primitive("exp", "e to the power x", math.exp, flops=4),
    _pointwise_primitive("log", "the natural logarithm of x", math.log, flops=4),
    _pointwise_primitive("sqrt", "the square root of x", math.sqrt),
    _pointwise_primitive("rsqrt", "one over the square root of x", lambda x: 1 / math.sqrt(x)),
    _pointwise_primitive("abs", "the magnitude of x", abs),
    _pointwise_primitive("floor", "the largest whole number not above x", math.floor),
    _pointwise_primitive("sin", "the sine of x, in radians", math.sin, flops=4),
    _pointwise_primitive("cos", "the cosine of x, in radians", math.cos, flops=4),
    _pointwise_primitive("tanh", "the hyperbolic tangent of x", math.tanh, flops=4),
    _pointwise_primitive("sigmoid", "1 / (1 + exp(-x))", _sigmoid, flops=4),
    _pointwise_primitive("softplus", "log(1 + exp(x))", _softplus, flops=6),
    _pointwise_primitive("relu", "the larger of x and 0", lambda x: max(x, 0.0)),
    _pointwise_primitive("erf", "the error function of x", math.erf, flops=6),
    _pointwise_primitive("stop", "x, through which no gradient flows", lambda x: x, flops=0, shape=rules.pointwise),
    _pointwise_primitive("minimum", "min(a, b): the smaller of two", min, 2, commutative=True),
    _pointwise_primitive("maximum", "max(a, b): the larger of two", max, 2, commutative=True),
    _pointwise_primitive(
        "where",
        "a where the condition holds, b elsewhere",
        lambda c, a, b: a if c else b,
        3,
        shape=lambda types, attrs: rules.where(types),
    ),
    # reductions over the channel, which stays as an axis of size 1 and so broadcasts back
    _reduction("mean", "the mean over the channel"),
    _reduction("sum", "the sum over the channel"),
    _reduction("largest", "max(x): the largest over the channel"),
    _reduction("smallest", "min(x): the smallest over the channel"),
    _reduction("logsumexp", "log of the sum of exp over the channel"),
    # weights
    Primitive(
        "embed",
        "weights",
        (
            Arg("tokens", "tokens"),
            Arg("vocab", "integer", low=2, high=MAX_SIZE),
            Arg("width", "integer", low=1, high=MAX_SIZE),
        ),
        "a learned vector for each token, or for each position: embed(position(x), vocab = longest, width = d)",
        rules.embed,
        lambda types, attrs, out, context: 0,
        weights=lambda types, attrs: {"weight": (attrs["vocab"], attrs["width"])},
    ),
    Primitive(
        "linear",
        "weights",
        (Arg("x", "seq"), Arg("out", "integer", low=1, high=MAX_SIZE), Arg("bias", "flag", 0)),
        "a learned linear map of the channels to `out` channels",
        rules.linear,
        lambda types, attrs, out, context: 2 * types[0].width * attrs["out"],
        weights=rules.linear_weights,
    ),
    Primitive(
        "unembed",
        "weights",
        (
            Arg("x", "seq"),
            Arg("vocab", "integer", 0, low=0, high=MAX_SIZE),
            Arg("tied", "flag", 0),
            Arg("bias", "flag", 0),
        ),
        "logits over the vocabulary; tied = 1 uses the token embedding's weights; vocab = 0 means as embedded",
        rules.unembed,
        lambda types, attrs, out, context: 2 * types[0].width * attrs["vocab"],
        weights=rules.unembed_weights,
    ),
    Primitive(
        "param",
        "weights",
        (Arg("init", "number"), Arg("per", "axes", ()), Arg("learn", "flag", 1), Arg("of", "like", None)),
        "a learned number, or one per head, per channel, or per both: "
        "param(1, per = channel), param(0, per = [head, channel]); learn = 0 keeps it as it is; the axes are those of "
        "the enclosing function's first input, or of another value: param(0, per = head, of = q)",
        lambda types, attrs: attrs["type"],
        lambda types, attrs, out, context: 0,
        weights=lambda types, attrs: {"weight": rules.param_shape(attrs["type"])} if attrs["learn"] else {},
    ),
    Primitive(
        "lookup",
        "weights",
        (
            Arg("index", "value"),
            Arg("size", "integer", low=1, high=MAX_SIZE),
            Arg("init", "number", 0.0),
            Arg("per", "axes", ()),
        ),
        "in a score function: a learned number for each whole number from 0 to size - 1, or with per = head one for "
        "each head and number; an index outside counts as the nearest inside: lookup(i - j, size = 32, per = head)",
        rules.lookup,
        lambda types, attrs, out, context: 0,
        weights=lambda types, attrs: {"weight": rules.lookup_shape(attrs)},
        mechanism="lookup",
    ),
    # sequence: what looks at earlier positions, or at the position itself
    Primitive(
        "position",
        "sequence",
        (X,),
        "the index of each position, from 0, as whole numbers",
        lambda types, attrs: TensorType(("token",), dtype=INTEGER),
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "shift",
        "sequence",
        (X, Arg("by", "integer", 1, low=1, high=4096)),
        "the value `by` positions earlier, 0 before the start",
        rules.same,
        lambda types, attrs, out, context: 0,
        keeps=lambda types, attrs, context: (0, types[0].fixed_size * attrs["by"]),
        mechanism="shift",
    ),
    Primitive(
        "conv",
        "sequence",
        (X, Arg("kernel", "integer", 4, low=1, high=4096)),
        "a learned causal convolution along the sequence, one filter per channel (and head)",
        rules.same,
        lambda types, attrs, out, context: 2 * types[0].fixed_size * attrs["kernel"],
        weights=lambda types, attrs: {"weight": (types[0].fixed_size, 1, attrs["kernel"])},
        keeps=lambda types, attrs, context: (0, types[0].fixed_size * (attrs["kernel"] - 1)),
        mechanism="conv",
    ),
    Primitive(
        "scan",
        "sequence",
        (Arg("a", "factor"), Arg("b", "value")),
        "the linear recurrence h[t] = a[t] * h[t-1] + b[t], elementwise, from h = 0; use 0 <= a <= 1",
        rules.scan,
        lambda types, attrs, out, context: 2 * out.fixed_size,
        keeps=lambda types, attrs, context: (0, types[1].fixed_size),
        mechanism="scan",
    ),
    Primitive(
        "attend",
        "sequence",
        (
            Arg("q", "heads"),
            Arg("k", "heads"),
            Arg("v", "heads"),
            Arg("score", "score", None),
            Arg("mask", "mask", None),
            Arg("scale", "number", None, low=0),
            Arg("top", "integer", 0, low=0, high=MAX_SIZE),
            Arg("sink", "factor", None),
        ),
        "softmax attention over positions j <= i; fewer key heads than query heads are shared in groups. "
        "score maps the scaled logit s (and h, i, j) to another; mask (of h, i, j) says which positions count; "
        "scale defaults to one over the square root of the head dimension; top = n keeps the n largest logits of "
        "each query; sink is one more logit per head, which takes weight and gives nothing",
        rules.attend,
        rules.attend_flops,
        keeps=lambda types, attrs, context: (sum(t.fixed_size for t in types[1:3] + rules.seen(types, attrs)), 0),
        mechanism="attend",
    ),
    Primitive(
        "linear_attend",
        "sequence",
        (Arg("q", "heads"), Arg("k", "heads"), Arg("v", "heads"), Arg("decay", "factor", 1)),
        "linear attention, a recurrence on a matrix per head: S[t] = decay[t] * S[t-1] + k[t] v[t]^T, and q[t] S[t] is "
        "the result; decay lies between 0 and 1, one for each head (and token, and channel of k)",
        rules.recurrent,
        rules.recurrent_flops,
        keeps=lambda types, attrs, context: (0, types[1].heads * types[1].width * types[2].width),
        mechanism="linear_attend",
    ),
    Primitive(
        "delta_attend",
        "sequence",
        (Arg("q", "heads"), Arg("k", "heads"), Arg("v", "heads"), Arg("beta", "factor"), Arg("decay", "factor", 1)),
        "the same by the delta rule, which replaces what the matrix holds for k[t]: "
        "S[t] = decay[t] * S[t-1] + beta[t] k[t] (v[t] - decay[t] * k[t] S[t-1])^T; k has length 1, and beta and decay "
        "lie between 0 and 1, one for each head and token",
        rules.recurrent,
        rules.delta_flops,
        keeps=lambda types, attrs, context: (0, types[1].heads * types[1].width * types[2].width),
        mechanism="delta_attend",
    ),
    # structure
    Primitive(
        "split_heads",
        "structure",
        (Arg("x", "seq"), Arg("heads", "integer", low=1, high=MAX_SIZE)),
        "cut the channels into heads: seq[h * d] to heads[h, d]",
        rules.split_heads,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "merge_heads",
        "structure",
        (Arg("x", "heads"),),
        "join the heads: heads[h, d] to seq[h * d]",
        rules.merge_heads,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "concat",
        "structure",
        (Arg("a", "value"), Arg("b", "value")),
        "join the channels of two values; their other axes broadcast, so that one head can go to every head",
        rules.concat,
        lambda types, attrs, out, context: 0,
        mechanism="concat",
    ),
    Primitive(
        "slice",
        "structure",
        (X, Arg("start", "integer", low=0, high=MAX_SIZE), Arg("stop", "integer", low=1, high=MAX_SIZE)),
        "the channels from start up to but not including stop",
        rules.slice_channels,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "rotate",
        "structure",
        (X, Arg("angle", "value"), Arg("interleaved", "flag", 0)),
        "turn pairs of channels by an angle per position and pair: the first half with the second half, or with "
        "interleaved = 1 each channel with its neighbour",
        rules.rotate,
        lambda types, attrs, out, context: 3 * types[0].fixed_size,
        mechanism="rotate",
    ),
    Primitive(
        "channel_index",
        "structure",
        (X, Arg("count", "integer", low=1, high=MAX_SIZE)),
        "the numbers 0 to count - 1 along the channel axis",
        lambda types, attrs: TensorType(("channel",), width=attrs["count"], dtype=INTEGER),
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "head_index",
        "structure",
        (Arg("x", "heads"),),
        "the numbers 0 to h - 1 along the head axis of heads[h, d]",
        rules.head_index,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "table",
        "structure",
        (X, Arg("numbers", "numbers")),
        "the numbers of a list along the channel axis: table(x, [1.0, 1.05, 1.2])",
        lambda types, attrs: TensorType(("channel",), width=len(attrs["numbers"])),
        lambda types, attrs, out, context: 0,
    ),
    # choosing: what routes tokens to experts
    Primitive(
        "top",
        "structure",
        (X, Arg("count", "integer", low=1, high=MAX_SIZE)),
        "which channels are among the `count` largest: yes or no, and no gradient",
        rules.top,
        lambda types, attrs, out, context: types[0].fixed_size,
        mechanism="top",
    ),
    Primitive(
        "experts",
        "structure",
        (Arg("x", "seq"), Arg("gates", "seq"), Arg("expert", "function")),
        "a copy of the function `expert` for each channel of gates, with weights of its own, and the sum of their "
        "results times the gates; a copy is computed for the tokens whose gate is not 0: "
        "experts(x, p * top(p, 2), glu(hidden = 64))",
        rules.experts,
        lambda types, attrs, out, context: 2 * attrs["active"] * attrs["type"].width,
        mechanism="experts",
    ),
    Primitive(
        "penalty",
        "structure",
        (X, Arg("a", "factor"), Arg("b", "factor", 1)),
        "x as it is; in training, the loss is also to lessen the sum over the channels of mean(a) * mean(b), the means "
        "over the tokens: penalty(y, 0.01 * p, stop(kept)); it counts where a gradient reaches its result",
        rules.penalty,
        lambda types, attrs, out, context: sum(t.fixed_size for t in types[1:] if isinstance(t, TensorType)),
        mechanism="penalty",
    ),
    # loss
    Primitive(
        "cross_entropy",
        "loss",
        (Arg("logits", "seq"), Arg("y", "tokens")),
        "minus the log probability that the logits give to the token y, in nats, per token",
        rules.cross_entropy,
        lambda types, attrs, out, context: 6 * types[0].width,
    ),
)


PRIMITIVES: dict[str, Primitive] = {entry.name: entry for entry in _ENTRIES}

OPERATORS = {
    "+": "add",
    "-": "subtract",
    "*": "multiply",
    "/": "divide",
    "**": "power",
    "<": "less",
    "<=": "less_equal",
    ">": "greater",
    ">=": "greater_equal",
    "==": "equal",
    "!=": "unequal",
    "&": "both",
    "|": "either",
}

# Names that a genome may call: the operators' own names are not among them; `max` and `min` are
# a reduction of one argument and a choice between two.
HIDDEN = frozenset(OPERATORS.values()) | {"negate", "invert", "largest", "smallest", "minimum", "maximum"}
CALLABLE = frozenset(PRIMITIVES) - HIDDEN | {"max", "min"}
CONSTANTS: dict[str, float | str] = {"pi": math.pi, "head": "head", "channel": "channel"}
SPECIAL = frozenset({"share", "width", "head_count", "query", "key", "train", "adamw", "lion", "muon"})

# What slots bind, by name.
SLOTS = {
    "score": ("s", "h", "i", "j"),
    "mask": ("h", "i", "j"),
    "schedule": ("t",),
    "context": ("t",),
    "difficulty": ("t",),
    "loss": ("logits", "y", "teacher"),
}

OPTIMIZERS: dict[str, tuple[Arg, ...]] = {
    "adamw": (
        Arg("lr", "number", 3e-3, low=1e-6, high=1.0),
        Arg("betas", "list", (0.9, 0.95)),
        Arg("decay", "number", 0.1, low=0.0, high=1.0),
        Arg("eps", "number", 1e-8, low=1e-16, high=1e-2),
    ),
    "lion": (
        Arg("lr", "number", 5e-4, low=1e-6, high=1.0),
        Arg("betas", "list", (0.9, 0.99)),
        Arg("decay", "number", 0.1, low=0.0, high=10.0),
    ),
    "muon": (
        Arg("lr", "number", 2e-2, low=1e-6, high=1.0),
        Arg("momentum", "number", 0.95, low=0.0, high=0.999),
        Arg("decay", "number", 0.1, low=0.0, high=1.0),
        # embeddings, the output layer, vectors and scalars go to AdamW
        Arg("adamw_lr", "number", 3e-3, low=1e-6, high=1.0),
        Arg("betas", "list", (0.9, 0.95)),
    ),
}

TRAIN: tuple[Arg, ...] = (
    Arg("optimizer", "optimizer", None),
    Arg("schedule", "function", None),
    Arg("loss", "function", None),
    Arg("context", "function", None),
    Arg("difficulty", "function", None),
    Arg("batch", "integer", 2048, low=16, high=1 << 24),
    Arg("clip", "number", 1.0, low=0.0, high=1e6),
    # the inputs of a matrix at which rates hold as they are; 0: they hold everywhere (foundry/compiler/transfer.py)
    Arg("transfer", "integer", 0, low=0, high=MAX_SIZE),
)
