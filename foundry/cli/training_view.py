"""Training, watched: a bar on a terminal, plain lines elsewhere; both on standard error."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from foundry.dsl.render import visible

if TYPE_CHECKING:
    from foundry.train.journal import Row, Viewer

EVERY = 10.0  # seconds between plain lines, at least
UNITS = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def viewer(steps: int, stream: TextIO | None = None) -> Viewer:
    """Who shows a run of so many steps to the person at the terminal."""
    stream = stream or sys.stderr
    return Bar(steps, stream) if stream.isatty() else Lines(steps, stream)


class Encoding:
    """A line now and then while text is encoded."""

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic):
        self.stream, self.clock, self._next = stream or sys.stderr, clock, clock()

    def __call__(self, done: int, total: int) -> None:
        if self.clock() >= self._next:
            self._next = self.clock() + EVERY
            print(f"encoding text: {done / total:.0%} of {total / 1e6:,.0f} MB", file=self.stream, flush=True)


class Lines:
    """A line for each validation, and one now and then in between."""

    def __init__(self, steps: int, stream: TextIO, clock: Callable[[], float] = time.monotonic):
        self.steps, self.stream, self.clock = steps, stream, clock
        self._next = clock()

    def row(self, row: Row) -> None:
        last = row.step >= self.steps
        if row.validation is None and self.clock() < self._next and not last:
            return
        self._next = self.clock() + EVERY
        self.say(line(row, self.steps))

    def sample(self, step: int, text: str) -> None:
        self.say(indented(text))

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)

    def close(self) -> None: ...


class Bar:
    """A bar with the last figures; validations, samples and remarks scroll past above it."""

    def __init__(self, steps: int, stream: TextIO):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.steps = steps
        console = Console(file=stream, highlight=False, markup=False)
        columns = (BarColumn(bar_width=24), TaskProgressColumn(), TextColumn("{task.description}", markup=False))
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("starting", total=1.0)
        self._progress.start()

    def row(self, row: Row) -> None:
        words = ", ".join(figures_of(row))
        self._progress.update(self._task, completed=row.progress, description=f"step {row.step:,}: {words}")
        if row.validation is not None:
            self.say(line(row, self.steps))

    def sample(self, step: int, text: str) -> None:
        self.say(indented(text))

    def say(self, text: str) -> None:
        self._progress.console.print(text, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


def line(row: Row, steps: int) -> str:
    """A row on one line: where the run stands, and its figures."""
    return f"step {row.step:,} of {steps:,}: {', '.join(figures_of(row))}"


def figures_of(row: Row) -> list[str]:
    """The figures of a row in words, those that it has."""
    found = []
    if row.validation is not None:
        best = ", the best so far" if row.best == row.validation else ""
        found.append(f"validation {row.validation:.3f} bits per byte{best}")
    if row.bits_per_byte is not None:
        found.append(f"training {row.bits_per_byte:.3f}")
    if row.tokens_per_s:
        found.append(f"{short(row.tokens_per_s)} tokens/s")
    if row.utilisation is not None:
        found.append(f"{row.utilisation:.0%} of peak")
    if row.seconds_left is not None and row.progress < 1:
        found.append(f"{duration(row.seconds_left)} left")
    return found


def indented(text: str) -> str:
    """A sample, set off, without what a terminal would act on."""
    return "\n".join(f"  | {visible(part)}" for part in text.split("\n"))


def short(number: float) -> str:
    """Three digits and a unit: 123M, 12.3k, 123."""
    size, unit = next(((size, unit) for size, unit in UNITS if number >= 0.9995 * size), (1.0, ""))
    value = number / size
    digits = 0 if not unit or value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f}{unit}"


def duration(seconds: float) -> str:
    """The two largest units: 2 d 3 h, 1 h 5 min, 3 min 20 s, 12 s."""
    whole = round(seconds)
    for size, unit, below, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // below} {smaller}"
    return f"{whole} s"
