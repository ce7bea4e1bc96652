"""A property that fails says what broke and where, and whether it is the same failure as another."""

import pytest

from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.failures import HANGS, attempt, observe

CASE = Case("@foundry(1);\nmodel = embed(vocab = 61, width = 8) >> unembed;\n", 7)


def prop(holds, name="made-up"):
    return Property(name, "It holds.", holds)


def broken(case):
    raise Broken("not so")


def crashed(case):
    from foundry.dsl.parse import parse

    parse(case)


def test_a_property_that_holds_gives_nothing():
    assert attempt(prop(lambda case: None), CASE) is None


def test_a_failure_carries_its_case():
    failure = attempt(prop(broken), CASE)
    assert (failure.name, failure.kind, failure.message) == ("made-up", "Broken", "not so")
    assert (failure.content, failure.seed) == (CASE.text, 7)


def test_the_place_is_the_innermost_line_of_this_package():
    assert attempt(prop(crashed), CASE).place.startswith("foundry/dsl/")


def test_a_crash_is_one_failure_whichever_property_meets_it():
    assert attempt(prop(crashed), CASE).key == attempt(prop(crashed, "other"), CASE).key


def test_a_broken_promise_is_told_by_its_name():
    assert attempt(prop(broken), CASE).key != attempt(prop(broken, "other"), CASE).key


def test_a_skipped_case_is_no_failure():
    def skips(case):
        raise Skipped("no attention")

    with pytest.raises(Skipped, match="no attention"):
        attempt(prop(skips), CASE)


def test_what_does_not_end_is_stopped_even_where_it_catches_everything():
    def stubborn():
        while True:
            try:
                sum(range(1000))
            except Exception:
                continue

    failure = observe("made-up", stubborn, CASE.text, 0, limit=0.2)
    assert (failure.kind, failure.message) == (HANGS, "over 0.2 s")
