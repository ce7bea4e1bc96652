"""Weights of a public model under our names, and back: a map is a list of moves, each of which can be undone.

A move takes a few tensors of theirs and gives a few of ours. What it does to them on the way (transpose, split, stack)
is a `Way`, and every way knows its inverse, so that one map serves import and export.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Tensors = Sequence[Tensor]


@dataclass(frozen=True)
class Way:
    """What happens to tensors. there: theirs to ours. back: ours to theirs; the inverse, bit for bit."""

    there: Callable[[Tensors], list[Tensor]]
    back: Callable[[Tensors], list[Tensor]]


@dataclass(frozen=True)
class Move:
    """theirs, ours: names of tensors. way: what lies between them."""

    theirs: tuple[str, ...]
    ours: tuple[str, ...]
    way: Way


SAME = Way(list, list)
TRANSPOSED = Way(lambda t: [x.mT for x in t], lambda t: [x.mT for x in t])


def same(theirs: str, ours: str) -> Move:
    """One tensor under another name."""
    return Move((theirs,), (ours,), SAME)


def split(sizes: Sequence[int], axis: int = 0) -> Way:
    """One of theirs is several of ours, one behind the other along an axis."""
    return Way(lambda t: list(t[0].split(list(sizes), axis)), lambda t: [torch.cat(list(t), axis)])


def stack() -> Way:
    """One of theirs holds several of ours, each at its place on a first axis: `(E, ...)`."""
    return Way(lambda t: list(t[0].unbind(0)), lambda t: [torch.stack(list(t))])


def shaped(theirs: Sequence[int], ours: Sequence[int]) -> Way:
    """The same numbers in the same order in another shape."""
    return Way(lambda t: [t[0].reshape(list(ours))], lambda t: [t[0].reshape(list(theirs))])


def interleaved(axis: int = 0) -> Way:
    """One of theirs holds two of ours in turn along an axis: the first has the even places."""

    def there(t: Tensors) -> list[Tensor]:
        pairs = t[0].unflatten(axis, (-1, 2))
        return list(pairs.unbind(axis + 1 if axis >= 0 else axis))

    def back(t: Tensors) -> list[Tensor]:
        if axis >= 0:
            return [torch.stack(list(t), axis + 1).flatten(axis, axis + 1)]
        return [torch.stack(list(t), axis).flatten(axis - 1, axis)]

    return Way(there, back)


def chain(*ways: Way) -> Way:
    """One way after another, from theirs to ours."""

    def there(t: Tensors) -> list[Tensor]:
        for way in ways:
            t = way.there(t)
        return list(t)

    def back(t: Tensors) -> list[Tensor]:
        for way in reversed(ways):
            t = way.back(t)
        return list(t)

    return Way(there, back)


def each(way: Way) -> Way:
    """The same for every one of several tensors, one to one."""
    return Way(lambda t: [way.there([x])[0] for x in t], lambda t: [way.back([x])[0] for x in t])
