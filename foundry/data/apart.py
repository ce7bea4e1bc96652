"""Training data whose documents do not see each other: every row lies within one document."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from foundry.data.order import IGNORED, Batch, OrderError, Shape, in_vocabulary

MULTIPLE = 8  # rows are padded to a multiple of so many tokens, so that few shapes occur

Row = tuple[int, int]  # where its inputs begin in the data, and how many there are


def apart(
    data: np.ndarray,
    starts: np.ndarray,
    steps: Sequence[Shape],
    seed: int,
    max_context: int,
    first_step: int = 0,
    rank: int = 0,
    world: int = 1,
    micro: int | None = None,
    vocab: int | None = None,
) -> Iterator[list[Batch]]:
    """For each step from `first_step` on, micro-batches with at least rows × context targets that count together.

    An epoch takes the documents in an order of its own, drawn from the seed, and cuts each into rows of the step's
    context, so that every token but the first of a document is a target once. Rows of like lengths come together; what
    a shorter one lacks is filled with zeros whose targets are -1. Causal models never see what comes after.

    starts: where documents begin in `data`. micro: tokens in a micro-batch over all workers, padding included; None for
    as many as the step asks for. max_context is not asked: a row is as long as its step's context, or shorter.

    Of `world` workers, the one of number `rank` gets every `world`-th row of each micro-batch. All get as many
    micro-batches of one shape, those at the end of a step perhaps with rows that have no targets.

    Raises:
        OrderError: no document has two tokens, or an id is not in the vocabulary.
    """
    bounds = np.append(starts, len(data))
    source = _Rows(bounds, seed)
    for number, step in enumerate(steps):
        rows = source.take(step.rows * step.context, step.context)
        if number < first_step:
            continue
        valid = sum(length for _, length in rows)
        rows.sort(key=lambda row: (-row[1], row[0]))
        limit = max(micro or step.rows * step.context, step.context)
        yield [
            _batch(
                data, group[rank::world], -(-len(group) // world), min(_padded(group[0][1]), step.context), valid, vocab
            )
            for group in _groups(rows, limit)
        ]


class _Rows:
    """The rows of a run one after another. To go on at a later step is to take the rows before it and drop them, which
    reads no data: about a million rows a second."""

    def __init__(self, bounds: np.ndarray, seed: int):
        self.bounds, self.seed = bounds, seed
        self.documents = np.flatnonzero(np.diff(bounds) > 1)
        if not len(self.documents):
            raise OrderError("no document has the two tokens that training needs")
        self.epoch, self.waiting, self.place, self.end = 0, iter(np.empty(0, np.int64)), 0, 0

    def take(self, tokens: int, context: int) -> list[Row]:
        """Rows of at most `context` inputs, with at least `tokens` in all."""
        rows, found = [], 0
        while found < tokens:
            if self.place >= self.end:
                self._next_document()
            length = min(context, self.end - self.place)
            rows.append((self.place, length))
            self.place += length
            found += length
        return rows

    def _next_document(self) -> None:
        number = next(self.waiting, None)
        if number is None:
            order = np.random.default_rng([self.seed, self.epoch]).permutation(self.documents)
            self.epoch, self.waiting = self.epoch + 1, iter(order)
            number = next(self.waiting)
        # The last token of a document is a target and never an input.
        self.place, self.end = int(self.bounds[number]), int(self.bounds[number + 1]) - 1


def _padded(length: int) -> int:
    return -(-length // MULTIPLE) * MULTIPLE


def _groups(rows: list[Row], limit: int) -> Iterator[list[Row]]:
    """Rows from the longest on, in groups of at most `limit` tokens with their padding."""
    begin = 0
    while begin < len(rows):
        count = max(1, limit // _padded(rows[begin][1]))
        yield rows[begin : begin + count]
        begin += count


def _batch(data: np.ndarray, rows: list[Row], height: int, width: int, valid: int, vocab: int | None) -> Batch:
    """The rows, padded to `(height, width)`."""
    x = np.zeros((height, width), np.int64)
    y = np.full((height, width), IGNORED)
    for number, (place, length) in enumerate(rows):
        found = in_vocabulary(data[place : place + length + 1], vocab)
        x[number, :length], y[number, :length] = found[:-1], found[1:]
    return Batch(torch.from_numpy(x), torch.from_numpy(y), valid)
