"""What `foundry check` says of each genome: what was mended in it, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from foundry.cli.arguments import read
from foundry.cli.files import replace_file

if TYPE_CHECKING:
    from foundry.dsl.diagnostics import Diagnostic
    from foundry.dsl.repair import Mended


@dataclass(frozen=True)
class Finding:
    """What is said of one genome.

    text: what its diagnostics speak of, after mending. readable: whether the bytes were a genome's at all.
    """

    name: str
    text: str
    ok: bool
    diagnostics: tuple[Diagnostic, ...]
    mended: tuple[Mended, ...] = ()
    readable: bool = True

    def left_as_data(self) -> list[object]:
        """The diagnostics as plain data."""
        from foundry.dsl.render import to_json

        return cast(list[object], to_json(self.diagnostics, self.text)["diagnostics"])

    def mended_as_data(self) -> list[dict[str, object]]:
        """The fixes that were applied as plain data; lines and columns are those of that moment."""
        return [
            {
                "file": self.name,
                "line": mended.diagnostic.span.line,
                "column": mended.diagnostic.span.column,
                "code": mended.diagnostic.code,
                "message": mended.diagnostic.message,
                "fix": mended.fix.message,
            }
            for mended in self.mended
        ]

    def write(self, file: TextIO) -> None:
        """Print it for people."""
        from foundry.dsl.render import render

        for data in self.mended_as_data():
            place = f"{data['file']}:{data['line']}:{data['column']}"
            print(f"{place}: fixed {data['code']}, {data['message']}: {data['fix']}", file=file)
        if self.diagnostics:
            print(render(self.diagnostics, self.text, color=file.isatty()).rstrip(), file=file)
        if self.ok:
            print(f"{self.name}: ok", file=file)


def examine(name: str, fix: bool = False) -> Finding:
    """Check a genome; with `fix`, apply its verified fixes first, and write the file if that changed it.

    Raises:
        Misuse: there is no such genome.
    """
    from foundry.dsl.check import check
    from foundry.dsl.diagnostics import GenomeError
    from foundry.dsl.repair import repair

    try:
        source = read(name)
    except GenomeError as error:
        return Finding(name, error.text, False, error.diagnostics, readable=False)
    if not fix:
        checked = check(source.text, source.label)
        return Finding(name, source.text, checked.ok, checked.diagnostics)
    repaired = repair(source.text, source.label)
    if repaired.mended and name != "-":
        replace_file(Path(name), repaired.text)
    return Finding(name, repaired.text, repaired.ok, repaired.left, repaired.mended)
