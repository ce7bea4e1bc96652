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

from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER, TensorType, broadcast, heads, seq

REQUIRED = object()
Types = tuple[Any, ...]  # a TensorType for a tensor, a number for a compile-time number
Attrs = dict[str, Any]


class Mismatch(Exception):
    """Inputs that a primitive does not take.

    message: what is wrong, in lower case. argument: the name of the argument at fault.
    expected: the legal values, where they are few. help: what to do.
    """

    def __init__(self, message: str, argument: str = "", expected: tuple = (), help: str = "", code: str = "shape"):
        super().__init__(message)
        self.message, self.argument, self.expected, self.help = message, argument, expected, help
        self.code = code


@dataclass(frozen=True)
class Arg:
    """An argument: its sort (tokens, seq, heads, value, integer, number, flag, axes, score, mask),
    its default, and for numbers the legal interval."""

    name: str
    sort: str
    default: Any = REQUIRED
    low: float = -math.inf
    high: float = math.inf

    @property
    def is_tensor(self) -> bool:
        return self.sort in ("tokens", "seq", "heads", "value")


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


def _pointwise(types: Types, attrs: Attrs) -> TensorType:
    out: TensorType | None = None
    for t in types:
        if not isinstance(t, TensorType):
            t = TensorType(dtype=INTEGER if float(t).is_integer() else FLOAT)
        out = t if out is None else broadcast(out, t)
    assert out is not None
    return out


def _as_float(types: Types, attrs: Attrs) -> TensorType:
    out = _pointwise(types, attrs)
    return TensorType(out.axes, out.heads, out.width, FLOAT)


def _as_boolean(types: Types, attrs: Attrs) -> TensorType:
    out = _pointwise(types, attrs)
    return TensorType(out.axes, out.heads, out.width, BOOLEAN)


def _elements(out: TensorType, context: int) -> int:
    return out.fixed_size * (context if out.has("key") else 1)


def _elementwise_flops(cost: int) -> Callable[[Types, Attrs, TensorType, int], float]:
    return lambda types, attrs, out, context: cost * _elements(out, context)


def _reduce(types: Types, attrs: Attrs) -> TensorType:
    (x,) = types
    if not x.has("channel"):
        raise Mismatch(f"reduces over the channel, but its input is {x}", "x")
    return TensorType(x.axes, x.heads, 1, FLOAT)


def _reduce_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    return types[0].fixed_size


def _needs(argument: str, t: Any, kind: str) -> None:
    good = isinstance(t, TensorType) and {"seq": t.is_seq, "heads": t.is_heads, "value": True}[kind]
    if not good:
        example = {"seq": "a sequence seq[d]", "heads": "heads[h, d]", "value": "a tensor"}[kind]
        remedy = ""
        if isinstance(t, TensorType) and t.is_heads and kind == "seq":
            remedy = "join the heads with merge_heads first"
        if isinstance(t, TensorType) and t.is_seq and kind == "heads":
            remedy = "cut the channels into heads with split_heads first"
        found = t if isinstance(t, TensorType) else "a number"
        raise Mismatch(f"takes {example}, but {argument} is {found}", argument, help=remedy)


def _sequence_or_heads(argument: str, t: Any) -> None:
    if not (isinstance(t, TensorType) and (t.is_seq or t.is_heads)):
        raise Mismatch(f"takes seq[d] or heads[h, d], but {argument} is {t}", argument)


def divisors(n: int) -> tuple[int, ...]:
    """The divisors of n, ascending."""
    return tuple(d for d in range(1, min(n, 4096) + 1) if n % d == 0)


def _embed(types: Types, attrs: Attrs) -> TensorType:
    (t,) = types
    if not (isinstance(t, TensorType) and t.dtype == INTEGER and t.axes in (("batch", "token"), ("token",))):
        raise Mismatch(f"looks up tokens or positions, but its input is {t}", "tokens")
    return TensorType(t.axes + ("channel",), width=attrs["width"])


def _linear(types: Types, attrs: Attrs) -> TensorType:
    _needs("x", types[0], "seq")
    return seq(attrs["out"])


def _linear_weights(types: Types, attrs: Attrs) -> dict[str, tuple[int, ...]]:
    weights: dict[str, tuple[int, ...]] = {"weight": (attrs["out"], types[0].width)}
    if attrs.get("bias"):
        weights["bias"] = (attrs["out"],)
    return weights


def _unembed(types: Types, attrs: Attrs) -> TensorType:
    _needs("x", types[0], "seq")
    return seq(attrs["vocab"])


def _split_heads(types: Types, attrs: Attrs) -> TensorType:
    _needs("x", types[0], "seq")
    width, count = types[0].width, attrs["heads"]
    if width % count:
        raise Mismatch(
            f"{count} heads do not divide the {width} channels of x", "heads", divisors(width), code="divide"
        )
    return heads(count, width // count)


def _merge_heads(types: Types, attrs: Attrs) -> TensorType:
    _needs("x", types[0], "heads")
    return seq(types[0].heads * types[0].width)


def _concat(types: Types, attrs: Attrs) -> TensorType:
    a, b = types
    _sequence_or_heads("a", a)
    _sequence_or_heads("b", b)
    if a.axes != b.axes or a.heads != b.heads:
        raise Mismatch(f"joins channels of alike sequences, but a is {a} and b is {b}", "b")
    return TensorType(a.axes, a.heads, a.width + b.width)


def _slice(types: Types, attrs: Attrs) -> TensorType:
    (x,) = types
    _sequence_or_heads("x", x)
    start, stop = attrs["start"], attrs["stop"]
    if not 0 <= start < stop <= x.width:
        raise Mismatch(
            f"channels {start} to {stop} do not lie within the {x.width} of x",
            "stop",
            help=f"0 <= start < stop <= {x.width}",
        )
    return TensorType(x.axes, x.heads, stop - start)


def _rotate(types: Types, attrs: Attrs) -> TensorType:
    x, angle = types
    _sequence_or_heads("x", x)
    if x.width % 2:
        raise Mismatch(f"turns pairs of channels, but x has {x.width} channels", "x", help="use an even head dimension")
    if not isinstance(angle, TensorType) or angle.has("key") or (angle.has("head") and not x.has("head")):
        raise Mismatch(f"takes an angle per position and pair, but angle is {angle}", "angle")
    if angle.has("head") and angle.heads not in (1, x.heads):
        raise Mismatch(f"the angle has {angle.heads} heads and x has {x.heads}", "angle")
    if angle.has("channel") and angle.width not in (1, x.width // 2):
        raise Mismatch(f"x has {x.width // 2} pairs of channels, but angle has {angle.width}", "angle")
    return TensorType(x.axes, x.heads, x.width)


def _same(types: Types, attrs: Attrs) -> TensorType:
    _sequence_or_heads("x", types[0])
    return TensorType(types[0].axes, types[0].heads, types[0].width)


def _scan(types: Types, attrs: Attrs) -> TensorType:
    a, b = types
    _sequence_or_heads("b", b)
    if not isinstance(a, TensorType):
        return b
    if broadcast(a, b) != TensorType(b.axes, b.heads, b.width):
        raise Mismatch(f"the decay a is {a}, which does not fit b, {b}", "a")
    return TensorType(b.axes, b.heads, b.width)


def _attend(types: Types, attrs: Attrs) -> TensorType:
    q, k, v = types
    for name, t in (("q", q), ("k", k), ("v", v)):
        _needs(name, t, "heads")
    if q.width != k.width:
        raise Mismatch(f"a head of q has {q.width} channels and a head of k {k.width}", "k")
    if k.heads != v.heads:
        raise Mismatch(f"k has {k.heads} heads and v has {v.heads}", "v")
    if q.heads % k.heads:
        raise Mismatch(
            f"{k.heads} key heads do not divide the {q.heads} query heads", "kv_heads", divisors(q.heads), code="divide"
        )
    return heads(q.heads, v.width)


def _attend_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    q, _, v = types
    return 2 * q.heads * (q.width + v.width) * context  # the full square, as FlopCounterMode counts it


def _cross_entropy(types: Types, attrs: Attrs) -> TensorType:
    logits, y = types
    _needs("logits", logits, "seq")
    if not (isinstance(y, TensorType) and y.is_tokens):
        raise Mismatch(f"compares logits with tokens, but y is {y}", "y")
    return seq(1)


def _pointwise_primitive(
    name: str, doc: str, fold: Callable[..., float], arity: int = 1, flops: int = 1, **more: Any
) -> Primitive:
    names = ("x",) if arity == 1 else ("a", "b") if arity == 2 else ("condition", "a", "b")
    shape = more.pop("shape", _as_float if arity == 1 else _pointwise)
    return Primitive(
        name,
        "pointwise",
        tuple(Arg(n, "value") for n in names),
        doc,
        shape,
        _elementwise_flops(flops),
        fold=fold,
        **more,
    )


def _reduction(name: str, doc: str) -> Primitive:
    return Primitive(name, "reduce", (X,), doc, _reduce, _reduce_flops)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


_ENTRIES = (
    # arithmetic: what the operators + - * / ** < … mean
    _pointwise_primitive("add", "a + b", lambda a, b: a + b, 2, commutative=True),
    _pointwise_primitive("subtract", "a - b", lambda a, b: a - b, 2),
    _pointwise_primitive("multiply", "a * b", lambda a, b: a * b, 2, commutative=True),
    _pointwise_primitive("divide", "a / b", lambda a, b: a / b, 2, shape=_as_float),
    _pointwise_primitive("power", "a ** b", lambda a, b: a**b, 2, flops=4, shape=_as_float),
    _pointwise_primitive("negate", "-x", lambda x: -x, shape=_pointwise),
    _pointwise_primitive("less", "a < b", lambda a, b: float(a < b), 2, shape=_as_boolean),
    _pointwise_primitive("less_equal", "a <= b", lambda a, b: float(a <= b), 2, shape=_as_boolean),
    _pointwise_primitive("greater", "a > b", lambda a, b: float(a > b), 2, shape=_as_boolean),
    _pointwise_primitive("greater_equal", "a >= b", lambda a, b: float(a >= b), 2, shape=_as_boolean),
    _pointwise_primitive("equal", "a == b", lambda a, b: float(a == b), 2, shape=_as_boolean, commutative=True),
    _pointwise_primitive("unequal", "a != b", lambda a, b: float(a != b), 2, shape=_as_boolean, commutative=True),
    _pointwise_primitive(
        "both", "a & b", lambda a, b: float(bool(a) and bool(b)), 2, shape=_as_boolean, commutative=True
    ),
    _pointwise_primitive(
        "either", "a | b", lambda a, b: float(bool(a) or bool(b)), 2, shape=_as_boolean, commutative=True
    ),
    _pointwise_primitive("invert", "!x", lambda x: float(not x), shape=_as_boolean),
    _pointwise_primitive("remainder", "a modulo b, with the sign of b", lambda a, b: a % b, 2),
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
    _pointwise_primitive("minimum", "min(a, b): the smaller of two", min, 2, commutative=True),
    _pointwise_primitive("maximum", "max(a, b): the larger of two", max, 2, commutative=True),
    _pointwise_primitive(
        "where",
        "a where the condition holds, b elsewhere",
        lambda c, a, b: a if c else b,
        3,
        shape=lambda types, attrs: _where(types),
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
        _embed,
        lambda types, attrs, out, context: 0,
        weights=lambda types, attrs: {"weight": (attrs["vocab"], attrs["width"])},
    ),
    Primitive(
        "linear",
        "weights",
        (Arg("x", "seq"), Arg("out", "integer", low=1, high=MAX_SIZE), Arg("bias", "flag", 0)),
        "a learned linear map of the channels to `out` channels",
        _linear,
        lambda types, attrs, out, context: 2 * types[0].width * attrs["out"],
        weights=_linear_weights,
    ),
    Primitive(
        "unembed",
        "weights",
        (Arg("x", "seq"), Arg("vocab", "integer", 0, low=0, high=MAX_SIZE), Arg("tied", "flag", 0)),
        "logits over the vocabulary; tied = 1 uses the token embedding's weights; vocab = 0 means as embedded",
        _unembed,
        lambda types, attrs, out, context: 2 * types[0].width * attrs["vocab"],
        weights=lambda types, attrs: {} if attrs["tied"] else {"weight": (attrs["vocab"], types[0].width)},
    ),
    Primitive(
        "param",
        "weights",
        (Arg("init", "number"), Arg("per", "axes", ())),
        "a learned number, or one per head, per channel, or per both: "
        "param(1, per = channel), param(0, per = [head, channel])",
        lambda types, attrs: attrs["type"],
        lambda types, attrs, out, context: 0,
        weights=lambda types, attrs: {"weight": param_shape(attrs["type"])},
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
        _same,
        lambda types, attrs, out, context: 0,
        keeps=lambda types, attrs, context: (0, types[0].fixed_size * attrs["by"]),
        mechanism="shift",
    ),
    Primitive(
        "conv",
        "sequence",
        (X, Arg("kernel", "integer", 4, low=1, high=4096)),
        "a learned causal convolution along the sequence, one filter per channel (and head)",
        _same,
        lambda types, attrs, out, context: 2 * types[0].fixed_size * attrs["kernel"],
        weights=lambda types, attrs: {"weight": (types[0].fixed_size, 1, attrs["kernel"])},
        keeps=lambda types, attrs, context: (0, types[0].fixed_size * (attrs["kernel"] - 1)),
        mechanism="conv",
    ),
    Primitive(
        "scan",
        "sequence",
        (Arg("a", "value"), Arg("b", "value")),
        "the linear recurrence h[t] = a[t] * h[t-1] + b[t], elementwise, from h = 0; use 0 <= a <= 1",
        _scan,
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
        ),
        "softmax attention over positions j <= i; fewer key heads than query heads are shared in groups. "
        "score maps the scaled logit s (and h, i, j) to another; mask (of h, i, j) says which positions count; "
        "scale defaults to one over the square root of the head dimension",
        _attend,
        _attend_flops,
        keeps=lambda types, attrs, context: (types[1].fixed_size + types[2].fixed_size, 0),
        mechanism="attend",
    ),
    # structure
    Primitive(
        "split_heads",
        "structure",
        (Arg("x", "seq"), Arg("heads", "integer", low=1, high=MAX_SIZE)),
        "cut the channels into heads: seq[h * d] to heads[h, d]",
        _split_heads,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "merge_heads",
        "structure",
        (Arg("x", "heads"),),
        "join the heads: heads[h, d] to seq[h * d]",
        _merge_heads,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "concat",
        "structure",
        (Arg("a", "value"), Arg("b", "value")),
        "join the channels of two sequences, or of two sets of heads",
        _concat,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "slice",
        "structure",
        (X, Arg("start", "integer", low=0, high=MAX_SIZE), Arg("stop", "integer", low=1, high=MAX_SIZE)),
        "the channels from start up to but not including stop",
        _slice,
        lambda types, attrs, out, context: 0,
    ),
    Primitive(
        "rotate",
        "structure",
        (X, Arg("angle", "value")),
        "turn pairs of channels (first half with second half) by an angle per position and pair",
        _rotate,
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
    # loss
    Primitive(
        "cross_entropy",
        "loss",
        (Arg("logits", "seq"), Arg("y", "tokens")),
        "minus the log probability that the logits give to the token y, in nats, per token",
        _cross_entropy,
        lambda types, attrs, out, context: 6 * types[0].width,
    ),
)


def _where(types: Types) -> TensorType:
    condition, a, b = types
    branches = [t for t in (a, b) if isinstance(t, TensorType)]
    out = _pointwise(tuple(branches), {}) if branches else TensorType()
    if isinstance(condition, TensorType):
        out = broadcast(out, condition, out.dtype)
    return out


def param_shape(t: TensorType) -> tuple[int, ...]:
    """The shape in memory of a learned value: () for a scalar, (d,), (h, 1, 1) or (h, 1, d)."""
    if t.has("head"):
        return (t.heads, 1, t.width if t.has("channel") else 1)
    return (t.width,) if t.has("channel") else ()


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
SPECIAL = frozenset({"share", "width", "head_count", "train", "adamw", "lion", "muon"})

# What slots bind, by name.
SLOTS = {
    "score": ("s", "h", "i", "j"),
    "mask": ("h", "i", "j"),
    "schedule": ("t",),
    "context": ("t",),
    "loss": ("logits", "y"),
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
    Arg("batch", "integer", 2048, low=16, high=1 << 24),
    Arg("clip", "number", 1.0, low=0.0, high=1e6),
)
