"""Text to syntax tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer as LarkLexer
from lark.lexer import PatternStr

from foundry.dsl.builder import Builder
from foundry.dsl.diagnostics import Diagnostic, GenomeError
from foundry.dsl.expectation import describe
from foundry.dsl.foreign import STATEMENTS
from foundry.dsl.lexer import Lexer, Source, Word
from foundry.dsl.recover import explain, missing_header
from foundry.dsl.source import blank, refuse, resource
from foundry.dsl.surroundings import without_surroundings
from foundry.dsl.syntax import Genome

# More mistakes than this in a text without a header: it is something other than a genome.
FOREIGN_TEXT = 2
# How definitions begin, at the beginning of a line.
_DEFINITION = re.compile(rb"^[A-Za-z_][A-Za-z0-9_]*[ \t]*[=(]", re.MULTILINE)
_HEADED = re.compile(r"\ufeff?(?:[ \t\r\n]|#[^\r\n]*)*@foundry")


def parse(text: str, file: str = "") -> Genome:
    """The syntax tree of a genome.

    `file` is what the spans say the text is called.

    Raises:
        GenomeError: with a diagnostic for every independent mistake, in the order of the text.
    """
    refuse(text, file)
    genome, source = _tree(Source(text, file))
    if genome is not None:
        return genome
    bare, around = without_surroundings(text, file)
    if around is not None:
        _, source = _tree(Source(bare, file))
        source.problems.append(around)
    raise GenomeError(_presented(source), text)


def _tree(source: Source) -> tuple[Genome | None, Source]:
    """The tree of a text, None where there are problems."""
    try:
        genome = _read(source)
    except GenomeError as error:  # what ended the reading comes on top of what was found before it
        genome = None
        source.problems += [problem for problem in error.diagnostics if problem not in source.problems]
    return (None if source.problems else genome), source


def _presented(source: Source) -> tuple[Diagnostic, ...]:
    """The problems in the order of the text; a text that is no genome at all has but one."""
    problems = sorted(source.problems, key=lambda problem: problem.span.start)
    if len(problems) > FOREIGN_TEXT and not _HEADED.match(source.text):
        return (missing_header(source),)
    return tuple(_without_consequences(problems, source.text))


def _without_consequences(problems: list[Diagnostic], text: str) -> Iterator[Diagnostic]:
    """The problems but for those that follow from a statement of Python, as far as the next definition."""
    data, end = text.encode("utf-8", "surrogatepass"), 0
    for problem in problems:
        if problem.span.start >= end:
            yield problem
            if problem.code == "F207" and problem.found.strip("`") in STATEMENTS:
                after = _DEFINITION.search(data, problem.span.end)
                end = after.start() if after else len(data) + 1


def _read(source: Source) -> Genome | None:
    """The tree, or None where the words do not follow the grammar; mistakes go to `source.problems`."""
    words = lexer().words(source)
    if len(words) == 1 and not source.problems:
        raise GenomeError((blank(source.text, source.file),), source.text)
    known = len(source.problems)
    try:
        return _feed(words)
    except UnexpectedToken as error:
        del source.problems[known:]  # the same ones are found again
        explain(words, grammar(), source)
        if not source.problems:
            message = f"{describe(error.token)} is out of place"
            source.report(Diagnostic("F101", message, error.token.span, found=describe(error.token)))
        return None


def _feed(words: list[Word]) -> Any:
    state = grammar().parse_interactive(start="start").parser_state
    for word in words[:-1]:
        state.feed_token(word)
    return state.feed_token(words[-1], is_end=True)


class _NoLexer(LarkLexer):
    """The parser is fed words; lark need not build a lexer."""

    def __init__(self, lexer_conf: Any):
        pass

    def lex(self, lexer_state: Any, parser_state: Any = None) -> Iterator[Any]:
        return iter(())


@cache
def grammar() -> Lark:
    """The parser tables of `grammars/foundry.lark`."""
    starts = ["start", "definition", "binding", "expr"]
    text = resource("grammars", "foundry.lark")
    return Lark(text, parser="lalr", lexer=_NoLexer, transformer=Builder(), start=starts)


@cache
def lexer() -> Lexer:
    """The lexer that the grammar's terminals describe."""
    fixed: dict[str, str] = {}
    patterns: dict[str, str] = {}
    for terminal in grammar().terminals:
        table = fixed if isinstance(terminal.pattern, PatternStr) else patterns
        table[terminal.name] = terminal.pattern.value
    return Lexer(fixed, patterns, set(grammar().ignore_tokens))
