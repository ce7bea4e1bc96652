"""Bits per byte on held-out text, whatever the tokens stand for."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from foundry.train.validation import bits_per_byte, windows


class Table(nn.Module):
    """A bigram model: logits by the token before."""

    def __init__(self, logits):
        super().__init__()
        self.logits, self.passes = logits, []

    def forward(self, tokens):
        self.passes.append(len(tokens))
        return self.logits[tokens]


def random_table(vocab, seed=0):
    return Table(torch.randn(vocab, vocab, generator=torch.Generator().manual_seed(seed)))


def random_data(count, vocab, dtype=np.uint16, seed=0):
    return np.random.default_rng(seed).integers(0, vocab, count).astype(dtype)


def by_hand(table, text, lengths):
    """−log2 p of every target, over its bytes, one token at a time."""
    spent, size = 0.0, 0
    for row in text.tolist():
        for before, after in pairwise(row):
            logits = table.logits[before].double().tolist()
            spent += math.log2(sum(math.exp(value) for value in logits)) - logits[after] / math.log(2)
            size += int(lengths[after])
    return spent / size


def test_bits_are_over_the_bytes_of_the_tokens_that_are_predicted():
    lengths = np.array([0, 1, 2, 7, 3], np.int32)  # the first is special
    table, text = random_table(5), windows(random_data(500, 5), 9, 20)
    assert bits_per_byte(table, text, lengths) == pytest.approx(by_hand(table, text, lengths))


def test_tokens_of_one_byte_need_no_lengths():
    table, text = random_table(256), windows(random_data(2000, 256, np.uint8), 12, 32)
    assert bits_per_byte(table, text, np.ones(256, np.int32)) == bits_per_byte(table, text)


def test_a_guess_among_a_thousand_tokens_of_four_bytes():
    table = Table(torch.zeros(1000, 1000))
    text = windows(random_data(5000, 1000), 8, 64)
    assert bits_per_byte(table, text, np.full(1000, 4)) == pytest.approx(math.log2(1000) / 4)


def test_for_bytes_it_is_the_mean_cross_entropy():
    table, text = random_table(256), windows(random_data(50_000, 256, np.uint8), 40, 128)
    loss = nn.functional.cross_entropy(table(text[:, :-1]).double().flatten(0, 1), text[:, 1:].flatten())
    assert bits_per_byte(table, text) == pytest.approx(loss.item() / math.log(2), rel=1e-12)


@pytest.mark.parametrize("world", [2, 3])
def test_processes_share_the_windows_and_agree(world):
    lengths = np.array([0, 1, 2, 7, 3], np.int32)
    table, text = random_table(5), windows(random_data(500, 5), 10, 20)
    sums = []

    def collect(vector):
        sums.append(vector)
        return sum(sums)

    for rank in range(world):
        found = bits_per_byte(table, text, lengths, share=(rank, world), add_up=collect)
    assert found == pytest.approx(bits_per_byte(table, text, lengths))


def test_a_large_vocabulary_takes_fewer_windows_at_once():
    table, text = random_table(2048), windows(random_data(50_000, 2048), 24, 1024)
    bits_per_byte(table, text, np.full(2048, 4))
    assert table.passes == [16, 8]


def test_so_does_a_model_that_knows_more_tokens_than_its_tokenizer():
    table, text = random_table(2048), windows(random_data(50_000, 256, np.uint8), 24, 1024)
    bits_per_byte(table, text, vocab=2048)
    assert table.passes == [16, 8]


def test_text_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="100 tokens are too few for a window of 129"):
        windows(random_data(100, 256), 8, 128)


def test_tokens_that_stand_for_nothing_have_no_bits_per_byte():
    with pytest.raises(ValueError, match="stand for no text"):
        bits_per_byte(random_table(5), windows(random_data(500, 5), 4, 20), np.zeros(5, np.int32))
