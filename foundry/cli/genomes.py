"""Verbs on genome files: check, fmt, show, emit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from foundry.cli.arguments import Genome, Genomes, Json, expand, load, load_source, read, resolve
from foundry.cli.failures import ERRORS, Failure, Misuse
from foundry.cli.files import refuse_missing, replace_file, write_or_print
from foundry.cli.findings import examine

CHECK_EXAMPLES = """\b
Examples:
  foundry check genomes/llama.genome
  foundry check --json - < candidate.genome
  foundry check --fix mine.genome
  foundry check --fix - < mine.genome > mended.genome

Exit code: 0 clean, 1 errors, 2 misuse."""

FMT_EXAMPLES = """\b
Examples:
  foundry fmt mine.genome
  foundry fmt --check genomes/
  foundry fmt - < mine.genome
  foundry fmt --inline - < mine.genome > alone.genome

Exit code: 0 formatted, 1 errors (with --check: a file would change), 2 misuse."""

SHOW_EXAMPLES = """\b
Examples:
  foundry show llama
  foundry show --json llama"""

EMIT_EXAMPLES = """\b
Examples:
  foundry emit llama
  foundry emit llama -o model.py && python model.py train book.txt"""


def register(app: typer.Typer) -> None:
    app.command(epilog=CHECK_EXAMPLES)(check)
    app.command(epilog=FMT_EXAMPLES)(fmt)
    app.command(epilog=SHOW_EXAMPLES)(show)
    app.command(epilog=EMIT_EXAMPLES)(emit)


def check(
    files: Genomes,
    as_json: Json = False,
    fix: Annotated[
        bool, typer.Option("--fix", help="Apply the fixes that were tried out and removed their mistake; - is printed.")
    ] = False,
) -> int:
    """Say what is wrong with genomes.

    Every mistake with its place in the text, and how to put it right.
    """
    names = expand(files)
    alone = names == ["-"]
    if fix:
        refuse_missing(names)
        if "-" in names and not alone:
            raise Misuse("--fix prints standard input put right, so - stands alone")
    findings = [examine(name, fix) for name in names]
    ok = all(finding.ok for finding in findings)
    if as_json:
        report: dict[str, object] = {"ok": ok, "diagnostics": [d for f in findings for d in f.left_as_data()]}
        if fix:
            report["fixed"] = [data for finding in findings for data in finding.mended_as_data()]
        if fix and alone and findings[0].readable:
            report["text"] = findings[0].text
        print(json.dumps(report, indent=2))
        return 0 if ok else ERRORS
    for finding in findings:
        finding.write(sys.stderr if fix and alone else sys.stdout)
    if fix and alone and findings[0].readable:
        sys.stdout.write(findings[0].text)
    return 0 if ok else ERRORS


def fmt(
    files: Annotated[list[str], typer.Argument(metavar="F…", help="Files, folders, or - for standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 where a file would change.")] = False,
    inline: Annotated[
        bool,
        typer.Option("--inline", help="Also copy in what it uses of the prelude: it then stands alone."),
    ] = False,
) -> int:
    """Write genomes in the one format.

    Folders are searched for .genome files.
    """
    changed, failed = [], 0
    names = expand(files)
    refuse_missing(names)
    for name in names:
        try:
            text, formatted = _formatted(name, inline)
        except Failure as failure:
            print(failure.message, file=sys.stderr)
            failed += 1
            continue
        if name == "-" and not check:
            sys.stdout.write(formatted)
        elif text != formatted:
            changed.append(name)
            print(f"would format {name}" if check else f"formatted {name}")
            if not check:
                replace_file(Path(name), formatted)
    if names != ["-"]:
        verb = "would change" if check else "changed"
        print(f"{len(changed)} of {len(names)} {verb}", file=sys.stderr)
    return ERRORS if failed or (check and changed) else 0


def _formatted(name: str, inline: bool) -> tuple[str, str]:
    """A file's text as it is and as it should be."""
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.format import format_genome
    from foundry.dsl.inline import self_contained
    from foundry.dsl.parse import parse
    from foundry.dsl.render import render

    try:
        source = read(name)
        genome = parse(source.text, name)
    except GenomeError as error:
        raise Failure(render(error.diagnostics, error.text, color=sys.stderr.isatty()).rstrip()) from None
    return source.text, format_genome(self_contained(genome) if inline else genome)


def show(file: Genome, as_json: Json = False) -> int:
    """Print a genome's hash, cost and shapes."""
    from foundry.cli.summary import summarise, write_summary

    summary = summarise(load(file))
    if as_json:
        print(json.dumps(summary, indent=2))
    else:
        write_summary(summary, resolve(file))
    return 0


def emit(
    file: Genome,
    output: Annotated[str, typer.Option("--output", "-o", metavar="FILE", help="Write here instead of printing.")] = "",
) -> int:
    """Compile a genome to the PyTorch file that runs it."""
    from foundry.compiler.emit import emit as emit_program

    source, program = load_source(file)
    title = "" if file == "-" else Path(file).stem
    text = emit_program(program, title=title)
    write_or_print(text, output, f": {len(text.splitlines())} lines from {source.label}")
    return 0
