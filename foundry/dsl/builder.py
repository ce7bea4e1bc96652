"""Nodes of the syntax tree, made while the parser completes the grammar's rules."""

from __future__ import annotations

import math
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError, Label
from foundry.dsl.lexer import Word
from foundry.dsl.source import MAX_DEPTH, MAX_DIGITS
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Parameter,
    Span,
    Unary,
)

VERSION = 1

# A grammar rule's value on the parser's stack: its node, how deep that is, and its first and last word. The
# words of a node in parentheses include them; its own span does not.
Part = tuple[Any, int, Word, Word]


class Builder:
    """Makes nodes as the parser completes rules, one method per rule or alias of the grammar.

    Nothing here calls itself, so that no text can exhaust the stack: a node knows its depth from
    its children's.
    """

    def start(self, parts: list[Any]) -> Genome:
        header, definitions = parts[0], tuple(part[0] for part in parts[1:])
        version, _, first, _ = header
        report_repeats("definition", [(part[0].name, part[2]) for part in parts[1:]])
        end = parts[-1][3]
        comments = first.source.comments
        return Genome(version, definitions, _span(first, end), comments.get(first.start, ()), comments.get(-1, ()))

    def header(self, parts: list[Word]) -> Part:
        word = parts[2]
        if word.text != str(VERSION):
            shown = word.text[:20]
            fix = Fix(f"write {VERSION}", (Edit(word.start, word.end, str(VERSION)),))
            help = f"this compiler reads version {VERSION}"
            message = f"language version {shown} is not known"
            word.source.report(
                Diagnostic("F105", message, word.span, expected=(str(VERSION),), found=shown, help=help, fixes=(fix,))
            )
        return VERSION, 0, parts[0], parts[-1]

    def value_definition(self, parts: list[Any]) -> Part:
        name, _, (value, depth, _, _), end = parts
        comments = name.source.comments.get(name.start, ())
        return Definition(name.text, None, value, _span(name, end), comments), depth, name, end

    def function_definition(self, parts: list[Any]) -> Part:
        name, _, (parameters, depth), _, _, (value, inner, _, _), end = parts
        depth = _limit(max(depth, inner) + 1, name, end)
        comments = name.source.comments.get(name.start, ())
        return Definition(name.text, parameters, value, _span(name, end), comments), depth, name, end

    def parameters(self, parts: list[Any]) -> tuple[tuple[Parameter, ...], int]:
        items = parts[::2]
        report_repeats("parameter", [(item[0].name, item[2]) for item in items])
        return tuple(item[0] for item in items), max([item[1] for item in items], default=0)

    def parameter(self, parts: list[Any]) -> Part:
        name = parts[0]
        if len(parts) == 1:
            return Parameter(name.text, None, name.span), 0, name, name
        value, depth, _, last = parts[2]
        return Parameter(name.text, value, _span(name, last)), depth, name, last

    def number(self, parts: list[Word]) -> Part:
        word = parts[0]
        return Number(_value(word), word.span), 1, word, word

    def name(self, parts: list[Word]) -> Part:
        word = parts[0]
        return Name(word.text, word.span), 1, word, word

    def parenthesised(self, parts: list[Any]) -> Part:
        node, depth, _, _ = parts[1]
        return node, depth, parts[0], parts[2]

    def function(self, parts: list[Any]) -> Part:
        first, (parameters, depth), (body, inner, _, last) = parts[0], parts[2], parts[5]
        depth = _limit(max(depth, inner) + 1, first, last)
        return Function(parameters, body, _span(first, last)), depth, first, last

    def binary(self, parts: list[Any]) -> Part:
        (left, a, first, _), operator, (right, b, _, last) = parts
        depth = _limit(max(a, b) + 1, first, last)
        return Binary(operator.text, left, right, _span(first, last)), depth, first, last

    def unary_operator(self, parts: list[Any]) -> Part:
        operator, (operand, depth, _, last) = parts
        depth = _limit(depth + 1, operator, last)
        return Unary(operator.text, operand, _span(operator, last)), depth, operator, last

    def call(self, parts: list[Any]) -> Part:
        (function, depth, first, _), (arguments, inner), last = parts[0], parts[2], parts[3]
        depth = _limit(max(depth, inner) + 1, first, last)
        return Call(function, arguments, _span(first, last)), depth, first, last

    def arguments(self, parts: list[Any]) -> tuple[tuple[Argument, ...], int]:
        items = parts[::2]
        report_repeats("argument", [(item[0].name, item[2]) for item in items if item[0].name])
        return tuple(item[0] for item in items), max([item[1] for item in items], default=0)

    def argument(self, parts: list[Any]) -> Part:
        value, depth, first, last = parts[-1]
        if len(parts) == 1:
            return Argument("", value, _span(first, last)), depth, first, last
        return Argument(parts[0].text, value, _span(parts[0], last)), depth, parts[0], last

    def items(self, parts: list[Any]) -> tuple[tuple[Any, ...], int]:
        return tuple(item[0] for item in parts[::2]), max([item[1] for item in parts[::2]], default=0)

    def list_of(self, parts: list[Any]) -> Part:
        first, (items, depth), last = parts
        depth = _limit(depth + 1, first, last)
        return ListOf(items, _span(first, last)), depth, first, last

    def binding(self, parts: list[Any]) -> Part:
        name, _, (value, depth, _, _), end = parts
        comments = name.source.comments.get(name.start, ())
        return Binding(name.text, value, _span(name, end), comments), depth, name, end

    def block(self, parts: list[Any]) -> Part:
        first, last = parts[0], parts[-1]
        inside = [part for part in parts[1:-1] if type(part) is tuple]
        depth = _limit(max(part[1] for part in inside) + 1, first, last)
        result = inside.pop()
        comments = first.source.comments.get(result[2].start, ())
        bindings = tuple(part[0] for part in inside)
        return Block(bindings, result[0], _span(first, last), comments), depth, first, last


def _span(first: Word, last: Word) -> Span:
    return Span(first.start, last.end, first.line, first.column, first.source.file)


def _limit(depth: int, first: Word, last: Word) -> int:
    """The depth, if a genome may nest so deeply; raise F103 otherwise."""
    if depth > MAX_DEPTH:
        message = f"the expression nests deeper than {MAX_DEPTH}"
        help = "give the inner parts names of their own"
        raise GenomeError((Diagnostic("F103", message, _span(first, last), help=help),), first.source.text)
    return depth


def _value(word: Word) -> int | float:
    """The value of a NUMBER: an integer where it has neither point nor exponent."""
    digits = sum(character.isdigit() for character in word.text)
    if digits > MAX_DIGITS:
        help = f"a number has at most {MAX_DIGITS} digits"
        word.source.report(Diagnostic("F104", f"the number has {digits:,} digits", word.span, help=help))
        return 0
    if word.text.isdigit():
        return int(word.text)
    value = float(word.text)
    if math.isinf(value):
        help = "numbers are 64-bit floats, which end at 1.8e308"
        word.source.report(
            Diagnostic("F104", f"the number {word.text} is not finite", word.span, found=word.text, help=help)
        )
        return 0
    return value


def report_repeats(what: str, names: list[tuple[str, Word]]) -> None:
    """Report every name that is given a second time; `what` says what it names."""
    seen: dict[str, Word] = {}
    for name, word in names:
        first = seen.setdefault(name, word)
        if first is not word:
            shown = name if len(name) <= 40 else name[:40] + "…"
            message = f"a second {what} is called `{shown}`"
            labels = (Label(_name_span(name, first), "the first stands here"),)
            help = "remove one of them, or rename it"
            word.source.report(
                Diagnostic("F203", message, _name_span(name, word), labels=labels, found=f"`{shown}`", help=help)
            )


def _name_span(name: str, word: Word) -> Span:
    return Span(word.start, word.start + len(name), word.line, word.column, word.source.file)
