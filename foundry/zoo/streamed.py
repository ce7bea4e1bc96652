"""Tensors that are made only when they are written: what a model's file is filled from, one tensor at a time."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping, Sequence, ValuesView

import torch
from torch import Tensor

from foundry.zoo.failure import ZooError
from foundry.zoo.moves import Move, Tensors

Read = Callable[[str], Tensor]
Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


class Streamed(Mapping[str, Tensor]):
    """Tensors by name, for `write_tensors` and `write_model`. What they are is known before; their numbers are read
    when they are iterated over, and only the tensors of one move are in memory at a time.

    groups: for each move the names of what it gives, and how. shapes: dtype and shape of every one.
    """

    def __init__(self, groups: Sequence[tuple[tuple[str, ...], Callable[[], list[Tensor]]]], shapes: Shapes):
        self.groups, self.shapes = groups, shapes

    def __len__(self) -> int:
        return len(self.shapes)

    def __iter__(self) -> Iterator[str]:
        return (name for names, _ in self.groups for name in names)

    def __getitem__(self, name: str) -> Tensor:
        for names, make in self.groups:
            if name in names:
                return make()[names.index(name)]
        raise KeyError(name)

    def items(self) -> ItemsView[str, Tensor]:
        """Without their numbers: on the device `meta`."""
        return {name: _empty(*self.shapes[name]) for name in self}.items()

    def values(self) -> ValuesView[Tensor]:
        return _Values(self)


class _Values(ValuesView[Tensor]):
    def __init__(self, of: Streamed):
        super().__init__(of)
        self.of = of

    def __iter__(self) -> Iterator[Tensor]:
        for _, make in self.of.groups:
            yield from make()


def moved(moves: Sequence[Move], shapes: Shapes, read: Read, *, back: bool = False) -> Streamed:
    """What moves make of tensors of theirs (or, `back`, of ours), whose dtypes and shapes are `shapes`.

    Raises:
        ZooError: a tensor is missing, or its shape does not fit a move; when read: a weight is not finite.
    """
    groups: list[tuple[tuple[str, ...], Callable[[], list[Tensor]]]] = []
    found: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for move in moves:
        taken, given = (move.ours, move.theirs) if back else (move.theirs, move.ours)
        way = move.way.back if back else move.way.there
        for name in taken:
            if name not in shapes:
                raise ZooError(f"the tensor {name} is missing")
        try:
            made = way([_empty(*shapes[name]) for name in taken])
        except (RuntimeError, IndexError) as error:
            shown = ", ".join(f"{name} {shapes[name][1]}" for name in taken)
            raise ZooError(f"the shape of {shown} does not fit the configuration ({str(error)[:80]})") from None
        found |= {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in zip(given, made, strict=True)}
        groups.append((given, _maker(way, taken, read)))
    return Streamed(groups, found)


def _maker(way: Callable[[Tensors], list[Tensor]], taken: tuple[str, ...], read: Read) -> Callable[[], list[Tensor]]:
    def make() -> list[Tensor]:
        tensors = [read(name) for name in taken]
        for name, tensor in zip(taken, tensors, strict=True):
            if not tensor.isfinite().all():
                raise ZooError(f"{name} holds what is not a finite number: the file is damaged")
        return way(tensors)

    return make


def _empty(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")
