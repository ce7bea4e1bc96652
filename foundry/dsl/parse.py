"""Text to syntax tree."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from lark import Lark
from lark.exceptions import UnexpectedToken
from lark.lexer import Lexer as LarkLexer
from lark.lexer import PatternStr

from foundry.dsl.builder import Builder
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.lexer import Lexer, Source, Word
from foundry.dsl.recover import explain
from foundry.dsl.source import blank, refuse, resource
from foundry.dsl.syntax import Genome


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
        found = error.diagnostics if error.diagnostics[-1:] == tuple(source.problems[-1:]) else error.diagnostics
        source.problems = [*(p for p in source.problems if p not in found), *found]
        genome = None
    if genome is None or source.problems:
        raise GenomeError(tuple(sorted(source.problems, key=lambda p: p.span.start)), text)
    return genome


def _read(source: Source) -> Genome | None:
    """The tree, or None where the words do not follow the grammar; mistakes go to `source.problems`."""
    words = lexer().words(source)
    if len(words) == 1 and not source.problems:
        raise GenomeError((blank(source.text, source.file),), source.text)
    known = len(source.problems)
    try:
        return _feed(words)
    except UnexpectedToken:
        del source.problems[known:]  # the same ones are found again
        explain(words, grammar(), source)
        return None


def _feed(words: list[Word]) -> Any:
    state = grammar().parse_interactive(start="start").parser_state
    for word in words[:-1]:
        state.feed_token(word)  # type: ignore[arg-type]
    return state.feed_token(words[-1], is_end=True)  # type: ignore[arg-type]


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
    fixed, patterns = {}, {}
    for terminal in grammar().terminals:
        table = fixed if isinstance(terminal.pattern, PatternStr) else patterns
        table[terminal.name] = terminal.pattern.value
    return Lexer(fixed, patterns, set(grammar().ignore_tokens))
