"""What stands around a genome that somebody sent: fences of Markdown, and prose before and behind it."""

from __future__ import annotations

import re

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.source import byte_length
from foundry.dsl.syntax import Span

_HEADER = re.compile(r"^[ \t]*@foundry\b", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
_BLANK = re.compile(r"(?:\s|#[^\r\n]*)*")
# A paragraph behind a finished statement that begins with two words side by side, as no definition does.
_PROSE = re.compile(r";[ \t]*(?:#[^\n]*)?\n\s*\n(?=[ \t]*[A-Za-z][A-Za-z']*,? [A-Za-z'`]+[ ,.:])")
_DEFINITION = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*[ \t]*(?:\([^\n]*\)[ \t]*)?=[^=]", re.MULTILINE)


def without_surroundings(text: str, file: str) -> tuple[str, Diagnostic | None]:
    """The text with blanks in the place of what does not belong to the genome, and the error that says so.

    Blanks keep the offset of everything else. A text without a header is left as it is.
    """
    header = _HEADER.search(text)
    if header is None:
        return text, None
    start = header.start()
    if _BLANK.match(text).end() >= start:  # type: ignore[union-attr]
        start = 0
    end = _end(text, header.end())
    if start == 0 and end == len(text):
        return text, None
    first = start == 0
    place = re.compile(r"\s*").match(text, end if first else 0).end()  # type: ignore[union-attr]
    word = re.compile(r"\S+").match(text, place)
    stop = word.end() if word else place
    line_start = text.rfind("\n", 0, place) + 1
    span = Span(
        byte_length(text[:place]),
        byte_length(text[:stop]),
        text.count("\n", 0, place) + 1,
        place - line_start + 1,
        file,
    )
    edits = [Edit(0, byte_length(text[:start]), "")] if not first else []
    if end < len(text):
        edits.append(Edit(byte_length(text[:end]), byte_length(text), ""))
    problem = Diagnostic(
        "F101",
        f"text that is no genome stands {'behind' if first else 'before'} it",
        span,
        found=f"`{text[place:stop][:30]}`",
        help="a genome stands alone; what is to be said about it goes into comments that begin with `#`",
        fixes=(Fix("leave it out", tuple(edits)),),
    )
    return _blanked(text[:start]) + text[start:end] + _blanked(text[end:]), problem


def _end(text: str, start: int) -> int:
    """Where the genome ends: at a fence, or at prose behind its last definition."""
    if fence := _FENCE.search(text, start):
        return fence.start()
    for prose in _PROSE.finditer(text, start):
        if not _DEFINITION.search(text, prose.end()):
            return text.index("\n", prose.start()) + 1
    return len(text)


def _blanked(text: str) -> str:
    """As many bytes of white space as a text has, on as many lines."""
    return "".join(c if c == "\n" else " " * byte_length(c) for c in text)
