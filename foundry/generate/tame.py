"""Ranges: what a value may lie between, and what the inputs of a primitive then have to lie between.

A generator grows an expression from the outside in. It knows what its consumer takes (the logarithm takes what is above
0) and asks here what that means for the inputs of each primitive that could stand there: `tanh` between 0.5 and 2 wants
an input above 0.55. What has learned weights gives values of about the size of its input, `loosely`: nobody can say
that they are positive. A primitive that this table does not know is loose, and gets small inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

from foundry.dsl.types import TensorType
from foundry.generate.ways import Way

CLIP = 6.0  # what stands for any number at all, where any number will do
LOOSE = 1.5  # a range that holds this much on both sides of 0 will do for what has learned weights
LONGEST = 64  # tokens: up to where positions count as tame


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`. `ANY` has all of them, and infinity and no number at all besides."""

    low: float
    high: float

    def holds(self, low: float, high: float) -> bool:
        return self.low <= low and high <= self.high

    @property
    def takes_loose(self) -> bool:
        """Whether values of about ±4 that nobody chose are welcome."""
        return self.low <= -LOOSE and self.high >= LOOSE

    def scaled(self, factor: float) -> Range:
        return Range(self.low * factor, self.high * factor)


ANY = Range(-math.inf, math.inf)
TAME = Range(-6.0, 6.0)
SMALL = Range(-3.0, 3.0)
TINY = Range(-1.0, 1.0)
UNIT = Range(0.0, 1.0)
ABOVE = Range(0.2, 5.0)

Demands = tuple[Range, ...]
Rule = Callable[[Range, Way], list[Demands]]


def finite(wanted: Range) -> Range:
    """The range with `TAME` in place of all numbers."""
    return TAME if wanted == ANY else wanted


def demands(name: str, wanted: Range, way: Way) -> list[Demands]:
    """What the inputs of a primitive may lie between where its result is to lie in a range: the ways there are."""
    rule = RULES.get(name)
    if rule is None:
        return [tuple(TINY for _ in way.types)] if finite(wanted).takes_loose else []
    return rule(wanted, way)


# Kinds of rules -----------------------------------------------------------------------------------------------------


def _increasing(inverse: Callable[[float], float], low: float, high: float, least: float = -CLIP) -> Rule:
    """A function that grows, with values between low and high; it takes what is above `least`."""

    def rule(wanted: Range, way: Way) -> list[Demands]:
        if wanted == ANY:
            return [(ANY,)]
        if wanted.low >= high or wanted.high <= low:
            return []
        bottom = least if wanted.low <= low else max(least, inverse(wanted.low))
        top = CLIP if wanted.high >= high else min(CLIP, inverse(wanted.high))
        return [(Range(bottom, top),)] if bottom < top else []

    return rule


def _like(*arguments: int) -> Rule:
    """A result that is made of these inputs alone, between the least of them and the largest."""

    def rule(wanted: Range, way: Way) -> list[Demands]:
        return [tuple(finite(wanted) if at in arguments else TAME for at in range(len(way.types)))]

    return rule


def _loose(*inputs: Range) -> Rule:
    """What has learned weights: its inputs, the last range for all further ones."""

    def rule(wanted: Range, way: Way) -> list[Demands]:
        if not finite(wanted).takes_loose:
            return []
        return [tuple(inputs[min(at, len(inputs) - 1)] for at in range(len(way.types)))]

    return rule


def _within(low: float, high: Callable[[Way], float], *inputs: Range) -> Rule:
    """A result between low and high whatever the inputs are."""

    def rule(wanted: Range, way: Way) -> list[Demands]:
        return [inputs[: len(way.types)]] if wanted.holds(low, high(way)) else []

    return rule


# Rules of single primitives -----------------------------------------------------------------------------------------


def _add(wanted: Range, way: Way) -> list[Demands]:
    return [(wanted.scaled(0.5), wanted.scaled(0.5))]


def _difference(wanted: Range) -> Demands:
    half = wanted.scaled(0.5)
    if wanted == ANY:
        return ANY, ANY
    return half, Range(-half.high, -half.low)


def _multiply(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY, ANY)]
    low, high = wanted.low, wanted.high
    if low >= 0:
        both = Range(math.sqrt(low), math.sqrt(high))
        return [(both, both)]
    if high <= 0:
        first = Range(math.sqrt(-high), math.sqrt(-low))
        return [(first, Range(-first.high, -first.low))]
    most = math.sqrt(min(-low, high))
    return [(wanted, UNIT), (Range(-most, most), Range(-most, most))]


def _divide(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY, ANY)]
    low = wanted.low * (0.5 if wanted.low < 0 else 2)
    high = wanted.high * (0.5 if wanted.high > 0 else 2)
    below: list[Demands] = [(Range(low, high), Range(0.5, 2))] if low < high else []
    return below + ([(wanted, Range(1, 4))] if wanted.low <= 0 <= wanted.high else [])


def _power(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY, TAME)]
    found: list[Demands] = []
    if wanted.low <= 0 < wanted.high:
        root = math.sqrt(wanted.high)
        found.append((Range(-root, root), Range(2, 2)))
    if wanted.low <= 0.25 and wanted.high >= 4:
        found.append((Range(0.4, 2.5), Range(-1.5, 1.5)))
    low, high = max(wanted.low, 0.05), wanted.high
    if low < 1 < high:
        found.append((Range(low, high), Range(0.1, 0.9)))
    return found


def _remainder(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY, ANY)]
    if wanted.low > 0 or wanted.high < 0.5:
        return []
    most = min(wanted.high, CLIP)
    return [(Range(-CLIP, CLIP), Range(max(0.25, most / 2), most))]


def _comparison(larger: int | None) -> Rule:
    """Yes or no: any inputs where both will do, and else inputs that are sure to differ.

    larger: which input is the larger one where the answer is yes; None where it is no matter which.
    """
    few, many = Range(-4, -1), Range(1, 4)

    def rule(wanted: Range, way: Way) -> list[Demands]:
        if wanted.holds(0, 1):
            return [(ANY, ANY)]
        yes, no = wanted.holds(1, 1), wanted.holds(0, 0)
        if not yes and not no:
            return []
        swapped = (larger != 0) == yes
        return [(few, many) if swapped else (many, few)]

    return rule


def _equal(wanted: Range, way: Way) -> list[Demands]:
    return _comparison(None)(wanted, way) if wanted.holds(0, 0) else []


def _unequal(wanted: Range, way: Way) -> list[Demands]:
    return _comparison(None)(wanted, way) if wanted.holds(1, 1) else []


def _logic(wanted: Range, way: Way) -> list[Demands]:
    if wanted.holds(0, 1):
        return [tuple(ANY for _ in way.types)]
    for sure in (Range(1, 1), Range(0, 0)):
        if wanted.holds(sure.low, sure.low):
            return [tuple(Range(0.5, 5) if sure.low else sure for _ in way.types)]
    return []


def _invert(wanted: Range, way: Way) -> list[Demands]:
    if wanted.holds(0, 1):
        return [(ANY,)]
    return [(Range(0.5, 5),)] if wanted.holds(0, 0) else [(Range(0, 0),)] if wanted.holds(1, 1) else []


def _abs(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY,)]
    if wanted.high <= 0:
        return []
    return [(Range(-wanted.high, wanted.high) if wanted.low <= 0 else wanted,)]


def _floor(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY,)]
    low, high = math.ceil(wanted.low), math.floor(wanted.high)
    return [(Range(low + 0.01, high + 0.99),)] if low <= high else []


def _wave(inverse: Callable[[float], float]) -> Rule:
    def rule(wanted: Range, way: Way) -> list[Demands]:
        if wanted == ANY:
            return [(ANY,)]
        if wanted.holds(-1, 1):
            return [(Range(-CLIP, CLIP),)]
        low, high = max(wanted.low, -1), min(wanted.high, 1)
        ends = sorted((inverse(low), inverse(high))) if low < high else [0.0, 0.0]
        return [(Range(*ends),)] if ends[0] < ends[1] else []

    return rule


def _negate(wanted: Range, way: Way) -> list[Demands]:
    return [(Range(-wanted.high, -wanted.low),)]


def _rsqrt(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY,)]
    if wanted.high <= 0.2:
        return []
    low, high = 1 / min(wanted.high, 5) ** 2, 1 / max(wanted.low, 0.1) ** 2
    return [(Range(low, high),)] if low < high else []


def _sqrt(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY,)]
    low, high = max(wanted.low, 0.1), min(wanted.high, 5)
    return [(Range(low * low, high * high),)] if low < high else []


def _log(wanted: Range, way: Way) -> list[Demands]:
    if wanted == ANY:
        return [(ANY,)]
    low, high = math.exp(max(wanted.low, -3)), math.exp(min(wanted.high, 3))
    return [(Range(low, high),)] if low < high else []


def _where(wanted: Range, way: Way) -> list[Demands]:
    return [(ANY, wanted, wanted)]


def _pair(wanted: Range, way: Way) -> list[Demands]:
    return [(wanted, wanted)]


def _width(t: TensorType | float) -> int:
    return max(1, t.width) if isinstance(t, TensorType) else 1


def _sum(wanted: Range, way: Way) -> list[Demands]:
    wanted, count = finite(wanted), _width(way.types[0])
    share = math.sqrt(count) if wanted.low < 0 < wanted.high else count
    return [(wanted.scaled(1 / share),)]


def _logsumexp(wanted: Range, way: Way) -> list[Demands]:
    wanted, more = finite(wanted), math.log(_width(way.types[0]))
    return [(Range(wanted.low - more, wanted.high - more),)]


def _with_zero(wanted: Range, way: Way) -> list[Demands]:
    """A result that begins with 0."""
    return [(finite(wanted),)] if wanted.holds(0, 0) else []


def _scan(wanted: Range, way: Way) -> list[Demands]:
    wanted = finite(wanted)
    low = wanted.low if wanted.low > 0 else wanted.low / 4
    return [(Range(0, 0.8), Range(low, wanted.high / 5))] if low < wanted.high / 5 else []


def _attend(wanted: Range, way: Way) -> list[Demands]:
    wanted = finite(wanted)
    if len(way.types) == 4 and not wanted.holds(0, 0):  # a sink takes weight and gives nothing
        return []
    return [(TAME, TAME, wanted, TAME)[: len(way.types)]]


def _delta(wanted: Range, way: Way) -> list[Demands]:
    length = math.sqrt(_width(way.types[1]))  # so that a key is never longer than 1
    key = Range(-1 / length, 1 / length)
    return [(TINY, key, SMALL, UNIT, UNIT)] if finite(wanted).takes_loose else []


def _embed(wanted: Range, way: Way) -> list[Demands]:
    return [(Range(0, way.attrs["vocab"] - 1),)] if finite(wanted).takes_loose else []


def _cross_entropy(wanted: Range, way: Way) -> list[Demands]:
    classes = _width(way.types[0])
    return [(TAME, Range(0, classes - 1))] if wanted.holds(0, 4) and classes > 1 else []


def _count(way: Way) -> float:
    t = way.types[0]
    return (t.heads if isinstance(t, TensorType) else 1) - 1


RULES: dict[str, Rule] = {
    "add": _add,
    "subtract": lambda wanted, way: [_difference(wanted)],
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "negate": _negate,
    "less": _comparison(1),
    "less_equal": _comparison(1),
    "greater": _comparison(0),
    "greater_equal": _comparison(0),
    "equal": _equal,
    "unequal": _unequal,
    "both": _logic,
    "either": _logic,
    "invert": _invert,
    "remainder": _remainder,
    "exp": _increasing(math.log, 0, math.inf),
    "log": _log,
    "sqrt": _sqrt,
    "rsqrt": _rsqrt,
    "abs": _abs,
    "floor": _floor,
    "sin": _wave(math.asin),
    "cos": _wave(math.acos),
    "tanh": _increasing(math.atanh, -1, 1),
    "sigmoid": _increasing(lambda y: math.log(y / (1 - y)), 0, 1),
    "softplus": _increasing(lambda y: math.log(math.expm1(y)), 0, math.inf),
    "relu": _increasing(lambda y: y, 0, math.inf),
    "erf": _increasing(lambda y: NormalDist().inv_cdf((1 + y) / 2) / math.sqrt(2), -1, 1),
    "stop": lambda wanted, way: [(wanted,)],
    "minimum": _pair,
    "maximum": _pair,
    "where": _where,
    "mean": _like(0),
    "sum": _sum,
    "largest": _like(0),
    "smallest": _like(0),
    "logsumexp": _logsumexp,
    "embed": _embed,
    "linear": _loose(SMALL),
    "unembed": _loose(SMALL),
    "position": _within(0, lambda way: LONGEST, TAME),
    "shift": _with_zero,
    "conv": _loose(SMALL),
    "scan": _scan,
    "attend": _attend,
    "linear_attend": _loose(TINY, TINY, TINY, UNIT),
    "delta_attend": _delta,
    "split_heads": _like(0),
    "merge_heads": _like(0),
    "concat": _like(0, 1),
    "slice": _like(0),
    "rotate": _loose(SMALL, Range(-100, 100)),
    "channel_index": _within(0, lambda way: way.attrs["count"] - 1, TAME),
    "head_index": _within(0, _count, TAME),
    "top": _within(0, lambda way: 1, TAME),
    "penalty": _like(0),
    "cross_entropy": _cross_entropy,
}
