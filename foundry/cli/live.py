"""Watching a search: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from foundry.search.settings import Snapshot

EVENTS = 6  # lines of the live view


@contextlib.contextmanager
def watching() -> Iterator[Callable[[Snapshot], None]]:
    """A function that shows each snapshot it is given, for as long as the context lasts."""
    if not sys.stdout.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), refresh_per_second=8, transient=True) as live:
        yield lambda snapshot: live.update(view(snapshot))


class Lines:
    """One line for each new event, with the time since the start."""

    def __init__(self) -> None:
        self.seen: tuple[str, ...] = ()

    def __call__(self, snapshot: Snapshot) -> None:
        for event in unseen(self.seen, snapshot.events):
            print(f"{clock(snapshot.seconds):>8}  {event}", flush=True)
        self.seen = snapshot.events


def unseen(before: Sequence[str], after: Sequence[str]) -> Sequence[str]:
    """The end of `after` that is new, where each is a window on the same growing list."""
    for shift in range(len(before) + 1):
        kept = before[shift:]
        if tuple(after[: len(kept)]) == tuple(kept):
            return after[len(kept) :]
    return after


def clock(seconds: float) -> str:
    """Minutes and seconds, or hours, minutes and seconds."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def view(snapshot: Snapshot) -> RenderableType:
    """The whole live view."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [_header(snapshot), _bar(snapshot), Text(), _standings(snapshot)]
    if snapshot.running:
        parts += [Text(), Text("running", style="dim"), _running(snapshot)]
    if snapshot.events:
        events = Text("\n".join("  " + event for event in snapshot.events[-EVENTS:]), no_wrap=True, overflow="ellipsis")
        parts += [Text(), Text("events", style="dim"), events]
    return Group(*parts)


def _header(snapshot: Snapshot) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right")
    title = Text.assemble(("foundry evolve", "bold"), "  ", (str(snapshot.folder), "dim"))
    line.add_row(title, Text.assemble((snapshot.phase, "bold cyan"), f"  {_spent(snapshot)}"))
    return line


def _spent(snapshot: Snapshot) -> str:
    budget = snapshot.budget
    if budget.kind == "seconds":
        return f"{clock(snapshot.spent)} of {clock(budget.amount)}"
    return f"{snapshot.spent:,.3g} of {budget}  {clock(snapshot.seconds)}"


def _bar(snapshot: Snapshot) -> RenderableType:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Table.grid(expand=True, padding=(0, 2, 0, 0))
    line.add_column(ratio=1)
    line.add_column(justify="right")
    done = sum(snapshot.counts.values())
    failures = ", ".join(f"{count} {status}" for status, count in sorted(snapshot.counts.items()) if status != "ok")
    told = f"{done} evaluation{'' if done == 1 else 's'}" + (f" ({failures})" if failures else "")
    line.add_row(
        ProgressBar(total=snapshot.budget.amount, completed=snapshot.spent, complete_style="cyan"),
        Text(told, style="dim"),
    )
    return line


def _standings(snapshot: Snapshot) -> RenderableType:
    """The best child above the baselines; a difference only between scores of one rung."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    table.add_column("bits per byte", justify="right")
    table.add_column("rung", justify="right")
    table.add_column("genome")
    table.add_column("")
    best = snapshot.best
    if best is not None:
        rivals = [b.bits_per_byte for b in snapshot.baselines if b.rung == best.rung]
        gap = best.bits_per_byte - min(rivals) if rivals else None
        told = "" if gap is None else f"{gap:+.3f} against the best baseline".replace("-", "−")
        style = "bold green" if gap is not None and gap < 0 else "bold"
        table.add_row(f"{best.bits_per_byte:.3f}", str(best.rung), f"{best.name} (best)", told, style=style)
    for score in sorted(snapshot.baselines, key=lambda s: (-s.rung, s.bits_per_byte)):
        table.add_row(f"{score.bits_per_byte:.3f}", str(score.rung), score.name, "baseline")
    return table if table.row_count else Text("waiting for the first score", style="dim")


def _running(snapshot: Snapshot) -> RenderableType:
    from rich.padding import Padding
    from rich.table import Table

    table = Table.grid(padding=(0, 3, 0, 0))
    for running in snapshot.running:
        table.add_row(running.name, running.purpose, f"rung {running.rung}", f"{running.seconds:.0f} s")
    return Padding(table, (0, 0, 0, 2))
