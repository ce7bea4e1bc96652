"""A text as words, whatever language it is in: where its brackets close, and how far an operand reaches."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass, field

from foundry.dsl.diagnostics import Edit
from foundry.dsl.source import byte_length

_WORD = re.compile(
    r"(?P<skipped>\s+|#[^\r\n]*)|[A-Za-z_][A-Za-z0-9_]*|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
    r"|\.\.\.|\*\*|=>|->|>>|<=|>=|==|!=|\+=|-=|\*=|/=|//|&&|\|\||.",
    re.DOTALL,
)
_CLOSERS = {"(": ")", "[": "]", "{": "}"}
_EDGES = {",", ";", "=", "=>", "->", ">>", ":", "return", "if", "else", "lambda"}  # where an expression begins or ends
_FACTORS = {"*", "/", "//", "%", "**"}


@dataclass(frozen=True)
class Word:
    """A word and its bytes `[start, end)`."""

    text: str
    start: int
    end: int

    @property
    def is_value(self) -> bool:
        """Whether an expression may begin with the word, or consist of it."""
        return (self.text[0].isalnum() or self.text[0] in "_.") and self.text not in _EDGES


@dataclass
class Words:
    """The words of a text, white space and comments left out.

    partner: the index of the bracket that closes or opens each one that has its like.
    """

    data: bytes
    words: list[Word] = field(default_factory=list)
    partner: dict[int, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.words)

    def __getitem__(self, index: int) -> Word:
        return self.words[index]

    def text(self, index: int) -> str:
        """The word at an index, "" beyond the ends."""
        return self.words[index].text if 0 <= index < len(self.words) else ""

    def at(self, offset: int) -> int:
        """The index of the first word that begins at a byte or behind it."""
        return bisect_left(self.words, offset, key=lambda word: word.start)

    def source(self, first: int, stop: int) -> str:
        """The text of the words `first` to `stop - 1`, with what stands between them."""
        return self.data[self.words[first].start : self.words[stop - 1].end].decode() if first < stop else ""

    def edit(self, first: int, stop: int, text: str) -> Edit:
        """The words `first` to `stop - 1` replaced."""
        return Edit(self.words[first].start, self.words[stop - 1].end, text)

    def before(self, index: int, text: str) -> Edit:
        """A text put before a word."""
        return Edit(self.words[index].start, self.words[index].start, text)

    def behind(self, index: int, text: str) -> Edit:
        """A text put behind a word."""
        return Edit(self.words[index].end, self.words[index].end, text)

    def closer(self, index: int) -> int:
        """The bracket that closes the one at an index; of any other word itself."""
        return max(index, self.partner.get(index, index))

    def opener(self, index: int) -> int:
        """The bracket that opens the one at an index; of any other word itself."""
        return min(index, self.partner.get(index, index))

    def operand_before(self, index: int) -> int:
        """The first word of the call, name, number or group that ends before `index`; `index` where there is none."""
        first = index
        while first > 0:
            word = self.words[first - 1]
            if word.text in (")", "]", "}") and first - 1 in self.partner:
                first = self.partner[first - 1]
                if first > 0 and (self.words[first - 1].is_value or self.words[first - 1].text == ")"):
                    continue  # what is called
                return first
            return first - 1 if word.is_value and (first == index or self.text(first) in ("(", "[")) else first
        return first

    def operand_after(self, index: int) -> int:
        """The end of the operand that begins behind `index`; `index + 1` where there is none."""
        stop = index + 1
        while self.text(stop) in ("-", "!"):
            stop += 1
        if stop < len(self.words) and (self.words[stop].is_value or stop in self.partner):
            stop = self.closer(stop) + 1
            while self.text(stop) == "(" and stop in self.partner:
                stop = self.partner[stop] + 1
        return stop

    def product_before(self, index: int) -> int:
        """The first word of the product that ends before `index`."""
        first = self.operand_before(index)
        while first < index and self.text(first - 1) in _FACTORS:
            index, first = first - 1, self.operand_before(first - 1)
        return min(first, index)

    def left_edge(self, index: int) -> int:
        """The first word of the expression around `index`, which brackets, commas and arrows end."""
        while index > 0:
            word = self.words[index - 1].text
            if word in _EDGES or word in _CLOSERS or (word in _CLOSERS.values() and index - 1 not in self.partner):
                return index
            index = self.opener(index - 1)
        return index

    def right_edge(self, index: int) -> int:
        """The end of the expression that goes on at `index`."""
        while index < len(self.words):
            word = self.words[index].text
            if (word in _EDGES and word not in ("=>", ">>")) or word in _CLOSERS.values():
                return index
            index = self.closer(index) + 1
        return index

    def bare(self, first: int, stop: int) -> str:
        """The text of an operand without the parentheses around the whole of it."""
        while self.text(first) == "(" and self.partner.get(first) == stop - 1:
            first, stop = first + 1, stop - 1
        return self.source(first, stop)

    def without(self, first: int, stop: int) -> Edit:
        """An item of a list of arguments or parameters removed, with a comma beside it."""
        if self.text(first - 1) == ",":
            return Edit(self.words[first - 2].end, self.words[stop - 1].end, "")
        if self.text(stop) == "," and stop + 1 < len(self.words):
            return Edit(self.words[first].start, self.words[stop + 1].start, "")
        return self.edit(first, stop, "")


def cut(text: str) -> Words:
    """The words of a text."""
    found = Words(text.encode("utf-8", "surrogatepass"))
    shift, ascii_only = 0, text.isascii()
    stack: list[int] = []
    for match in _WORD.finditer(text):
        content = match.group()
        start = match.start() + shift
        if not ascii_only:
            shift += byte_length(content) - len(content)
        if match.lastgroup == "skipped":
            continue
        index = len(found.words)
        found.words.append(Word(content, start, match.end() + shift))
        if content in _CLOSERS:
            stack.append(index)
        elif content in _CLOSERS.values() and stack and _CLOSERS[found.words[stack[-1]].text] == content:
            opener = stack.pop()
            found.partner[opener], found.partner[index] = index, opener
    return found
