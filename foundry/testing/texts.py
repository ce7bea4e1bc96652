"""Arbitrary texts: bytes, signs, words and genomes gone wrong, all through one `Draw`.

`arbitrary(random.Random(seed))` is a text; a property-testing engine's Draw gives the same texts and shrinks them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache

from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.explain import explanations
from foundry.dsl.foreign import KEYWORDS
from foundry.dsl.format import format_genome
from foundry.dsl.parse import lexer, parse
from foundry.dsl.source import MAX_BYTES, resource, shipped_genomes
from foundry.dsl.syntax import Binding, Call, Definition, Genome, Path, at, put, walk
from foundry.generate.draw import Draw, drawing, weighted
from foundry.testing.nonsense import expression, language, nonsense
from foundry.testing.survival import survives

__all__ = ["KINDS", "arbitrary", "seeds", "survives", "words"]

Text = str | bytes

HEADER = "@foundry(1);\n"
LONGEST = 60  # words or characters of a soup
_WORD = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|\s+|#[^\n]*|>>|\*\*|=>|[<>=!]=|[^\w\s]")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.]*(?:[eE][+-]?\d+)?")

# Characters that have surprised a lexer somewhere: marks, joiners, other digits and letters, lone surrogates, ends.
STRANGE = (
    "\n\t \r\0\x0b\x0c\x1b\x1c\x1d\x1e\x1f\x7f\x80\x85\xa0\xad\xb2\xb5\xbd\xdf\xe9\u0130\u01c5\u0301\u0345\u0660\u0661"
    "\u1680\u180e\u200b\u200d\u200e\u2028\u2029\u202e\u2060\u212a\u2160\u3000\ua7ae\ud800\udfff\ufdd0\ufe0f\ufeff\uff10"
    "\uff21\uff3f\uffff\U0001d7ce\U0001d400\U0001f600\U0001f1e6\U000e0001\U0010ffff"
)
NUMBERS = (
    "0", "1", "-1", "0.0", "1e400", "1e-400", "1e308", "5e-324", "1" + "0" * 39, "9" * 41, "16777216", "16777217",
    "1e22", "0.1", "2147483648", "9223372036854775808", "1.", ".5", "1e", "1e+", "0x10", "1_000", "1.2.3", "00", "1e-5",
)  # fmt: skip
SIGNS = "=,;(){}[]<>+-*/%?:.@'\"^~$#\\`!|&"


@cache
def seeds() -> tuple[str, ...]:
    """Texts to begin from: the shipped genomes, the prelude, and the examples of every code, wrong and right."""
    shipped = tuple(path.read_text("utf-8") for path in shipped_genomes().values())
    wrong = [text for e in explanations().values() for text in (e.bad.decode("utf-8", "replace"), e.good)]
    return (*shipped, resource("grammars", "prelude.genome"), *(text for text in wrong if len(text) < 2000))


@cache
def words() -> tuple[str, ...]:
    """The words of the language, and of languages that people mistake it for."""
    return (*lexer().types, *language(), *sorted(KEYWORDS), "x", "1", "model", "recipe", "head", "channel", *SIGNS)


def arbitrary(source: random.Random | Draw, genomes: Sequence[str] | None = None) -> Text:
    """A text, of a kind of its own or a genome gone wrong.

    genomes: what to begin from, `seeds()` where there are none.
    """
    draw = drawing(source)
    kind = weighted(draw, [(weight, name) for name, (weight, _) in KINDS.items()])
    return KINDS[kind][1](draw, genomes or seeds())


# Soups -------------------------------------------------------------------------------------------------------------


def _bytes(draw: Draw, genomes: Sequence[str]) -> Text:
    return bytes(draw.integer(0, 255) for _ in range(draw.integer(0, LONGEST)))


def _characters(draw: Draw, genomes: Sequence[str]) -> Text:
    """Characters from all of Unicode, the strange ones more often."""
    return _prefix(draw) + "".join(_character(draw) for _ in range(draw.integer(0, LONGEST)))


def _character(draw: Draw) -> str:
    kind = draw.integer(0, 9)
    if kind < 4:
        return chr(draw.integer(32, 126))
    return draw.choice(STRANGE) if kind < 8 else chr(draw.integer(0, 0x10FFFF))


def _words(draw: Draw, genomes: Sequence[str]) -> Text:
    """Words of the language in any order."""
    spaced = draw.choice((" ", "", "\n"))
    return _prefix(draw) + spaced.join(draw.choice(words()) for _ in range(draw.integer(0, LONGEST)))


def _prefix(draw: Draw) -> str:
    return draw.choice(("", HEADER, HEADER + "model = "))


def _nonsense(draw: Draw, genomes: Sequence[str]) -> Text:
    return nonsense(draw)


# Nesting and size --------------------------------------------------------------------------------------------------

_NESTS = (
    ("(", ")"), ("[", "]"), ("{ ", " }"), ("-", ""), ("!", ""), ("fn(x) => ", ""), ("f(", ")"), ("1 + ", ""),
    ("2 ** ", ""), ("", " + 1"), ("", " >> relu"), ("", " ** 2"), ("{ x = ", "; x }"), ("x = ", ""), ("", "(x)"),
    ("2 * ", ""), ("2 * (", " >> relu)"), ("fn(x = ", ") => x"), ("rmsnorm(", ")"), ("share(", ")"), ("", " < 1"),
    ("{ x = 1; ", ""), ("identity >> (", ")"), ("where(x > 0, x, ", ")"), ("fn(x) => (", ") * x"),
)  # fmt: skip


def _nested(draw: Draw, genomes: Sequence[str]) -> Text:
    """One form within itself, a few times or thousands of times, closed or left open."""
    times = draw.choice((3, 60, 98, 99, 100, 101, 150, 400, 3000, 30_000)) + draw.integer(0, 2)
    opener, closer = draw.choice(_NESTS)
    second = draw.choice(_NESTS) if draw.chance(0.5) else (opener, closer)
    inner = draw.choice(("x", "1", "", "rmsnorm", "fn(x) => x"))
    half = times // 2
    ends = (closer * (times - half) + second[1] * half) if draw.chance(0.8) else ""
    text = second[0] * half + opener * (times - half) + inner + ends
    frame = draw.choice(
        (
            "a = {};", "model = embed(vocab = 61, width = 8) >> {} >> unembed(tied = 1);",
            "f(x) = {};\nmodel = embed(vocab = 61, width = 8) >> f >> unembed(tied = 1);", "{}",
            "model = embed(vocab = 61, width = 8 + 0 * ({})) >> unembed(tied = 1);",
        )
    )  # fmt: skip
    return HEADER + frame.replace("{}", text)


def _doubling(draw: Draw, genomes: Sequence[str]) -> Text:
    """Definitions that each use the one before twice: small to write, huge to expand."""
    form = draw.choice(
        (
            "{0}({0}(x))", "2 * {0}", "{0} >> {0}", "64 * {0}", "{0}(x) + {0}(x)", "1000 * share({0})",
            "{{ y = {0}(x); y * y }}", "share({0} >> {0} >> linear(8))", "{{ y = {0}(x); where(y > x, y, y * y) }}",
        )
    )  # fmt: skip
    first = draw.choice(("relu(x)", "linear(x, 8)", "x + attention(rmsnorm(x), heads = 2)", "x * x", "rmsnorm(x)"))
    lines = [f"f0(x) = {first};"]
    for index in range(1, draw.choice((3, 8, 20, 40, 300))):
        body = form.format(f"f{index - 1}")
        lines.append(f"f{index}(x) = {body};" if "x" in body else f"f{index} = {body};")
    last = len(lines) - 1
    return HEADER + "\n".join(lines) + f"\nmodel = embed(vocab = 61, width = 8) >> f{last} >> unembed(tied = 1);\n"


def _large(draw: Draw, genomes: Sequence[str]) -> Text:
    """A piece of text repeated up to and beyond what a genome may hold."""
    piece = draw.choice(
        ("x", " ", "\n", "# é\n", "a = 1;\n", "f(x) = x;\n", "é", "(", ";", "x + ", "x, ", "@", "?", "1")
    )
    count = draw.choice((1000, 20_000, MAX_BYTES // len(piece.encode()), MAX_BYTES + 1))
    return _prefix(draw) + piece * min(count, 2 * MAX_BYTES // len(piece))


# Genomes gone wrong ------------------------------------------------------------------------------------------------


def _numbers(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with some of its numbers replaced by others."""
    text = draw.choice(genomes)
    places = [match.span() for match in _NUMBER.finditer(text)]
    for _ in range(draw.integer(1, 3)):
        if places:
            start, end = places.pop(draw.integer(0, len(places) - 1))
            text = text[:start] + draw.choice(NUMBERS) + text[end:]
            places = [place for place in places if place[1] <= start]
    return text


def _edited(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with words cut out, put in, doubled, swapped or taken from elsewhere."""
    pieces = _WORD.findall(draw.choice(genomes))
    for _ in range(draw.integer(1, 3)):
        at_word = draw.integer(0, max(len(pieces) - 1, 0))
        kind = draw.choice(("cut", "put", "swap", "twice", "replace", "move", "glue"))
        here = pieces[at_word : at_word + 1]
        if kind == "cut":
            pieces[at_word : at_word + draw.integer(1, 4)] = []
        elif kind == "put":
            pieces.insert(at_word, draw.choice(words()))
        elif kind == "swap":
            pieces[at_word : at_word + 2] = pieces[at_word : at_word + 2][::-1]
        elif kind == "twice":
            pieces[at_word:at_word] = pieces[at_word : at_word + draw.integer(1, 12)]
        elif kind == "replace" and here:
            pieces[at_word] = draw.choice(words())
        elif kind == "move" and here:
            pieces.insert(draw.integer(0, len(pieces) - 1), pieces.pop(at_word))
        elif kind == "glue":
            pieces = [piece if index != at_word or not piece.isspace() else "" for index, piece in enumerate(pieces)]
    return "".join(pieces)


def _lines(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with lines cut out, doubled, moved, or ended in another way."""
    lines = draw.choice(genomes).split("\n")
    for _ in range(draw.integer(1, 3)):
        row = draw.integer(0, max(len(lines) - 1, 0))
        kind = draw.choice(("cut", "twice", "move", "join", "ending", "comment"))
        if kind == "cut":
            lines[row : row + 1] = []
        elif kind == "twice":
            lines[row:row] = lines[row : row + 1]
        elif kind == "move" and lines:
            lines.insert(draw.integer(0, len(lines) - 1), lines.pop(row))
        elif kind == "join":
            lines[row : row + 2] = [" ".join(lines[row : row + 2])]
        elif kind == "ending":
            lines = [line + draw.choice(("\r", "\u2028", "\r\r", "\f")) for line in lines]
        elif kind == "comment":
            lines[row:row] = ["# é\t" + draw.choice(STRANGE)]
    return "\n".join(lines)


def _damaged(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with some characters or bytes replaced, cut out or put in."""
    text = draw.choice(genomes)
    if draw.chance(0.5):
        data = bytearray(text.encode("utf-8", "surrogatepass"))
        for _ in range(draw.integer(1, 4)):
            place = draw.integer(0, len(data))
            data[place : place + draw.integer(0, 2)] = bytes([draw.integer(0, 255)])[: draw.integer(0, 1)]
        return bytes(data)
    for _ in range(draw.integer(1, 4)):
        place = draw.integer(0, len(text))
        new = _character(draw) if draw.chance(0.7) else ""
        text = text[:place] + new + text[place + draw.integer(0, 2) :]
    return text


def _cut_off(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome's beginning."""
    text = draw.choice(genomes)
    return text[: draw.integer(0, len(text))]


def _spliced(draw: Draw, genomes: Sequence[str]) -> Text:
    """The beginning of one genome and the end of another."""
    first, second = draw.choice(genomes), draw.choice(genomes)
    return first[: draw.integer(0, len(first))] + second[draw.integer(0, len(second)) :]


def _grafted(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with an expression replaced by another: of any genome, or nonsense of names in sight."""
    tree = _tree(draw.choice(genomes))
    for _ in range(draw.integer(1, 3)):
        path = draw.choice(_places(tree))
        if draw.chance(0.7):
            donor = _tree(draw.choice(genomes)) if draw.chance(0.6) else tree
            new = at(donor, draw.choice(_places(donor)))
        else:
            new = expression(draw, draw.integer(0, 2), tuple(d.name for d in tree.definitions))
        tree = put(tree, path, new)
    return format_genome(tree)


def _pruned(draw: Draw, genomes: Sequence[str]) -> Text:
    """A genome with arguments, bindings, parameters or definitions left out, doubled or in another order."""
    tree = _tree(draw.choice(genomes))
    for _ in range(draw.integer(1, 2)):
        lists = [
            path + (name,)
            for path, node in walk(tree)
            for name in ("arguments", "bindings", "parameters", "definitions", "items")
            if getattr(node, name, None)
        ]
        if not lists:
            break
        path = draw.choice(lists)
        items = list(at(tree, path))  # type: ignore[call-overload]
        index = draw.integer(0, len(items) - 1)
        kind = draw.choice(("cut", "twice", "first", "unnamed"))
        if kind == "unnamed" and isinstance(at(tree, path[:-1]), Call):
            items[index] = type(items[index])("", items[index].value)
        elif kind == "twice":
            items.insert(index, items[index])
        elif kind == "first":
            items.insert(0, items.pop(index))
        else:
            items.pop(index)
        tree = put(tree, path, tuple(items))
    return format_genome(tree)


@lru_cache(maxsize=1024)
def _tree(text: str) -> Genome:
    """The tree of a genome, of the smallest one where the text does not parse or defines nothing."""
    try:
        tree = parse(text)
    except GenomeError:
        tree = None
    return (
        tree
        if tree and tree.definitions
        else parse(HEADER + "model = embed(vocab = 61, width = 8) >> unembed(tied = 1);")
    )


def _places(tree: Genome) -> list[Path]:
    """Where the expressions of a genome stand."""
    values = (Genome, Definition, Binding)
    return [path for path, node in walk(tree) if not isinstance(node, values) and not hasattr(node, "name")]


# By what they are called in reports: how often, and how one is drawn. The simplest come first.
KINDS: dict[str, tuple[float, Callable[[Draw, Sequence[str]], Text]]] = {
    "words": (2, _words),
    "characters": (1, _characters),
    "bytes": (1, _bytes),
    "edited": (4, _edited),
    "grafted": (4, _grafted),
    "pruned": (2, _pruned),
    "nonsense": (3, _nonsense),
    "numbers": (2, _numbers),
    "damaged": (2, _damaged),
    "lines": (1, _lines),
    "cut off": (1, _cut_off),
    "spliced": (1, _spliced),
    "nested": (1, _nested),
    "doubling": (0.5, _doubling),
    "large": (0.2, _large),
}
