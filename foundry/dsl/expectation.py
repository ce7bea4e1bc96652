"""A word that does not fit, in plain words: what was expected, what was found, and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.foreign import CHOOSE
from foundry.dsl.lexer import END, Group, Word
from foundry.dsl.syntax import Span

# The words that people use for terminals; a group stands for all of its terminals at once.
TERMINALS = {
    "FOUNDRY": "`@foundry`", "FN": "`fn`", "NAME": "a name", "NUMBER": "a number", "PIPE": "`>>`", "OR": "`|`",
    "AND": "`&`", "LESS": "`<`", "LESSEQUAL": "`<=`", "GREATER": "`>`", "GREATEREQUAL": "`>=`", "SAME": "`==`",
    "DIFFERENT": "`!=`", "PLUS": "`+`", "MINUS": "`-`", "POWER": "`**`", "STAR": "`*`", "SLASH": "`/`", "NOT": "`!`",
    "EQUAL": "`=`", "ARROW": "`=>`", "COMMA": "`,`", "SEMICOLON": "`;`", "LPAR": "`(`", "RPAR": "`)`",
    "LBRACKET": "`[`", "RBRACKET": "`]`", "LBRACE": "`{`", "RBRACE": "`}`", END: "the end of the text",
}  # fmt: skip
COMPARISONS = {"LESS", "LESSEQUAL", "GREATER", "GREATEREQUAL", "SAME", "DIFFERENT"}
OPERATORS = COMPARISONS | {"PIPE", "OR", "AND", "PLUS", "MINUS", "STAR", "SLASH", "POWER"}
_DECLARES = {"let", "const", "var", "val", "mut", "auto", "local", "func", "fun", "function"}
BEGIN_EXPRESSION = {"FN", "NAME", "NUMBER", "LPAR", "LBRACKET", "LBRACE", "MINUS", "NOT"}


@dataclass(frozen=True)
class Place:
    """Where a statement goes wrong: its words as read by a rule of the grammar (definition, binding or
    expr), the index of the word that does not fit, that word, and the terminals that would fit.
    """

    rule: str
    words: list[Word]
    index: int
    found: Word
    expected: set[str]

    @property
    def before(self) -> Word | None:
        return self.words[self.index - 1] if self.index else None


def describe(word: Word) -> str:
    """A word as a message shows it."""
    if word.type == END:
        return "the end of the text"
    if isinstance(word, Group):
        return "a block"
    return f"`{word.text}`" if len(word.text) <= 30 else f"`{word.text[:30]}…`"


def behind(word: Word) -> Span:
    """The empty span behind a word."""
    last = word.closer if isinstance(word, Group) else word
    return Span(last.end, last.end, last.line, last.column + len(last.text), last.source.file)


def missing_semicolon(before: Word, found: Word) -> Diagnostic:
    """The error for a statement that does not end."""
    span = behind(before)
    fix = Fix("insert `;`", (Edit(span.start, span.start, ";"),), "safe")
    message = f"expected `;`, found {describe(found)}"
    help = "definitions and bindings end with `;`"
    return Diagnostic("F101", message, span, expected=("`;`",), found=describe(found), help=help, fixes=(fix,))


def mistake(place: Place) -> Diagnostic:
    """The error for a word that does not fit."""
    found = place.found
    taken = found if found.type == "FN" and "NAME" in place.expected and "NUMBER" not in place.expected else None
    if place.before is not None and place.before.type == "FN" and found.type in ("EQUAL", "COMMA", "RPAR"):
        taken = place.before
    if taken is not None:
        message = "`fn` is a word of the language"
        return Diagnostic("F207", message, taken.span, expected=("a name",), found="`fn`", help=CHOOSE)
    expected = expectations(place)
    message = f"expected {_either(expected)}, found {describe(found)}"
    help, fixes = _advice(place)
    return Diagnostic("F101", message, found.span, expected=expected, found=describe(found), help=help, fixes=fixes)


def expectations(place: Place) -> tuple[str, ...]:
    """What would fit, in few words."""
    if place.rule == "definition" and place.index == 0:
        return ("a definition",)
    left = set(place.expected)
    groups = []
    if "NUMBER" in left:
        left -= BEGIN_EXPRESSION
        groups.append("an expression")
    if "POWER" in left or "STAR" in left or "PIPE" in left:
        left -= OPERATORS | {"LPAR"}
        groups.append("an operator")
    if END in left and (left - {END} or groups):
        left.remove(END)
        if place.rule == "expr":
            groups.append("`}`")
    order = list(TERMINALS)
    return (*(TERMINALS[name] for name in sorted(left, key=order.index)), *groups)


def _either(words: tuple[str, ...]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _advice(place: Place) -> tuple[str, tuple[Fix, ...]]:
    """Help and fixes for the mistakes that people make most."""
    found, before, expected = place.found, place.before, place.expected
    kind = found.type
    if place.rule == "definition" and before is None:
        if kind == "FOUNDRY":
            return "the header stands once, at the top", ()
        return "a genome is a list of definitions: `name = …;` or `name(parameters) = …;`", ()
    if "EQUAL" in expected and kind in ("SAME", "ARROW"):
        return "a name is given its value with `=`", _replace(found, "=")
    if "ARROW" in expected and kind == "EQUAL":
        return "the body of a function follows `=>`", _replace(found, "=>")
    if "ARROW" in expected:
        return "the body of a function follows `=>`", _insert(place, " =>")
    if place.rule == "binding" and place.index == 1 and kind == "LPAR":
        return _function_in_block(place)
    if place.index == 1 and place.rule != "expr" and before is not None and before.text in _DECLARES and kind == "NAME":
        fix = Fix(f"leave out `{before.text}`", (Edit(before.start, found.start, ""),), "safe")
        return "nothing stands before the name in a definition", (fix,)
    if "EQUAL" in expected and place.index == 1 and place.rule == "binding":
        return "only the last expression of a block, its result, has no name", ()
    if "EQUAL" in expected and place.rule == "definition" and (place.index == 1 or (before and before.type == "RPAR")):
        help = "a definition is written `name = …;` or `name(parameters) = …;`"
        return help, _insert(place, " =") if kind in BEGIN_EXPRESSION - {"LPAR", "MINUS"} else ()
    if kind == "ARROW" and before is not None:
        return "a function is written `fn(x) => …`", _make_function(place)
    if kind == "EQUAL" and "SAME" in expected:
        return "`==` compares; `=` names an argument, a binding or a definition", _replace(found, "==")
    if kind in COMPARISONS and "PIPE" in expected:
        return "comparisons do not chain: write `(a < b) & (b < c)`", ()
    if kind == "FN" and "NUMBER" in expected:
        return "put the function in parentheses: `(fn(x) => …)`", ()
    if before is not None and before.type == "FN":
        return "a function is written `fn(x) => …`", _parameters(place)
    if kind == "LBRACKET" and before is not None and "LPAR" in expected:
        return "values have no indices: `slice(x, start, stop)` is some of the channels", ()
    if kind in BEGIN_EXPRESSION and "COMMA" in expected:
        return "arguments, parameters and items of a list are separated by `,`", _insert(place, ",")
    if kind == "COMMA" and "SEMICOLON" in expected:
        return "statements end with `;`", _replace(found, ";")
    return "", ()


def _replace(word: Word, text: str) -> tuple[Fix, ...]:
    return (Fix(f"write `{text}`", (Edit(word.start, word.end, text),), "safe"),)


def _insert(place: Place, text: str) -> tuple[Fix, ...]:
    """Put a sign behind the word before the mistake."""
    if place.before is None:
        return ()
    end = place.before.end
    return (Fix(f"insert `{text.strip()}`", (Edit(end, end, text),)),)


def _matching(words: list[Word], closer: int) -> int | None:
    """The index of the parenthesis that the one at `closer` closes."""
    depth = 0
    for index in range(closer, -1, -1):
        depth += {"RPAR": 1, "LPAR": -1}.get(words[index].type, 0)
        if depth == 0:
            return index
    return None


def _make_function(place: Place) -> tuple[Fix, ...]:
    """`x => …` and `(x, y) => …` with their `fn`."""
    words, last = place.words, place.index - 1
    if words[last].type == "NAME":
        word = words[last]
        return (Fix(f"write `fn({word.text})`", (Edit(word.start, word.end, f"fn({word.text})"),)),)
    opener = _matching(words, last) if words[last].type == "RPAR" else None
    if opener is None or (opener and words[opener - 1].type in ("NAME", "FN")):
        return ()
    return (Fix("insert `fn`", (Edit(words[opener].start, words[opener].start, "fn"),)),)


def _parameters(place: Place) -> tuple[Fix, ...]:
    """`fn x, y => …` with its parentheses."""
    stop = place.index
    while stop < len(place.words) and place.words[stop].type in ("NAME", "COMMA"):
        stop += 1
    if stop == place.index or stop == len(place.words) or place.words[stop].type != "ARROW":
        return ()
    first, last = place.words[place.index], place.words[stop - 1]
    edits = (Edit(place.words[place.index - 1].end, first.start, "("), Edit(last.end, last.end, ")"))
    return (Fix("put the parameters in parentheses", edits),)


def _function_in_block(place: Place) -> tuple[str, tuple[Fix, ...]]:
    """`name(parameters) = …;` inside a block."""
    words, depth = place.words, 0
    for index in range(1, len(words) - 1):
        depth += {"LPAR": 1, "RPAR": -1}.get(words[index].type, 0)
        if depth == 0:
            sign = words[index + 1]
            if sign.type == "EQUAL":
                edits = (Edit(words[0].end, words[0].end, " = fn"), Edit(sign.start, sign.end, "=>"))
                fixes = (Fix(f"write `{words[0].text} = fn(…) => …`", edits),)
                return "inside a block a function is written `name = fn(x) => …;`", fixes
            break
    return "only the last expression of a block, its result, has no name", ()
