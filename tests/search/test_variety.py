"""Niches, Pareto selection and islands; ranks against NSGA-II's definition, point by point."""

import itertools
import math
import random

import pytest

from foundry.search.variety import (
    EPOCH,
    crowding,
    homeland,
    island_of,
    islands,
    niche,
    pareto_order,
    ranks,
    sensitivity,
)


def dominates(a, b):
    return all(x <= y for x, y in zip(a, b, strict=True)) and a != b


def ranks_by_definition(points):
    """Peel off, again and again, what nothing that is left dominates."""
    left, out, rank = dict(enumerate(points)), {}, 0
    while left:
        front = [i for i, p in left.items() if not any(dominates(q, p) for q in left.values())]
        out |= dict.fromkeys(front, rank)
        left = {i: p for i, p in left.items() if i not in front}
        rank += 1
    return [out[i] for i in range(len(points))]


def test_ranks_are_those_of_the_definition():
    rng = random.Random(0)
    for dimensions in (1, 2, 4):
        points = [tuple(rng.randint(0, 5) for _ in range(dimensions)) for _ in range(60)]
        assert ranks(points) == ranks_by_definition(points)


def test_equal_points_share_a_rank_and_there_may_be_none():
    assert ranks([(1, 2), (1, 2), (2, 3)]) == [0, 0, 1]
    assert ranks([]) == [] and crowding([]) == [] and pareto_order([]) == []


def test_what_is_unknown_neither_helps_nor_harms():
    assert ranks([(1.0, 1.0), (1.0, None), (1.0, 3.0)]) == [0, 1, 2]
    assert ranks([(1.0, None), (2.0, None)]) == [0, 1]


def test_the_ends_of_a_front_are_never_crowded_and_neighbours_crowd():
    room = crowding([(0, 10), (1, 9), (2, 8), (6, 4), (10, 0)])
    assert room[0] == room[4] == math.inf
    assert room[3] > room[2] > room[1] == pytest.approx(0.4)  # 2 of 10 in each of two objectives


def test_the_order_is_by_rank_and_then_by_room():
    points = [(5, 5), (0, 4), (4, 0), (2, 2.5), (2.1, 2.2), (1, 3.2)]
    places = pareto_order(points)
    assert sorted(places) == list(range(6))
    assert places[0] == 5 and {places[1], places[2]} == {0, 1}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1000.0, 512.0, "attend"), (1010.0, 600.0, "attend"), True),
        ((1000.0, 512.0, "attend"), (2000.0, 512.0, "attend"), False),
        ((1000.0, 512.0, "attend"), (1000.0, 100.0, "attend"), False),
        ((1000.0, 512.0, "attend"), (1000.0, 512.0, "scan"), False),
        ((1000.0, 0.0, "scan"), (1000.0, 0.0, "scan"), True),
        ((None, None, "scan"), (1000.0, 0.0, "scan"), False),
    ],
)
def test_a_niche_is_a_size_a_cache_and_a_family(one, other, same):
    assert (niche(*one) == niche(*other)) is same


def test_sensitivity_is_the_loss_per_factor_of_e_from_the_best_rate():
    assert sensitivity({0.01: 2.0, 0.01 * math.e: 2.4}) == pytest.approx(0.4)
    assert sensitivity({0.01: 2.0, 0.01 * math.e: 2.4, 0.01 / math.e**2: 2.2}) == pytest.approx(0.25)
    assert sensitivity({0.01: 2.0}) is None


def test_eight_workers_share_an_island():
    assert [islands(workers) for workers in (1, 2, 15, 16, 64)] == [1, 1, 1, 2, 8]


def test_a_proposal_belongs_to_an_island_and_takes_its_parents_there():
    assert [island_of("feed", number, 4) for number in range(5)] == [0, 1, 2, 3, 0]
    assert 0 <= island_of("feed", -1, 4) < 4
    assert all(homeland(number, 4) == number % 4 for number in range(4 * EPOCH))


def test_every_island_hears_of_every_other_in_turn():
    count = 4
    guests = {(number % count, homeland(number, count)) for number in range(count * EPOCH * count)}
    assert guests == set(itertools.product(range(count), repeat=2))
    strangers = [n for n in range(count * EPOCH * 10) if homeland(n, count) != n % count]
    assert len(strangers) == 9 * count  # once in each epoch but the first


def test_one_island_has_no_neighbours():
    assert {homeland(number, 1) for number in range(100)} == {0}
