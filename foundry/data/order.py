"""The order of training data: a function of the seed and the number of a row, so that it needs no memory.

Any number of workers shares it, each taking its rows, and a run goes on anywhere: where it stopped is one number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from foundry.data.difficulty import easiest_first, places

IGNORED = -1  # the target where no loss counts


class OrderError(ValueError):
    """Tokens that cannot be trained on. The message is one line."""


class Shape(Protocol):
    """What the order asks of a step (`foundry.train.plan.Step`): its rows, their context in tokens, and the share of
    the data, the easiest first, that it draws from."""

    @property
    def rows(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def share(self) -> float: ...


@dataclass(frozen=True)
class Batch:
    """x, y: inputs and targets, `(rows, context)` int64; y is -1 where no loss counts. valid: how many targets count in
    the whole step, over all micro-batches and all workers."""

    x: Tensor
    y: Tensor
    valid: int


def windows(
    data: np.ndarray,
    steps: Sequence[Shape],
    seed: int,
    max_context: int,
    first_step: int = 0,
    rank: int = 0,
    world: int = 1,
    vocab: int | None = None,
) -> Iterator[Batch]:
    """A batch for each step from `first_step` on: windows of `data` at random places, whatever documents they cross.

    The k-th window of a run starts at the same place for every genome that trains with this seed, whatever its batch
    and context, unless it has a curriculum over difficulty.

    Of `world` workers, the one of number `rank` gets the rows r of a step with r % world == rank, and at the end a row
    without targets where others have one more: all have equally many.

    vocab: ids must be below it, where it is given.

    Raises:
        OrderError: `data` is shorter than a window, or holds an id that is not in the vocabulary.
    """
    last = len(data) - max_context
    if last < 1:
        raise OrderError(f"{len(data):,} tokens of text are fewer than one window of {max_context:,}; give more text")
    source = rows_from(seed, sum(step.rows for step in steps[:first_step]))
    order = easiest_first(data) if any(step.share < 1 for step in steps) else None
    for step in steps[first_step:]:
        draws = source.random(step.rows)
        starts = (draws * last).astype(np.int64) if order is None else places(order, draws, step.share, last - 1)
        mine = starts[rank::world]
        found = torch.from_numpy(in_vocabulary(data[mine[:, None] + np.arange(step.context + 1)], vocab))
        x, y = found[:, :-1], found[:, 1:]
        if missing := -(-step.rows // world) - len(mine):
            x = torch.cat([x, torch.zeros(missing, step.context, dtype=torch.int64)])
            y = torch.cat([y, torch.full((missing, step.context), IGNORED)])
        yield Batch(x, y, step.rows * step.context)


def rows_from(seed: int, row: int) -> np.random.Generator:
    """The generator that draws one number in [0, 1) for each row of a run, as it stands before `row`.

    NumPy's default takes one step of its sequence for each such number, and jumps over any number of them at once.
    """
    source = np.random.default_rng(seed)
    source.bit_generator.advance(row)  # type: ignore[attr-defined]
    return source


def in_vocabulary(ids: np.ndarray, vocab: int | None) -> np.ndarray:
    """The ids as int64.

    Raises:
        OrderError: one is not below `vocab`.
    """
    if vocab is not None and ids.size and (highest := int(ids.max())) >= vocab:
        raise OrderError(f"the data hold the token {highest:,}, and the vocabulary has {vocab:,}")
    return ids.astype(np.int64)
