"""What a value in a genome is: tensors with named axes, and the sorts of compile-time values.

A tensor's axes are a subset of `batch, head, token, key, channel`, always in that
order, which is also their order in memory. `batch`, `token` and `key` have a size known only
when the model runs; `head` and `channel` are known to the compiler. Elementwise operations
broadcast by axis name.
"""

from __future__ import annotations

from dataclasses import dataclass

LAYOUT = ("batch", "head", "token", "key", "channel")
FLOAT, INTEGER, BOOLEAN = "float", "integer", "boolean"


@dataclass(frozen=True)
class TensorType:
    """Axes present, the number of heads and channels (0 where that axis is absent), and the dtype."""

    axes: tuple[str, ...] = ()
    heads: int = 0
    width: int = 0
    dtype: str = FLOAT

    def has(self, axis: str) -> bool:
        return axis in self.axes

    @property
    def is_seq(self) -> bool:
        return self.axes == ("batch", "token", "channel")

    @property
    def is_heads(self) -> bool:
        return self.axes == ("batch", "head", "token", "channel")

    @property
    def is_tokens(self) -> bool:
        return self.axes == ("batch", "token") and self.dtype == INTEGER

    @property
    def fixed_size(self) -> int:
        """Elements over the axes whose size is known: heads times channels."""
        return (self.heads or 1) * (self.width or 1)

    def __str__(self) -> str:
        if self.is_tokens:
            return "tokens"
        if self == FUNCTION:
            return "a shared function"
        if self.axes == ("batch", "token"):
            return "one number per token"
        if self.is_seq:
            return f"seq[{self.width}]"
        if self.is_heads:
            return f"heads[{self.heads}, {self.width}]"
        if self.axes == ("batch", "head", "token", "key"):
            return f"scores[{self.heads}]"
        if not self.axes:
            return "scalar" if self.dtype == FLOAT else f"{self.dtype} scalar"
        sizes = {"head": f"head {self.heads}", "channel": f"channel {self.width}"}
        return "values over (" + ", ".join(sizes.get(axis, axis) for axis in self.axes) + ")"


TOKENS = TensorType(("batch", "token"), dtype=INTEGER)
SCALAR = TensorType()
FUNCTION = TensorType(("function",))  # a shared function with its weights, as units hand it to one another


def seq(width: int) -> TensorType:
    """A sequence of vectors, `(B, T, width)`."""
    return TensorType(("batch", "token", "channel"), width=width)


def heads(count: int, width: int) -> TensorType:
    """A sequence split into heads, `(B, count, T, width)`."""
    return TensorType(("batch", "head", "token", "channel"), heads=count, width=width)


def scores(count: int) -> TensorType:
    """Attention logits, `(B, count, T, T)`."""
    return TensorType(("batch", "head", "token", "key"), heads=count)


class Clash(Exception):
    """Two types that do not broadcast; `axis` and the two sizes say where."""

    def __init__(self, axis: str, left: object, right: object):
        super().__init__(f"{axis}: {left} against {right}")
        self.axis, self.left, self.right = axis, left, right


def broadcast(left: TensorType, right: TensorType, dtype: str | None = None) -> TensorType:
    """The type of an elementwise operation on two tensors.

    Sizes of a shared axis are equal or 1. A sequence `(B, T, C)` and values with heads do not mix,
    since one would have to guess which head a channel belongs to: `split_heads` says so.

    Raises:
        Clash: the types do not fit.
    """
    axes = tuple(axis for axis in LAYOUT if axis in left.axes or axis in right.axes)
    if "key" in axes and "channel" in axes:
        raise Clash("channel", str(left), str(right))
    for a, b in ((left, right), (right, left)):
        if "batch" in a.axes and "head" not in a.axes and "head" in b.axes:
            raise Clash("head", str(left), str(right))
    sizes = {}
    for axis in ("heads", "width"):
        a, b = getattr(left, axis), getattr(right, axis)
        if a > 1 and b > 1 and a != b:
            raise Clash("head" if axis == "heads" else "channel", a, b)
        sizes[axis] = max(a, b)
    if dtype is None:
        dtype = FLOAT if FLOAT in (left.dtype, right.dtype) else INTEGER
    return TensorType(axes, sizes["heads"], sizes["width"], dtype)
