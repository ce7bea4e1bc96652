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
from lark.parsers.lalr_analysis import Shift

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
    """What the words of a genome come to, by the tables of the parser.

    Raises:
        UnexpectedToken: they do not follow the grammar.
    """
    tables, first, last = _tables()
    states, values = [first], []
    for word in words:
        while True:
            action = tables[states[-1]].get(word.type)
            if action is None:
                raise UnexpectedToken(word, set(tables[states[-1]]))
            goal, size, build = action
            if build is None:  # the word itself comes next
                states.append(goal)
                values.append(word)
                break
            made = build(values[-size:] if size else [])
            if size:
                del values[-size:], states[-size:]
            values.append(made)
            states.append(tables[states[-1]][goal][0])
            if states[-1] == last:
                return made
    raise AssertionError("the last word ends the genome")


@cache
def _tables() -> tuple[dict[int, dict[str, tuple[Any, int, Any]]], int, int]:
    """Lark's tables without its objects, which is three times as fast: for each state and what comes next, the state
    to go to; or what is complete there, of how many parts, and what builds it. And the first state, and the last."""
    conf = grammar().parse_interactive(start="start").parser_state.parse_conf

    def entry(action: Any, arg: Any) -> tuple[Any, int, Any]:
        return (arg, 0, None) if action is Shift else (arg.origin.name, len(arg.expansion), conf.callbacks[arg])

    tables = {state: {kind: entry(*act) for kind, act in acts.items()} for state, acts in conf.states.items()}
    return tables, conf.start_state, conf.end_state


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
