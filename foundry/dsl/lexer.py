"""Text to words: positions in bytes and in lines, comments and the statements they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from foundry.dsl.diagnostics import Diagnostic, GenomeError
from foundry.dsl.foreign import CHOOSE, FOREIGN, KEYWORDS, each_counts, foreign_sign, foreign_word, not_a_number
from foundry.dsl.source import MAX_DEPTH, MAX_WORDS, byte_length
from foundry.dsl.syntax import Span

OPENERS = {"LPAR": "RPAR", "LBRACKET": "RBRACKET", "LBRACE": "RBRACE"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
END = "$END"
CLOSING = -1  # the place of comments behind the last definition
MAX_PROBLEMS = 20  # what a reader can use; a text with more of them is no genome

_NUMBER_GOES_ON = re.compile(r"[A-Za-z0-9_.]+")
_DEPTH_CHANGE = dict.fromkeys(OPENERS, 1) | dict.fromkeys(CLOSERS, -1)


@dataclass
class Source:
    """A text while it is being parsed: its file, the comments by statement, and what is wrong so far.

    comments: lines by the byte offset of the first word of the statement that they belong to; those
        at CLOSING close the text. An empty line separates paragraphs.
    """

    text: str
    file: str
    comments: dict[int, tuple[str, ...]] = field(default_factory=dict)
    problems: list[Diagnostic] = field(default_factory=list)

    def report(self, problem: Diagnostic) -> None:
        """Note a mistake; that a name is taken is said once, however often it is used.

        Raises:
            GenomeError: there are MAX_PROBLEMS.
        """
        if problem.help == CHOOSE and any(problem.message == known.message for known in self.problems):
            return
        self.problems.append(problem)
        if len(self.problems) >= MAX_PROBLEMS:
            raise GenomeError(tuple(self.problems), self.text)


class Word:
    """A terminal of the grammar in the text: bytes `[start, end)`, 1-based line and column (characters)."""

    __slots__ = ("column", "end", "line", "source", "start", "text", "type")

    def __init__(self, type: str, text: str, start: int, end: int, line: int, column: int, source: Source):
        self.type, self.text, self.start, self.end = type, text, start, end
        self.line, self.column, self.source = line, column, source

    @property
    def span(self) -> Span:
        return Span(self.start, self.end, self.line, self.column, self.source.file)

    def __repr__(self) -> str:
        return f"<{self.type} {self.text!r} {self.line}:{self.column}>"


class Group(Word):
    """A whole block as one word. It counts as a number, which may stand wherever a block may."""

    __slots__ = ("closer",)

    def __init__(self, opener: Word, closer: Word):
        super().__init__("NUMBER", "0", opener.start, closer.end, opener.line, opener.column, opener.source)
        self.closer = closer


@dataclass(frozen=True)
class Remark:
    """A comment: the index of the word that follows it, its line, and its text without `#`."""

    index: int
    line: int
    text: str


class Lexer:
    """Cuts text into words by the terminals of a grammar.

    fixed: terminals that are one text; patterns: regular expressions of the others; ignored: the
    names of those that leave no word. COMMENT, NAME and NUMBER are known by these names.
    """

    def __init__(self, fixed: dict[str, str], patterns: dict[str, str], ignored: set[str]):
        self.keywords = {text: name for name, text in fixed.items() if text.isidentifier()}
        self.types = {text: name for name, text in fixed.items()}
        signs = sorted(set(fixed) - set(self.keywords.values()), key=lambda name: (-len(fixed[name]), name))
        order = sorted(patterns, key=lambda name: name not in ignored)
        parts = [f"(?P<{name}>{patterns[name]})" for name in order]
        parts.append(f"(?P<FOREIGN>{FOREIGN})")
        parts += [f"(?P<{name}>{re.escape(fixed[name])})" for name in signs]
        self.match = re.compile("|".join(parts)).match
        self.ignored = ignored

    def words(self, source: Source) -> list[Word]:
        """The words of a text, an END word last.

        What is no word is reported in `source.problems`; where its meaning is plain, the word that it stands
        for takes its place, so that the rest of the text can be read.

        Raises:
            GenomeError: more words or deeper brackets than a genome may have (F106, F103), or
                MAX_PROBLEMS mistakes.
        """
        text, match, ignored, keywords = source.text, self.match, self.ignored, self.keywords
        words: list[Word] = []
        remarks: list[Remark] = []
        position, line, line_start, length = 0, 1, 0, len(text)
        shift = 0  # bytes less characters so far
        depth = 0  # of brackets
        python = False  # whether this statement has been found to be Python
        told = 0  # the line of this statement about which something has been said
        foreign = 0  # signs that left no word; they count as words
        while position < length:
            found = match(text, position)
            kind = found.lastgroup if found else "FOREIGN"
            end = found.end() if found else position + 1
            content = text[position:end]
            if kind in ignored:
                if kind == "COMMENT":
                    remarks.append(Remark(len(words), line, content[1:].removeprefix(" ").rstrip()))
                    shift += byte_length(content) - len(content)
                elif "\n" in content:
                    line += content.count("\n")
                    line_start = position + content.rindex("\n") + 1
                position = end
                continue
            word = Word(kind or "", content, position + shift, end + shift, line, position - line_start + 1, source)
            if kind == "NAME":
                if content in keywords:
                    word.type = keywords[content]
                elif content in KEYWORDS:
                    problem, stands_for = foreign_word(content, word.span)
                    operator = stands_for in ("&", "|", "!")
                    if operator or not (python or told == line):
                        source.report(problem)
                        told = line
                    python = python or not (operator or problem.help == CHOOSE)
                    word.type = self.types.get(stands_for, "NUMBER" if stands_for.isdigit() else "NAME")
                    word.text = stands_for or content
            elif kind == "NUMBER":
                if more := _NUMBER_GOES_ON.match(text, end):
                    end = more.end()
                    word.end = end + shift
                    if told != line:
                        source.report(not_a_number(text[position:end], word.span))
                        told = line
                    word.text = "1"
            elif kind == "FOREIGN":
                before = words[-1].type if words else ""
                problem, stands_for, end = foreign_sign(text, position, word.span, before)
                extra = text[position:end]
                shift += byte_length(extra) - len(extra)
                if "\n" in extra:
                    line += extra.count("\n")
                    line_start = position + extra.rindex("\n") + 1
                if problem.fixes or each_counts(extra) or not (told == line or (python and extra == ":")):
                    source.report(problem)
                    told = line
                position = end
                if not stands_for:
                    foreign += 1
                    if len(words) + foreign > MAX_WORDS:
                        raise GenomeError((_too_long(word),), text)
                    continue
                word.end = end + shift
                word.type, word.text = self.types.get(stands_for, "NAME"), stands_for
            elif kind == "SEMICOLON":
                python, told = False, 0
            elif kind in _DEPTH_CHANGE:
                depth += _DEPTH_CHANGE[kind]
                if depth > MAX_DEPTH:
                    raise GenomeError((_too_deep(word),), text)
            words.append(word)
            if len(words) > MAX_WORDS:
                raise GenomeError((_too_long(word),), text)
            position = end
        end_column = length - line_start + 1
        words.append(Word(END, "", length + shift, length + shift, line, end_column, source))
        if remarks:
            source.comments = _by_statement(words, remarks)
        return words


def _too_deep(word: Word) -> Diagnostic:
    message = f"brackets nest deeper than {MAX_DEPTH}"
    return Diagnostic("F103", message, word.span, help="give the inner parts names of their own")


def _too_long(word: Word) -> Diagnostic:
    message = f"the genome has more than {MAX_WORDS:,} words"
    return Diagnostic("F106", message, word.span, help="say what repeats once: `n * f` is n copies of f")


def _by_statement(words: list[Word], remarks: list[Remark]) -> dict[int, tuple[str, ...]]:
    """Comments by the offset of the first word of their statement, or CLOSING.

    A comment belongs to the innermost statement around it, to the one that follows it where it
    stands between two, and to the one before it where it stands behind its `;` on the same line.
    """
    owners: dict[int, list[str]] = {}
    lines: dict[int, Remark] = {}
    inside = [words[0].start]  # the statements around this place, innermost last
    brackets: list[str] = []
    last = words[0].start  # the statement that ended last
    fresh = True  # whether the next word begins a statement
    waiting = iter(remarks)
    remark = next(waiting, None)
    for index, word in enumerate(words):
        while remark is not None and remark.index == index:
            owner = inside[-1]
            if fresh:
                before = words[index - 1] if index else word
                same_line = before.line == remark.line and index > 0
                if same_line and before.type == "SEMICOLON":
                    owner = last
                elif same_line and before.type == "LBRACE" and len(inside) > 1:
                    owner = inside[-2]
                else:
                    owner = {END: CLOSING, "RBRACE": last}.get(word.type, word.start)
            paragraph = owners.setdefault(owner, [])
            previous = lines.get(owner)
            if paragraph and previous and previous.index == index and previous.line < remark.line - 1:
                paragraph.append("")
            paragraph.append(remark.text)
            lines[owner] = remark
            remark = next(waiting, None)
        if remark is None:
            break
        if fresh:
            inside[-1], fresh = word.start, False
        if word.type in OPENERS:
            brackets.append(word.type)
            if word.type == "LBRACE":
                inside.append(word.start)
                fresh = True
        elif word.type in CLOSERS and brackets:
            if brackets.pop() == "LBRACE":
                inside.pop()
        elif word.type == "SEMICOLON" and brackets[-1:] in ([], ["LBRACE"]):
            last, fresh = inside[-1], True
    return {owner: tuple(paragraph) for owner, paragraph in owners.items()}
