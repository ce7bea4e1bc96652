"""Documents apart: no row crosses a border, no token is left out, and workers share each micro-batch."""

import itertools
from collections import Counter

import numpy as np
import pytest
import torch

from foundry.data.apart import apart
from foundry.data.order import OrderError
from foundry.train.plan import Step

LENGTHS = [1, 2, 30, 5, 17, 64, 3, 200, 8, 9, 40, 1, 33, 16]
STARTS = np.cumsum([0, *LENGTHS[:-1]])
DATA = np.arange(sum(LENGTHS)).astype(np.uint16)  # each token says where it stands
STEPS = [Step(k / 20, 16 if k % 2 else 24, 4, 1.0, 1.0) for k in range(20)]
BORDERS = set(STARTS.tolist())


def rows_of(batches):
    """(places of the inputs, places of the targets) of every row that has targets."""
    for batch in batches:
        for x, y in zip(batch.x, batch.y, strict=True):
            count = int((y >= 0).sum())
            assert (y[count:] == -1).all() and (x[count:] == 0).all(), "padding stands at the end"
            if count:
                yield x[:count].tolist(), y[:count].tolist()


def steps_of(**more):
    return list(apart(DATA, STARTS, STEPS, 3, 64, **more))


def test_every_row_lies_within_one_document():
    for x, y in rows_of(itertools.chain(*steps_of())):
        assert y == list(range(x[0] + 1, x[0] + len(x) + 1))
        assert not BORDERS & set(y), "a target is never the first token of a document"


def test_an_epoch_has_every_token_but_the_first_of_a_document_once():
    targets = [t for _, y in rows_of(itertools.chain(*steps_of())) for t in y]
    epoch = len(DATA) - len(LENGTHS)
    counts = Counter(targets)
    assert set(counts) == set(range(len(DATA))) - BORDERS
    whole = len(targets) // epoch
    assert whole >= 2 and set(counts.values()) <= {whole, whole + 1}


def test_a_step_has_at_least_its_tokens_and_says_how_many():
    for step, batches in zip(STEPS, steps_of(), strict=True):
        count = sum(int((batch.y >= 0).sum()) for batch in batches)
        assert step.tokens <= count < step.tokens + step.context
        assert {batch.valid for batch in batches} == {count}
        assert all(batch.x.shape[1] <= step.context for batch in batches)


def test_rows_of_like_lengths_come_together_within_the_limit():
    padding = 0
    for step, batches in zip(STEPS, steps_of(micro=48), strict=True):
        assert all(batch.x.numel() <= max(48, step.context) for batch in batches)
        longest = [batch.x.shape[1] for batch in batches]
        assert longest == sorted(longest, reverse=True)
        padding += sum(int((batch.y < 0).sum()) for batch in batches)
    assert padding < 0.35 * sum(step.tokens for step in STEPS)


def test_it_goes_on_at_any_step():
    whole, rest = steps_of(), steps_of(first_step=13)
    for one, other in zip(itertools.chain(*whole[13:]), itertools.chain(*rest), strict=True):
        assert torch.equal(one.x, other.x) and torch.equal(one.y, other.y)


@pytest.mark.parametrize("world", [2, 5])
def test_workers_have_micro_batches_of_one_shape_and_share_their_rows(world):
    shares = [steps_of(rank=rank, world=world) for rank in range(world)]
    for whole, *parts in zip(steps_of(), *shares, strict=True):
        assert len({tuple(batch.x.shape for batch in part) for part in parts}) == 1
        found = sorted(row for part in parts for row in rows_of(part))
        assert found == sorted(rows_of(whole))
        assert {batch.valid for part in parts for batch in part} == {whole[0].valid}


def test_documents_of_one_token_give_nothing_to_train_on():
    with pytest.raises(OrderError, match="no document has the two tokens"):
        next(apart(DATA[:3], np.arange(3), STEPS, 0, 64))


def test_an_id_beyond_the_vocabulary_is_refused():
    with pytest.raises(OrderError, match="the vocabulary has 100"):
        list(apart(DATA, STARTS, STEPS, 0, 64, vocab=100))
