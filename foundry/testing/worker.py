"""A worker of a campaign: one process that draws cases, tries the properties on them, and makes what fails small.

It divides its time between three lanes: arbitrary texts, genomes that only the properties of text meet, and genomes
that are built and run as well. Cases of a lane are numbered, and every worker takes its own numbers, so that a case
can be drawn again.
"""

from __future__ import annotations

import contextlib
import linecache
import random
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

from foundry.dsl.check import examine
from foundry.testing import candidates
from foundry.testing.candidates import Candidate
from foundry.testing.case import Case, Property, Skipped
from foundry.testing.failures import Content, Failure, attempt, observe, spent
from foundry.testing.reduce import smallest
from foundry.testing.survival import survives
from foundry.testing.tally import Tally

TEXTS, CHECKS, RUNS = "texts", "checks", "runs"
SHARES = {TEXTS: 0.3, CHECKS: 0.4, RUNS: 0.3}  # of a worker's processor time
ALLOWED = {CHECKS: 0.003, RUNS: 0.012}  # seconds of each genome for each property; what costs more is tried more seldom
SLACK = 2.0  # seconds that a property may be ahead
DRAWING = "drawing"  # the property that a fault of the generator or of an operator breaks
SURVIVING = "survives"  # the property of arbitrary texts
TESTING = "testing"  # the property that a fault of this file breaks
OWN = {
    DRAWING: "What the generator and the operators draw checks clean.",
    SURVIVING: "An arbitrary text is checked quickly, without an exception, and every finding lies inside it.",
    TESTING: "The campaign itself does not fail.",
}
REPORT_EVERY = 1.0  # seconds
MEMORY = 4 << 30  # bytes that a worker may allocate


@dataclass(frozen=True)
class Duty:
    """What a worker is to do. index of count: it takes the numbers n with n % count == index, from `begin` on.

    names: the properties to try; () for all. given: genomes to test over and over in place of drawn ones.
    replays: cases to try before anything is drawn, each with the name of its property.
    """

    seed: int
    index: int
    count: int
    names: tuple[str, ...] = ()
    begin: int = 0
    given: tuple[str, ...] = ()
    replays: tuple[tuple[str, Candidate], ...] = ()


def work(connection: Connection, clock: Any, duty: Duty) -> None:
    """Test until killed. Sends ("replayed", count), ("case", Candidate), ("failure", Failure) and ("tally", Tally).

    clock: shared with the main process: when the property under way began, as time.monotonic() has it, 0 for none;
    and its place in `asked`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    import torch

    torch.set_num_threads(1)
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        Worker(connection, clock, duty).run()


def asked(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of the properties to try, those of the worker's own last; `names` () stands for all."""
    from foundry.testing.properties import PROPERTIES

    known = dict.fromkeys((*(p.name for p in PROPERTIES), *OWN))
    return tuple(name for name in known if not names or name in (*names, DRAWING, TESTING))


class Worker:
    """One worker's state: what it has counted, and which failures it has seen."""

    def __init__(self, connection: Connection, clock: Any, duty: Duty):
        from foundry.testing.properties import BY_NAME

        self.connection, self.clock, self.duty = connection, clock, duty
        self.asked = asked(duty.names)
        self.properties = [BY_NAME[name] for name in self.asked if name in BY_NAME]
        self.tally, self.sent = Tally(), time.monotonic()
        self.known: set[tuple[str, str, str]] = set()
        self.cost: dict[str, float] = {}  # seconds of processor time by property
        self.allowance = {True: 0.0, False: 0.0}  # seconds for each property that runs, and for each that does not
        self.shares = self._shares()

    def _shares(self) -> dict[str, float]:
        """The share of each lane that has something to do."""
        running = [p for p in self.properties if p.runs]
        wanted = {
            TEXTS: SURVIVING in self.asked and not self.duty.given,
            CHECKS: len(running) < len(self.properties),
            RUNS: bool(running),
        }
        return {lane: share for lane, share in SHARES.items() if wanted[lane]}

    def run(self) -> None:
        """Replay what was found before, then draw and test for ever."""
        for name, candidate in self.duty.replays:
            self.guarded(partial(self.replay, name, candidate), candidate.origin)
        self.connection.send(("replayed", len(self.duty.replays)))
        numbers = dict.fromkeys(SHARES, self.duty.begin + self.duty.index)
        used = dict.fromkeys(self.shares, 0.0)
        while True:
            lane = min(self.shares, key=lambda lane: used[lane] / self.shares[lane])
            number, began = numbers[lane], spent()
            numbers[lane] += self.duty.count
            self.guarded(partial(self.test, lane, number), f"{lane}/{number}")
            used[lane] += spent() - began
            self.report()

    def guarded(self, act: Callable[[], None], origin: str) -> None:
        """Go on after a fault of this program itself, which is a failure as well."""
        try:
            act()
        except (BrokenPipeError, ConnectionResetError):
            raise
        except Exception as error:
            told = "".join(traceback.format_exception(error)[-3:])
            self.tally.failed[TESTING] += 1
            self.fail(Failure(TESTING, type(error).__name__, "foundry/testing", told, "", self.duty.seed, origin))

    def report(self, now: bool = False) -> None:
        """Send home what was counted, about once in a second."""
        if now or time.monotonic() - self.sent > REPORT_EVERY:
            self.connection.send(("tally", self.tally))
            self.tally, self.sent = Tally(), time.monotonic()

    # One case ---------------------------------------------------------------------------------------------------------

    def replay(self, name: str, candidate: Candidate) -> None:
        """Try a stored case again, with its own property and those that cost little."""
        self.connection.send(("case", candidate))
        if name == SURVIVING:
            self.survive(candidate)
            return
        case = Case(str(candidate.content), candidate.seed)
        if not examine(case.text).ok:
            self.tally.why[f"{name}: a stored genome is refused now"] += 1
            return
        for tested in self.properties:
            if tested.name == name or not tested.runs:
                self.try_property(tested, case, candidate.origin)

    def test(self, lane: str, number: int) -> None:
        """Draw the case of a number, and try what the lane tries."""
        drawn = self.draw(lane, number)
        if drawn is None:
            return
        candidate = replace(drawn, origin=f"{drawn.origin} {lane}/{number}")
        self.connection.send(("case", candidate))
        if lane == TEXTS:
            self.tally.stages["texts"] += 1
            self.survive(candidate)
            return
        self.tally.origins[drawn.origin] += 1
        case = Case(str(candidate.content), candidate.seed)
        if not self.draws(lambda: case.program, case.text, case.seed, candidate.origin):
            return
        self.allowance[False] += ALLOWED[lane]
        self.allowance[True] += ALLOWED[lane] if lane == RUNS else 0.0
        for tested in self.properties:
            if (lane == RUNS or not tested.runs) and self.may(tested):
                self.try_property(tested, case, candidate.origin)
        self.count(case)
        _forget_modules()

    def draw(self, lane: str, number: int) -> Candidate | None:
        """The case of a number; None, and a failure, where drawing it fails."""
        seed, given = self.duty.seed, self.duty.given
        if given and lane != TEXTS:
            case_seed = random.Random(f"{seed}/{number}").randrange(2**31)
            return Candidate("given", given[number % len(given)], case_seed)
        drawn: list[Candidate] = []
        draw = candidates.draw_text if lane == TEXTS else candidates.draw_genome
        self.draws(lambda: drawn.append(draw(seed, lane, number)), "", seed, f"{lane}/{number}")
        return drawn[0] if drawn else None

    def may(self, tested: Property) -> bool:
        """Whether a property has not had more than its part of the time; alone it may have all."""
        return bool(self.duty.names) or self.cost.get(tested.name, 0.0) <= self.allowance[tested.runs] + SLACK

    def try_property(self, tested: Property, case: Case, origin: str) -> None:
        """One property of one case; a failure that is new is made small."""

        def tried(text: Content) -> Failure | None:
            self.start(tested.name)
            try:
                return attempt(tested, case if text == case.text else Case(str(text), case.seed))
            except Skipped as reason:
                if text == case.text:
                    self.tally.skipped[tested.name] += 1
                    self.tally.why[f"{tested.name}: {reason}"] += 1
                return None
            finally:
                self.clock[0] = 0

        self.tried(tested.name, case.text, origin, tried)

    def survive(self, candidate: Candidate) -> None:
        """The property of arbitrary texts."""

        def tried(text: Content) -> Failure | None:
            self.start(SURVIVING)
            failure = observe(SURVIVING, lambda: survives(text), text, candidate.seed)
            self.clock[0] = 0
            return failure

        self.tried(SURVIVING, candidate.content, candidate.origin, tried)

    def draws(self, act: Callable[[], object], content: Content, seed: int, origin: str) -> bool:
        """Whether an act of drawing a case succeeds; one that fails cannot be made smaller."""
        self.start(DRAWING)
        began = spent()
        failure = observe(DRAWING, act, content, seed)
        self.clock[0] = 0
        self.tally.took(DRAWING, origin, spent() - began)
        if failure is not None:
            self.tally.failed[DRAWING] += 1
            self.fail(replace(failure, origin=origin))
        return failure is None

    # Counting and telling ---------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Tell the main process what begins now."""
        self.clock[1] = self.asked.index(name)
        self.clock[0] = time.monotonic()

    def tried(self, name: str, content: Content, origin: str, again: Callable[[Content], Failure | None]) -> None:
        """Try, count, and tell of a failure that is new: as it is, and then made small."""
        began = spent()
        failure = again(content)
        seconds = spent() - began
        self.tally.took(name, origin, seconds)
        self.cost[name] = self.cost.get(name, 0.0) + seconds
        if failure is None:
            return
        self.tally.failed[name] += 1
        if self.fail(replace(failure, origin=origin)):
            small = smallest(failure, again)
            self.connection.send(("failure", replace(small, origin=origin)))

    def fail(self, failure: Failure) -> bool:
        """Send a failure that this worker has not met before; whether it was one."""
        if failure.key in self.known:
            return False
        self.known.add(failure.key)
        self.connection.send(("failure", failure))
        self.report(now=True)
        return True

    def count(self, case: Case) -> None:
        """Count how far a genome came, and what it uses."""
        self.tally.coverage.add(case.program)
        self.tally.stages["checked"] += 1
        self.tally.stages["built"] += "module" in case.__dict__
        self.tally.stages["ran"] += "logits" in case.__dict__


def _forget_modules() -> None:
    """Let go of the emitted modules: a worker loads thousands."""
    for name in [name for name in sys.modules if name.startswith("foundry_emitted_")]:
        del sys.modules[name]
    for name in [name for name in linecache.cache if name.startswith("<foundry_emitted_")]:
        del linecache.cache[name]
