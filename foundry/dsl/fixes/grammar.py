"""Fixes for texts that do not follow the grammar: brackets, blocks, and names that are taken or given twice."""

from __future__ import annotations

import re
from collections.abc import Iterator

from foundry.dsl.diagnostics import Edit, Fix
from foundry.dsl.fixes.words import Words

MOST_COMMAS = 3  # that a missing bracket is tried before

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def bracket(words: Words, index: int, due: str) -> Iterator[Fix]:
    """A bracket of the wrong kind, or one that is missing before a comma."""
    if words.text(index) in (")", "]", "}"):
        yield Fix(f"write `{due}`", (words.edit(index, index + 1, due),))
        return
    first = index
    while first > 0 and words.text(first - 1) not in (";", "{", "}"):
        first -= 1
    commas = [at for at in range(first + 1, index) if words.text(at) == ","]
    for comma in commas[:MOST_COMMAS]:
        yield Fix(f"insert `{due}`", (words.behind(comma - 1, due),))


def unopened(words: Words, index: int) -> Iterator[Fix]:
    """A bracket that closes nothing: one is missing where two words stand side by side."""
    opener = {")": "(", "]": "[", "}": "{"}[words.text(index)]
    at = index - 1
    while at > 0 and words.text(at) not in (";", "{"):
        if words[at].is_value and words[at - 1].is_value:
            yield Fix(f"insert `{opener}`", (words.behind(at - 1, opener),))
            return
        at = words.opener(at) - 1


def function(words: Words, index: int) -> Iterator[Fix]:
    """`… >> fn(x) => …`"""
    stop = words.right_edge(index)
    if words.text(index + 1) == "(" and stop > index:
        yield Fix("put the function in parentheses", (words.before(index, "("), words.behind(stop - 1, ")")))


def no_result(words: Words, index: int) -> Iterator[Fix]:
    """`{ x = …; }`"""
    ended = words.text(index - 1) == ";"
    equals = words.left_edge(index - ended) - 1
    name = words.text(equals - 1)
    if words.text(equals) == "=" and _NAME.fullmatch(name):
        yield Fix(f"end with `{name}`", (words.behind(index - 1, f" {name}" if ended else f"; {name}"),))


def given_twice(words: Words, index: int) -> Iterator[Fix]:
    """A definition, a parameter or an argument that is given a second time."""
    name, at = words.text(index), index - 1
    while at >= 0 and words.text(at) not in ("(", "{", "["):
        if words.text(at) == name and words.text(at - 1) in (";", ""):
            yield from (_statement(words, at, "remove the first"), _statement(words, index, "remove the second"))
            return
        at = words.opener(at) - 1
    if words.text(at) == "(":  # among parameters or arguments
        stop = words.right_edge(index)
        stop = words.right_edge(stop + 1) if words.text(stop) == "=" else stop
        yield Fix("remove the second", (words.without(index, stop),))


def _statement(words: Words, index: int, message: str) -> Fix:
    """A definition removed."""
    stop = index
    while stop < len(words) - 1 and words.text(stop) != ";":
        stop = words.closer(stop) + 1
    end = words[stop + 1].start if stop + 1 < len(words) else words[len(words) - 1].end  # it may lack its end
    return Fix(message, (Edit(words[index].start, end, ""),))


def renamed(words: Words, index: int) -> Iterator[Fix]:
    """A name that is a word of Python or of this language, wherever it stands as a name."""
    name = words.text(index)
    new = "f" if name == "fn" else name + "_"
    meant = [at for at in range(len(words)) if words.text(at) == name and (name != "fn" or words.text(at + 1) != "(")]
    if _NAME.fullmatch(name) and all(words.text(at) != new for at in range(len(words))):
        yield Fix(f"call it `{new}`", tuple(words.edit(at, at + 1, new) for at in meant))
