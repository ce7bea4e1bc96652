"""Verbs that ask a run, finished or under way: query, lineage, watch."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Json
from foundry.cli.failures import INTERRUPTED, Failure, Misuse
from foundry.cli.runs import Run

if TYPE_CHECKING:
    from foundry.search.archive import Archive
    from foundry.search.history import Step
    from foundry.search.query import Answer

QUERY_EXAMPLES = """\b
Examples:
  foundry query RUN "select operator, count(*), min(val_bpb) from evals group by operator"
  foundry query RUN "describe evals"                     the columns
  foundry query RUN "select text from genomes where hash like '00a8%'" --csv
  foundry query RUN "select status, count(*) as n from evals group by status" --json

Tables: evals has a row per evaluation, genomes(hash, text) every genome. The SQL is DuckDB's, for reading alone.

Exit code: 0 an answer, even an empty one, 1 no answer, 2 misuse."""

LINEAGE_EXAMPLES = """\b
Examples:
  foundry lineage RUN best
  foundry lineage RUN 00a840 --json

The genome is a hash, the beginning of one, a baseline's name, or best: the winner, or before there is one the
child that leads.

Exit code: 0 found, 1 no such genome or run, 2 misuse."""

WATCH_EXAMPLES = """\b
Examples:
  foundry watch runs/2026-01-31-1200
  foundry watch RUN --once

Ctrl-C ends the watching and leaves the run alone.

Exit code: 0 the run is over, 1 it was interrupted or cannot be read, 2 misuse, 130 stopped by Ctrl-C."""

NOTHING = "no rows"


def register(app: typer.Typer) -> None:
    app.command(epilog=QUERY_EXAMPLES)(query)
    app.command(epilog=LINEAGE_EXAMPLES)(lineage)
    app.command(epilog=WATCH_EXAMPLES)(watch)


# query --------------------------------------------------------------------------------------------------------------


def query(
    run: Run,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One query, by DuckDB.")],
    as_json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print comma-separated values.")] = False,
) -> int:
    """Ask the archive of a run in SQL."""
    from foundry.search.archive import Archive, ArchiveError
    from foundry.search.query import QueryError, ask

    if as_json and csv:
        raise Misuse("give --json or --csv, not both")
    try:
        archive = Archive(run)
        answer = ask(archive, sql)
    except (ArchiveError, QueryError) as error:
        raise Failure(str(error)) from None
    _warn(archive)
    if as_json:
        print(json.dumps(answer.objects(), indent=1))
    elif csv:
        _print_csv(answer)
    else:
        _print_table(answer)
    return 0


def _print_csv(answer: Answer) -> None:
    """Columns, then rows; lists and objects as JSON, nothing for null."""
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(answer.columns)
    writer.writerows([_csv_cell(value) for value in row] for row in answer.rows)


def _csv_cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else value


def _print_table(answer: Answer) -> None:
    from rich.console import Console
    from rich.table import Table

    if not answer.rows:
        print(NOTHING)
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    numeric = [_is_numeric(column) for column in zip(*answer.rows, strict=True)]
    for heading, right in zip(answer.columns, numeric, strict=True):
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in answer.rows:
        table.add_row(*(_cell(value) for value in row))
    Console(highlight=False, markup=False).print(table)


def _is_numeric(column: tuple[Any, ...]) -> bool:
    known = [value for value in column if value is not None]
    return bool(known) and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in known)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return json.dumps(value) if isinstance(value, (list, dict, bool)) else str(value)


# lineage ------------------------------------------------------------------------------------------------------------


def lineage(
    run: Run,
    genome: Annotated[str, typer.Argument(metavar="HASH", help="A hash, the beginning of one, or best.")],
    as_json: Json = False,
) -> int:
    """Print a genome's line of descent: what each step changed, and what that scored."""
    import dataclasses

    from foundry.search.archive import Archive, ArchiveError
    from foundry.search.history import lineage as descent
    from foundry.search.lookup import find

    try:
        archive = Archive(run)
        steps = descent(archive, find(archive, genome))
    except ArchiveError as error:
        raise Failure(str(error)) from None
    _warn(archive)
    if as_json:
        print(json.dumps([dataclasses.asdict(step) for step in steps], indent=1))
    else:
        _print_lineage(steps)
    return 0


def _print_lineage(steps: list[Step]) -> None:
    """The oldest first. The gain is against the step before, where both have a score at the same rung."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
    for heading, justify in (("genome", "left"), ("rung", "right"), ("bits/byte", "right"), ("", "right")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    table.add_column("made by, and what changed")
    before: Step | None = None
    for step in steps:
        bits = "" if step.bits_per_byte is None else f"{step.bits_per_byte:.3f}"
        crossed = f" with {', '.join(step.other_parents)}" if step.other_parents else ""
        made = Text.assemble((f"{step.operator}{crossed}", "bold"), *(f"\n{change}" for change in step.changes))
        rung = "" if step.rung is None else str(step.rung)
        table.add_row(step.name, rung, bits, _gain(before, step), made)
        before = step
    Console(highlight=False, markup=False).print(table)


def _gain(before: Step | None, step: Step) -> str:
    if before is None or before.rung != step.rung or before.bits_per_byte is None or step.bits_per_byte is None:
        return ""
    return f"{step.bits_per_byte - before.bits_per_byte:+.3f}".replace("-", "−")


# watch --------------------------------------------------------------------------------------------------------------


def watch(
    run: Run,
    once: Annotated[bool, typer.Option("--once", help="Print how it stands now, and end.")] = False,
) -> int:
    """Watch a run that another process writes."""
    from foundry.cli.live import watching
    from foundry.search.archive import ArchiveError
    from foundry.search.watch import snapshots

    last = None
    try:
        if once:
            last = next(snapshots(run))
            _print_view(last)
        else:
            with watching() as notify:
                for last in snapshots(run):
                    notify(last)
            _print_end(run, last.phase if last else "")
    except ArchiveError as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        raise Failure("stopped watching; the run goes on", INTERRUPTED) from None
    return 1 if last is not None and last.phase == "interrupted" else 0


def _print_view(snapshot: Any) -> None:
    from rich.console import Console

    from foundry.cli.live import view

    Console(highlight=False, markup=False).print(view(snapshot))


def _print_end(run: str, phase: str) -> None:
    """How the run ended, and what to type next."""
    from foundry.search.archive import Archive
    from foundry.search.verdict import sentence

    print()
    if phase == "interrupted":
        print(f"This run was interrupted. Go on with  foundry evolve --resume {run}")
        return
    print(sentence(Archive(run)))
    if phase == "stopped":
        print(f"It was stopped before its budget was spent. Go on with  foundry evolve --resume {run}")
    print(f"\nnext:\n  foundry lineage {run} best\n  foundry top {run}")


def _warn(archive: Archive) -> None:
    for warning in archive.warnings:
        print(f"foundry: {warning}", file=sys.stderr)
