"""The order of windows: the same for all who share a seed, from any step on, for any number of workers."""

import numpy as np
import pytest
import torch

from foundry.data.difficulty import easiest_first, places
from foundry.data.order import OrderError, windows
from foundry.train.plan import Step

DATA = np.random.default_rng(0).integers(0, 256, 20_000).astype(np.uint8)
STEPS = [Step(k / 12, 16 + 8 * (k % 3), 3 + k % 4, 1.0, 1.0, share=0.3 if k < 4 else 1.0) for k in range(12)]
PLAIN = [Step(step.progress, step.context, step.rows, 1.0, 1.0) for step in STEPS]


def expected(steps, seed, max_context=64):
    """The same written down plainly: one draw after another, and a slice for each."""
    draws = np.random.default_rng(seed)
    order = easiest_first(DATA) if any(step.share < 1 for step in steps) else None
    last = len(DATA) - max_context
    for step in steps:
        rows = []
        for _ in range(step.rows):
            draw = draws.random()
            start = int(draw * last) if order is None else int(places(order, np.array([draw]), step.share, last - 1)[0])
            rows.append(DATA[start : start + step.context + 1].astype(np.int64))
        yield np.stack(rows)


@pytest.mark.parametrize("steps", [PLAIN, STEPS], ids=["everywhere", "easiest first"])
@pytest.mark.parametrize("first", [0, 7])
def test_windows_follow_the_draws_of_the_seed_from_any_step_on(steps, first):
    found = list(windows(DATA, steps, 5, 64, first_step=first))
    for batch, whole in zip(found, list(expected(steps, 5))[first:], strict=True):
        assert np.array_equal(batch.x, whole[:, :-1]) and np.array_equal(batch.y, whole[:, 1:])
        assert batch.valid == batch.y.numel()


def test_another_seed_gives_other_windows():
    (one, *_), (other, *_) = (windows(DATA, PLAIN, seed, 64) for seed in (0, 1))
    assert not torch.equal(one.x, other.x)


@pytest.mark.parametrize("world", [2, 3, 8])
def test_workers_share_the_rows_and_have_equally_many(world):
    for whole, *shares in zip(
        windows(DATA, PLAIN, 0, 64),
        *(windows(DATA, PLAIN, 0, 64, rank=r, world=world) for r in range(world)),
        strict=True,
    ):
        assert len({share.x.shape for share in shares}) == 1 and {share.valid for share in shares} == {whole.valid}
        for rank, share in enumerate(shares):
            mine = len(whole.x[rank::world])
            assert torch.equal(share.x[:mine], whole.x[rank::world])
            assert torch.equal(share.y[:mine], whole.y[rank::world])
            assert (share.y[mine:] == -1).all()
        assert sum((share.y >= 0).sum().item() for share in shares) == whole.valid


def test_text_shorter_than_a_window_is_refused():
    with pytest.raises(OrderError, match="64 tokens of text are fewer than one window of 64"):
        next(windows(DATA[:64], PLAIN, 0, 64))


def test_an_id_beyond_the_vocabulary_is_refused_before_it_is_trained_on():
    data = np.full(1000, 7, np.uint16)
    assert next(windows(data, PLAIN, 0, 64, vocab=8)).x.max() == 7
    with pytest.raises(OrderError, match="hold the token 7, and the vocabulary has 7"):
        next(windows(data, PLAIN, 0, 64, vocab=7))
