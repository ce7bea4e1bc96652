"""The verb that asks what cheap signals are worth: proxies."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from foundry.cli.arguments import Json
from foundry.cli.failures import Failure
from foundry.cli.measuring import bar
from foundry.cli.runs import Run

if TYPE_CHECKING:
    from foundry.search.predictors import Correlation

EXAMPLES = """\b
Examples:
  foundry proxies runs/2026-01-31-1200
  foundry proxies RUN --json

Each cheap signal's rank correlation with the score of the next rung, at equal parameters, with a bootstrap interval:
all intervals of a table hold at once, 95 times in 100. A signal helps where its interval excludes 0; "score" is the
rung's own score, which costs the whole rung. Below the tables: what giving up early would have saved, had it judged
each genome by those before it.

Exit code: 0 a table, even an empty one, 1 no run, 2 misuse."""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(proxies)


def proxies(run: Run, as_json: Json = False) -> int:
    """Print what cheap signals say of the next rung."""
    from foundry.search.abandon import replays
    from foundry.search.archive import Archive, ArchiveError
    from foundry.search.predictors import chosen, predictors

    try:
        archive = Archive(run)
        rows = archive.rows()
    except ArchiveError as error:
        raise Failure(str(error)) from None
    for warning in archive.warnings:
        print(f"foundry: {warning}", file=sys.stderr)
    with bar("correlating") as tell:
        found = predictors(rows, tell)
    replayed = replays(rows)
    if as_json:
        answer = {
            "signals": [_plain(c) for c in found],
            "used_before_training": [c.signal for c in chosen(rows)],
            "abandonment": [asdict(replay) for replay in replayed],
        }
        print(json.dumps(answer, indent=2))
        return 0
    if not found:
        print("nothing to correlate yet: no two genomes have a score")
    for measured, target in dict.fromkeys((c.measured, c.target) for c in found):
        _print_table([c for c in found if (c.measured, c.target) == (measured, target)])
    for replay in replayed:
        print(
            f"giving up early at rung {replay.rung}: {replay.abandoned} of {replay.genomes} genomes, "
            f"{replay.wrong} of the {replay.worthy} worth promoting; saves {replay.saved:.0%} of the rung"
        )
    return 0


def _plain(correlation: Correlation) -> dict[str, Any]:
    fields = asdict(correlation) | {"helps": correlation.helps}
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in fields.items()}


def _print_table(correlations: list[Correlation]) -> None:
    from rich.console import Console
    from rich.table import Table

    first = correlations[0]
    table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title_style="bold")
    table.title = f"rung {first.target}, from " + (
        "before training" if first.measured == first.target else f"rung {first.measured}"
    )
    table.add_column("signal", no_wrap=True)
    table.add_column("n", justify="right")
    table.add_column("rank correlation", justify="right", no_wrap=True)
    table.add_column("interval", justify="right", no_wrap=True)
    table.add_column("")
    for c in correlations:
        interval = "" if math.isnan(c.low) else f"{c.low:+.2f} … {c.high:+.2f}"
        rho = "" if math.isnan(c.rho) else f"{c.rho:+.2f}"
        table.add_row(c.signal, str(c.n), rho, interval, "helps" if c.helps else "")
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print()
