"""A budget is read exactly, or refused in one line that says what to write."""

import re

import pytest

from foundry.search.budget import Budget, BudgetError, parse_budget


@pytest.mark.parametrize(
    "text, kind, amount",
    [
        ("10min", "seconds", 600),
        ("90s", "seconds", 90),
        ("2h", "seconds", 7200),
        (" 1.5 H ", "seconds", 5400),
        ("500evals", "evals", 500),
        ("1e15flop", "flop", 1e15),
        ("2.5E+14flops", "flop", 2.5e14),
    ],
)
def test_a_budget_is_a_number_and_a_unit(text, kind, amount):
    assert parse_budget(text) == Budget(kind, amount)


@pytest.mark.parametrize("text", ["10min", "90s", "2h", "500evals", "1e+15flop"])
def test_a_budget_prints_as_it_is_written(text):
    assert str(parse_budget(text)) == text


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "not a number with a unit"),
        ("soon", "not a number with a unit"),
        ("10", "no unit"),
        ("10 parsecs", "unknown unit 'parsecs'"),
        ("0s", "not a positive"),
        ("-5min", "not a positive"),
        ("1e999s", "finite"),
        ("nan min", "not a number"),
        ("inf h", "not a number"),
        ("10min\n20min", "not a number"),
        ("50.5evals", "whole numbers"),
        ("5s", "the shortest that can is 1min"),
        ("3evals", "the shortest that can is 40evals"),
        ("1flop", "the shortest that can is 1e+13flop"),
        ("1e9h", "the longest is"),
        ("9" * 5000 + "s", "not a number with a unit"),
    ],
)
def test_nonsense_is_refused_in_one_line(text, says):
    with pytest.raises(BudgetError, match=re.escape(says)) as error:
        parse_budget(text)
    assert "\n" not in str(error.value) and len(str(error.value)) < 200
