"""Where a cursor stands in the beginning of a genome: what may follow, what is open around it, which names it sees.

The parser's own stack says all of it: behind the finished definitions lie the words and the finished expressions of
the statement that the text ends in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, get_args

from lark.exceptions import UnexpectedToken
from lark.tree import Tree

from foundry.dsl.brackets import pair
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.expectation import describe
from foundry.dsl.lexer import Source, Word
from foundry.dsl.parse import grammar, lexer
from foundry.dsl.source import MAX_BYTES, byte_length
from foundry.dsl.syntax import Argument, Binding, Call, Definition, Expr, Name, Parameter

_EXPRESSIONS = get_args(Expr)
# A word or a number that the cursor may stand in the middle of.
_PARTIAL = re.compile(
    r"(?<![A-Za-z0-9_.@])(?:@[A-Za-z]*|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9.]*(?:[eE][+-]?[0-9]*)?|\.[0-9]+(?:[eE][+-]?[0-9]*)?)\Z"
)


@dataclass
class Open:
    """A bracket that is open at the cursor, or the text itself.

    kind: text, call, parameters, group, list or block. function: what a call calls. given: arguments that a call has,
    a name for each, "" for those by position. name: of the argument, parameter, binding or definition whose value the
    cursor stands in. names: what is bound here so far. piped: whether what stands before a call is led into it.
    """

    kind: str
    function: Expr | None = None
    given: list[str] = field(default_factory=list)
    name: str = ""
    names: dict[str, str] = field(default_factory=dict)
    lambdas: list[str] = field(default_factory=list)
    piped: bool = False


@dataclass(frozen=True)
class Cursor:
    """A place in a genome.

    start: characters of the text before the word in which the cursor stands. partial: that word so far.
    expects: the terminals that may stand there. fresh: whether a comma or a bracket, or nothing, stands before it, so
    that an argument, a binding or a definition may begin. open: what is open, outermost first. definitions: those that
    are finished. problem: why nothing can follow, "" where something can.
    """

    start: int
    partial: str = ""
    expects: frozenset[str] = frozenset()
    fresh: bool = False
    open: tuple[Open, ...] = (Open("text"),)
    definitions: tuple[Definition, ...] = ()
    problem: str = ""


def offset(text: str, line: int, column: int) -> int | None:
    """The index of a place given by its line and column, both from 1; None where the text has no such place."""
    lines = text.split("\n")
    if not (1 <= line <= len(lines) and 1 <= column <= len(lines[line - 1]) + 1):
        return None
    return sum(len(before) + 1 for before in lines[: line - 1]) + column - 1


def locate(before: str) -> Cursor:
    """The cursor at the end of a text; never raises."""
    if len(before) > MAX_BYTES or byte_length(before) > MAX_BYTES:
        return Cursor(len(before), problem="the text is larger than a genome may be")
    found = _PARTIAL.search(before)
    start = found.start() if found else len(before)
    stem = before[:start]
    source = Source(stem, "")
    try:
        words = lexer().words(source)
    except GenomeError as error:
        return Cursor(start, problem=_said(error))
    if _in_comment(stem, words):
        return Cursor(len(before), problem="a comment runs to the end of its line")
    if source.problems:
        return Cursor(start, problem=_said(GenomeError(tuple(source.problems))))
    try:
        stack, expects = _feed("start", words[:-1])
    except (GenomeError, UnexpectedToken) as error:
        stack, expects = _last_definition(words)
        if not expects:
            return Cursor(start, problem=_said(error))
    reader = _Reader()
    for part in _flat(stack):
        reader.read(part)
    partial = before[start:]
    return Cursor(start, partial, expects, reader.fresh, tuple(reader.open), tuple(reader.definitions))


def _said(error: Exception) -> str:
    if isinstance(error, GenomeError):
        problem = error.diagnostics[0]
        return f"{problem.span.line}:{problem.span.column}: {problem.message}"
    assert isinstance(error, UnexpectedToken)
    word: Any = error.token
    return f"{word.line}:{word.column}: {describe(word)} does not fit here"


def _in_comment(stem: str, words: list[Word]) -> bool:
    """Whether a text ends inside a comment: one follows its last word, and no end of line follows that."""
    data = stem.encode("utf-8", "surrogatepass")
    tail = data[words[-2].end if len(words) > 1 else 0 :].replace(b"\r", b"\n")
    return b"#" in tail.rsplit(b"\n", 1)[-1]


def _feed(rule: str, words: list[Word]) -> tuple[list[Any], frozenset[str]]:
    """The parser's stack behind some words, and the terminals that may follow.

    Raises:
        UnexpectedToken, GenomeError: the words do not begin as the rule says, or nest too deeply.
    """
    parser = grammar().parse_interactive(start=rule)
    for word in words:
        parser.parser_state.feed_token(word)
    return parser.parser_state.value_stack, frozenset(parser.accepts())


def _last_definition(words: list[Word]) -> tuple[list[Any], frozenset[str]]:
    """The same for the last definition alone, where those before it have mistakes; nothing where it has one itself."""
    ends = [end for end in pair(words, 0).ends if end < len(words) - 1]
    starts = ends[-1:] + [len(words) - 1] * (len(words) > 1 and words[-2].type == "SEMICOLON")
    for start in starts:
        try:
            return _feed("definition", words[start:-1])
        except (GenomeError, UnexpectedToken):
            continue
    return [], frozenset()


def _flat(parts: list[Any]) -> list[Any]:
    """The parser's stack without the lists that it makes of what repeats."""
    return [inner for part in parts for inner in (_flat(part.children) if isinstance(part, Tree) else [part])]


class _Reader:
    """Reads the parser's stack from its bottom: words, and (node, depth, first word, last word) of finished rules."""

    def __init__(self) -> None:
        self.open = [Open("text")]
        self.definitions: list[Definition] = []
        self.before: Any = None  # the part before
        self.earlier: Any = None  # and the one before that
        self.parameters: list[str] = []  # of the function whose body has not begun
        self.fresh = True

    def read(self, part: Any) -> None:
        if isinstance(part, Word):
            self.word(part)
            self.fresh = part.type in ("LPAR", "LBRACKET", "LBRACE", "COMMA", "SEMICOLON")
        elif isinstance(part[0], tuple):
            for item in part[0]:
                self.item(item)
            self.fresh = False
        else:
            self.item(part[0])
            self.fresh = isinstance(part[0], (Definition, Binding)) or part[0] == 1  # the header's version
        self.earlier, self.before = self.before, part

    def item(self, node: Any) -> None:
        here = self.open[-1]
        if isinstance(node, Definition):
            self.definitions.append(node)
        elif isinstance(node, Binding):
            here.names[node.name] = "binding"
        elif isinstance(node, Parameter):
            here.names[node.name] = "parameter"
        elif isinstance(node, Argument):
            here.given.append(node.name)

    def word(self, word: Word) -> None:
        here = self.open[-1]
        match word.type:
            case "LPAR":
                self.open.append(self.parenthesis())
            case "LBRACKET":
                self.open.append(Open("list"))
            case "LBRACE":
                self.open.append(Open("block"))
            case "RPAR" | "RBRACKET" | "RBRACE":
                if here.kind == "parameters":
                    self.parameters = list(here.names)
                if len(self.open) > 1:
                    self.open.pop()
            case "EQUAL":
                if isinstance(self.before, Word) and self.before.type == "NAME":
                    here.name = self.before.text
                elif here.kind == "text":
                    here.lambdas += self.parameters
            case "ARROW":
                here.lambdas += self.parameters
            case "COMMA":
                self.comma(here)
            case "SEMICOLON":
                if here.kind == "block" and here.name:
                    here.names[here.name] = "binding"
                here.name, here.lambdas = "", []

    def comma(self, here: Open) -> None:
        if isinstance(self.before, Word) and self.before.type == "NAME" and here.kind == "parameters":
            here.names[self.before.text] = "parameter"
        here.name, here.lambdas = "", []

    def parenthesis(self) -> Open:
        """What a parenthesis opens."""
        if isinstance(self.before, Word):
            kind = "parameters" if self.before.type in ("FN", "NAME") else "group"
            opened = Open(kind)
            if self.before.type == "NAME":
                opened.name, self.open[-1].name = "", self.before.text
            return opened
        node = self.before[0] if self.before else None
        if isinstance(node, _EXPRESSIONS):
            piped = isinstance(self.earlier, Word) and self.earlier.type in ("PIPE", "STAR")
            return Open("call", function=node, piped=piped)
        return Open("group")


def callee(function: Expr | None, given: list[str]) -> tuple[str, list[str]]:
    """The name that a call calls, "" where it is none, and all arguments that it has: `f(a = 1)(b = 2)` calls f."""
    while isinstance(function, Call):
        given = [*(argument.name for argument in function.arguments), *given]
        function = function.function
    return (function.id if isinstance(function, Name) else ""), given
