"""Bits per byte, the causality probe and the plausibility floor, on models whose answers are known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from foundry.evals.bits import bits_per_byte, first_leak, implausible_below, windows


class Table(nn.Module):
    """Logits that depend on the last byte alone."""

    def __init__(self, table):
        super().__init__()
        self.table = table

    def forward(self, tokens):
        return self.table[tokens]


def test_a_model_that_knows_nothing_needs_eight_bits(text):
    assert bits_per_byte(Table(torch.zeros(256, 256)), windows(text, 10, 64)) == pytest.approx(8.0)


def test_a_table_of_pair_counts_scores_its_conditional_entropy(text):
    # Windows that tile the text: the score is then the empirical entropy of a byte given the one before.
    data = text[: 64 * 100 + 1]
    counts = np.zeros((256, 256))
    np.add.at(counts, (data[:-1], data[1:]), 1)
    share = counts / counts.sum()
    conditional = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    expected = -(share[counts > 0] * np.log2(conditional[counts > 0])).sum()
    table = torch.from_numpy(np.log(np.maximum(conditional, 1e-300)))
    assert bits_per_byte(Table(table), windows(data, 100, 64)) == pytest.approx(expected)


def test_windows_are_evenly_spaced_within_the_data_and_always_the_same():
    data = np.arange(200, dtype=np.uint8)
    found = windows(data, 5, 100)
    assert found.shape == (5, 101)
    assert found[:, 0].tolist() == [0, 24, 49, 74, 99]
    assert found[-1, -1] == 199
    assert torch.equal(found, windows(data, 5, 100))


class Leaky(nn.Module):
    """Adds a part in ten million of the mean over the whole window."""

    def __init__(self, share):
        super().__init__()
        self.embed, self.share = nn.Embedding(256, 256), share

    def forward(self, tokens):
        x = self.embed(tokens)
        return x + self.share * x.mean(1, keepdim=True)


class NextByte(nn.Module):
    """Sees one position ahead."""

    def forward(self, tokens):
        return nn.functional.one_hot(tokens.roll(-1, 1), 256).float()


def test_the_probe_finds_leaks_however_small_and_clears_what_is_causal(module, text):
    sample = windows(text, 4, 128)[:, :-1]
    assert first_leak(module.Model().initialise(0), sample, 256) is None
    assert first_leak(Leaky(0.0), sample, 256) is None
    assert first_leak(Leaky(1e-6), sample, 256) is not None
    assert first_leak(NextByte(), sample, 256) is not None


def test_where_tokens_are_grouped_rounding_is_no_leak_and_anything_larger_is(module, text):
    sample = windows(text, 4, 128)[:, :-1]
    rounding, leak = Leaky(1e-13).double(), Leaky(1e-7)
    assert first_leak(rounding, sample, 256) is not None
    assert first_leak(rounding, sample, 256, groups_tokens=True) is None
    assert first_leak(leak, sample, 256, groups_tokens=True) is not None
    assert first_leak(NextByte(), sample, 256, groups_tokens=True) is not None
    assert first_leak(module.Model().initialise(0), sample, 256, groups_tokens=True) is None


def test_the_probe_leaves_the_model_as_it_was(module, text):
    model = module.Model().initialise(0)
    first_leak(model, windows(text, 4, 128)[:, :-1], 256, groups_tokens=True)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_floor_is_low_for_code_and_lower_for_repetition(text):
    assert 0.3 < implausible_below(text) < 0.6
    assert implausible_below(np.tile(text[:100], 100)) < 0.1
    noise = np.random.default_rng(0).integers(0, 256, 100_000).astype(np.uint8)
    assert implausible_below(noise) == pytest.approx(2.0, abs=0.01)


def test_a_score_is_not_a_number_where_the_logits_are_not(text):
    assert math.isnan(bits_per_byte(Table(torch.full((256, 256), math.nan)), windows(text, 4, 16)))
