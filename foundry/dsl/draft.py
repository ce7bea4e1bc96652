"""A genome with a hole at the cursor, and what the checker takes there."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundry.dsl.check import examine
from foundry.dsl.cursor import Cursor, Open
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.parse import parse
from foundry.dsl.syntax import Genome

_PRIMES = (7919, 7907, 7901)  # numbers that divide no usual size
_NONSENSE = "[[head]]"  # what no argument takes
_REST_OF_WORD = re.compile(r"[A-Za-z0-9_.]*")
_CLOSERS = {"call": ")", "group": ")", "list": "]", "block": "}", "parameters": ") = 1", "text": ";"}


@dataclass(frozen=True)
class Draft:
    """What stands before a hole and behind it, and the tree of the genome with a number in it."""

    head: str
    tail: str
    genome: Genome

    def takes(self, value: str) -> bool:
        """Whether the genome with a value in its hole has no errors."""
        return examine(self.head + value + self.tail).ok

    def particular(self) -> bool:
        """Whether the checker looks at the hole: what nobody uses yet takes anything."""
        return not self.takes(_NONSENSE)

    def sizes(self) -> tuple[int, ...]:
        """The sizes that divide, as the checker names them when it is given one that does not; () where none need."""
        for prime in _PRIMES:
            for diagnostic in examine(f"{self.head}{prime}{self.tail}").diagnostics:
                if diagnostic.code == "F302" and str(prime) in diagnostic.message and diagnostic.expected:
                    return tuple(int(size) for size in diagnostic.expected if size.isdigit())
        return ()


def draft(cursor: Cursor, text: str, at: int) -> Draft | None:
    """The text around an expression at the cursor; if that does not parse, what precedes it with everything closed.

    None where that does not parse either.
    """
    head, rest = text[: cursor.start], text[at:]
    unfinished = _REST_OF_WORD.match(rest)
    rest = rest[unfinished.end() if unfinished else 0 :]
    for tail in (rest, _closing(cursor.open)):
        try:
            return Draft(head, tail, parse(f"{head}1{tail}"))
        except GenomeError:
            continue
    return None


def _closing(open_: tuple[Open, ...]) -> str:
    """What ends everything that is open. A block gives what its function was given, so that shapes stay."""
    leading = next((opened.lambdas[0] for opened in reversed(open_) if opened.lambdas), "")
    parts = []
    for opened in reversed(open_):
        result = leading or opened.name
        parts.append(f"; {result} }}" if opened.kind == "block" and opened.name else _CLOSERS[opened.kind])
    return "".join(parts)
