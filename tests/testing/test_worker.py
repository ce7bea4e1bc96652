"""What a worker draws, tries, counts and tells."""

import time

import pytest

from foundry.testing import properties, worker
from foundry.testing.candidates import Candidate, draw_genome, draw_text
from foundry.testing.case import Broken, Property, Skipped
from foundry.testing.worker import CHECKS, DRAWING, RUNS, TEXTS, Duty, Worker

LLAMA_LIKE = """@foundry(1);
layer(x) = x + glu(rmsnorm(x + attention(x, heads = 2)), hidden = 16);
model = embed(vocab = 61, width = 8) >> 2 * layer >> unembed(tied = 1);
"""


class Told(list):
    """The messages of a worker, in place of a pipe."""

    send = list.append

    def failures(self):
        return [message[1] for message in self if message[0] == "failure"]


def attending(case):
    from foundry.dsl.program import all_units

    if any(node.op == "attend" for unit in all_units(case.program) for node in unit.nodes):
        raise Broken("it attends")


def skipping(case):
    raise Skipped("says nothing")


def running(case):
    assert case.logits is not None


@pytest.fixture
def made(monkeypatch):
    """A worker on properties of one's own."""

    def make(*holds, runs=False, **duty):
        own = [Property(hold.__name__, "It holds.", hold, runs or hold is running) for hold in holds]
        monkeypatch.setattr(properties, "PROPERTIES", own)
        monkeypatch.setattr(properties, "BY_NAME", {p.name: p for p in own})
        told = Told()
        return Worker(told, [0.0, 0.0], Duty(0, 0, 1, **duty)), told

    return make


def test_the_same_number_draws_the_same_case():
    assert draw_genome(3, RUNS, 5) == draw_genome(3, RUNS, 5) != draw_genome(4, RUNS, 5)
    assert draw_text(3, TEXTS, 5) == draw_text(3, TEXTS, 5)


def test_a_failure_is_told_as_it_is_and_then_small(made):
    at_work, told = made(attending, given=(LLAMA_LIKE,))
    at_work.test(CHECKS, 0)
    first, small = told.failures()
    assert first.content == LLAMA_LIKE and "glu" not in small.content and small.key == first.key
    assert first.origin == small.origin == "given checks/0"


def test_a_failure_is_made_small_once(made):
    at_work, told = made(attending, given=(LLAMA_LIKE,))
    for number in range(3):
        at_work.test(CHECKS, number)
    at_work.report(now=True)
    assert len(told.failures()) == 2
    assert sum(tally.failed["attending"] for kind, tally in (m for m in told if m[0] == "tally")) == 3


def test_skipped_cases_are_counted_with_their_reason(made):
    at_work, told = made(skipping, given=(LLAMA_LIKE,))
    at_work.test(CHECKS, 0)
    assert at_work.tally.skipped == {"skipping": 1} and at_work.tally.cases["skipping"] == 1
    assert at_work.tally.why == {"skipping: says nothing": 1} and not told.failures()


def test_only_the_running_lane_builds(made):
    at_work, _ = made(skipping, running, given=(LLAMA_LIKE,))
    at_work.test(CHECKS, 0)
    assert at_work.tally.stages == {"checked": 1, "built": 0, "ran": 0}
    at_work.test(RUNS, 1)
    assert at_work.tally.stages == {"checked": 2, "built": 1, "ran": 1}


def test_emitted_modules_are_let_go(made):
    import sys

    at_work, _ = made(running, given=(LLAMA_LIKE,))
    at_work.test(RUNS, 0)
    assert not [name for name in sys.modules if name.startswith("foundry_emitted_")]


def test_a_lane_without_properties_gets_no_time(made):
    assert made(skipping)[0].shares.keys() == {TEXTS, CHECKS}
    assert made(running)[0].shares.keys() == {TEXTS, RUNS}
    assert made(skipping, running, given=(LLAMA_LIKE,))[0].shares.keys() == {CHECKS, RUNS}
    assert made(skipping, names=("survives",))[0].shares.keys() == {TEXTS}


def test_a_generator_that_fails_is_a_failure(made, monkeypatch):
    at_work, told = made(skipping)

    def wrong(*_):
        raise KeyError("width")

    monkeypatch.setattr(worker.candidates, "draw_genome", wrong)
    at_work.test(CHECKS, 12)
    (failure,) = told.failures()
    assert (failure.name, failure.kind, failure.origin) == (DRAWING, "KeyError", "checks/12")


def test_a_drawn_genome_with_errors_is_a_failure_of_the_generator(made, monkeypatch):
    at_work, told = made(skipping)
    wrong = LLAMA_LIKE.replace("heads = 2", "heads = 3")
    monkeypatch.setattr(worker.candidates, "draw_genome", lambda *_: Candidate("wild", wrong, 0))
    at_work.test(CHECKS, 0)
    (failure,) = told.failures()
    assert failure.name == DRAWING and failure.content == wrong and not at_work.tally.stages


def test_a_property_that_takes_its_time_is_tried_more_seldom(made, monkeypatch):
    def slow(case):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    def quick(case):
        pass

    monkeypatch.setattr(worker, "SLACK", 0.1)
    at_work, _ = made(slow, quick, given=(LLAMA_LIKE,))
    for number in range(30):
        at_work.test(CHECKS, number)
    assert 2 <= at_work.tally.cases["slow"] < 15 and at_work.tally.cases["quick"] == 30


def test_a_property_that_was_asked_for_may_take_its_time(made, monkeypatch):
    def slow(case):
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass

    monkeypatch.setattr(worker, "SLACK", 0.1)
    at_work, _ = made(slow, given=(LLAMA_LIKE,), names=("slow",))
    for number in range(10):
        at_work.test(CHECKS, number)
    assert at_work.tally.cases["slow"] == 10


def test_a_stored_case_meets_its_own_property_and_the_cheap_ones(made):
    at_work, _ = made(skipping, running)
    at_work.replay("other", Candidate("corpus x.genome", LLAMA_LIKE, 0))
    assert at_work.tally.cases == {"skipping": 1}
    at_work.replay("running", Candidate("corpus x.genome", LLAMA_LIKE, 0))
    assert at_work.tally.cases == {"skipping": 2, "running": 1}


def test_a_stored_genome_that_is_refused_now_is_mended(made):
    at_work, told = made(running)
    at_work.replay("running", Candidate("corpus x.genome", LLAMA_LIKE.replace("heads = 2", "heads = 3"), 0))
    assert not at_work.tally.cases and not told.failures()
    assert at_work.tally.why == {"running: a stored genome is refused now": 1}


def test_a_stored_text_is_read_again(made):
    at_work, told = made(skipping)
    at_work.replay("survives", Candidate("corpus x.text", b"\xff\x00", 0))
    assert at_work.tally.cases == {"survives": 1} and not told.failures()
