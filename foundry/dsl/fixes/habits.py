"""Fixes for texts that do not parse: what was written in the way of another language, in the way of this one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.fixes import grammar
from foundry.dsl.fixes.members import member
from foundry.dsl.fixes.words import Words, cut
from foundry.dsl.foreign import CHOOSE

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# A function as Python writes it: its head, and the lines that are indented below; a line that binds a name there.
_DEF = re.compile(r"def (\w+)\(([^()]*)\)[^:\n]*:[ \t]*\n((?:[ \t]+[^\n]*\n?|[ \t]*\n)+)")
_BINDING = re.compile(r"#|\w+\s*=[^=]")
_FOR = re.compile(r"for \w+ in range \( (\w+) \) : (\w+) = (\w+) \( \2 \)(?: |$)")
_TYPES = {"Tensor", "int", "float", "bool", "str", "seq", "heads", "number", "torch", "jax", "Array", "Callable"}


def parse_fixes(diagnostic: Diagnostic, text: str) -> Iterator[Fix]:
    """What could be meant where a text does not parse, the likeliest first."""
    words = cut(text)
    index = words.at(diagnostic.span.start)
    if diagnostic.code == "F203":
        yield from grammar.given_twice(words, index)
    elif diagnostic.help == CHOOSE:
        yield from grammar.renamed(words, index)
    elif diagnostic.expected in (("`)`",), ("`]`",), ("`}`",)):
        yield from grammar.bracket(words, index, diagnostic.expected[0].strip("`"))
    elif find := _HABITS.get(words.text(index)):
        yield from find(words, index)
    if diagnostic.code in ("F101", "F102") and diagnostic.span.start < diagnostic.span.end and not diagnostic.fixes:
        edit = Edit(diagnostic.span.start, diagnostic.span.end, "")
        yield Fix(f"leave out {diagnostic.found}", (edit,))


def _remainder(words: Words, index: int) -> Iterator[Fix]:
    """`a % b`"""
    first, stop = words.product_before(index), words.operand_after(index)
    if first < index and stop > index + 1:
        new = f"remainder({words.bare(first, index)}, {words.bare(index + 1, stop)})"
        yield Fix("write `remainder(a, b)`", (words.edit(first, stop, new),))


def _question(words: Words, index: int) -> Iterator[Fix]:
    """`condition ? a : b`"""
    first, colon = words.left_edge(index), words.right_edge(index + 1)
    stop = words.right_edge(colon + 1)
    if first < index < colon < stop and words.text(colon) == ":":
        yield _where(words, first, stop, (first, index), (index + 1, colon), (colon + 1, stop))


def _if(words: Words, index: int) -> Iterator[Fix]:
    """`a if condition else b`"""
    first, other = words.left_edge(index), words.right_edge(index + 1)
    stop = words.right_edge(other + 1)
    if first < index < other < stop and words.text(other) == "else":
        yield _where(words, first, stop, (index + 1, other), (first, index), (other + 1, stop))


def _where(words: Words, first: int, stop: int, *parts: tuple[int, int]) -> Fix:
    condition, a, b = (words.source(*part) for part in parts)
    return Fix("write `where(condition, a, b)`", (words.edit(first, stop, f"where({condition}, {a}, {b})"),))


def _lambda(words: Words, index: int) -> Iterator[Fix]:
    """`lambda x, y: …`"""
    colon = index + 1
    while _NAME.fullmatch(words.text(colon)) or words.text(colon) == ",":
        colon += 1
    if words.text(colon) == ":":
        new = f"fn({words.source(index + 1, colon)}) =>"
        yield Fix(f"write `{new}`", (words.edit(index, colon + 1, new),))


def _def(words: Words, index: int) -> Iterator[Fix]:
    """`def f(x): …` by lines, and `def` before a definition."""
    start = words[index].start
    match = _DEF.match(words.data[start:].decode("utf-8", "surrogatepass"))
    if match is None:
        yield from _left_out(words, index)
        return
    name, parameters, body = match.groups()
    *lines, last = [line.strip() for line in body.split("\n") if line.strip()] or [""]
    if last.startswith("return ") and all(map(_BINDING.match, lines)):
        inside = [line if line.startswith("#") else line.rstrip(";") + ";" for line in lines]
        inside.append(last.removeprefix("return ").rstrip(";"))
        new = f"{name}({parameters}) = {{\n" + "".join(f"  {line}\n" for line in inside) + "};\n"
        end = start + len(match.group().rstrip().encode("utf-8", "surrogatepass"))
        yield Fix(f"write `{name}({parameters}) = {{ … }};`", (Edit(start, end, new.rstrip("\n")),))


def _left_out(words: Words, index: int) -> Iterator[Fix]:
    """A word that says nothing here about what follows it."""
    if index + 1 < len(words):
        edit = Edit(words[index].start, words[index + 1].start, "")
        yield Fix(f"leave out `{words.text(index)}`", (edit,))


def _none(words: Words, index: int) -> Iterator[Fix]:
    """`name = None` among arguments"""
    if words.text(index - 1) == "=" and words.text(index - 3) in (",", "("):
        yield Fix("leave the argument out", (words.without(index - 2, index + 1),))


def _for(words: Words, index: int) -> Iterator[Fix]:
    """`for i in range(n): x = f(x)`"""
    match = _FOR.match(" ".join(words.text(at) for at in range(index, min(index + 15, len(words)))))
    if match:
        times, x, f = match.groups()
        new = f"{x} = {x} >> {times} * {f}"
        yield Fix(f"write `{new}`", (words.edit(index, index + 14, new),))


def _in_place(words: Words, index: int) -> Iterator[Fix]:
    """`x += y`"""
    operator, stop = words.text(index)[0], words.right_edge(index + 1)
    name, value = words.text(index - 1), words.source(index + 1, stop)
    if _NAME.fullmatch(name) and value:
        value = value if operator == "+" or stop == index + 2 else f"({value})"
        edit = words.edit(index, stop, f"= {name} {operator} {value}")
        yield Fix(f"write `{name} = {name} {operator} …`", (edit,))


def _chained(words: Words, index: int) -> Iterator[Fix]:
    """`a < b < c`"""
    first = words.left_edge(index)
    before = [at for at in range(first, index) if words.text(at) in _COMPARISONS]
    if before:
        middle = words.source(before[-1] + 1, index)
        yield Fix("compare twice", (words.behind(index - 1, f" & {middle}"),))


def _comma(words: Words, index: int) -> Iterator[Fix]:
    """`(a, b)`"""
    opener = words.left_edge(index) - 1
    if words.text(opener) == "(" and opener in words.partner:
        closer = words.partner[opener]
        yield Fix("write a list", (words.edit(opener, opener + 1, "["), words.edit(closer, closer + 1, "]")))


def _colon(words: Words, index: int) -> Iterator[Fix]:
    """`name: value` and `name: Type`"""
    after, stop = words.text(index + 1), index + 2
    while words.text(stop) == "." and _NAME.fullmatch(words.text(stop + 1)):
        stop += 2
    if words.text(stop) == "[" and stop in words.partner:
        stop = words.partner[stop] + 1
    if not 0 < index < stop <= len(words):
        return
    annotation = Fix("leave out the annotation", (Edit(words[index - 1].end, words[stop - 1].end, ""),))
    equals = Fix("write `=`", (Edit(words[index - 1].end, words[index].end, " ="),))
    yield from (annotation, equals) if after in _TYPES else (equals, annotation)


def _starred(words: Words, index: int) -> Iterator[Fix]:
    """`*args` and `**kwargs`"""
    if words.text(index - 1) in (",", "(") and _NAME.fullmatch(words.text(index + 1)):
        yield Fix(f"leave out `{words.source(index, index + 2)}`", (words.without(index, index + 2),))


def _ellipsis(words: Words, index: int) -> Iterator[Fix]:
    """`x[..., a:b]`"""
    opener = index - 1
    first, closer = words.operand_before(opener), words.partner.get(opener)
    if words.text(opener) != "[" or closer is None or first == opener:
        return
    match = re.fullmatch(r"\.\.\.,(\w*):(\w*)", "".join(words.text(at) for at in range(index, closer)))
    if match:
        x = words.source(first, opener)
        call = f"slice({x}, {match[1] or '0'}, {match[2] or f'width({x})'})"
        yield Fix(f"write `{call}`", (words.edit(first, closer + 1, call),))


_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_HABITS: dict[str, Callable[[Words, int], Iterator[Fix]]] = {
    "%": _remainder, "?": _question, "if": _if, "lambda": _lambda, "def": _def, "return": _left_out, "None": _none,
    "for": _for, "+=": _in_place, "-=": _in_place, "*=": _in_place, "/=": _in_place, ",": _comma, ":": _colon,
    "**": _starred, "*": _starred, "...": _ellipsis, ".": member, "fn": grammar.function, "}": grammar.no_result,
    ")": grammar.unopened, "]": grammar.unopened,
    **dict.fromkeys(_COMPARISONS, _chained),
}  # fmt: skip
