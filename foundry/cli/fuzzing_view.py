"""Watching a fuzzing campaign: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from foundry.cli.live import clock

if TYPE_CHECKING:
    from rich.console import RenderableType

    from foundry.testing.campaign import State

LINE_EVERY = 30.0  # seconds, where there is no terminal
ROWS = 40  # properties that are shown


@contextlib.contextmanager
def watching() -> Iterator[Callable[[State], None]]:
    """A function that shows each state it is given, for as long as the context lasts."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), refresh_per_second=4, transient=True) as live:
        yield lambda state: live.update(view(state))


class Lines:
    """A line every half minute, and one for each failure that is new."""

    def __init__(self) -> None:
        self.said, self.seen = 0.0, 0

    def __call__(self, state: State) -> None:
        found = list(state.found.values())
        for new in found[self.seen :]:
            print(f"{clock(state.seconds):>8}  found: {new.failure.name}, {new.failure.kind}", flush=True)
        self.seen = len(found)
        if state.seconds - self.said >= LINE_EVERY:
            self.said = state.seconds
            print(f"{clock(state.seconds):>8}  {progress(state)}", flush=True)


def progress(state: State) -> str:
    """The counts of a campaign in one line."""
    stages = state.tally.stages
    return (
        f"{stages['checked']:,} genomes checked, {stages['ran']:,} run, {stages['texts']:,} texts, "
        f"{len(state.found)} failure{'' if len(state.found) == 1 else 's'}"
    )


def view(state: State) -> RenderableType:
    """The whole live view."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    end = state.settings.seconds
    line.add_row(
        Text.assemble(("foundry fuzz", "bold"), "  ", (progress(state), "dim")),
        Text(f"{clock(state.seconds)} of {clock(end)}"),
    )
    bar = ProgressBar(total=end, completed=min(state.seconds, end), complete_style="cyan")
    parts: list[RenderableType] = [line, bar, Text(), _properties(state)]
    for found in state.found.values():
        failure = found.failure
        told = f"{failure.name}: {failure.kind} at {failure.place}"
        parts.append(Text(told, style="bold red", no_wrap=True, overflow="ellipsis"))
    running = Text("  ".join(state.running), style="dim", no_wrap=True, overflow="ellipsis")
    return Group(*parts, Text(), running)


def _properties(state: State) -> RenderableType:
    """A table of the properties, those that failed first, then by name."""
    from rich.table import Table
    from rich.text import Text

    tally = state.tally
    rows = sorted({*tally.cases, *tally.failed}, key=lambda name: (not tally.failed[name], name))
    if not rows:
        return Text("starting", style="dim")
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for heading in ("property", "cases", "skipped", "failed"):
        table.add_column(heading, justify="left" if heading == "property" else "right")
    for name in rows[:ROWS]:
        failed = tally.failed[name]
        style = "bold red" if failed else ""
        table.add_row(name, f"{tally.cases[name]:,}", f"{tally.skipped[name]:,}", f"{failed:,}", style=style)
    return table
