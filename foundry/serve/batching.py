"""One thread that owns the model and continues every sequence that was asked for, many at a time.

Sequences that wait together and are of like length become a cohort, which is decoded in lock-step (see
foundry.decode.decoder). Cohorts take turns, a token each, so that what comes later never waits for what came before
to end. A sequence that nobody wants any more leaves its cohort before the next token.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from torch import nn

from foundry.decode.decoder import Cohort, Event, Request, alike
from foundry.decode.sampling import Sampling

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer

GATHER = 0.005  # seconds that the first of many waits for company
Listener = Callable[[Event | Exception], None]  # gets every event of a sequence, or why there are no more


class Stopped(Exception):
    """The server ends, and the sequence with it."""


class Batcher:
    """Continues sequences. All methods may be called from any thread, but for `turn`."""

    def __init__(self, module: ModuleType, model: nn.Module, tokenizer: Tokenizer, rows: int):
        """rows: sequences that are decoded at a time; others wait, in order."""
        self.module, self.model, self.tokenizer, self.most = module, model, tokenizer, rows
        self.waiting: deque[Request] = deque()
        self.cohorts: list[Cohort] = []
        self.listeners: dict[int, Listener] = {}  # of sequences that somebody waits for
        self.dropped: set[int] = set()
        self.numbers = itertools.count()
        self.changed = threading.Condition()
        self.ending = False
        self.thread = threading.Thread(target=self.run, name="foundry decoding", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def stop(self) -> None:
        """End after the token at hand; whoever waits hears `Stopped`. Returns when the thread has ended."""
        with self.changed:
            self.ending = True
            self.changed.notify()
        if self.thread.is_alive():
            self.thread.join()

    @property
    def alive(self) -> bool:
        return self.thread.is_alive() and not self.ending

    def ask(self, prompt: tuple[int, ...], sampling: Sampling, listener: Listener) -> int:
        """Have a sequence continued: its number. The listener is called in the thread that owns the model, and must
        return at once.

        Raises:
            Stopped: the server ends.
        """
        with self.changed:
            if self.ending:
                raise Stopped("the server ends")
            number = next(self.numbers)
            self.listeners[number] = listener
            self.waiting.append(Request(number, prompt, sampling))
            self.changed.notify()
        return number

    def drop(self, numbers: Iterable[int]) -> None:
        """Forget sequences, whether they wait, are decoded, or have ended; their listeners hear no more."""
        with self.changed:
            for number in numbers:
                if self.listeners.pop(number, None) is not None:
                    self.dropped.add(number)

    def run(self) -> None:
        """What the thread does: turns, while there is something to do."""
        try:
            while True:
                with self.changed:
                    self.changed.wait_for(lambda: self.waiting or self.cohorts or self.ending)
                    if self.ending:
                        return
                if not self.cohorts:
                    time.sleep(GATHER)
                self.turn()
        finally:
            self.ending = True
            for number in list(self.listeners):
                self.tell(number, Stopped("the server ends"))

    def turn(self) -> None:
        """One token for every cohort, those that wait included where there is room."""
        self.leave()
        self.admit()
        for cohort in self.cohorts:
            self.step(cohort)
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]

    def leave(self) -> None:
        """Take out what was dropped."""
        with self.changed:
            dropped, self.dropped = self.dropped, set()
            if dropped:
                self.waiting = deque(request for request in self.waiting if request.row not in dropped)
        for cohort in self.cohorts if dropped else ():
            with self.alone(cohort):
                cohort.leave(dropped)
        self.cohorts = [cohort for cohort in self.cohorts if cohort.rows]

    def admit(self) -> None:
        """Make cohorts of those that wait."""
        with self.changed:
            room = self.most - sum(len(cohort.rows) for cohort in self.cohorts)
            new = [self.waiting.popleft() for _ in range(min(room, len(self.waiting)))]
        for group in alike([len(request.prompt) for request in new]):
            requests = [new[n] for n in group]
            try:
                self.cohorts.append(Cohort(self.module, self.model, requests, self.tokenizer))
            except Exception as error:
                self.fail([request.row for request in requests], error)

    def step(self, cohort: Cohort) -> None:
        """One token for a cohort. A sequence that fails takes no other with it."""
        events: list[Event] = []
        with self.alone(cohort):
            events = cohort.step()
        for event in events:
            if event.error is not None:
                self.fail([event.row], event.error)
            else:
                self.tell(event.row, event)

    @contextmanager
    def alone(self, cohort: Cohort) -> Iterator[None]:
        """A cohort that fails as a whole, for memory or anything else, ends and takes no other with it."""
        rows = [row.request.row for row in cohort.rows]
        try:
            yield
        except Exception as error:
            self.fail(rows, error)
            cohort.rows = []

    def fail(self, numbers: list[int], error: Exception) -> None:
        if not isinstance(error, ValueError):  # those are one line for the client, and nobody's fault here
            traceback.print_exception(error, file=sys.stderr)
        for number in numbers:
            self.tell(number, error)

    def tell(self, number: int, news: Event | Exception) -> None:
        """Call a sequence's listener, for the last time where the sequence has ended."""
        with self.changed:
            last = isinstance(news, Exception) or bool(news.finish)
            listener = self.listeners.pop(number, None) if last else self.listeners.get(number)
        if listener is not None:
            listener(news)
