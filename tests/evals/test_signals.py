"""Cheap signals: each is what its name says, on models where arithmetic by hand gives the value."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foundry.evals.signals import untrained


class Guess(nn.Module):
    """Logits that follow from the byte alone: (B, T) -> (B, T, V)."""

    def __init__(self, table):
        super().__init__()
        self.table = nn.Parameter(table)

    def forward(self, tokens):
        return self.table[tokens]


class Memory(nn.Module):
    """Logits that follow from the first byte of the text."""

    def __init__(self, vocab):
        super().__init__()
        self.table = nn.Parameter(torch.eye(vocab))

    def forward(self, tokens):
        return self.table[tokens[:, :1]].expand(-1, tokens.size(1), -1)


class Plain:
    @staticmethod
    def loss(logits, y):
        return F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(*y.shape, 1)


def batch(vocab=256, rows=4, length=16):
    text = torch.randint(vocab, (rows, length + 1), generator=torch.Generator().manual_seed(0))
    return text[:, :-1], text[:, 1:]


def test_a_model_that_knows_nothing_needs_eight_bits_and_is_as_unsure_as_can_be():
    found = untrained(Plain, Guess(torch.zeros(256, 256)), *batch())
    assert found["initial_bits"] == pytest.approx(8)
    assert found["logit_entropy"] == pytest.approx(8)


def test_the_gradient_norm_is_that_of_the_whole_batch(module):
    model = module.Model().initialise(0)
    x, y = batch()
    module.loss(model(x), y).mean().backward()
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters()))
    assert untrained(module, model, x, y)["gradient_norm"] == pytest.approx(norm, rel=1e-4)


def test_halves_that_say_the_same_agree_and_halves_with_nothing_in_common_do_not():
    x, y = batch(rows=1)
    model = Guess(torch.zeros(256, 256))
    assert untrained(Plain, model, x.repeat(2, 1), y.repeat(2, 1))["gradient_agreement"] == pytest.approx(1)
    halves = torch.stack([x[0] % 128, 128 + x[0] % 128])  # other rows of the table
    assert untrained(Plain, model, halves, y.repeat(2, 1))["gradient_agreement"] == pytest.approx(0, abs=1e-6)


def test_one_row_has_no_two_halves():
    x, y = batch(rows=1)
    assert "gradient_agreement" not in untrained(Plain, Guess(torch.zeros(256, 256)), x, y)


def test_spread_is_over_matrices_relative_to_their_size(module):
    model = module.Model().initialise(0)
    x, y = batch()
    before = untrained(module, model, x, y)["gradient_spread"]
    assert before > 0
    assert "gradient_spread" not in untrained(Plain, Guess(torch.ones(256, 256)), x, y)  # one matrix has none


def test_the_effective_rank_counts_directions():
    x, y = batch(vocab=8, rows=8, length=64)
    one = torch.randn(8, 1, generator=torch.Generator().manual_seed(1)) @ torch.ones(1, 8).tril()
    assert untrained(Plain, Guess(one), x, y)["effective_rank"] == pytest.approx(1, rel=1e-3)
    assert 6 < untrained(Plain, Guess(torch.eye(8)), x, y)["effective_rank"] <= 7.001  # centred: one less than 8


def test_reach_tells_who_looks_back_from_who_does_not():
    x, y = batch()
    assert untrained(Plain, Guess(torch.eye(256)), x, y)["reach"] == 0
    assert untrained(Plain, Memory(256), x, y)["reach"] > 0.5


def test_weights_and_gradients_stay_as_they_were(module):
    model = module.Model().initialise(0)
    before = [p.clone() for p in model.parameters()]
    untrained(module, model, *batch())
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(p.grad is None for p in model.parameters())


def test_what_is_not_finite_is_left_out():
    found = untrained(Plain, Guess(torch.full((256, 256), math.inf)), *batch())
    assert all(map(math.isfinite, found.values()))
    assert "initial_bits" not in found
