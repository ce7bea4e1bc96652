"""A genome with its sizes changed by three factors: of its width, of its number of heads, of the channels of a head."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from foundry.compiler.scale.sizes import LIST, Size, Sizes
from foundry.dsl.primitives import NUMBER_LIMIT
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import Argument, Binary, Call, Expr, Genome, ListOf, Name, Number, Path, Unary, at, put, walk
from foundry.dsl.types import TensorType

CLOSE = 0.005  # how near a number is to the root of the width where it stands for that


@dataclass(frozen=True)
class Factors:
    """How a genome changes.

    width: the new width. heads, head: the factors of the number of heads and of the channels of each. single_stays:
    whether one head (of keys, for all queries) stays one. vocab, experts: the new counts, or None.
    """

    width: int
    heads: Fraction
    head: Fraction
    single_stays: bool = False
    vocab: int | None = None
    experts: int | None = None


def resized(genome: Genome, sizes: Sizes, factors: Factors, sorts: Mapping[Path, tuple[Any, ...]]) -> Genome | None:
    """The genome with new sizes; None where one of them would be no whole number.

    sorts: what each expression was, as in `Checked`.
    """
    new: dict[Path, Expr] = {}
    for size in sizes.sizes:
        if size.role == LIST:
            items = at(genome, size.path)
            assert isinstance(items, ListOf)
            kept = size.value * factors.head
            if kept.denominator != 1:
                return None
            new[size.path] = ListOf(tuple(items.items[int(index / factors.head)] for index in range(int(kept))))
            continue
        value = _value(size, sizes, factors)
        if value is None:
            return None
        if value != size.value:
            new[size.path] = Number(value)
    if factors.width != sizes.width:
        new |= {p: e for p, e in _roots_of_width(genome, sizes.width, factors.width, sorts) if p not in new}
    if factors.head != 1:
        new |= {p: e for p, e in _scales_of_logits(genome, factors.head) if p not in new}
    for path in sorted(new, key=len, reverse=True):  # what lies deeper first, so that the paths above hold
        genome = put(genome, path, new[path])
    return genome


def _value(size: Size, sizes: Sizes, factors: Factors) -> int | None:
    match size.role:
        case "width":
            return size.value if factors.width == sizes.width else widened(size.value, sizes.width, factors.width)
        case "heads":
            value = _heads(size.value, factors)
        case "head":
            value = size.value * factors.head
        case "projection":
            value = size.value * factors.head
            for by in (s.value for s in sizes.sizes if s.path == size.heads):
                value *= _heads(by, factors) / by
        case "vocab":
            value = Fraction(factors.vocab or size.value)
        case "experts":
            value = Fraction(factors.experts or size.value)
    return int(value) if value.denominator == 1 and value >= (size.value > 0) else None


def _heads(count: int, factors: Factors) -> Fraction:
    return Fraction(count) if factors.single_stays and count == 1 else count * factors.heads


def widened(value: int, old: int, new: int) -> int:
    """A width in proportion to the model's: exact for its multiples and halves, else rounded to a multiple of 8 (of
    fewer where it is small)."""
    exact = Fraction(value * new, old)
    multiple = next(m for m in (8, 4, 2, 1) if exact >= 8 * m or m == 1)
    if exact.denominator == 1 and (exact.numerator % multiple == 0 or 2 * value % old == 0):
        return exact.numerator
    return max(1, round(exact / multiple) * multiple)


# ---- numbers that are made of a width -------------------------------------------------------------------------------


def _roots_of_width(
    genome: Genome, old: int, new: int, sorts: Mapping[Path, tuple[Any, ...]]
) -> Iterator[tuple[Path, Expr]]:
    """Numbers under a root that are the width, and factors on the stream that are its root: `48 * embed(…)` at 2304."""
    logits = [path for path, node in walk(genome) if isinstance(node, Argument) and node.name == "scale"]
    for path, node in walk(genome):
        if any(path[: len(scale)] == scale for scale in logits):  # a root of a head's channels
            continue
        match node:
            case Call(Name("sqrt" | "rsqrt"), (Argument(value=Number(value)),)) if value == old:
                yield (*path, "arguments", 0, "value"), Number(new)
            case Binary("**", Number(value), Number(0.5) | Unary("-", Number(0.5))) if value == old:
                yield (*path, "left"), Number(new)
            case Binary("*" | "/"):
                for side, other in (("left", "right"), ("right", "left")):
                    factor = getattr(node, side)
                    stream = any(isinstance(t, TensorType) and t.width == old for t in sorts.get((*path, other), ()))
                    if isinstance(factor, Number) and stream and abs(factor.value / math.sqrt(old) - 1) < CLOSE:
                        yield (*path, side), Number(_plain(math.sqrt(new)))


def _scales_of_logits(genome: Genome, head: Fraction) -> Iterator[tuple[Path, Expr]]:
    """The numbers given as the scale of attention's logits, which goes with one over the root of a head's channels."""
    for path, node in walk(genome):
        if isinstance(node, Argument) and node.name == "scale":
            value = _constant(node.value)
            if value is not None:
                yield (*path, "value"), Number(_plain(value / math.sqrt(head)))


def _plain(value: float) -> int | float:
    """A number with four digits, without a fraction where it has none."""
    short = float(f"{value:.4g}")
    return int(short) if short == int(short) else short


def _constant(expr: Expr) -> float | None:
    """The value of arithmetic on numbers, or None where there is something else in it."""
    match expr:
        case Number(value):
            return value
        case Unary("-", operand):
            inner = _constant(operand)
            return None if inner is None else -inner
        case Binary("+" | "-" | "*" | "/" | "**" as operator, left, right):
            a, b = _constant(left), _constant(right)
            names = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
            return None if a is None or b is None else _folded(names[operator], a, b)
        case Call(Name("sqrt" | "rsqrt" | "log" | "exp" as name), (Argument(value=operand),)):
            inner = _constant(operand)
            return None if inner is None else _folded(name, inner)
    return None


def _folded(name: str, *values: float) -> float | None:
    fold = PRIMITIVES[name].fold
    assert fold is not None
    try:
        result = fold(*values)
    except (ArithmeticError, ValueError):
        return None
    return result if abs(result) < NUMBER_LIMIT else None
