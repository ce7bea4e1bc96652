"""The verb that sets runs side by side: compare."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Json
from foundry.cli.failures import Failure, Misuse
from foundry.cli.several import several

if TYPE_CHECKING:
    from rich.table import Table

    from foundry.evals.statistics import Difference
    from foundry.search.archive import Archive
    from foundry.search.comparison import Comparison, Finding, Pair
    from foundry.search.rematch import Rematch, Score

EXAMPLES = """\b
Examples:
  foundry compare runs/evolve runs/random                    one pair: which winner is better
  foundry compare runs/e* --against runs/r*                  pairs in order: does evolution help?
  foundry compare runs/e0 runs/r0 runs/e1 runs/r1            the same, pair after pair
  foundry compare runs/controlled                            its search against its control arm
  foundry compare --arms runs/c*                             the same for several runs
  foundry compare runs/evolve runs/random --again 6          train winners and baselines anew

A gain is bits per byte of test text: the run's best tuned baseline minus its winner, with a 95 % interval. Beside it
stand the winner's bits per byte, and how many evaluations there were, in brackets those that failed.

Exit code: 0 compared, 1 the runs do not compare or a folder cannot be read, 2 misuse."""

Runs = Annotated[list[str], typer.Argument(metavar="RUN…", help="Run folders, pair after pair: A B A B …")]
Against = Annotated[
    list[str] | None, typer.Option("--against", metavar="RUN…", help="The B of each pair, in the order of the others.")
]


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES, cls=several("--against"))(compare)


def compare(
    runs: Runs,
    against: Against = None,
    arms: Annotated[bool, typer.Option("--arms", help="Compare the two arms of each run.")] = False,
    again: Annotated[
        int, typer.Option(metavar="N", min=0, max=1000, help="Train winners and baselines again on N fresh seeds.")
    ] = 0,
    out: Annotated[str, typer.Option(metavar="DIR", help="Keep what --again finds here, and go on from there.")] = "",
    as_json: Json = False,
) -> int:
    """Compare what runs have found, in pairs."""
    if again == 1:
        raise Misuse("--again needs 2 seeds or more: one has no interval")
    if out and not again:
        raise Misuse("--out keeps what --again finds; give --again N as well")
    archives, comparison = _compared(_pairs(runs, against or [], arms))
    scores = _rematches(comparison, archives, again, out) if again else []
    if as_json:
        print(json.dumps(_plain(comparison, scores), indent=2))
    else:
        _print(comparison, scores)
    return 0


def _pairs(runs: Sequence[str], against: Sequence[str], arms: bool) -> list[tuple[str, ...]]:
    """The folders of each pair; one folder where the arms of a run are the pair."""
    if arms or (len(runs) == 1 and not against):
        if against:
            raise Misuse("--arms compares each run with itself; leave out --against")
        return [(run,) for run in runs]
    if against:
        if len(runs) != len(against):
            raise Misuse(f"{len(runs)} runs against {len(against)}: give as many of each; they pair in order")
        return list(zip(runs, against, strict=True))
    if len(runs) % 2:
        raise Misuse(f"{len(runs)} runs do not pair; give A B A B …, or A A … --against B B …")
    return list(zip(runs[::2], runs[1::2], strict=True))


def _compared(pairs: Sequence[tuple[str, ...]]) -> tuple[dict[str, Archive], Comparison]:
    """The archives by folder, and what they say."""
    from foundry.search.archive import Archive, ArchiveError
    from foundry.search.comparison import NotComparable, compare_arms, compare_runs

    try:
        archives = {str(Path(folder)): Archive(folder) for pair in pairs for folder in pair}
        found = [[archives[str(Path(folder))] for folder in pair] for pair in pairs]
        if len(found[0]) == 1:
            comparison = compare_arms([archive for (archive,) in found])
        else:
            comparison = compare_runs([(a, b) for a, b in found])
    except (ArchiveError, NotComparable) as error:
        raise Failure(str(error)) from None
    for archive in archives.values():
        for warning in archive.warnings:
            print(f"foundry: {warning}", file=sys.stderr)
    return archives, comparison


def _rematches(comparison: Comparison, archives: Mapping[str, Archive], seeds: int, out: str) -> list[Score]:
    """Every pair's winners and baselines, trained again."""
    from foundry.cli.measuring import bar, panel
    from foundry.dsl.diagnostics import GenomeError
    from foundry.search.archive import ArchiveError
    from foundry.search.comparison import NotComparable
    from foundry.search.rematch import rematch, score, wanted

    try:
        matches = [rematch(pair, archives, seeds) for pair in comparison.pairs]
    except (ArchiveError, NotComparable) as error:
        raise Failure(str(error)) from None
    texts = _texts(comparison.pairs, matches)
    jobs = [wanted(match) for match in matches]
    try:
        with panel(texts, out or None) as open_panel, bar() as tell:
            found = open_panel.measure([one for job in jobs for one in job], tell)
    except GenomeError as error:
        raise Failure(f"a genome of these runs no longer checks clean: {error.diagnostics[0].message}") from None
    values = iter([one.bits_per_byte for one in found])
    return [score(match, [next(values) for _ in job]) for match, job in zip(matches, jobs, strict=True)]


def _texts(pairs: Sequence[Pair], matches: Sequence[Rematch]) -> list[Any]:
    """The corpora of the runs, each once, as they were."""
    from foundry.cli.measuring import corpora

    found = {}
    for pair, match in zip(pairs, matches, strict=True):
        if match.data_hash in found:
            continue
        path = pair.a.run["settings"]["data"]
        (corpus,) = corpora([path] if path else [])
        if corpus.hash != match.data_hash:
            raise Failure(f"{pair.a.folder}: its text has changed since (was {match.data_hash}, is {corpus.hash})")
        found[match.data_hash] = corpus
    return list(found.values())


# ---- for people ------------------------------------------------------------------------------------------------------


def _print(comparison: Comparison, scores: Sequence[Score]) -> None:
    from rich.console import Console

    console = Console(highlight=False, markup=False)
    sides = [
        (f"{number} {side}", one)
        for number, pair in enumerate(comparison.pairs, 1)
        for side, one in (("A", pair.a), ("B", pair.b))
    ]
    for name, one in sides:
        console.print(
            f"{name}  {one.folder} {one.arm}".rstrip() + f"  ({one.strategy}, seed {one.seed})", soft_wrap=True
        )
    print()
    console.print(_table(comparison, sides))
    print()
    for line in (*_verdict(comparison), *_again(scores), *_remarks(comparison)):
        console.print(line, soft_wrap=True)


def _table(comparison: Comparison, sides: Sequence[tuple[str, Finding]]) -> Table:
    """A row for each run, and one for the difference after the second of each pair."""
    from statistics import mean

    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("", "verdict", "gain", "winner", "evaluations"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("", "verdict") else "right")
    table.add_column("baseline")
    for index, (name, one) in enumerate(sides):
        values = one.bits_per_byte.values()
        bits, gain = f"{mean(values):.3f}" if values else "", _interval(one.gain) if one.gain else ""
        tried = f"{one.evaluations} ({one.failed})"
        table.add_row(name, one.verdict, gain, bits, tried, one.baseline_name)
        if index % 2:
            table.add_row("", "A − B", _interval(comparison.pairs[index // 2].difference), "", "", "", style="dim")
    return table


def _verdict(comparison: Comparison) -> list[str]:
    pairs, signs = len(comparison.pairs), comparison.signs
    if comparison.difference is None:
        return ["One pair says which of these two winners gained more, not which way of searching does."]
    ahead = f"A gained more in {signs.wins} of {pairs} pairs (sign test p = {signs.p:.3g})"
    mean = (
        f"mean difference of gains {_interval(comparison.difference)} bits per byte, p = {comparison.difference.p:.2g}"
    )
    return [f"{ahead}; {mean}."]


def _again(scores: Sequence[Score]) -> list[str]:
    """A line for each rematch, and one for all."""
    from foundry.search.rematch import over_pairs

    lines = []
    for number, one in enumerate(scores, 1):
        failed = sum(value is None for values in one.bits_per_byte.values() for value in values)
        lines.append(
            f"Again, pair {number}: A needs {_interval(one.lead)} bits per byte less than B; over its own baseline A "
            f"gains {_interval(one.gain_a)}, B {_interval(one.gain_b)} ({len(one.seeds)} fresh seeds, "
            f"{one.compute:.3g} flop each{f', {failed} failed' if failed else ''})."
        )
    if (mean := over_pairs(scores)) is not None:
        lines.append(f"Again, over all pairs: A needs {_interval(mean)} bits per byte less than B.")
    return lines


def _remarks(comparison: Comparison) -> list[str]:
    found = [f"pair {n}: {remark}" for n, pair in enumerate(comparison.pairs, 1) for remark in pair.remarks]
    told = [*comparison.remarks, *found]
    return ["", "How far this compares:", *(f"  {remark}" for remark in told)] if told else []


def _interval(difference: Difference | None) -> str:
    from foundry.search.verdict import signed

    if difference is None:
        return "?"
    ends = [signed(end) if math.isfinite(end) else "open" for end in (difference.low, difference.high)]
    return f"{signed(difference.mean)} ({ends[0]} … {ends[1]})"


# ---- for programs ----------------------------------------------------------------------------------------------------


def _plain(comparison: Comparison, scores: Sequence[Score]) -> dict[str, Any]:
    """What `--json` prints; numbers that are not finite are null."""
    pairs = [
        {"a": _side(p.a), "b": _side(p.b), "difference": _finite(p.difference), "remarks": list(p.remarks)}
        for p in comparison.pairs
    ]
    return {
        "pairs": pairs,
        "difference": _finite(comparison.difference),
        "signs": asdict(comparison.signs),
        "remarks": list(comparison.remarks),
        "again": [_finite(one) for one in scores],
    }


def _side(one: Finding) -> dict[str, Any]:
    values = {f.name: getattr(one, f.name) for f in fields(one) if f.name != "run"}
    return {name: _finite(value) for name, value in values.items()} | {"run_id": one.run["run_id"]}


def _finite(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _finite(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
