"""Genome arguments: a path, `-` for standard input, or the name of a genome that comes along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.failures import Failure, Misuse

if TYPE_CHECKING:
    from foundry.dsl.program import Program

Genome = Annotated[str, typer.Argument(metavar="F", help="A path, - for standard input, or a shipped name (llama).")]
Genomes = Annotated[
    list[str], typer.Argument(metavar="F…", help="Paths, - for standard input, or shipped names (llama).")
]
Seed = Annotated[int, typer.Option(metavar="S", min=0, max=2**31 - 1, help="The same seed gives the same result.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


LONGEST_PATH = 4096  # characters


@dataclass(frozen=True)
class Source:
    """A genome's text and what to call it: its path, `-`, or its shipped name."""

    label: str
    text: str


def resolve(argument: str) -> str:
    """The path that a genome argument means, or `-`. A shipped genome may be named without its folder.

    Raises:
        Misuse: there is no such file, and no shipped genome of that name or several.
    """
    from foundry.dsl.source import shipped_genomes
    from foundry.dsl.suggest import closest

    if not argument:
        raise Misuse("an empty argument names no genome")
    if len(argument) > LONGEST_PATH:
        raise Misuse(f"no file has a name of {len(argument)} characters")
    path = Path(argument)
    if argument == "-" or (path.exists() and not path.is_dir()):
        return argument
    if path.is_dir():
        raise Misuse(f"{argument} is a folder; name a genome in it")
    shipped = shipped_genomes()
    found = [argument] if argument in shipped else [name for name in shipped if name.endswith(f"/{argument}")]
    if len(found) > 1:
        raise Misuse(f"{len(found)} genomes that come along are called {argument}: {', '.join(found)}")
    if not found:
        meant = closest(argument, {name.rpartition("/")[2] for name in shipped})
        hint = f"; did you mean {' or '.join(meant)}?" if meant else ""
        come_along = f"among those that come along: {_names(shipped)}"
        raise Misuse(f"no file {argument}, and no genome of that name {come_along}{hint}")
    return str(shipped[found[0]])


def _names(shipped: Iterable[str]) -> str:
    """The names of genomes that stand in no folder, and the folders of the others."""
    above = [name for name in shipped if "/" not in name]
    folders = {f"{name.partition('/')[0]}/…" for name in shipped if "/" in name}
    return ", ".join([*above, *sorted(folders)])


def expand(arguments: list[str]) -> list[str]:
    """The arguments with every folder replaced by the genome files below it, in order of their names.

    Raises:
        Misuse: a folder without genomes.
    """
    files: list[str] = []
    if arguments.count("-") > 1:
        raise Misuse("standard input can be read only once: give - once")
    for argument in arguments:
        if not argument or len(argument) > LONGEST_PATH or not Path(argument).is_dir():
            files.append(argument)
            continue
        found = sorted(str(path) for path in Path(argument).rglob("*.genome"))
        if not found:
            raise Misuse(f"no .genome file in the folder {argument}")
        files.extend(found)
    return files


def read(argument: str) -> Source:
    """The text that a genome argument names.

    Raises:
        Misuse: there is no such genome.
        GenomeError: it is no text, or too large.
    """
    from foundry.dsl.source import read_genome

    return Source(argument, read_genome(resolve(argument)))


def load(argument: str) -> Program:
    """The checked program that a genome argument names. A genome with errors ends the command.

    Raises:
        Failure: the genome has errors; they are printed on standard error first.
    """
    return load_source(argument)[1]


def load_source(argument: str) -> tuple[Source, Program]:
    """As `load`, with the text."""
    import sys

    from foundry.dsl.check import load_program
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.render import render

    try:
        source = read(argument)
        return source, load_program(source.text, source.label)
    except GenomeError as error:
        print(render(error.diagnostics, error.text, color=sys.stderr.isatty()).rstrip(), file=sys.stderr)
        count = sum(d.severity == "error" for d in error.diagnostics)
        raise Failure(f"{argument} has {count} error{'s' if count != 1 else ''}") from None
