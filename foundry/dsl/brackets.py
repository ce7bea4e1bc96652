"""Which bracket closes which, and where definitions end, in words that may be unbalanced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, Label
from foundry.dsl.lexer import CLOSERS, END, OPENERS, Word

SIGNS = {"LPAR": "(", "RPAR": ")", "LBRACKET": "[", "RBRACKET": "]", "LBRACE": "{", "RBRACE": "}"}

_CHANGE = {"LPAR": -1, "LBRACKET": -1, "RPAR": 1, "RBRACKET": 1}


@dataclass
class Pairs:
    """The outcome of pairing.

    closer: the index of the closing bracket by that of its opening one.
    ends: where definitions end, as indices behind their last word.
    problems: one for every independent mistake.
    wrong: byte offsets of brackets that have no partner.
    """

    closer: dict[int, int] = field(default_factory=dict)
    ends: list[int] = field(default_factory=list)
    problems: list[Diagnostic] = field(default_factory=list)
    wrong: list[int] = field(default_factory=list)


def pair(words: list[Word], start: int) -> Pairs:
    """Pair the brackets of `words[start:]`.

    A `;` closes every parenthesis and list. Where brackets do not balance, a line that begins like
    a definition closes everything, so that one missing brace does not swallow the rest of the text.
    """
    pairs = _pair(words, start, lambda index: False)
    if pairs.problems:
        pairs = _pair(words, start, lambda index: _looks_like_definition(words, index))
    return pairs


def _looks_like_definition(words: list[Word], index: int) -> bool:
    word, after = words[index], words[min(index + 1, len(words) - 1)]
    return word.type == "NAME" and word.column == 1 and after.type in ("EQUAL", "LPAR")


def _pair(words: list[Word], start: int, ends_before: Callable[[int], bool]) -> Pairs:
    pairs = Pairs()
    stack: list[int] = []
    problems: list[Diagnostic] = []  # of this statement: the first says what is wrong, the others follow from it
    for index in range(start, len(words)):
        word = words[index]
        if word.type == END or ends_before(index):
            if stack:
                pairs.wrong.extend(words[i].start for i in stack)
                problems.append(_unclosed(words, stack, index))
                stack.clear()
            if index > start and pairs.ends[-1:] != [index]:
                pairs.ends.append(index)
        if word.type in OPENERS:
            stack.append(index)
        elif word.type in CLOSERS:
            if stack and words[stack[-1]].type == CLOSERS[word.type]:
                pairs.closer[stack.pop()] = index
            else:
                pairs.wrong.append(word.start)
                problems.append(_wrong_closer(pairs, words, stack, index))
        elif word.type == "SEMICOLON":
            inner = _innermost_block(words, stack)
            if inner < len(stack) and _closed_later(words, index, len(stack) - inner):
                problems.append(_inside_parentheses(words, stack, index))
            else:
                if inner < len(stack):
                    pairs.wrong.extend(words[i].start for i in stack[inner:])
                    problems.append(_unclosed(words, stack[inner:], index))
                    del stack[inner:]
                pairs.problems += problems[:1]
                problems.clear()
            if not stack:
                pairs.ends.append(index + 1)
    pairs.problems += problems[:1]
    return pairs


def _innermost_block(words: list[Word], stack: list[int]) -> int:
    """How many brackets are open up to and with the innermost block."""
    inner = len(stack)
    while inner and words[stack[inner - 1]].type != "LBRACE":
        inner -= 1
    return inner


def _closed_later(words: list[Word], index: int, count: int) -> bool:
    """Whether `count` open parentheses and lists are closed between the word at `index` and the next `;`."""
    for word in words[index + 1 :]:
        if word.type in ("SEMICOLON", "LBRACE", "RBRACE", END):
            return False
        count -= _CHANGE.get(word.type, 0)
        if count == 0:
            return True
    return False


def _inside_parentheses(words: list[Word], stack: list[int], index: int) -> Diagnostic:
    opener, word = words[stack[-1]], words[index]
    return Diagnostic(
        "F101",
        f"`;` stands inside `{opener.text}{SIGNS[OPENERS[opener.type]]}`",
        word.span,
        labels=(Label(opener.span, f"this `{opener.text}`"),),
        expected=("`,`",),
        found="`;`",
        help="arguments and items of a list are separated by `,`",
        fixes=(Fix("write `,`", (Edit(word.start, word.end, ","),)),),
    )


def _unclosed(words: list[Word], openers: list[int], index: int) -> Diagnostic:
    """The error for brackets that are still open where they can no longer be."""
    opener, word, before = words[openers[-1]], words[index], words[index - 1]
    closers = "".join(SIGNS[OPENERS[words[i].type]] for i in reversed(openers))
    found = "the end of the text" if word.type == END else f"`{word.text}`"
    missing = Edit(before.end, before.end, closers if word.type == "SEMICOLON" else closers + ";")
    return Diagnostic(
        "F101",
        f"`{opener.text}` is not closed before {found}",
        word.span,
        labels=tuple(Label(words[i].span, f"this `{words[i].text}`") for i in reversed(openers[-3:])),
        expected=(f"`{closers[0]}`",),
        found=found,
        help=f"close it with `{closers}`",
        fixes=(Fix(f"insert `{missing.text}`", (missing,)),),
    )


def _wrong_closer(pairs: Pairs, words: list[Word], stack: list[int], index: int) -> Diagnostic:
    """The error for a closing bracket that does not fit; the stack becomes what was likeliest meant."""
    word, before = words[index], words[index - 1]
    here = f"`{word.text}`"
    outer = any(words[i].type == CLOSERS[word.type] for i in stack)
    parentheses = len(stack) - _innermost_block(words, stack)
    if not outer and (parentheses == 0 or _closed_later(words, index, parentheses)):
        fixes = (Fix("remove it", (Edit(word.start, word.end, ""),)),)
        help = "remove it, or open the bracket earlier"
        return Diagnostic("F101", f"{here} closes nothing", word.span, found=here, help=help, fixes=fixes)
    opener = words[stack[-1]]
    due = SIGNS[OPENERS[opener.type]]
    if outer:  # an inner bracket was left open
        edit = Edit(before.end, before.end, due)
        while words[stack[-1]].type != CLOSERS[word.type]:
            pairs.wrong.append(words[stack.pop()].start)
        pairs.closer[stack.pop()] = index
    else:  # one kind was written for another
        edit = Edit(word.start, word.end, due)
        stack.pop()
    return Diagnostic(
        "F101",
        f"`{opener.text}` is closed by {here}",
        word.span,
        labels=(Label(opener.span, f"this `{opener.text}`"),),
        expected=(f"`{due}`",),
        found=here,
        help=f"close it with `{due}`",
        fixes=(Fix(f"{'insert' if edit.start == edit.end else 'write'} `{due}`", (edit,)),),
    )
