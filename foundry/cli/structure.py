"""Verbs on what genomes are made of: diff, graph."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.arguments import Genome, Json, load_source
from foundry.cli.failures import MISUSE, Failure, Misuse
from foundry.cli.files import write_or_print

if TYPE_CHECKING:
    from foundry.compiler.compare import Comparison
    from foundry.dsl.program import Program

DIFFERENT = 1
NAME = 16  # characters of a genome's name at the head of a column

DIFF_EXAMPLES = """\b
Examples:
  foundry diff llama mine.genome
  foundry diff runs/night/best.genome llama
  foundry diff --json llama - < candidate.genome

Programs are compared, not texts: what was renamed or written out is the same.

Exit code: 0 the same program, 1 different, 2 misuse or errors in a genome."""

GRAPH_EXAMPLES = """\b
Examples:
  foundry graph llama -o llama.svg
  foundry graph --depth 1 mine.genome > overview.svg

A block that is repeated is drawn once; + is where a residual joins."""

FIGURES = {
    "parameters": "parameters",
    "flops_per_token": "forward FLOPs per token",
    "bytes_per_token": "bytes moved per token",
    "cache_bytes_per_token": "decode cache per token",
    "cache_bytes_lower_bound": "  lower bound",
    "cache_bytes_fixed": "decode cache, fixed",
    "compute_per_token": "training compute per token",
}


def register(app: typer.Typer) -> None:
    app.command(epilog=DIFF_EXAMPLES)(diff)
    app.command(epilog=GRAPH_EXAMPLES)(graph)


def diff(
    before: Annotated[
        str, typer.Argument(metavar="A", help="A path, - for standard input, or a shipped name (llama).")
    ],
    after: Annotated[str, typer.Argument(metavar="B", help="The other genome.")],
    as_json: Json = False,
) -> int:
    """Say how two genomes differ, in genome terms, and what that costs."""
    from foundry.compiler.compare import compare

    if before == after == "-":
        raise Misuse("standard input can be read only once: give - once")
    comparison = compare(_load(before), _load(after))
    if as_json:
        print(json.dumps(_as_data(comparison, before, after), indent=2))
    elif comparison.same:
        print(f"the same program (hash {comparison.hashes[0]})")
    else:
        _print(comparison, _name(before), _name(after))
    return 0 if comparison.same else DIFFERENT


def _load(argument: str) -> Program:
    """As every command does, but 1 is taken: it means that the genomes differ."""
    try:
        return load_source(argument)[1]
    except Failure as failure:
        raise Failure(failure.message, MISUSE) from None


def _name(argument: str) -> str:
    return "standard input" if argument == "-" else Path(argument).stem


def _as_data(comparison: Comparison, before: str, after: str) -> dict[str, object]:
    """`changes` hold the parts of each line and the line itself; `layers` is empty where all layers have the change,
    or it is in none. `cost` is per figure of the cost model."""
    return {
        "same": comparison.same,
        "a": {"genome": before, "hash": comparison.hashes[0]},
        "b": {"genome": after, "hash": comparison.hashes[1]},
        "changes": [{**asdict(change), "text": change.text} for change in comparison.changes],
        "left_out": comparison.left_out,
        "cost": comparison.figures,
    }


def _print(comparison: Comparison, before: str, after: str) -> None:
    """The changes, and the figures of the cost model side by side."""
    print(f"{before} → {after}\n")
    for change in comparison.changes:
        print(f"  {change.text}")
    if comparison.left_out:
        print(f"  and {comparison.left_out} more")
    old, new = (name if len(name) <= NAME else name[: NAME - 1] + "…" for name in (before, after))
    print(f"\n  {'':<28} {old:>{NAME}} {new:>{NAME}}    ratio")
    for name, label in FIGURES.items():
        figure = comparison.figures[name]
        ratio = "" if figure["ratio"] is None else "=" if figure["ratio"] == 1 else f"{figure['ratio']:.3g}"
        print(f"  {label:<28} {figure['before']:>{NAME},.0f} {figure['after']:>{NAME},.0f} {ratio:>8}")
    contexts = [cost.context for cost in comparison.costs]
    if contexts[0] == contexts[1]:
        print(f"\n  at a context of {contexts[0]:,} tokens")
    else:
        print(f"\n  at contexts of {contexts[0]:,} and {contexts[1]:,} tokens")


def graph(
    file: Genome,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of printing.")] = "",
    depth: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=64, help="How many calls inside one another to open.", show_default="about a page"
        ),
    ] = None,
) -> int:
    """Draw the block structure of a genome as SVG."""
    from foundry.compiler.drawing import draw

    source, program = load_source(file)
    text = draw(program, _name(file), depth)
    write_or_print(text, output, f", a picture of {source.label}")
    return 0
