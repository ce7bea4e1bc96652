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
from foundry.dsl.lexer import Lexer, Source, Word
from foundry.dsl.recover import explain, missing_header
from foundry.dsl.source import blank, refuse, resource
from foundry.dsl.syntax import Genome

# More mistakes than this in a text without a header: it is something other than a genome.
FOREIGN_TEXT = 2
_HEADED = re.compile(r"\ufeff?(?:[ \t\r\n]|#[^\r\n]*)*@foundry")


def parse(text: str, file: str = "") -> Genome:
    """The syntax tree of a genome.

    `file` is what the spans say the text is called.

    Raises:
        GenomeError: with a diagnostic for every independent mistake, in the order of the text.
    """
    refuse(text, file)
    source = Source(text, file)
    try:
        genome = _read(source)
    except GenomeError as error:  # what ended the reading comes on top of what was found before it
        genome = None
        source.problems += [problem for problem in error.diagnostics if problem not in source.problems]
    if genome is None or source.problems:
        raise GenomeError(_presented(source), text)
    return genome


def _presented(source: Source) -> tuple[Diagnostic, ...]:
    """The problems in the order of the text; a text that is no genome at all has but one."""
    problems = sorted(source.problems, key=lambda problem: problem.span.start)
    if len(problems) > FOREIGN_TEXT and not _HEADED.match(source.text):
        return (missing_header(source),)
    return tuple(problems)


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
