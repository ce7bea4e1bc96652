"""What each code of the checker means: in words, by a genome that gets it, and by the same genome put right."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from foundry.dsl.check import check
from foundry.dsl.diagnostics import CODES, Diagnostic, GenomeError
from foundry.dsl.render import render, to_json
from foundry.dsl.source import MAX_BYTES, MAX_DEPTH, MAX_WORDS, decode
from foundry.dsl.suggest import closest

WRITTEN = Path(__file__).parent / "examples" / "codes.md"
COMMAND = "foundry doc --write docs/reference"
WIDTH = 100  # columns of a terminal page
SHOWN = 200  # characters of a wrong text that is shown in part
LONGEST = 2000  # characters of a wrong text that data holds in whole

_SECTION = re.compile(r"^## (F\d{3})\n\n(.*?)\n\n```bad\n(.*?)```\n\n```good\n(.*?)```$", re.MULTILINE | re.DOTALL)
_SMALLEST = "@foundry(1);\n\nmodel = embed(vocab = 256, width = 64) >> unembed(tied = 1);\n"
_WITH_ACT = (
    "@foundry(1);\n\nact(x) = {};\nmodel = embed(vocab = 256, width = 64) >> mlp(act = act) >> unembed(tied = 1);\n"
)
_DEEP = MAX_DEPTH + 1

# Texts that are wrong by their bytes or their size, by the name that the examples give them, and what to call them.
MADE: dict[str, tuple[Callable[[], bytes], str]] = {
    "utf-16": (lambda: _SMALLEST.encode("utf-16"), "the smallest genome, saved as UTF-16"),
    "long": (lambda: b"# To be continued.\n" * (MAX_BYTES // 19 + 1), "a comment of more than 256 KiB"),
    "deep": (lambda: _WITH_ACT.format("(" * _DEEP + "x" + ")" * _DEEP).encode(), ""),
    "wordy": (
        lambda: _WITH_ACT.format("x" + " + x" * (MAX_WORDS // 2)).encode(),
        f"a sum of {MAX_WORDS // 2 + 1:,} terms",
    ),
}


@dataclass(frozen=True)
class Explanation:
    """A code of the checker.

    text: a few sentences. bad: the bytes of a genome that gets it, as its first diagnostic; `shown` is what a reader
    sees of them. good: the text of a genome without diagnostics.
    """

    code: str
    text: str
    bad: bytes
    shown: str
    good: str

    @property
    def name(self) -> str:
        return CODES[self.code].name

    @property
    def meaning(self) -> str:
        return CODES[self.code].meaning

    @property
    def phase(self) -> str:
        return CODES[self.code].phase

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """What the checker says of the bad genome."""
        return _diagnostics(self.bad)

    def said(self, color: bool = False) -> str:
        """The same as people read it."""
        return render(self.diagnostics(), self.bad.decode("utf-8", "replace"), color).rstrip()


@cache
def _diagnostics(data: bytes) -> tuple[Diagnostic, ...]:
    try:
        return check(decode(data)).diagnostics
    except GenomeError as error:
        return error.diagnostics


@cache
def explanations() -> dict[str, Explanation]:
    """Every code that the checker can give."""
    found = {}
    for code, text, bad, good in _SECTION.findall(WRITTEN.read_text("utf-8")):
        made, title = MADE.get(bad.strip(), (bad.encode, ""))
        data = made()
        found[code] = Explanation(code, " ".join(text.split()), data, _shown(data, title), good)
    return found


def _shown(data: bytes, title: str) -> str:
    """A text, or of a long one the beginning, under its title."""
    text = data.decode("utf-8", "replace")
    if title:
        text = f"{text[:SHOWN]}…\n" if len(text) > SHOWN else ""
        return f"({title}, {len(data):,} bytes)\n{text}"
    return text


def find(name: str) -> Explanation | None:
    """The explanation of a code, or of the name of one: F301, f301 or shape."""
    known = explanations()
    named = {explanation.name: code for code, explanation in known.items()}
    return known.get(name.upper()) or known.get(named.get(name.lower(), ""))


def nearest(name: str) -> list[str]:
    """The codes and names that an unknown one may have meant."""
    known = explanations()
    close = closest(name, [*known, *(explanation.name for explanation in known.values())])
    if not close and re.fullmatch(r"[fF]?\d{1,6}", name):
        number = int(name.lstrip("fF"))
        close = sorted(known, key=lambda code: (abs(int(code[1:]) - number), code))[:3]
    return close


def listing() -> str:
    """Every code with its name and its meaning, a line each."""
    rows = [f"{code}  {e.name:<20} {e.meaning}" for code, e in explanations().items()]
    return "\n".join(rows) + "\n"


def text(explanation: Explanation, color: bool = False) -> str:
    """An explanation as a terminal shows it."""
    blocks = [
        f"{explanation.code}  {explanation.name}: {explanation.meaning}",
        textwrap.fill(explanation.text, WIDTH),
        f"wrong:\n\n{textwrap.indent(explanation.shown.rstrip(), '    ')}",
        explanation.said(color),
        f"right:\n\n{textwrap.indent(explanation.good.rstrip(), '    ')}",
    ]
    return "\n\n".join(blocks) + "\n"


def as_data(explanation: Explanation) -> dict[str, Any]:
    """An explanation as plain data; `bad` is decoded, with a mark for each byte that is not UTF-8."""
    bad = explanation.bad.decode("utf-8", "replace")
    return {
        "code": explanation.code,
        "name": explanation.name,
        "phase": explanation.phase,
        "meaning": explanation.meaning,
        "text": explanation.text,
        "bad": bad if len(bad) <= LONGEST else explanation.shown,
        "good": explanation.good,
        **{key: value for key, value in to_json(explanation.diagnostics(), bad).items() if key != "ok"},
    }


def page() -> str:
    """All explanations as Markdown; the first line says what wrote it."""
    lines = [f"<!-- Written by `{COMMAND}` from foundry/dsl/examples/codes.md; do not edit. -->", "", "# Codes", ""]
    lines += ["What the checker says, and what it means. Codes never change their meaning.", ""]
    for explanation in explanations().values():
        lines += [f"## {explanation.code}: {explanation.meaning}", "", *textwrap.wrap(explanation.text, 118), ""]
        for block in (explanation.shown, explanation.said(), explanation.good):
            lines += ["```", block.rstrip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"
