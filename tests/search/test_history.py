"""What each operator earned, and where a genome came from, follow from the rows."""

import pytest
from individuals import row

from foundry.search import history


def born(name, score, operator, parents=(), **more):
    return row(name, score, **more) | {"operator": operator, "parent_hashes": list(parents), "test_bpb": None}


ROWS = [
    born("base", 3.0, "seed"),
    born("base", 3.02, "seed", seed=1),
    born("base", 2.98, "seed", seed=2),
    born("a", 2.5, "wrap", ["base"]),
    born("b", 2.99, "wrap", ["base"]),
    born("c", None, "wrap", ["base"]),
    born("d", 2.4, "number", ["a"]),
    born("e", None, "number", ["a"], status="abandoned", compute_spent=1.0),
    born("f", 2.0, "cross", ["d", "a"]),
    born("quick", 2.2, "tune", ["d"], rung=1),
    born("d", 2.2, "number", ["a"], rung=1, compute_budget=12.0),
    born("fresh", 1.0, "random", arm="control"),
    born("swapped", 2.0, "control", ["base", "f"]),
]


def test_what_an_operator_earned():
    records = {record.operator: record for record in history.operators(ROWS, winner="f")}
    assert set(records) == {"wrap", "number", "cross"}  # no baselines, rates or controls, and not the control arm
    wrap, number, cross = records["wrap"], records["number"], records["cross"]
    assert (wrap.children, wrap.failed, wrap.compared, wrap.better, wrap.wins) == (3, 1, 2, 2, 1)
    assert wrap.gain == pytest.approx(0.5) and wrap.earned == pytest.approx(0.5)
    assert (number.children, number.failed, number.wins, number.promoted) == (2, 0, 1, 1)
    assert number.compute == 4 + 1 + 12 and number.gain_per_compute == pytest.approx(0.1 / 17)
    assert [record.in_line for record in (wrap, number, cross)] == [1, 1, 1]
    assert list(records) == ["cross", "wrap", "number"]  # by gain per compute: 0.4 / 4, 0.5 / 12, 0.1 / 17


def test_without_a_winner_nothing_is_in_its_line():
    assert {record.in_line for record in history.operators(ROWS)} == {0}


def test_descent_follows_first_parents_and_ends_where_a_parent_is_lost():
    assert history.descent(ROWS, "f") == ["base", "a", "d", "f"]
    assert history.descent([born("x", 1.0, "wrap", ["gone"])], "x") == ["gone", "x"]
    assert history.descent(ROWS, "") == []


def test_a_circle_of_parents_ends():
    circle = [born("x", 1.0, "wrap", ["y"]), born("y", 1.0, "wrap", ["x"])]
    assert history.descent(circle, "x") == ["y", "x"]
