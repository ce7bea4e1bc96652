"""Verbs that say what the language is: explain, doc, complete."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from foundry.cli.arguments import Json, resolve
from foundry.cli.failures import ERRORS, Failure, Misuse

EXPLAIN_EXAMPLES = """\b
Examples:
  foundry explain                          every code, a line each
  foundry explain F301
  foundry explain shape                    the same by its name"""

DOC_EXAMPLES = """\b
Examples:
  foundry doc                              every name of the language, by kind
  foundry doc attention
  foundry doc --json linear
  foundry doc '>>'
  foundry doc --write docs/reference       the reference pages again"""

COMPLETE_EXAMPLES = """\b
Examples:
  foundry complete mine.genome --at 3:40
  foundry complete --json - < beginning.genome

Each line has what to write, its kind, and what it is. "…" stands for any number or new name.
Exit code: 0 something may follow, 1 nothing can, 2 misuse."""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXPLAIN_EXAMPLES)(explain)
    app.command(epilog=DOC_EXAMPLES)(doc)
    app.command(epilog=COMPLETE_EXAMPLES)(complete)


def explain(
    code: Annotated[
        str, typer.Argument(metavar="[CODE]", help="A code, or its name (shape).", show_default=False)
    ] = "",
    as_json: Json = False,
) -> int:
    """Say what a code of the checker means.

    With a genome that gets it, what the checker says of that, and the same genome put right.
    """
    from foundry.dsl.explain import as_data, explanations, find, listing, nearest, text

    if not code:
        known = [{"code": e.code, "name": e.name, "meaning": e.meaning} for e in explanations().values()]
        sys.stdout.write(json.dumps(known, indent=2) + "\n" if as_json else listing())
        return 0
    explanation = find(code)
    if explanation is None:
        raise Misuse(f"no code is called {code[:40]}{_meant(nearest(code), 'foundry explain lists them')}")
    if as_json:
        print(json.dumps(as_data(explanation), indent=2))
    else:
        sys.stdout.write(text(explanation, color=sys.stdout.isatty()))
    return 0


def doc(
    name: Annotated[str, typer.Argument(metavar="[NAME]", help="A name or a sign.", show_default=False)] = "",
    as_json: Json = False,
    write: Annotated[str, typer.Option(metavar="FOLDER", help="Write the reference pages there.")] = "",
    colours: Annotated[
        str, typer.Option(metavar="FILE", help="Write the grammar by which editors colour genomes.")
    ] = "",
) -> int:
    """Say what a name of the language is.

    Primitives, functions of the prelude, operators, slots, recipes and constants.
    """
    from foundry.dsl.document import entries
    from foundry.dsl.pages import as_data, listing, text
    from foundry.dsl.suggest import closest

    if write or colours:
        if name or as_json:
            raise Misuse("--write and --colours take neither a name nor --json")
        return _write(write, colours)
    known = entries()
    if not name:
        sys.stdout.write(json.dumps([as_data(e) for e in known.values()], indent=2) + "\n" if as_json else listing())
        return 0
    if name not in known:
        raise Misuse(
            f"nothing in the language is called {name[:40]}{_meant(closest(name, known), 'foundry doc lists all')}"
        )
    sys.stdout.write(json.dumps(as_data(known[name]), indent=2) + "\n" if as_json else text(known[name]))
    return 0


def _meant(close: list[str], otherwise: str) -> str:
    return f"; did you mean {' or '.join(close)}?" if close else f"; {otherwise}"


def _write(folder: str, colours: str) -> int:
    """Write generated files, each to its place."""
    from foundry.dsl.colours import textmate
    from foundry.dsl.pages import pages

    files = {Path(folder, name): content for name, content in pages().items()} if folder else {}
    if colours:
        files[Path(colours)] = textmate()
    for path, content in files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
        except OSError as error:
            raise Misuse(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
        print(f"wrote {path}", file=sys.stderr)
    return 0


def complete(
    file: Annotated[str, typer.Argument(metavar="F", help="A path, - for standard input, or a shipped name.")],
    at: Annotated[str, typer.Option(metavar="LINE:COLUMN", help="Where the cursor is; by default, at the end.")] = "",
    as_json: Json = False,
) -> int:
    """Say what may follow in a genome at a cursor.

    Names in sight, arguments that a call lacks, and the values that the checker takes there.
    """
    from foundry.dsl.complete import complete as complete_text
    from foundry.dsl.cursor import offset
    from foundry.dsl.source import byte_length

    text = _beginning(file)
    place = len(text)
    if at:
        line, column = _line_and_column(at)
        found = offset(text, line, column)
        if found is None:
            raise Misuse(f"the text has no place {at}")
        place = found
    completion = complete_text(text, place)
    if as_json:
        offers = [
            {"text": o.text, "kind": o.kind, "detail": o.detail, "start": byte_length(text[: o.start])}
            for o in completion.offers
        ]
        end = byte_length(text[:place])
        print(json.dumps({"end": end, "problem": completion.problem, "offers": offers}, indent=2))
    elif completion.problem:
        raise Failure(f"nothing can follow: {completion.problem}")
    width = max((len(o.text) for o in completion.offers), default=0)
    for offer in completion.offers if not as_json else ():
        print(f"{offer.text or '…':<{width}}  {offer.kind:<10}  {offer.detail}".rstrip())
    return ERRORS if completion.problem else 0


def _beginning(file: str) -> str:
    """The text of a file, which may be empty."""
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.source import read_genome

    try:
        return read_genome(resolve(file))
    except GenomeError as error:
        first = error.diagnostics[0]
        if first.code != "F003":
            raise Failure(f"{file}: {first.message}") from None
        return error.text


def _line_and_column(at: str) -> tuple[int, int]:
    line, _, column = at.partition(":")
    if not (line.isascii() and line.isdigit() and column.isascii() and column.isdigit() and len(at) < 20):
        raise Misuse(f"--at takes a line and a column, both from 1, such as 7:40, not {at[:40]}")
    return int(line), int(column)
