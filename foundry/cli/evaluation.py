"""The verb that measures: eval."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Genomes, Json, Source, load_source
from foundry.cli.failures import ERRORS
from foundry.cli.measuring import bar, corpora, panel

if TYPE_CHECKING:
    from foundry.data.corpus import Corpus
    from foundry.search.panel import Measured

EXAMPLES = """\b
Examples:
  foundry eval llama
  foundry eval mine.genome llama --seeds 3
  foundry eval mine.genome llama --seeds 10 --out runs/mine
  foundry eval mine.genome --json

Every genome trains for the same compute on the source of the Python standard library; a run takes
about 15 seconds. With several seeds, each genome is compared with the first one. With --out every result is kept as it
comes, and the same command goes on where Ctrl-C stopped it.

Exit code: 0 all have a score, 1 some have none, 2 misuse."""

RUNG = 1  # of foundry.evals.rungs: long enough to rank, short enough to wait for


def register(app: typer.Typer) -> None:
    app.command(name="eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    files: Genomes,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Train each genome this many times.")] = 1,
    out: Annotated[str, typer.Option(metavar="DIR", help="Keep every result here, and go on from there.")] = "",
    as_json: Json = False,
) -> int:
    """Train genomes and print their bits per byte."""
    sources = []
    for name in files:
        source, _ = load_source(name)
        sources.append(source)
    (corpus,) = corpora(())
    results = _measure(sources, corpus, seeds, out)
    report = _report(sources, results, corpus)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_table(report)
    return 0 if all(e["status"] == "ok" for genome in report["genomes"] for e in genome["evaluations"]) else ERRORS


def _measure(sources: list[Source], corpus: Corpus, seeds: int, out: str) -> list[list[Measured]]:
    """Every genome with every seed, as many at a time as there are cores; a list per genome."""
    from foundry.evals.rungs import RUNGS
    from foundry.search.panel import Wanted

    wanted = [Wanted(source.text, RUNGS[RUNG].compute, seed) for seed in range(seeds) for source in sources]
    with panel([corpus], out or None) as open_panel, bar() as tell:
        measured = open_panel.measure(wanted, tell)
    return [measured[index :: len(sources)] for index in range(len(sources))]


def _report(sources: list[Source], results: list[list[Measured]], corpus: Corpus) -> dict[str, Any]:
    """What `--json` prints. `bits_per_byte` is the mean over seeds, null where a seed gave none;
    `against_first` the paired difference from the first genome, with its 95 % interval."""
    from statistics import mean

    from foundry.dsl.canonical import canonical_hash
    from foundry.dsl.check import load_program
    from foundry.evals.rungs import RUNGS
    from foundry.evals.statistics import paired_difference

    seeds = len(results[0])
    genomes, first = [], None
    for index, source in enumerate(sources):
        evaluations = [{"seed": seed, **asdict(measured)} for seed, measured in enumerate(results[index])]
        scores = [e["bits_per_byte"] for e in evaluations if e["status"] == "ok"]
        complete = len(scores) == seeds
        against = None
        if index and complete and first is not None and seeds > 1:
            difference = paired_difference(scores, first)
            against = {"mean": difference.mean, "low": difference.low, "high": difference.high}
        if index == 0 and complete:
            first = scores
        genomes.append(
            {
                "genome": source.label,
                "hash": canonical_hash(load_program(source.text, source.label)),
                "bits_per_byte": mean(scores) if complete else None,
                "against_first": against,
                "evaluations": evaluations,
            }
        )
    settings = {"compute": RUNGS[RUNG].compute, "seeds": seeds, "data": corpus.name, "data_hash": corpus.hash}
    return {"split": "validation", **settings, "genomes": genomes}


def _print_table(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("genome")
    for heading in ("bits per byte", "parameters", "tokens", "seconds"):
        table.add_column(heading, justify="right")
    compared = any(genome["against_first"] for genome in report["genomes"])
    if compared:
        table.add_column(f"against {report['genomes'][0]['genome']}, 95 % interval", justify="right")
    for genome in report["genomes"]:
        table.add_row(*_cells(genome, compared))
    Console(highlight=False, markup=False).print(table)


def _cells(genome: dict[str, Any], compared: bool) -> list[str]:
    evaluations = genome["evaluations"]
    failed = next((e for e in evaluations if e["status"] != "ok"), None)
    good = failed or evaluations[0]
    if failed:
        score = " ".join(filter(None, (failed["status"], failed["error_code"])))
    else:
        score = f"{genome['bits_per_byte']:.3f}"
    seconds = sum(e["wall_s"] for e in evaluations) / len(evaluations)
    cells = [genome["genome"], score, f"{good.get('parameters', 0):,}", f"{good.get('tokens', 0):,}", f"{seconds:.1f}"]
    if compared:
        against = genome["against_first"]
        cells.append(f"{against['mean']:+.3f} ({against['low']:+.3f} … {against['high']:+.3f})" if against else "")
    return cells
