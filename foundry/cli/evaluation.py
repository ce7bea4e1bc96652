"""The verb that measures: eval."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Genomes, Json, Source, load_source
from foundry.cli.failures import ERRORS, Failure

if TYPE_CHECKING:
    from foundry.data.corpus import Corpus
    from foundry.search.workers import Finished

EXAMPLES = """\b
Examples:
  foundry eval llama
  foundry eval mine.genome llama --seeds 3
  foundry eval mine.genome --json

Every genome trains for the same compute on the source of the Python standard library; a run takes
about 15 seconds. With several seeds, each genome is compared with the first one.

Exit code: 0 all have a score, 1 some have none, 2 misuse."""

RUNG = 1  # of foundry.evals.rungs: long enough to rank, short enough to wait for
PATIENCE = 8  # an evaluation may take this many times what its rung says


def register(app: typer.Typer) -> None:
    app.command(name="eval", epilog=EXAMPLES)(evaluate)


def evaluate(
    files: Genomes,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Train each genome this many times.")] = 1,
    as_json: Json = False,
) -> int:
    """Train genomes and print their bits per byte."""
    from foundry.data.corpus import CorpusError, load_corpus

    sources = []
    for name in files:
        source, _ = load_source(name)
        sources.append(source)
    try:
        corpus = load_corpus(None)
    except CorpusError as error:
        raise Failure(str(error)) from None
    results = _measure(sources, corpus, seeds)
    report = _report(sources, results, corpus)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _print_table(report)
    return 0 if all(e["status"] == "ok" for genome in report["genomes"] for e in genome["evaluations"]) else ERRORS


def _measure(sources: list[Source], corpus: Corpus, seeds: int) -> dict[str, Finished]:
    """Every genome with every seed, as many at a time as there are cores; by eval_id `genome-seed`."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from foundry.evals.rungs import RUNGS
    from foundry.search.settings import cores, proxy_job
    from foundry.search.workers import Job, Workers

    rung = RUNGS[RUNG]
    waiting = [
        Job(f"{index}-{seed}", source.text, corpus, rung.compute, seed, "validation", PATIENCE * rung.seconds)
        for seed in range(seeds)
        for index, source in enumerate(sources)
    ]
    done: dict[str, Finished] = {}
    workers = Workers(proxy_job, min(len(waiting), cores()), preload=("torch", "foundry.evals.proxy"))
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    progress = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    try:
        with progress:
            bar = progress.add_task("", total=len(waiting))
            while waiting or workers.free < workers.count:
                while waiting and workers.free:
                    workers.start(waiting.pop(0))
                for finished in workers.wait(0.5):
                    done[finished.job.eval_id] = finished
                    progress.advance(bar)
    finally:
        workers.close()
    return done


def _report(sources: list[Source], results: dict[str, Finished], corpus: Corpus) -> dict[str, Any]:
    """What `--json` prints. `bits_per_byte` is the mean over seeds, null where a seed gave none;
    `against_first` the paired difference from the first genome, with its 95 % interval."""
    from statistics import mean

    from foundry.dsl.canonical import canonical_hash
    from foundry.dsl.check import load_program
    from foundry.evals.rungs import RUNGS
    from foundry.evals.statistics import paired_difference

    seeds = len(results) // len(sources)
    genomes, first = [], None
    for index, source in enumerate(sources):
        evaluations = [_evaluation(results[f"{index}-{seed}"]) for seed in range(seeds)]
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


def _evaluation(finished: Finished) -> dict[str, Any]:
    outcome = dict(finished.outcome or {})
    outcome.pop("train_curve", None)
    fixed = {"status": finished.status, "error_code": finished.error_code}
    return {"seed": finished.job.seed, **outcome, **fixed, "cpu_s": finished.cpu_s, "wall_s": finished.wall_s}


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
