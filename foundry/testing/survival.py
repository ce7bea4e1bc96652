"""What must hold of any text at all: it is checked in a second, and what is said of it is said of its own places."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

from foundry.dsl.check import Checked, apart, apply_edits, check, examine
from foundry.dsl.diagnostics import Diagnostic, GenomeError
from foundry.dsl.render import PRELUDE, render, to_json
from foundry.dsl.source import decode, resource
from foundry.dsl.syntax import Span
from foundry.testing.case import Broken

SECONDS = 1.0  # of processor time that a check may take


def survives(text: str | bytes) -> tuple[Diagnostic, ...]:
    """Check a text and what is said of it; returns the diagnostics.

    The check ends within a second and raises nothing; it gives a program or an error; every span, label and edit lies
    within the text, on whole characters, at the line and column that it names; checking again says the same; the
    diagnostics can be shown as text and as JSON; and what is called a verified fix removes its mistake.

    Raises:
        Broken: one of these does not hold. Whatever the compiler raises.
    """
    if isinstance(text, bytes):
        try:
            decoded = decode(text)
        except GenomeError as error:
            _described(error.diagnostics, text)
            return error.diagnostics
        text = decoded
    checked, took = _timed(text)
    if checked.ok == any(d.severity == "error" for d in checked.diagnostics):
        raise Broken(f"ok is {checked.ok}, with {[d.code for d in checked.diagnostics]}")
    again, took_again = _timed(text)
    if min(took, took_again) > SECONDS:  # the slower one may have been disturbed
        raise Broken(f"checking took {min(took, took_again):.1f} s of processor time")
    if again.diagnostics != checked.diagnostics:
        raise Broken("another check of the same text says something else")
    _described(checked.diagnostics, text.encode("utf-8", "surrogatepass"))
    for diagnostic in checked.diagnostics:
        _mendable(diagnostic, checked, text)
    return checked.diagnostics


def _timed(text: str) -> tuple[Checked, float]:
    """A check, and the seconds of processor time that it took."""
    began = time.process_time()
    checked = check(text)
    return checked, time.process_time() - began


def _described(diagnostics: tuple[Diagnostic, ...], data: bytes) -> None:
    """Every place that diagnostics speak of is a place of the text, and they can be shown."""
    for diagnostic in diagnostics:
        for what, span in _spans(diagnostic):
            _placed(f"{diagnostic.code} {diagnostic.message!r}: {what}", span, data)
        for fix in diagnostic.fixes:
            for edit in fix.edits:
                if not 0 <= edit.start <= edit.end <= len(data):
                    raise Broken(f"{diagnostic.code}: an edit of [{edit.start}, {edit.end}) in {len(data)} bytes")
                edit.text.encode()
    text = data.decode("utf-8", "replace") if diagnostics and diagnostics[0].code == "F001" else _decoded(data)
    for color in (False, True):
        shown = render(diagnostics, text, color)
        for diagnostic in diagnostics:
            if f"[{diagnostic.code}]" not in shown:
                raise Broken(f"{diagnostic.code} is not shown")
    told = json.loads(json.dumps(to_json(diagnostics, text)))
    if len(told["diagnostics"]) != len(diagnostics):
        raise Broken("the JSON leaves diagnostics out")


def _decoded(data: bytes) -> str:
    return data.decode("utf-8", "surrogatepass")


def _spans(diagnostic: Diagnostic) -> Iterator[tuple[str, Span]]:
    yield "its span", diagnostic.span
    for label in diagnostic.labels:
        yield f"the label {label.message!r}", label.span
    for label in diagnostic.trace:
        yield f"the trace {label.message!r}", label.span


def _placed(what: str, span: Span, data: bytes) -> None:
    """A span lies within its text, on whole characters, and its line and column are those of its start."""
    if span.file == PRELUDE:
        data = resource("grammars", "prelude.genome").encode()
    elif span.file:
        raise Broken(f"{what} lies in {span.file!r}")
    if not 0 <= span.start <= span.end <= len(data):
        raise Broken(f"{what} is [{span.start}, {span.end}) in {len(data)} bytes")
    before = data[: span.start]
    try:
        column = len(_decoded(before[before.rfind(b"\n") + 1 :])) + 1
        line = before.count(b"\n") + 1
    except UnicodeDecodeError:
        raise Broken(f"{what} begins within a character, at {span.start}") from None
    if (span.line, span.column) != (line, column):
        raise Broken(f"{what} is at {line}:{column}, but says {span.line}:{span.column}")
    if _within_character(data, span.end) and _is_utf8(data):
        raise Broken(f"{what} ends within a character, at {span.end}")


def _within_character(data: bytes, offset: int) -> bool:
    return offset < len(data) and data[offset] & 0xC0 == 0x80


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _mendable(diagnostic: Diagnostic, checked: Checked, text: str) -> None:
    """Fixes can be applied, and those called verified remove what they are for."""
    for fix in diagnostic.fixes:
        if not apart(fix.edits, text):
            raise Broken(f"{diagnostic.code}: the edits of {fix.message!r} overlap: {fix.edits}")
        if fix.verified:
            after = examine(apply_edits(text, fix.edits))
            if _said(diagnostic, after) >= _said(diagnostic, checked):
                raise Broken(f"{diagnostic.code} {diagnostic.message!r} is still there after {fix.message!r}")


def _said(diagnostic: Diagnostic, checked: Checked) -> int:
    """How often a check says what a diagnostic says."""
    return sum((d.code, d.message) == (diagnostic.code, diagnostic.message) for d in checked.diagnostics)
