"""Sequences that are decoded together: who waits for whom, who leaves, and what a failure takes with it."""

import pytest
from torch import nn

from foundry.decode.sampling import Sampling
from foundry.serve.batching import Batcher, Stopped


@pytest.fixture
def batcher(checkpoint, model):
    return Batcher(checkpoint.module, model, checkpoint.tokenizer, rows=4)


def ask(batcher, text, count, **sampling):
    """Ask for `count` greedy tokens: the number of the sequence, and the list that its news come into."""
    news = []
    number = batcher.ask(tuple(text.encode()), Sampling(temperature=0, max_tokens=count, **sampling), news.append)
    return number, news


def texts(news):
    return "".join(event.text for event in news)


def test_what_comes_later_does_not_wait_for_what_came_before(batcher):
    _, long = ask(batcher, "def main", 50)
    batcher.turn()
    _, short = ask(batcher, "def main", 2)
    batcher.turn()
    batcher.turn()
    assert [event.finish for event in short] == ["", "length"]
    assert len(long) == 3
    assert texts(long).startswith(texts(short))


def test_no_more_than_its_rows_are_decoded_at_a_time_and_all_end(batcher):
    all_news = [ask(batcher, f"import {n}", 3)[1] for n in range(6)]
    batcher.turn()
    assert [len(news) for news in all_news] == [1, 1, 1, 1, 0, 0]
    while batcher.waiting or batcher.cohorts:
        batcher.turn()
    assert all([event.finish for event in news] == ["", "", "length"] for news in all_news)
    assert not batcher.listeners


def test_what_is_dropped_is_heard_of_no_more(batcher):
    (gone, silent), (_, heard) = ask(batcher, "while", 4), ask(batcher, "while", 4)
    batcher.turn()
    waiting, never = ask(batcher, "while", 4)
    batcher.drop([gone, waiting])
    while batcher.waiting or batcher.cohorts:
        batcher.turn()
    assert (len(silent), len(never), len(heard)) == (1, 0, 4)


def test_a_failure_ends_its_cohort_and_no_other(checkpoint, model, capsys):
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, past=None):
            if tokens.size(1) == 3:  # the prompt "bad"
                raise RuntimeError("no memory for this")
            return self.model(tokens, past)

    batcher = Batcher(checkpoint.module, Failing(), checkpoint.tokenizer, rows=4)
    _, good = ask(batcher, "a good one", 3)
    batcher.turn()
    _, bad = ask(batcher, "bad", 3)
    while batcher.waiting or batcher.cohorts:
        batcher.turn()
    assert [str(error) for error in bad] == ["no memory for this"]
    assert [event.finish for event in good] == ["", "", "length"]
    assert "no memory for this" in capsys.readouterr().err


def test_logits_that_are_no_numbers_end_their_sequence_and_no_other(checkpoint, model):
    class Failing(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, past=None):
            return self.model(tokens, past).masked_fill((tokens[:, -1] == 1)[:, None, None], float("nan"))

    batcher = Batcher(checkpoint.module, Failing(), checkpoint.tokenizer, rows=4)
    (_, bad), (_, good) = ask(batcher, "ba\x01", 3), ask(batcher, "fine", 3)
    batcher.turn()
    assert len(batcher.cohorts) == 1
    while batcher.waiting or batcher.cohorts:
        batcher.turn()
    assert [str(error) for error in bad] == ["the logits are not finite after 3 tokens"]
    assert [event.finish for event in good] == ["", "", "length"]


def test_a_cohort_that_nobody_can_leave_ends_and_no_other(batcher, monkeypatch, capsys):
    def fail(rows):
        raise RuntimeError("no memory to leave")

    (gone, _), (_, stays) = ask(batcher, "while", 4), ask(batcher, "while", 4)
    batcher.turn()
    _, later = ask(batcher, "for", 2)
    monkeypatch.setattr(batcher.cohorts[0].past, "keep_rows", fail)
    batcher.drop([gone])
    while batcher.waiting or batcher.cohorts:
        batcher.turn()
    assert str(stays[-1]) == "no memory to leave" and later[-1].finish == "length"
    assert "no memory to leave" in capsys.readouterr().err


def test_the_end_is_told_to_whoever_waits(batcher):
    batcher.start()
    _, news = ask(batcher, "for ever", 100_000)
    batcher.stop()
    assert isinstance(news[-1], Stopped)
    assert not batcher.alive
    with pytest.raises(Stopped):
        ask(batcher, "x", 1)
