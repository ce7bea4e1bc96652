"""Any text is checked in a second, and what is said of it is said of its own places; the grammar is the parser's."""

import os
import random
import re
import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from lark import Lark

from foundry.dsl.check import MAX_COPIED, check, examine
from foundry.dsl.complete import PATIENCE, complete
from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.frames import MAX_OPERATIONS
from foundry.dsl.parse import parse
from foundry.dsl.repair import repair
from foundry.dsl.source import MAX_BYTES, MAX_DEPTH, MAX_WORDS, resource, shipped_genomes
from foundry.dsl.syntax import Span
from foundry.generate.draw import RandomDraw
from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD
from foundry.testing import survival
from foundry.testing.case import Broken
from foundry.testing.strategies import texts
from foundry.testing.texts import KINDS, arbitrary, seeds, survives

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
SHARE = 400 if LONG else 8  # texts of a kind for its weight of 1
HEADER = "@foundry(1);\n"
MODEL = "model = embed(vocab = 61, width = 8) >> {}unembed(tied = 1);\n"
PLAIN = HEADER + MODEL.format("")
assert check(PLAIN).ok  # which raises the limit of recursion, before hypothesis notes what it is

# What is drawn from a grammar puts a comment anywhere, and then goes on in it.
WITHOUT_COMMENTS = resource("grammars", "foundry.lark").replace("%ignore COMMENT\n", "")

# What a text may be refused for although it follows the grammar.
BEYOND_THE_GRAMMAR = {"F103", "F104", "F105", "F106", "F203", "F207"}


@cache
def wrong() -> tuple[str, ...]:
    """Genomes that people and language models got wrong."""
    marked = [
        part.split("\n", 1)[1].split("\n--- ")[0]
        for path in sorted((Path(__file__).parents[1] / "dsl" / "wrong").glob("*.txt"))
        for part in re.split(r"^=== ", path.read_text("utf-8"), flags=re.MULTILINE)[1:]
    ]
    return tuple(re.sub("[⟦⟧]", "", text) + "\n" for text in marked)


# Survival


@settings(max_examples=2 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(texts())
def test_any_text_survives(text):
    survives(text)


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_each_kind_survive(kind):
    weight, drawn = KINDS[kind]
    for seed in range(max(4, int(SHARE * weight))):
        survives(drawn(RandomDraw(random.Random(f"{kind} {seed}")), seeds() + wrong()))


def test_wrong_genomes_of_people_survive_and_are_wrong():
    assert len(wrong()) > 100
    assert all(survives(text) for text in wrong())


def test_texts_are_wrong_in_every_way():
    """Nearly every code is met among a few hundred texts, so that what follows each of them is tested."""
    told = {d.code for seed in range(400) for d in _diagnostics(arbitrary(random.Random(seed)))}
    assert len(told) >= 22, sorted(told)


def _diagnostics(text):
    return check(text).diagnostics if isinstance(text, str) else ()


@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=list(HealthCheck))
@given(texts(), st.integers(0, 400))
def test_what_may_follow_is_found_anywhere_in_any_text(text, at):
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    began = time.process_time()
    completion = complete(text, min(at, len(text)))
    assert time.process_time() - began < PATIENCE + 1
    assert completion.offers or completion.problem


@settings(max_examples=settings.default.max_examples // 2, suppress_health_check=list(HealthCheck))
@given(texts())
def test_mending_any_text_ends_and_leaves_no_verified_fix(text):
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    mended = repair(text)
    assert not any(fix.verified for d in mended.left for fix in d.fixes)
    assert mended.ok == check(mended.text).ok


SHORT = "@foundry(1);\nmodel = é;\n"
ODD = {
    "beyond the end": Diagnostic("F201", "odd", Span(len(SHORT) + 9, len(SHORT) + 10, 3, 1)),
    "before its start": Diagnostic("F201", "odd", Span(9, 4, 1, 10)),
    "on another line": Diagnostic("F201", "odd", Span(14, 15, 1, 15)),
    "in another column": Diagnostic("F201", "odd", Span(14, 15, 2, 1)),
    "within a character": Diagnostic("F201", "odd", Span(21, 22, 2, 9)),
    "in another file": Diagnostic("F201", "odd", Span(0, 1, 1, 1, "elsewhere")),
    "mended elsewhere": Diagnostic("F201", "odd", Span(0, 1), fixes=(Fix("", (Edit(0, 99, ""),)),)),
    "mended in vain": Diagnostic("F201", "odd", Span(0, 1), fixes=(Fix("", (Edit(0, 0, " "),), "safe", True),)),
}


@pytest.mark.parametrize("name", ODD)
def test_a_diagnostic_of_another_place_does_not_survive(name, monkeypatch):
    found = survival.Checked((ODD[name],))
    monkeypatch.setattr(survival, "check", lambda text: found)
    monkeypatch.setattr(survival, "examine", lambda text: found)
    with pytest.raises((Broken, UnicodeDecodeError)):
        survives(SHORT)


def test_a_slow_check_does_not_survive(monkeypatch):
    monkeypatch.setattr(survival, "SECONDS", 0.0)
    with pytest.raises(Broken, match="took"):
        survives(PLAIN)


# Limits


def chain(form, count, first="f0(x) = linear(x, 8);\n"):
    """Definitions that each use the one before, {0}, and a model of the last of them."""
    lines = "".join(f"f{n} = {form.format(f'f{n - 1}')};\n" for n in range(1, count))
    return HEADER + first + lines + MODEL.format(f"f{count - 1} >> ")


def filled(piece, words=1, text=PLAIN):
    """A text with a piece repeated up to the most words that a genome may have."""
    return text.replace(HEADER, HEADER + piece * ((MAX_WORDS - 40) // words))


TOO_MUCH = {
    "bytes": (PLAIN + "#" * MAX_BYTES, "F002"),
    "words": (filled("a = 1;\n", 4, filled("b = 1;\n", 4)), "F106"),
    "brackets": (HEADER + "a = " + "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1) + ";\n", "F103"),
    "depth": (HEADER + "a = " + "-" * (MAX_DEPTH + 1) + "1;\n", "F103"),
    "digits": (HEADER + f"a = {'9' * 41};\n", "F104"),
    "applications": (chain("fn(x) => {0}({0}(x))", 40), "F402"),
    "applications in a pipe": (chain("{0} >> {0}", 40), "F402"),
    "applications of what is shared": (chain("share({0} >> {0} >> linear(8))", 24), "F402"),
    "copies of copies": (chain("100 * {0}", 8), "F402"),
    "copies": (HEADER + MODEL.format("1025 * linear(8) >> "), "F306"),
    "copies in all": (
        HEADER + "f(x) = " + "linear(" * 90 + "x" + ", 8)" * 90 + ";\n" + MODEL.format("100 * (100 * f) >> "), "F402"
    ),
    "functions within one another": (chain("fn(x) => {0}(x)", 70), "F204"),
    "parameters": (
        HEADER + MODEL.replace("8", "65536").format("1000 * (fn(x) => x + linear(x, 65536)) >> "), "F401"
    ),
    "a size": (HEADER + MODEL.replace("8", "1" + "0" * 30).format(""), "F306"),
    "an exponent": (HEADER + MODEL.replace("8", "2 ** 2 ** 2 ** 99").format(""), "F307"),
}  # fmt: skip

LARGE = {
    "definitions": filled("a = 1;\n", 4),
    "other definitions": HEADER + "".join(f"a{n} = {n};\n" for n in range(MAX_WORDS // 4 - 20)) + MODEL.format(""),
    "unknown names": HEADER + "".join(f"f{n}(x) = y{n};\n" for n in range(MAX_WORDS // 7 - 20)) + MODEL.format(""),
    "parameters": HEADER + f"f({', '.join(f'x{n}' for n in range(MAX_WORDS // 2 - 40))}) = 1;\n" + MODEL.format(""),
    "arguments": HEADER + f"a = linear({', '.join(f'x{n} = 1' for n in range(MAX_WORDS // 4 - 40))});\n",
    "an open list": HEADER + "a = [" + "x, " * (MAX_WORDS // 2 - 40),
    "bindings": HEADER
    + f"f(x) = {{ {' '.join(f'x{n + 1} = x{n};' for n in range(MAX_WORDS // 4 - 40))} x0 }};\n"
    + MODEL.format("f >> "),
    "bindings without an end": HEADER + "f(x) = {" + "x = relu(x);" * (MAX_WORDS // 7),
    "semicolons": HEADER + ";" * (MAX_WORDS - 40),
    "no semicolons": HEADER + "a = 1\n" * (MAX_WORDS // 3 - 40),
    "signs of other languages": HEADER + "a := b; " * 3000,
    "comments": HEADER + "# é\n" * 50_000 + MODEL.format(""),
    "a name": HEADER + "a" * (MAX_BYTES - 200) + " = 1;\n" + MODEL.format(""),
    "a string": HEADER + 'a = "' + "b" * (MAX_BYTES - 200),
    "operations": chain("{0} >> {0}", 13, "f0(x) = relu(x);\n"),
    "gates of gates": HEADER
    + f"f(x) = {{ g = softmax(linear(x, 4)); {'g = g * g; ' * 60} experts(x, g, linear(8)) }};\n"
    + MODEL.format("f >> "),
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_genome_beyond_a_limit_gets_its_error_at_once(name):
    text, code = TOO_MUCH[name]
    found = survives(text)
    assert code in {d.code for d in found if d.severity == "error"}
    assert len(found) <= 20


@pytest.mark.parametrize("name", LARGE)
def test_a_genome_up_to_the_limits_is_checked_in_time(name):
    survives(LARGE[name])


def test_limits_leave_room():
    """Ten times what the largest published model takes."""
    assert 3 * len(list(examine(resource("grammars", "prelude.genome")).genome.definitions)) < MAX_WORDS
    largest = max(
        (examine(path.read_text("utf-8")) for path in shipped_genomes().values()), key=lambda checked: checked.work
    )
    assert largest.ok and 5 * largest.work < MAX_OPERATIONS < MAX_COPIED


# The grammar


@cache
def grammar():
    """`grammars/foundry.lark` as lark itself reads it."""
    return Lark(resource("grammars", "foundry.lark"), parser="lalr", start="start")


@settings(max_examples=2 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(from_lark(Lark(WITHOUT_COMMENTS, start="start")))
def test_what_the_grammar_makes_is_read_or_beyond_a_limit(text):
    try:
        tree = parse(text)
    except GenomeError as error:
        assert {d.code for d in error.diagnostics} <= BEYOND_THE_GRAMMAR, [d.message for d in error.diagnostics]
        return
    assert parse(format_genome(tree)) == tree


def test_every_genome_is_in_the_grammar():
    rng = random.Random(0)
    drawn = [random_genome(rng, WILD) for _ in range(200 if LONG else 10)]
    for text in (*(path.read_text("utf-8") for path in shipped_genomes().values()), *drawn):
        assert grammar().parse(text).children


@settings(max_examples=2 * settings.default.max_examples, suppress_health_check=list(HealthCheck))
@given(texts())
def test_what_the_parser_reads_is_in_the_grammar(text):
    try:
        assert isinstance(text, str) and parse(text)
    except (AssertionError, GenomeError):
        return
    grammar().parse(text)
