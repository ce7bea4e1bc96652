"""Wrong genomes as people and language models write them: what is said of each, where, and how it is put right.

`wrong/*.txt` hold the cases. A case is a genome in which ⟦…⟧ marks what each diagnostic covers, and for each of them,
in the order of the text, the code and the message, the help, and the first fix with the lines that it leaves (or, where
it only removes some, those). A mistake without a `fix` has none that is verified.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundry.dsl.check import apply_edits, check, prelude
from foundry.dsl.diagnostics import CODES, Diagnostic
from foundry.dsl.registry import CALLABLE, OPTIMIZERS, PRIMITIVES, SPECIAL, TRAIN
from foundry.dsl.repair import repair
from foundry.dsl.source import resource_folder
from foundry.dsl.synonyms import ARGUMENTS, FUNCTIONS, plain

FOLDER = Path(__file__).parent / "wrong"
LEAST = 64  # cases
SHARE = 0.8  # of the cases, in which every mistake has a verified fix
MOST = 8  # diagnostics of a genome with one or two slips


@dataclass(frozen=True)
class Said:
    """What is said of one mistake. fix is "" where there is none; lines are what it leaves or removes."""

    code: str
    message: str
    help: str = ""
    fix: str = ""
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A wrong genome, what its diagnostics cover (bytes), and what they say."""

    title: str
    text: str
    spans: tuple[tuple[int, int], ...]
    said: tuple[Said, ...]


def read(path: Path) -> list[Case]:
    """The cases of a file."""
    cases = []
    for part in re.split(r"^=== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        title, rest = part.split("\n", 1)
        marked, *told = re.split(r"^--- ", rest, flags=re.MULTILINE)
        cases.append(Case(title, re.sub("[⟦⟧]", "", marked), spans(marked), tuple(map(said, told))))
    return cases


def spans(marked: str) -> tuple[tuple[int, int], ...]:
    """The bytes between marks, in the text without them."""
    found, start, size = [], 0, 0
    for piece in re.split("([⟦⟧])", marked):
        if piece == "⟦":
            start = size
        elif piece == "⟧":
            found.append((start, size))
        else:
            size += len(piece.encode())
    return tuple(found)


def said(told: str) -> Said:
    first, *rest = told.rstrip("\n").split("\n")
    code, message = first.split(" ", 1)
    named = dict(line.split(": ", 1) for line in rest if line.startswith(("help: ", "fix: ")))
    lines = tuple(line for line in rest if line.startswith(("+ ", "- ")))
    return Said(code, message, named.get("help", ""), named.get("fix", ""), lines)


def observed(text: str, diagnostic: Diagnostic) -> Said:
    """What a diagnostic says, in the form of a case."""
    fix = next((fix for fix in diagnostic.fixes if fix.verified), None)
    lines = left_lines(text, apply_edits(text, fix.edits)) if fix else ()
    return Said(diagnostic.code, diagnostic.message, diagnostic.help, fix.message if fix else "", lines)


def left_lines(before: str, after: str) -> tuple[str, ...]:
    """The lines that are new, or where there are none those that are gone; blank ones do not count."""
    changes = [line for line in difflib.ndiff(before.split("\n"), after.split("\n")) if line[2:].strip()]
    fresh, gone = ([line for line in changes if line.startswith(sign)] for sign in "+-")
    return tuple(fresh or gone)


CASES = {f"{path.stem}: {case.title}": case for path in sorted(FOLDER.glob("*.txt")) for case in read(path)}


@pytest.mark.parametrize("name", CASES)
def test_each_mistake_is_told_once_at_its_place_with_its_fix(name):
    case = CASES[name]
    found = check(case.text).diagnostics
    assert tuple(observed(case.text, d) for d in found) == case.said
    assert tuple((d.span.start, d.span.end) for d in found) == case.spans


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if all(said.fix for said in case.said)])
def test_a_genome_whose_fixes_are_all_verified_is_right_once_they_are_applied(name):
    repaired = repair(CASES[name].text)
    assert repaired.left == ()
    assert len(repaired.mended) == len(CASES[name].said)


def test_most_mistakes_have_a_verified_fix(capsys):
    fixed = sum(all(said.fix for said in case.said) for case in CASES.values())
    with capsys.disabled():
        print(f" {len(CASES)} wrong genomes, {fixed / len(CASES):.0%} with verified fixes")
    assert len(CASES) >= LEAST
    assert fixed >= SHARE * len(CASES)


def test_nearly_every_code_has_a_case():
    unreachable = {"F309"}  # nothing that a genome can say looks ahead
    by_bytes_or_size = {"F001", "F002", "F003", "F103", "F104", "F106", "F402"}
    assert set(CODES) - unreachable - by_bytes_or_size == {said.code for case in CASES.values() for said in case.said}


@pytest.mark.parametrize("name", CASES)
def test_messages_are_short_and_only_help_says_what_to_do(name):
    for said in CASES[name].said:
        for text in filter(None, (said.message, said.help, said.fix)):
            assert len(text) <= 120
            assert not text.endswith((".", "!"))
            assert not text[0].isupper() or text.split()[0] in CASES[name].text
        assert not re.search(r"\b(write|try|please|must|should|did you mean)\b", said.message)


def test_other_names_lead_to_what_there_is():
    named = {d.name: {p.name for p in d.parameters or ()} for d in prelude().definitions}
    functions = CALLABLE | SPECIAL | set(named)
    arguments = set().union(*named.values())
    for args in (*(p.args for p in PRIMITIVES.values()), *OPTIMIZERS.values(), TRAIN):
        arguments |= {arg.name for arg in args}
    assert set(FUNCTIONS) <= functions
    assert set(ARGUMENTS) <= arguments
    assert not {plain(name) for name in functions} & {other for names in FUNCTIONS.values() for other in names.split()}


# Any slip in a right genome

GENOMES = [path.read_text("utf-8") for path in sorted(resource_folder("genomes").glob("*.genome"))]
WORD = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\s+|#[^\n]*|[^\w\s]")
WORDS = [
    *"=,;(){}[]<>+-*/%?:.@'\"^~$", "**", "=>", "->", ">>", "fn", "x", "1", "0.5", "0", "64", "-1", "None", "True", "if",
    "return", "lambda", "self", "heads", "width", "head", "é", "π", "“", "```", "attention", "rmsnorm", "param",
    "embed(vocab = 256, width = 64)", "split_heads(x, 4)", "[1, 2]", "fn(x) => x", "recipe", "model", "train", "\n",
]  # fmt: skip
places = st.integers(0, 10_000)
slips = st.tuples(st.sampled_from(["cut", "put", "swap", "twice", "letter"]), places, st.sampled_from(WORDS))


def slipped(text: str, slip: tuple[str, int, str]) -> str:
    """A text with one slip: a word cut out, put in its place, swapped with the next or doubled, or a letter lost."""
    kind, place, word = slip
    words = WORD.findall(text)
    at = place % len(words)
    if kind == "letter":
        at = place % len(text)
        return text[:at] + text[at + 1 :]
    new = {"cut": [], "put": [word], "swap": words[at : at + 2][::-1], "twice": [words[at]] * 2}[kind]
    return "".join([*words[:at], *new, *words[at + (2 if kind == "swap" else 1) :]])


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(GENOMES), st.lists(slips, min_size=1, max_size=2))
def test_any_slip_is_told_within_the_text_and_in_few_words(text, made):
    for slip in made:
        text = slipped(text, slip)
    found = check(text).diagnostics
    assert len(found) <= MOST
    for diagnostic in found:
        assert 0 <= diagnostic.span.start <= diagnostic.span.end <= len(text.encode())
        assert diagnostic.span.file == ""


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(GENOMES), slips)
def test_a_verified_fix_of_any_slip_removes_what_it_is_for(text, slip):
    text = slipped(text, slip)
    found = check(text).diagnostics
    for diagnostic in found:
        for fix in diagnostic.fixes:
            if fix.verified:
                again = check(apply_edits(text, fix.edits)).diagnostics
                same = [(d.code, d.message) == (diagnostic.code, diagnostic.message) for d in again]
                assert sum(same) < sum((d.code, d.message) == (diagnostic.code, diagnostic.message) for d in found)
