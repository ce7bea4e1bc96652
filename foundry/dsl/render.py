"""Diagnostics for people, as text with the lines that they speak of, and for machines, as JSON."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, Label
from foundry.dsl.source import resource
from foundry.dsl.syntax import Span

PRELUDE = "prelude"
TAB = 4
WINDOW = 100  # columns of a source line that are shown

_STYLES = {"error": "1;31", "warning": "1;33", "place": "1;34", "note": "1;36", "fix": "1;32", "bold": "1"}


def render(diagnostics: Sequence[Diagnostic], text: str, color: bool = False) -> str:
    """The diagnostics as text: what, where, the source line with the place underlined, help and fixes.

    text: the genome, which spans refer to unless they lie in the prelude.
    color: whether to use terminal colours.
    """
    page = _Page(text, color)
    return "\n".join("\n".join(page.diagnostic(diagnostic)) + "\n" for diagnostic in diagnostics)


def to_json(diagnostics: Sequence[Diagnostic], text: str) -> dict[str, object]:
    """The diagnostics as plain data; `ok` says that none is an error.

    Spans and edits count bytes from 0, lines and columns from 1, columns in characters; ends are exclusive.
    """
    page = _Page(text)
    return {
        "ok": all(diagnostic.severity != "error" for diagnostic in diagnostics),
        "diagnostics": [_as_data(diagnostic, page) for diagnostic in diagnostics],
    }


def _as_data(diagnostic: Diagnostic, page: _Page) -> dict[str, object]:
    return {
        "code": diagnostic.code,
        "name": diagnostic.name,
        "severity": diagnostic.severity,
        "phase": diagnostic.phase,
        "message": diagnostic.message,
        "span": page.span(diagnostic.span),
        "labels": [{"message": label.message, "span": page.span(label.span)} for label in diagnostic.labels],
        "path": diagnostic.path,
        "expected": list(diagnostic.expected),
        "found": diagnostic.found,
        "help": diagnostic.help,
        "fixes": [
            {
                "message": fix.message,
                "applicability": fix.applicability,
                "verified": fix.verified,
                "edits": [{"start": edit.start, "end": edit.end, "text": edit.text} for edit in fix.edits],
            }
            for fix in diagnostic.fixes
        ],
        "trace": [{"message": label.message, "span": page.span(label.span)} for label in diagnostic.trace],
    }


@dataclass(frozen=True)
class _Line:
    """A line of a text: its number from 1, its bytes' offset, and its characters."""

    number: int
    start: int
    text: str


class _Page:
    """A genome's text as diagnostics are shown in it."""

    def __init__(self, text: str, color: bool = False):
        self.color = color
        self.data = {"": text.encode("utf-8", "surrogatepass")}

    def source(self, file: str) -> bytes:
        """The text that a span lies in: the prelude's or the genome's."""
        if file != PRELUDE:
            return self.data[""]
        if PRELUDE not in self.data:
            self.data[PRELUDE] = resource("grammars", "prelude.genome").encode()
        return self.data[PRELUDE]

    def line(self, data: bytes, offset: int) -> _Line:
        """The line at an offset."""
        start = data.rfind(b"\n", 0, offset) + 1
        end = data.find(b"\n", offset)
        content = data[start : end if end >= 0 else len(data)].removesuffix(b"\r")
        return _Line(data.count(b"\n", 0, start) + 1, start, content.decode("utf-8", "replace"))

    def span(self, span: Span) -> dict[str, object]:
        """A span with the line and column of its end."""
        data = self.source(span.file)
        end = self.line(data, min(span.end, len(data)))
        return {
            "file": span.file,
            "start": span.start,
            "end": span.end,
            "line": span.line,
            "column": span.column,
            "end_line": end.number,
            "end_column": len(data[end.start : span.end].decode("utf-8", "replace")) + 1,
        }

    def paint(self, style: str, text: str) -> str:
        return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if self.color and text else text

    def diagnostic(self, diagnostic: Diagnostic) -> Iterator[str]:
        head = self.paint(diagnostic.severity, f"{diagnostic.severity}[{diagnostic.code}]")
        yield f"{head}: {self.paint('bold', visible(diagnostic.message))}"
        inside = f" in {visible(diagnostic.path)}" if diagnostic.path else ""
        margin = self.margin([diagnostic.span, *(label.span for label in (*diagnostic.labels, *diagnostic.trace))])
        yield from self.snippet(diagnostic.span, diagnostic.labels, diagnostic.severity, margin, inside)
        for label in diagnostic.trace:
            yield f"{' ' * margin} {self.paint('place', '=')} {visible(label.message)}"
            yield from self.snippet(label.span, (), "place", margin)
        said = diagnostic.message + diagnostic.help
        if not all(word in said for word in diagnostic.expected):
            yield self.note(margin, "expected", ", ".join(diagnostic.expected))
        if diagnostic.help:
            yield self.note(margin, "help", diagnostic.help)
        for fix in diagnostic.fixes:
            yield from self.preview(fix, diagnostic.span, margin)

    def margin(self, spans: list[Span]) -> int:
        return max(len(str(span.line)) for span in spans)

    def note(self, margin: int, title: str, text: str) -> str:
        return f"{' ' * margin} {self.paint('place', '=')} {self.paint('note', title)}: {visible(text)}"

    def snippet(self, span: Span, labels: Sequence[Label], style: str, margin: int, inside: str = "") -> Iterator[str]:
        """Where a span is, its line underlined, and the lines of labels that lie in the same text."""
        pad, bar = " " * margin, self.paint("place", "|")
        where = f"{visible(span.file) or '<genome>'}:{span.line}:{span.column}"
        yield f"{pad}{self.paint('place', '-->')} {where}{inside}"
        data = self.source(span.file)
        near = [label for label in labels if (label.span.file == PRELUDE) == (span.file == PRELUDE)]
        if data and span.start <= len(data) and span != Span(file=span.file):
            yield f"{pad} {bar}"
            marks = [(span, "^", style, "")] + [(label.span, "-", "place", label.message) for label in near]
            shown = None
            for place, sign, paint, message in sorted(marks, key=lambda mark: mark[0].start):
                line = self.line(data, min(place.start, len(data)))
                content, column, width = _underlined(line, data, place)
                if shown is not None and line.number > shown[0] + 1:
                    yield self.paint("place", "...")
                if shown != (line.number, content):
                    yield f"{self.paint('place', str(line.number).rjust(margin))} {bar} {content}".rstrip()
                shown = (line.number, content)
                mark = self.paint(paint, sign * width + (f" {visible(message)}" if message else ""))
                yield f"{pad} {bar} {' ' * column}{mark}"
        for label in labels:
            if label not in near:
                yield f"{pad} {self.paint('place', '=')} {visible(label.message)}"
                yield from self.snippet(label.span, (), "place", margin)

    def preview(self, fix: Fix, span: Span, margin: int) -> Iterator[str]:
        """A fix and the lines that it would leave, at most three of them."""
        sure = "fix" if fix.verified or fix.applicability == "safe" else "possible fix"
        yield self.note(margin, sure, fix.message)
        data = self.source(span.file)
        edits = sorted(fix.edits, key=lambda edit: edit.start)
        if not edits or edits[-1].end > len(data):
            return
        first, changed = self.line(data, edits[0].start), _applied(data, edits)
        grown = len(changed) - len(data)
        stop = changed.find(b"\n", edits[-1].end + grown)
        lines = changed[first.start : stop if stop >= 0 else len(changed)].decode("utf-8", "replace").split("\n")
        sign = self.paint("fix", "+")
        for number, content in enumerate(lines[:3], first.number):
            shown = visible(content)
            clipped = shown if len(shown) <= WINDOW else shown[:WINDOW] + "…"
            yield f"{self.paint('place', str(number).rjust(margin))} {sign} {clipped}".rstrip()


def _applied(data: bytes, edits: Sequence[Edit]) -> bytes:
    for edit in reversed(edits):
        data = data[: edit.start] + edit.text.encode("utf-8", "surrogatepass") + data[edit.end :]
    return data


def _underlined(line: _Line, data: bytes, span: Span) -> tuple[str, int, int]:
    """A line as shown, and the column and width of a span's underline below it; long lines are cut around it."""
    before = data[line.start : span.start].decode("utf-8", "replace")
    inside = data[span.start : span.end].decode("utf-8", "replace").split("\n")[0].rstrip("\r")
    prefix, marked, rest = (visible(part) for part in (before, inside, line.text[len(before) + len(inside) :]))
    room = max(WINDOW - min(_width(marked), WINDOW), 0)
    if _width(prefix) + _width(marked) + _width(rest) <= WINDOW:
        return prefix + marked + rest, _width(prefix), max(_width(marked), 1)
    if len(prefix) > room // 2:
        prefix = "…" + prefix[len(prefix) - room // 2 :]
    if len(marked) > WINDOW:
        marked, rest = marked[:WINDOW] + "…", ""
    if len(rest) > room // 2:
        rest = rest[: room // 2] + "…"
    return prefix + marked + rest, _width(prefix), max(_width(marked), 1)


def visible(text: str) -> str:
    """A text on one line with tabs as spaces, and with names for what a terminal would act on or hide."""
    if text.isascii() and text.isprintable():
        return text
    shown = []
    for character in text:
        code = ord(character)
        if character == "\t":
            shown.append(" " * TAB)
        elif character.isprintable():
            shown.append(character)
        else:
            shown.append(f"\\x{code:02x}" if code < 256 else f"\\u{{{code:04x}}}")
    return "".join(shown)


def _width(text: str) -> int:
    """The columns that a text takes in a terminal."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
