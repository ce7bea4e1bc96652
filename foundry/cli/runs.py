"""Verbs on finished runs, and on running ones: report, top."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from foundry.cli.failures import Failure

REPORT_EXAMPLES = """\b
Examples:
  foundry report runs/2026-01-31-1200"""

TOP_EXAMPLES = """\b
Examples:
  foundry top runs/2026-01-31-1200"""

SHOWN = 10  # genomes of each rung

Run = Annotated[str, typer.Argument(metavar="RUN", help="A run folder.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=REPORT_EXAMPLES)(report)
    app.command(epilog=TOP_EXAMPLES)(top)


def report(run: Run) -> int:
    """Write the report of a run again from its archive."""
    from foundry.search.archive import ArchiveError
    from foundry.search.report import write_report

    try:
        print(write_report(run))
    except ArchiveError as error:
        raise Failure(str(error)) from None
    return 0


def top(run: Run) -> int:
    """Print the best genomes of a run, rung by rung."""
    from foundry.search.archive import Archive, ArchiveError

    try:
        archive = Archive(run)
        rows = archive.rows()
        baselines = archive.read_run()["baselines"].values()
    except ArchiveError as error:
        raise Failure(str(error)) from None
    for warning in archive.warnings:
        print(f"foundry: {warning}", file=sys.stderr)
    _print_best(rows, baselines)
    return 0


def _print_best(rows: list[dict[str, Any]], baselines: Iterable[str]) -> None:
    """One table a rung, the longest rung first; the mean over a genome's seeds ranks it.
    FLOPs and bytes of decode cache are per token."""
    from rich.console import Console
    from rich.table import Table

    from foundry.search.leads import picked_leads
    from foundry.search.plots import compact
    from foundry.search.standings import standings

    leads = {lead.rung: lead for lead in picked_leads(rows, baselines)}
    console = Console(highlight=False, markup=False)
    tables = standings(rows)
    if not tables:
        print("no evaluation has given a score yet")
    for rung, best in tables:
        confirmed = best[0].split == "test"
        table = Table(box=None, pad_edge=False, header_style="dim", title_justify="left", title_style="bold")
        table.title = f"rung {rung}" + (", confirmation on test text" if confirmed else "")
        for heading in ("bits/byte", "seeds", "params", "FLOPs", "cache"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("genome", no_wrap=True)
        table.add_column("made by")
        for genome in best[:SHOWN]:
            row = genome.row
            table.add_row(
                f"{genome.bits_per_byte:.3f}", str(genome.seeds), compact(row["parameters"]),
                compact(row["flops_per_token"]), compact(row["cache_bytes_per_token"]),
                row["genome_hash"], row["operator"],
            )  # fmt: skip
        console.print(table)
        if not confirmed and rung in leads:
            console.print(leads[rung].sentence, style="dim")
        console.print()
