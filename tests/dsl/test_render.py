"""Diagnostics as text and as JSON."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError, Label
from foundry.dsl.parse import parse
from foundry.dsl.render import render, to_json
from foundry.dsl.source import resource
from foundry.dsl.syntax import Span, walk

TEXT = "@foundry(1);\n\na = 1\nb = 2;\na = 3;\n"


def shown(text: str, color: bool = False) -> str:
    """What is said about a text with errors."""
    try:
        parse(text, "my.genome")
    except GenomeError as error:
        return render(error.diagnostics, text, color)
    raise AssertionError("the text has no errors")


def test_an_error_shows_its_place_its_help_and_the_fixed_line():
    assert (
        shown(TEXT)
        == """error[F101]: expected `;`, found `b`
 --> my.genome:3:6
  |
3 | a = 1
  |      ^
  = help: definitions and bindings end with `;`
  = fix: insert `;`
3 + a = 1;

error[F203]: a second definition is called `a`
 --> my.genome:5:1
  |
3 | a = 1
  | - the first stands here
...
5 | a = 3;
  | ^
  = help: remove one of them, or rename it
"""
    )


def test_legal_values_are_shown_unless_the_message_names_them():
    problem = Diagnostic("F302", "5 does not divide 64", Span(17, 18, 3, 4), expected=("4", "8"), path="layer")
    text = render([problem], TEXT)
    assert " = expected: 4, 8\n" in text
    assert "--> <genome>:3:4 in layer\n" in text


def test_a_fix_that_may_be_wrong_says_so():
    edits = (Edit(14, 15, "x\ny"),)
    problem = Diagnostic(
        "F101", "wrong", Span(14, 15, 3, 1), fixes=(Fix("try", edits), Fix("do", edits, verified=True))
    )
    text = render([problem], TEXT)
    assert "= possible fix: try\n3 + x\n4 + y = 1\n" in text
    assert "= fix: do\n" in text


def test_wide_characters_tabs_and_what_a_terminal_would_act_on():
    lines = shown("@foundry(1);\n\ta = f( # 日本\n\ta = 1, b\u202e = ?);").split("\n")
    source = next(line for line in lines if line.startswith("3 |"))
    carets = lines[lines.index(source) + 1]
    assert source == "3 |     a = 1, b\\u{202e} = ?);"
    assert carets.index("^") == source.index("\\u")
    assert carets.count("^") == len("\\u{202e}")
    wide = shown("@foundry(1);\na = 日本 + ;").split("\n")
    assert wide[3:5] == ["2 | a = 日本 + ;", "  |     ^^^^"]


def test_text_never_carries_control_characters_to_the_terminal():
    text = "@foundry(1);\na = \x1b[31m;"
    assert shown(text).replace("\n", "").isprintable()


def test_a_long_line_is_cut_around_the_place():
    text = "@foundry(1);\na = [" + "f(x), " * 300 + "?, " + "g(x), " * 300 + "1];"
    line, carets = next(pair for pair in pairwise(shown(text).split("\n")) if " | …" in pair[0])
    assert len(line) < 120
    assert line.endswith("…")
    assert line[carets.index("^")] == "?"


def test_the_end_of_a_file_without_a_newline_can_be_shown():
    assert "3 | b =\n  |    ^\n" in shown("@foundry(1);\na = 1;\nb =")


def test_a_trace_shows_the_prelude_where_it_leads_there():
    text = resource("grammars", "prelude.genome")
    norm = next(node for _, node in walk(parse(text, "prelude")) if getattr(node, "name", "") == "rmsnorm")
    problem = Diagnostic("F301", "wrong", Span(14, 15, 3, 1), trace=(Label(norm.span, "in rmsnorm"),))
    shown = render([problem], TEXT)
    assert f"--> prelude:{norm.span.line}:1\n" in shown
    assert f"{norm.span.line} | rmsnorm(x" in shown


def test_a_place_in_no_text_is_named_without_a_line():
    assert render([Diagnostic("F002", "too large", Span(file="big.genome"))], "") == (
        "error[F002]: too large\n --> big.genome:1:1\n"
    )


def test_colour_comes_only_when_asked_for():
    assert "\x1b" not in shown(TEXT)
    assert "\x1b[1;31merror[F101]\x1b[0m" in shown(TEXT, color=True)


def test_json_says_everything_with_byte_offsets():
    text = "@foundry(1);\n# é\na = f(b = 1,\n  b = 2);\n"
    try:
        parse(text, "my.genome")
    except GenomeError as error:
        data = json.loads(json.dumps(to_json(error.diagnostics, text)))
    start = len("@foundry(1);\n# é\na = f(b = 1,\n  ".encode())
    first = len("@foundry(1);\n# é\na = f(".encode())
    place = {"file": "my.genome", "line": 4, "column": 3, "end_line": 4, "end_column": 4}
    where = {"file": "my.genome", "line": 3, "column": 7, "end_line": 3, "end_column": 8}
    assert data == {
        "ok": False,
        "diagnostics": [
            {
                "code": "F203",
                "name": "duplicate",
                "severity": "error",
                "phase": "names",
                "message": "a second argument is called `b`",
                "span": {"start": start, "end": start + 1, **place},
                "labels": [{"message": "the first stands here", "span": {"start": first, "end": first + 1, **where}}],
                "path": "",
                "expected": [],
                "found": "`b`",
                "help": "remove one of them, or rename it",
                "fixes": [],
                "trace": [],
            }
        ],
    }


def test_json_fixes_are_edits_that_a_program_can_apply():
    text = "model = 1;\n"
    try:
        parse(text)
    except GenomeError as error:
        data: Any = to_json(error.diagnostics, text)
    (fix,) = data["diagnostics"][0]["fixes"]
    assert fix == {
        "message": "begin with `@foundry(1);`",
        "applicability": "safe",
        "verified": False,
        "edits": [{"start": 0, "end": 0, "text": "@foundry(1);\n\n"}],
    }


def test_warnings_alone_are_ok():
    warning = Diagnostic("F205", "nothing uses `a`", Span(14, 15, 3, 1), severity="warning")
    assert to_json([warning], TEXT)["ok"] is True
    assert to_json([], TEXT) == {"ok": True, "diagnostics": []}
    assert render([warning], TEXT).startswith("warning[F205]: nothing uses `a`\n")
