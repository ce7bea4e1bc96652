"""The screen: places among the archive's values, and who is behind the limit."""

from foundry.evals.screen import Feature, Screen

RISING = Feature("initial_bits", (1.0, 2.0, 3.0, 4.0), higher_is_worse=True)
FALLING = Feature("reach", (1.0, 2.0, 3.0, 4.0), higher_is_worse=False)


def test_a_place_is_the_share_of_the_archive_that_is_better():
    assert [RISING.place(v) for v in (0.0, 2.5, 9.0)] == [0.0, 0.5, 1.0]
    assert [FALLING.place(v) for v in (0.0, 2.5, 9.0)] == [1.0, 0.5, 0.0]
    assert RISING.place(2.0) == 1.5 / 4  # between the one below and itself
    assert RISING.place(None) == 0.5


def test_it_rejects_by_the_mean_of_the_places_and_says_so():
    screen = Screen((RISING, FALLING), limit=0.7)
    assert screen.rejects({"initial_bits": 9.0, "reach": 3.5}) == ""  # 1 and 0.25
    assert screen.rejects({"initial_bits": 9.0}) == "initial_bits, reach put it at 0.75 of 1, behind 0.70"
    assert screen.rejects({}) == ""
