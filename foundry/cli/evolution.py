"""The verb that searches: evolve."""

from __future__ import annotations

import datetime
import enum
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.arguments import Seed, load_source
from foundry.cli.failures import INTERRUPTED, Failure, Misuse

if TYPE_CHECKING:
    from foundry.search.settings import Result, Settings

BYTES = 256  # the vocabulary of bytes

EXAMPLES = """\b
Examples:
  foundry evolve --budget 10min
  foundry evolve --budget 2h --data books/ --out runs/books --seed 1
  foundry evolve --budget 20min --control random
  foundry evolve --budget 1h --baseline mine.genome --baseline llama
  foundry evolve --budget 500evals --strategy random
  foundry evolve --resume runs/books

A budget is a time (90s, 10min, 2h), a number of evaluations (500evals) or of floating-point operations
(1e15flop); it covers everything, confirmation included. Ctrl-C stops the search, confirms what was
found if that is still possible, and writes the report; --resume goes on from there.

Exit code: 0 the run is complete, 1 it could not go on, 2 misuse, 130 stopped by Ctrl-C."""


class Strategy(enum.StrEnum):
    evolve = "evolve"
    random = "random"
    numbers = "numbers"


class Control(enum.StrEnum):
    none = "none"
    random = "random"


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(evolve)


def evolve(
    context: typer.Context,
    budget: Annotated[str, typer.Option(metavar="B", help="10min, 90s, 2h, 500evals or 1e15flop.")] = "",
    data: Annotated[
        str, typer.Option(metavar="PATH", help="Text, a folder, .jsonl or .parquet; default: Python's library.")
    ] = "",
    out: Annotated[str, typer.Option(metavar="DIR", help="The run folder; default: runs/ and the time.")] = "",
    seed: Seed = 0,
    workers: Annotated[
        int, typer.Option(metavar="N", min=0, max=1024, help="0: one per core.", show_default=False)
    ] = 0,
    resume: Annotated[str, typer.Option(metavar="RUN", help="Go on with this run and its settings.")] = "",
    strategy: Annotated[
        Strategy, typer.Option(help="random learns nothing; numbers changes no structure.")
    ] = Strategy.evolve,
    control: Annotated[
        Control, typer.Option(help="random: half of the search learns nothing, to compare with.")
    ] = Control.none,
    baseline: Annotated[
        list[str] | None,
        typer.Option(metavar="F", help="Begin from this genome, and beat it; may be repeated. Default: the shipped."),
    ] = None,
) -> int:
    """Search for a genome that learns better, and confirm it."""
    began = time.monotonic()  # importing torch is part of the budget
    from foundry.cli.live import watching
    from foundry.data.documents import CorpusError
    from foundry.search.archive import ArchiveError
    from foundry.search.budget import BudgetError, parse_budget
    from foundry.search.evolve import evolve as search
    from foundry.search.settings import Settings, cores

    given = {name for name in context.params if context.get_parameter_source(name).name == "COMMANDLINE"}  # type: ignore[union-attr]
    try:
        if resume:
            settings = _resumed(resume, given, workers or cores())
        else:
            if not budget:
                raise Misuse("say how much to spend, for example --budget 10min")
            out = out or _new_folder()
            settings = Settings(
                out=out,
                budget=parse_budget(budget),
                data=data or None,
                seed=seed,
                workers=workers or cores(),
                strategy=strategy.value,
                baselines=_baselines(baseline or []),
                control="" if control is Control.none else control.value,
            )
        with watching() as notify:
            result = search(replace(settings, began=began), notify)
    except BudgetError as error:
        raise Misuse(str(error)) from None
    except (ArchiveError, CorpusError) as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        begun = Path(out or resume, "run.json").is_file()
        raise Failure(f"stopped; go on with  foundry evolve --resume {out or resume}" if begun else "stopped",
                      INTERRUPTED) from None  # fmt: skip
    _print_end(result)
    return INTERRUPTED if result.stopped else 0


def _baselines(arguments: list[str]) -> dict[str, str] | None:
    """The texts of genomes by name; None where none are given.

    Raises:
        Misuse: one is no genome, or two have one name.
        Failure: one has errors.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        source, program = load_source(argument)
        name = "baseline" if argument == "-" else Path(argument).stem
        if name in found:
            raise Misuse(f"two baselines are called {name}; rename one")
        if program.vocab != BYTES:
            raise Misuse(
                f"{argument} has a vocabulary of {program.vocab}; a search trains on bytes, so it must be {BYTES}"
            )
        found[name] = source.text
    return found or None


def _resumed(folder: str, given: set[str], workers: int) -> Settings:
    """The settings of a run to go on with.

    Raises:
        Misuse: an option that the run has settled already.
        ArchiveError: it is no run folder.
    """
    from foundry.search.archive import Archive
    from foundry.search.budget import Budget
    from foundry.search.description import GOES_ON, require
    from foundry.search.settings import Settings

    settled = sorted(given & {"budget", "data", "out", "seed", "strategy", "control", "baseline"})
    if settled:
        raise Misuse(f"--resume goes on with the run's own settings; leave out --{settled[0]}")
    run = Archive(folder).read_run()
    require(run, GOES_ON, Path(folder, "run.json"))
    own = run["settings"]
    return Settings(
        out=folder,
        budget=Budget(**own["budget"]),
        data=own["data"],
        seed=own["seed"],
        workers=workers,
        strategy=own["strategy"],
        control=own.get("control") or "",
        resume=True,
    )


def _new_folder() -> str:
    """`runs/` and the time to the minute; with a number behind it where that is taken."""
    stem = Path("runs") / datetime.datetime.now().strftime("%Y-%m-%d-%H%M")
    folder, number = stem, 2
    while folder.exists():
        folder, number = Path(f"{stem}-{number}"), number + 1
    return str(folder)


def _print_end(result: Result) -> None:
    """The verdict, what it rests on, where the files are, and what to type next."""
    from rich.console import Console
    from rich.table import Table

    from foundry.evals.statistics import WORSE
    from foundry.search.archive import Archive
    from foundry.search.verdict import ROLES, against_random, arms, sentence

    archive = Archive(result.folder)
    console = Console(highlight=False, markup=False)
    for warning in result.warnings:
        print(f"foundry: {warning}", file=sys.stderr)
    console.print()
    console.print(sentence(archive), style="bold")
    if random := against_random(archive):
        console.print(random)
    rows = arms(archive)
    if rows:
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 3, 0, 0))
        for heading, justify in (("on test text", "left"), ("genome", "left"), ("bits per byte", "right"),
                                 ("seeds", "right"), ("learning rate", "right")):  # fmt: skip
            table.add_column(heading, justify=justify)  # type: ignore[arg-type]
        for arm in rows:
            score = "no score" if arm.mean is None else f"{arm.mean:.3f}"
            done = sum(value is not None for value in arm.scores)
            table.add_row(ROLES[arm.role], arm.name, score, str(done), f"{arm.learning_rate:g}")
        console.print(table)
    folder = result.folder
    best = "the winner" if result.winner and result.verdict != WORSE else "the best baseline"
    files = {"report.html": "what happened", "best.genome": best, "best.py": "the same as PyTorch, on its own"}
    files = {name: what for name, what in files.items() if (folder / name).exists()}
    console.print()
    for name, what in files.items():
        console.print(f"{folder}/{name:<13} {what}")
    console.print("\nnext:")
    if result.stopped:
        console.print(f"  foundry evolve --resume {folder}")
    if "best.genome" in files:
        console.print(f"  foundry show {folder}/best.genome")
        console.print(f"  python {folder}/best.py train TEXT")
    else:
        console.print("  foundry evolve --budget 10min    a longer search")
