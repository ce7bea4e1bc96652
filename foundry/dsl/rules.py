"""What the primitives make of their inputs: the types of results, and the operations that they take.

Rules are functions of the input types (tensors as `TensorType`, numbers as numbers) and the compile-time arguments.
Sizes and operations are per token: 96 for a `seq[96]` means 96 for each of the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER, Clash, TensorType, broadcast, heads, seq

Types = tuple[Any, ...]  # a TensorType for a tensor, a number for a compile-time number
Attrs = dict[str, Any]


class Mismatch(Exception):
    """Inputs that a primitive does not take.

    message: what is wrong, in lower case; one that begins with "takes" goes behind the primitive's name.
    argument: the name of the argument at fault. expected: the legal values, where they are few, and found: the one that
    there is. help: what to do.
    """

    def __init__(
        self,
        message: str,
        argument: str = "",
        expected: tuple = (),
        help: str = "",
        code: str = "shape",
        found: object = "",
    ):
        super().__init__(message)
        self.message, self.argument, self.expected, self.help = message, argument, expected, help
        self.code, self.found = code, str(found)


def pointwise(types: Types, attrs: Attrs) -> TensorType:
    out: TensorType | None = None
    for t in types:
        if not isinstance(t, TensorType):
            t = TensorType(dtype=INTEGER if float(t).is_integer() else FLOAT)
        out = t if out is None else broadcast(out, t)
    assert out is not None
    return out


def as_float(types: Types, attrs: Attrs) -> TensorType:
    out = pointwise(types, attrs)
    return TensorType(out.axes, out.heads, out.width, FLOAT)


def as_boolean(types: Types, attrs: Attrs) -> TensorType:
    out = pointwise(types, attrs)
    return TensorType(out.axes, out.heads, out.width, BOOLEAN)


def negate(types: Types, attrs: Attrs) -> TensorType:
    out = pointwise(types, attrs)
    return replace(out, dtype=INTEGER) if out.dtype == BOOLEAN else out


def remainder(types: Types, attrs: Attrs) -> TensorType:
    """Whole for whole numbers, but where b may be 0: nothing whole is the remainder of that."""
    out, b = pointwise(types, attrs), types[1]
    return as_float(types, attrs) if isinstance(b, TensorType) or not b else out


def elements(out: TensorType, context: int) -> int:
    return out.fixed_size * (context if out.has("key") else 1)


def elementwise_flops(cost: int) -> Callable[[Types, Attrs, TensorType, int], float]:
    return lambda types, attrs, out, context: cost * elements(out, context)


def reduce(types: Types, attrs: Attrs) -> TensorType:
    (x,) = types
    if not x.has("channel"):
        raise Mismatch(f"takes values with channels, but its input is {x}", "x", found=x)
    return TensorType(x.axes, x.heads, 1, FLOAT)


def reduce_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    return types[0].fixed_size


def needs(argument: str, t: Any, kind: str) -> None:
    good = isinstance(t, TensorType) and {"seq": t.is_seq, "heads": t.is_heads, "value": True}[kind]
    if not good:
        example = {"seq": "a sequence seq[d]", "heads": "heads[h, d]", "value": "a tensor"}[kind]
        remedy = ""
        if isinstance(t, TensorType) and t.is_heads and kind == "seq":
            remedy = "join the heads with merge_heads first"
        if isinstance(t, TensorType) and t.is_seq and kind == "heads":
            remedy = "cut the channels into heads with split_heads first"
        found = t if isinstance(t, TensorType) else "a number"
        expected = {"seq": ("seq[d]",), "heads": ("heads[h, d]",), "value": ()}[kind]
        raise Mismatch(f"takes {example}, but {argument} is {found}", argument, expected, remedy, found=found)


def shown(t: Any) -> str:
    return str(t) if isinstance(t, TensorType) else "a number"


def sequence_or_heads(argument: str, t: Any) -> None:
    if not (isinstance(t, TensorType) and (t.is_seq or t.is_heads)):
        raise Mismatch(f"takes seq[d] or heads[h, d], but {argument} is {t}", argument, found=t)


def divisors(n: int) -> tuple[int, ...]:
    """The divisors of n, ascending."""
    return tuple(d for d in range(1, min(n, 4096) + 1) if n % d == 0)


def embed(types: Types, attrs: Attrs) -> TensorType:
    (t,) = types
    if not (isinstance(t, TensorType) and t.dtype == INTEGER and t.axes in (("batch", "token"), ("token",))):
        raise Mismatch(f"looks up tokens or positions, but its input is {t}", "tokens", ("tokens",), found=t)
    return TensorType(t.axes + ("channel",), width=attrs["width"])


def linear(types: Types, attrs: Attrs) -> TensorType:
    needs("x", types[0], "seq")
    return seq(attrs["out"])


def unembed_weights(types: Types, attrs: Attrs) -> dict[str, tuple[int, ...]]:
    if attrs["tied"]:
        return {}
    weights: dict[str, tuple[int, ...]] = {"weight": (attrs["vocab"], types[0].width)}
    if attrs.get("bias"):
        weights["bias"] = (attrs["vocab"],)
    return weights


def linear_weights(types: Types, attrs: Attrs) -> dict[str, tuple[int, ...]]:
    weights: dict[str, tuple[int, ...]] = {"weight": (attrs["out"], types[0].width)}
    if attrs.get("bias"):
        weights["bias"] = (attrs["out"],)
    return weights


def unembed(types: Types, attrs: Attrs) -> TensorType:
    needs("x", types[0], "seq")
    return seq(attrs["vocab"])


def split_heads(types: Types, attrs: Attrs) -> TensorType:
    needs("x", types[0], "seq")
    width, count = types[0].width, attrs["heads"]
    if width % count:
        raise Mismatch(
            f"{count} heads do not divide the {width} channels of x",
            "heads",
            divisors(width),
            code="divide",
            found=count,
        )
    return replace(heads(count, width // count), dtype=types[0].dtype)


def merge_heads(types: Types, attrs: Attrs) -> TensorType:
    needs("x", types[0], "heads")
    return replace(seq(types[0].heads * types[0].width), dtype=types[0].dtype)


def with_channels(argument: str, t: Any) -> None:
    if not (isinstance(t, TensorType) and t.has("channel")):
        raise Mismatch(f"takes values with channels, but {argument} is {shown(t)}", argument)


def concat(types: Types, attrs: Attrs) -> TensorType:
    a, b = types
    with_channels("a", a)
    with_channels("b", b)
    try:
        out = broadcast(replace(a, width=1), replace(b, width=1))
    except Clash:
        raise Mismatch(f"joins channels of alike values, but a is {a} and b is {b}", "b") from None
    return replace(out, width=a.width + b.width)


def slice_channels(types: Types, attrs: Attrs) -> TensorType:
    (x,) = types
    with_channels("x", x)
    start, stop = attrs["start"], attrs["stop"]
    if not 0 <= start < stop <= x.width:
        wrong, low, high = ("stop", start + 1, x.width) if start < x.width else ("start", 0, x.width - 1)
        raise Mismatch(
            f"channels {start} to {stop} do not lie within the {x.width} of x",
            wrong,
            (f"from {low} to {high}",),
            help=f"0 <= start < stop <= {x.width}",
        )
    return replace(x, width=stop - start)


def top(types: Types, attrs: Attrs) -> TensorType:
    (x,) = types
    with_channels("x", x)
    if attrs["count"] > x.width:
        raise Mismatch(
            f"the {attrs['count']} largest of {x.width} channels",
            "count",
            (f"from 1 to {x.width}",),
            help=f"count is at most {x.width}",
        )
    return replace(x, dtype=BOOLEAN)


def penalty(types: Types, attrs: Attrs) -> TensorType:
    x, *terms = types
    sequence_or_heads("x", x)
    if not any(isinstance(t, TensorType) for t in terms):
        raise Mismatch("takes something to lessen, but a is a number", "a")
    for argument, t in zip("ab", terms, strict=True):
        if isinstance(t, TensorType) and not (t.is_seq or t.is_heads or not set(t.axes) - {"head", "channel"}):
            raise Mismatch(f"takes seq[d], heads[h, d] or learned numbers, but {argument} is {t}", argument)
    pointwise(tuple(terms), {})
    return x


def lookup(types: Types, attrs: Attrs) -> TensorType:
    (index,) = types
    if not isinstance(index, TensorType) or not index.axes or set(index.axes) - {"token", "key"}:
        raise Mismatch(f"looks up whole numbers made of i and j, but its index is {shown(index)}", "index")
    return TensorType(("head", *index.axes) if attrs["heads"] else index.axes, attrs["heads"])


def head_index(types: Types, attrs: Attrs) -> TensorType:
    needs("x", types[0], "heads")
    return TensorType(("head",), heads=types[0].heads, dtype=INTEGER)


def lookup_shape(attrs: Attrs) -> tuple[int, ...]:
    """The shape in memory of a table: (size,) or (h, size)."""
    return (attrs["heads"], attrs["size"]) if attrs["heads"] else (attrs["size"],)


def experts(types: Types, attrs: Attrs) -> TensorType:
    x, gates = types
    needs("x", x, "seq")
    needs("gates", gates, "seq")
    return attrs["type"]


def rotate(types: Types, attrs: Attrs) -> TensorType:
    x, angle = types
    sequence_or_heads("x", x)
    if x.width % 2:
        raise Mismatch(f"turns pairs of channels, but x has {x.width} channels", "x", help="use an even head dimension")
    if not isinstance(angle, TensorType) or angle.has("key") or (angle.has("head") and not x.has("head")):
        raise Mismatch(f"takes an angle per position and pair, but angle is {angle}", "angle")
    if angle.has("head") and angle.heads not in (1, x.heads):
        raise Mismatch(f"the angle has {angle.heads} heads and x has {x.heads}", "angle")
    if angle.has("channel") and angle.width not in (1, x.width // 2):
        raise Mismatch(f"x has {x.width // 2} pairs of channels, but angle has {angle.width}", "angle")
    return TensorType(x.axes, x.heads, x.width)


def same(types: Types, attrs: Attrs) -> TensorType:
    sequence_or_heads("x", types[0])
    return TensorType(types[0].axes, types[0].heads, types[0].width)


def scan(types: Types, attrs: Attrs) -> TensorType:
    a, b = types
    sequence_or_heads("b", b)
    out = TensorType(b.axes, b.heads, b.width)
    if isinstance(a, TensorType) and broadcast(a, b, FLOAT) != out:
        raise Mismatch(f"the decay a is {a}, which does not fit b, {b}", "a")
    return out


def heads_alike(q: TensorType, k: TensorType, v: TensorType) -> None:
    for name, t in (("q", q), ("k", k), ("v", v)):
        needs(name, t, "heads")
    if q.width != k.width:
        raise Mismatch(f"a head of q has {q.width} channels and a head of k {k.width}", "k", (q.width,), found=k.width)
    if k.heads != v.heads:
        raise Mismatch(f"k has {k.heads} heads and v has {v.heads}", "v", (k.heads,), found=v.heads)
    if q.heads % k.heads:
        raise Mismatch(
            f"{k.heads} key heads do not divide the {q.heads} query heads",
            "kv_heads",
            divisors(q.heads),
            code="divide",
            found=k.heads,
        )


def attend(types: Types, attrs: Attrs) -> TensorType:
    q, k, v, *sink = types
    heads_alike(q, k, v)
    for t in sink:
        if isinstance(t, TensorType) and (t.has("key") or t.width > 1 or t.heads not in (0, 1, q.heads)):
            raise Mismatch(f"takes one sink per head, but it is {t}", "sink")
        if isinstance(t, TensorType) and t.has("batch") and not t.has("head"):
            raise Mismatch(f"takes one sink per head, but it is {t}", "sink", help="split_heads gives it heads")
    return heads(q.heads, v.width)


def seen(types: Types, attrs: Attrs) -> Types:
    """The values per token that the score and the mask of an attend read."""
    return types[len(types) - attrs["seen"] :]


def attend_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    q, _, v, *_ = types
    return 2 * q.heads * (q.width + v.width) * context  # the full square, as FlopCounterMode counts it


def recurrent(types: Types, attrs: Attrs) -> TensorType:
    """linear_attend and delta_attend: q, k, v and factors per head and token."""
    q, k, v, *factors = types
    heads_alike(q, k, v)
    names = ("beta", "decay")[-len(factors) :]
    for name, t in zip(names, factors, strict=True):
        wide = k.width if len(factors) == 1 else 1
        if isinstance(t, TensorType) and not (
            t.has("head") and not t.has("key") and t.heads in (1, k.heads) and t.width in (0, 1, wide)
        ):
            raise Mismatch(f"takes one {name} for each of the {k.heads} heads, but it is {t}", name)
    return heads(q.heads, v.width)


CHUNK = 16  # tokens that meet in one matrix product inside linear_attend and delta_attend


def padded(context: int, chunk: int = CHUNK) -> tuple[int, float]:
    """The length of a chunk, and how many tokens are computed for each token, the last chunk being filled up."""
    chunk = min(context, chunk)
    return chunk, -(-context // chunk) * chunk / context


def recurrent_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    q, k, v, decay = types
    wide = isinstance(decay, TensorType) and decay.width > 1
    chunk, filled = padded(context, CHUNK // 2 if wide else CHUNK)
    within = chunk * (q.width + v.width) * q.heads
    across = k.width * v.width * (q.heads + k.heads)
    return 2 * filled * (within + across)


def delta_flops(types: Types, attrs: Attrs, out: TensorType, context: int) -> float:
    q, k, v, *_ = types
    chunk, filled = padded(context)
    within = chunk * (q.width + v.width) * (q.heads + k.heads)
    across = k.width * v.width * (q.heads + 2 * k.heads)
    return 2 * filled * (within + across)


def cross_entropy(types: Types, attrs: Attrs) -> TensorType:
    logits, y = types
    needs("logits", logits, "seq")
    if not (isinstance(y, TensorType) and y.is_tokens):
        raise Mismatch(f"compares logits with tokens, but y is {y}", "y")
    return seq(1)


def where(types: Types) -> TensorType:
    condition, a, b = types
    branches = [t for t in (a, b) if isinstance(t, TensorType)]
    out = pointwise((a, b), {}) if branches else TensorType()
    if len(branches) == 2 and a.dtype == b.dtype == BOOLEAN:
        out = replace(out, dtype=BOOLEAN)
    if isinstance(condition, TensorType):
        out = broadcast(out, condition, out.dtype)
    return out


def param_shape(t: TensorType) -> tuple[int, ...]:
    """The shape in memory of a learned value: () for a scalar, (d,), (h, 1, 1) or (h, 1, d)."""
    if t.has("head"):
        return (t.heads, 1, t.width if t.has("channel") else 1)
    return (t.width,) if t.has("channel") else ()
