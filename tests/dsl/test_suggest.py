"""Did you mean."""

from __future__ import annotations

import time

import pytest

from foundry.dsl.registry import CALLABLE, SPECIAL
from foundry.dsl.suggest import closest, distance


@pytest.mark.parametrize(
    ("a", "b", "edits"),
    [("", "", 0), ("", "abc", 3), ("kitten", "sitting", 3), ("ab", "ba", 1), ("ca", "abc", 3), ("same", "same", 0)],
)
def test_distance_counts_edits_and_swaps(a, b, edits):
    # The textbook values: kitten/sitting for Levenshtein, ca/abc for optimal string alignment.
    assert distance(a, b) == distance(b, a) == edits


def test_a_distance_beyond_the_limit_is_not_computed():
    assert distance("a" * 50, "b" * 50, 3) == 4
    assert distance("a", "abcdef", 3) == 4


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("lienar", "linear"), ("atend", "attend"), ("splitheads", "split_heads"), ("Embed", "embed"),
        ("embedding", "embed"), ("cross_entropy_loss", "cross_entropy"), ("logsum_exp", "logsumexp"),
        ("headcount", "head_count"), ("shre", "share"),
    ],
)  # fmt: skip
def test_the_best_candidate_comes_first(typed, meant):
    assert closest(typed, CALLABLE | SPECIAL)[0] == meant


@pytest.mark.parametrize("typed", ["zzz", "x", "qqqqqqqq", "z" * 10_000, ""])
def test_nothing_is_suggested_where_nothing_is_close(typed):
    assert closest(typed, CALLABLE | SPECIAL) == []


def test_the_name_itself_is_no_suggestion():
    assert closest("linear", ["linear", "linears"]) == ["linears"]


def test_at_most_so_many_are_suggested_in_a_stable_order():
    assert closest("mak", ["max", "mac", "mak2", "mat"], count=2) == ["mac", "mak2"]


def test_suggestions_are_fast():
    begin = time.process_time()
    closest("attenshun", [f"name_{i}" for i in range(2000)])
    assert time.process_time() - begin < 0.5
