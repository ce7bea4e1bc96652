"""Verbs on genome files: check, fmt, show, emit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from foundry.cli.arguments import Genome, Genomes, Json, expand, load, load_source, read, resolve
from foundry.cli.failures import ERRORS, Failure, Misuse

CHECK_EXAMPLES = """\b
Examples:
  foundry check genomes/llama.genome
  foundry check --json - < candidate.genome

Exit code: 0 clean, 1 errors, 2 misuse."""

FMT_EXAMPLES = """\b
Examples:
  foundry fmt mine.genome
  foundry fmt --check genomes/
  foundry fmt - < mine.genome

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


def check(files: Genomes, as_json: Json = False) -> int:
    """Say what is wrong with genomes.

    Every mistake with its place in the text, and how to put it right.
    """
    from foundry.dsl.check import check as check_text
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.render import render, to_json

    found: list[object] = []
    ok = True
    for name in expand(files):
        try:
            source = read(name)
            checked = check_text(source.text, source.label)
            clean, diagnostics, text = checked.ok, checked.diagnostics, source.text
        except GenomeError as error:
            clean, diagnostics, text = False, error.diagnostics, error.text
        ok = ok and clean
        if as_json:
            found += cast(list[object], to_json(diagnostics, text)["diagnostics"])
            continue
        if diagnostics:
            print(render(diagnostics, text, color=sys.stdout.isatty()).rstrip())
        if clean:
            print(f"{name}: ok")
    if as_json:
        print(json.dumps({"ok": ok, "diagnostics": found}, indent=2))
    return 0 if ok else ERRORS


def fmt(
    files: Annotated[list[str], typer.Argument(metavar="F…", help="Files, folders, or - for standard input.")],
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 where a file would change.")] = False,
) -> int:
    """Write genomes in the one format.

    Folders are searched for .genome files.
    """
    changed, failed = [], 0
    names = expand(files)
    for name in names:
        if name != "-" and not Path(name).exists():
            raise Misuse(f"no file {name}")
        try:
            text, formatted = _formatted(name)
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
                _replace(Path(name), formatted)
    if names != ["-"]:
        verb = "would change" if check else "changed"
        print(f"{len(changed)} of {len(names)} {verb}", file=sys.stderr)
    return ERRORS if failed or (check and changed) else 0


def _formatted(name: str) -> tuple[str, str]:
    """A file's text as it is and as it should be."""
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.format import format_genome
    from foundry.dsl.parse import parse
    from foundry.dsl.render import render

    try:
        source = read(name)
        return source.text, format_genome(parse(source.text, name))
    except GenomeError as error:
        raise Failure(render(error.diagnostics, error.text, color=sys.stderr.isatty()).rstrip()) from None


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; its permissions stay."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.chmod(path.stat().st_mode)
    partial.replace(path)


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
    if not output:
        sys.stdout.write(text)
        return 0
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misuse(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {output}: {len(text.splitlines())} lines from {source.label}", file=sys.stderr)
    return 0
