"""What is wrong with words that do not follow the grammar: every independent mistake, once each.

Brackets are paired first. Then every statement (a definition, a binding, the result of a block) is
parsed by itself, with the blocks inside it taken for single words. A mistake in a statement that is
already known to be wrong is not reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

from lark import Lark
from lark.exceptions import UnexpectedToken

from foundry.dsl.brackets import Pairs, pair
from foundry.dsl.builder import report_repeats
from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError
from foundry.dsl.expectation import Place, describe, missing_semicolon, mistake
from foundry.dsl.lexer import END, Group, Source, Word
from foundry.dsl.syntax import Span

HEADER = "@foundry(1);"
# How other languages show.
_KINDS = {
    "JSON": re.compile(r"\A\s*[{\[]\s*(?:[\"{\[]|[}\]])"),
    "Python": re.compile(r"^(?:import |from \w+ import |class \w+.*:|def \w+\(.*:)", re.MULTILINE),
    "YAML": re.compile(r"\A(?:---\s|\s*\w+:[ \t]*(?:\n|[\w\"']))"),
}
_HEADER = ("FOUNDRY", "LPAR", "NUMBER", "RPAR", "SEMICOLON")


@dataclass(frozen=True)
class Statement:
    """Words of one statement, blocks as groups, its `;` included; `after` is the word behind it.

    rule: the rule of the grammar that it should follow: definition, binding or expr.
    unfinished: whether it is a binding that stands where its block's result should.
    """

    rule: str
    words: list[Word]
    after: Word
    unfinished: bool = False


def explain(words: list[Word], grammar: Lark, source: Source) -> None:
    """Report in `source` what keeps words from being a genome.

    Raises:
        GenomeError: there are more mistakes than a reader can use.
    """
    start = _header(words, source)
    pairs = pair(words, start)
    for problem in pairs.problems:
        source.report(problem)
    wrong = sorted([*pairs.wrong, *(problem.span.start for problem in source.problems if problem.code != "F203")])
    definitions: list[tuple[str, Word]] = []
    for statement in _statements(words, start, pairs, source):
        if statement.rule == "definition" and statement.words[0].type == "NAME":
            definitions.append((statement.words[0].text, statement.words[0]))
        _check(statement, grammar, source, wrong)
    report_repeats("definition", definitions)


def _header(words: list[Word], source: Source) -> int:
    """Check the header; the index of the word behind it."""
    first = words[0]
    if first.type != "FOUNDRY":
        source.report(missing_header(source, first))
        return _next_line(words) if first.text == "foundry" else 0
    for index, expected in enumerate(_HEADER):
        word = words[index]
        if word.type == expected:
            continue
        if expected == "SEMICOLON" and word.type in ("NAME", END):
            source.report(missing_semicolon(words[index - 1], word))
            return index
        message = f"the header is not `{HEADER}`"
        legal, found = (f"`{HEADER}`",), describe(word)
        last = words[max(_next_line(words) - 1, 0)]
        fix = Fix(f"write `{HEADER}`", (Edit(words[0].start, last.end, HEADER),))
        source.report(Diagnostic("F101", message, word.span, expected=legal, found=found, fixes=(fix,)))
        return _next_line(words)
    return len(_HEADER)


def _next_line(words: list[Word]) -> int:
    """The index of the first word behind the first line's `;`, or of the next line."""
    index = 0
    while words[index].type not in ("SEMICOLON", END) and words[index].line == words[0].line:
        index += 1
    return index + (words[index].type == "SEMICOLON" and words[index].line == words[0].line)


def missing_header(source: Source, first: Word | None = None) -> Diagnostic:
    """The error for a text that begins in another way."""
    message = f"the genome does not begin with `{HEADER}`"
    span = first.span if first else Span(file=source.file)
    found = describe(first) if first else _kind(source.text)
    help = "a genome begins with the version of the language that it is written in"
    if first is None:
        message = f"the text does not look like a genome: it does not begin with `{HEADER}`"
        help = f"this looks like {found}; {help}" if found else help
    edit = Edit(0, 0, HEADER + "\n\n")
    if first and first.text == "foundry":
        edit = Edit(first.start, first.end, "@foundry")
    fix = Fix(f"begin with `{HEADER}`", (edit,), "safe")
    fixes = (fix,) if first else ()
    return Diagnostic("F101", message, span, expected=(f"`{HEADER}`",), found=found, help=help, fixes=fixes)


def _kind(text: str) -> str:
    """What a text that is no genome seems to be, "" where nothing tells."""
    return next((kind for kind, sign in _KINDS.items() if sign.search(text)), "")


def _statements(words: list[Word], start: int, pairs: Pairs, source: Source) -> Iterator[Statement]:
    """The statements of every definition, outer before inner."""
    first = start
    for end in pairs.ends:
        if end > first:
            waiting = [("definition", first, end, False)]
            while waiting:
                rule, begin, stop, unfinished = waiting.pop()
                statement, blocks = _group(words, begin, stop, pairs)
                yield Statement(rule, statement, words[stop], unfinished)
                for opener, closer in reversed(blocks):
                    if closer == opener + 1:
                        source.report(_no_result(words[closer]))
                    waiting += reversed(_block(words, opener, closer, pairs))
        first = end


def _group(words: list[Word], begin: int, end: int, pairs: Pairs) -> tuple[list[Word], list[tuple[int, int]]]:
    """A statement's words with every block in it as a group, and where these blocks are."""
    statement: list[Word] = []
    blocks: list[tuple[int, int]] = []
    index = begin
    while index < end:
        closer = pairs.closer.get(index, end)
        if words[index].type == "LBRACE" and closer < end:
            blocks.append((index, closer))
            statement.append(Group(words[index], words[closer]))
            index = closer
        else:
            statement.append(words[index])
        index += 1
    return statement, blocks


def _block(words: list[Word], opener: int, closer: int, pairs: Pairs) -> list[tuple[str, int, int, bool]]:
    """The statements of a block: rule, first word, end, and whether a binding stands for the result."""
    begin = index = opener + 1
    found: list[tuple[int, int]] = []
    while index < closer:
        index = pairs.closer.get(index, index) + 1
        if words[index - 1].type == "SEMICOLON":
            found.append((begin, index))
            begin = index
    if begin < closer:
        found.append((begin, closer))
    statements = [("binding", first, end, False) for first, end in found]
    if found:
        first, end = found[-1]
        if tuple(word.type for word in words[first : first + 2]) == ("NAME", "EQUAL"):
            statements[-1] = ("binding", first, end, True)
        else:
            statements[-1] = ("expr", first, end - (words[end - 1].type == "SEMICOLON" and end > first + 1), False)
    return statements


def _no_result(closer: Word) -> Diagnostic:
    help = "end the block with an expression that has no name"
    return Diagnostic(
        "F101", "the block has no result", closer.span, expected=("an expression",), found="`}`", help=help
    )


def _check(statement: Statement, grammar: Lark, source: Source, wrong: list[int]) -> None:
    """Report a statement's first mistake; where a `;` is missing, go on behind it."""
    rule, words, after = statement.rule, statement.words, statement.after
    while words:
        index = _first_mistake(rule, words, grammar)
        expected = set() if index is None else _expected(rule, words[:index], grammar)
        ends = index is None or (index == len(words) and "SEMICOLON" in expected)
        if ends and statement.unfinished and rule == "binding":
            if not _spoiled(words, after, wrong):
                source.report(_no_result(after))
            return
        if index is None:
            return
        found = words[index] if index < len(words) else after
        split = "SEMICOLON" in expected and _begins_statement(words, index)
        if not _spoiled(words[: index + 1] if split else words, after, wrong):
            if split or (ends and rule != "expr"):
                source.report(missing_semicolon(words[index - 1], found))
            else:
                source.report(mistake(Place(rule, words, index, found, expected)))
        words = words[index:] if split else []
        if statement.unfinished and tuple(word.type for word in words[:2]) != ("NAME", "EQUAL"):
            rule = "expr"


def _begins_statement(words: list[Word], index: int) -> bool:
    """Whether a new statement seems to begin here: `name =`, or a word that begins a line."""
    if index == 0 or index >= len(words) or words[index].type != "NAME":
        return False
    after = words[index + 1].type if index + 1 < len(words) else ""
    before = words[index - 1]
    last = before.closer.line if isinstance(before, Group) else before.line
    return after == "EQUAL" or words[index].line > last


def _spoiled(words: list[Word], after: Word, wrong: list[int]) -> bool:
    """Whether a mistake is already known in these words, blocks inside them aside."""
    groups = [(word.start, word.end) for word in words if isinstance(word, Group)]
    end = words[-1].end if words[-1].type == "SEMICOLON" else after.start + 1
    known = [place for place in wrong if words[0].start <= place < end]
    return any(not any(start < place < stop for start, stop in groups) for place in known)


def _first_mistake(rule: str, words: list[Word], grammar: Lark) -> int | None:
    """The index of the first word that does not fit, `len(words)` where too few do; None if all is well."""
    state = grammar.parse_interactive(start=rule).parser_state
    last = words[-1]
    end = Word(END, "", last.end, last.end, last.line, last.column, last.source)
    for index, word in enumerate([*words, end]):
        try:
            state.feed_token(word, is_end=word is end)
        except UnexpectedToken:
            return index
        except GenomeError as error:  # what else is wrong with it does not matter
            last.source.report(error.diagnostics[-1])
            return None
    return None


def _expected(rule: str, words: list[Word], grammar: Lark) -> set[str]:
    """The terminals that may follow these words."""
    parser = grammar.parse_interactive(start=rule)
    conf = copy(parser.parser_state.parse_conf)
    conf.callbacks = {}  # only the states matter
    parser.parser_state.parse_conf = conf
    for word in words:
        parser.parser_state.feed_token(word)
    return set(parser.accepts())
