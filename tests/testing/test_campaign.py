"""A campaign ends in time, loses no failure, and outlives its workers."""

import os
import time

import pytest

from foundry.testing import campaign
from foundry.testing.campaign import Settings, run
from foundry.testing.candidates import Candidate
from foundry.testing.corpus import read_corpus, write_case
from foundry.testing.failures import Failure
from foundry.testing.report import markdown, report
from foundry.testing.tally import Tally
from foundry.testing.worker import asked

GENOME = "@foundry(1);\nmodel = embed(vocab = 61, width = 8) >> unembed;\n"
LONGEST = 120.0  # seconds that a test waits for what should come at once


def failing(connection, clock, duty):
    """A worker that finds the same failure twice, the second time smaller, and another."""
    tally = Tally()
    tally.stages["checked"] = 5
    connection.send(("tally", tally))
    for place, content in (("a:1", GENOME + "#" * 20), ("a:1", GENOME), ("a:1", GENOME + "#"), ("b:2", GENOME)):
        connection.send(("failure", Failure("causal", "Broken", place, "m", content, 3, "wild runs/1")))
    time.sleep(600)


def remembering(connection, clock, duty):
    """A worker in which every stored case fails as before."""
    for name, candidate in duty.replays:
        where = ("a:1", "m", candidate.content, candidate.seed, candidate.origin)
        connection.send(("failure", Failure(name, "Broken", *where)))
    time.sleep(600)


def dying(connection, clock, duty):
    """A worker whose process ends in the middle of a property."""
    connection.send(("case", Candidate("wild runs/7", GENOME, 5)))
    clock[1] = 1
    if duty.begin:
        time.sleep(600)
    os._exit(11)


def hanging(connection, clock, duty):
    """A worker that no alarm wakes."""
    connection.send(("case", Candidate("wild runs/7", GENOME, 5)))
    clock[1], clock[0] = 1, 0.0 if duty.begin else time.monotonic() - 1e6
    time.sleep(600)


@pytest.fixture
def running(monkeypatch):
    """Run a campaign until something is true of its state."""

    def start(until, work=None, **settings):
        def notify(state):
            if until(state):
                raise KeyboardInterrupt

        if work is not None:
            monkeypatch.setattr(campaign, "work", work)
        return run(Settings(**({"seconds": LONGEST, "workers": 1} | settings)), notify)

    return start


def test_the_smallest_case_of_each_failure_is_kept(running, tmp_path):
    state = running(lambda state: state.tally.stages["checked"] == 10, failing, corpus=tmp_path, workers=2)
    assert {key[2]: found.failure.content for key, found in state.found.items()} == {"a:1": GENOME, "b:2": GENOME}
    assert [stored.content for stored in read_corpus(tmp_path)] == [GENOME]  # one property and genome: one file


def test_it_ends_when_its_time_is_over():
    state = run(Settings(0.5, workers=1))
    assert 0.5 <= state.seconds < 5 and not state.stopped


def test_it_may_end_with_the_first_failure(running):
    state = running(lambda state: False, failing, stop_at_first=True)
    assert state.found and state.seconds < LONGEST and not state.stopped


def test_a_worker_that_dies_is_a_failure_of_its_case_and_is_replaced(running):
    state = running(lambda state: state.killed, dying)
    (found,) = state.found.values()
    failure = found.failure
    assert (failure.kind, failure.content, failure.seed) == ("crashed", GENOME, 5)
    assert failure.message == "the process ended with 11" and failure.name == asked(())[1]


def test_a_worker_that_hangs_is_killed_and_replaced(running):
    state = running(lambda state: state.killed and state.running == ["wild runs/7"], hanging)
    (found,) = state.found.values()
    assert found.failure.kind == "hangs" and found.failure.origin == "wild runs/7" and state.killed == 1


def test_ctrl_c_ends_it_with_what_was_found(running):
    state = running(lambda state: state.found, failing)
    assert state.stopped and len(state.found) == 2 and state.seconds < LONGEST


def test_stored_cases_come_first_and_are_not_stored_again(running, tmp_path):
    path = write_case(tmp_path, Failure("survives", "Broken", "a:1", "m", b"\xff\x00", 3))
    state = running(lambda state: state.replayed, corpus=tmp_path, names=("survives",))
    assert state.replayed == 1 and path in tmp_path.iterdir()


def test_a_stored_case_that_still_fails_is_known(running, tmp_path):
    path = write_case(tmp_path, Failure("causal", "Broken", "a:1", "m", GENOME, 3))
    state = running(lambda state: state.found, remembering, corpus=tmp_path)
    (found,) = state.found.values()
    assert found.known and found.path == path and list(tmp_path.iterdir()) == [path]


def test_a_real_campaign_tests_genomes(running):
    state = running(lambda state: state.tally.cases["parameters"], names=("parameters",))
    assert state.tally.stages["checked"] and not state.killed and not state.found


def test_the_report_tells_all_of_it(running, tmp_path):
    state = running(lambda state: len(state.found) == 2, failing, corpus=tmp_path)
    data = report(state)
    assert data["genomes"]["checked"] == 5 and len(data["failures"]) == 2 and data["seed"] == 0
    page = markdown(data)
    assert "| genomes checked | 5" in page and "Broken at a:1" in page and str(tmp_path) in page
