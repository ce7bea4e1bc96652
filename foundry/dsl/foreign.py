"""What people write out of habit from other languages, and what they mean by it here."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.registry import OPTIMIZERS
from foundry.dsl.source import byte_length
from foundry.dsl.syntax import Span

# Signs that no genome contains, the longer before the shorter. None of them begins with a sign of the
# grammar that could go on as something legal.
FOREIGN = r"\.\.\.|//|/\*|->|&&|\|\||\|>|:=|\+=|-=|\*=|/=|===|!==|<>|\"[^\"\r\n]*\"?|'[^'\r\n]*'?"

# A sign, what it stands for here ("" where nothing does), and help.
_SIGNS: dict[str, tuple[str, str]] = {
    "->": ("=>", "a function is written `fn(x) => …`"),
    ":=": ("=", "a name is given its value with `=`"),
    "&&": ("&", "`&` means and"),
    "||": ("|", "`|` means or"),
    "|>": (">>", "`x >> f` applies f to x"),
    "===": ("==", "`==` compares"),
    "!==": ("!=", "`!=` compares"),
    "<>": ("!=", "`!=` compares"),
    "^": ("**", "a power is written `a ** b`"),
    "~": ("!", "`!` means not"),
    "+=": ("", "write `x = x + …`: a binding can refer to the one before it"),
    "-=": ("", "write `x = x - …`: a binding can refer to the one before it"),
    "*=": ("", "write `x = x * …`: a binding can refer to the one before it"),
    "/=": ("", "write `x = x / …`: a binding can refer to the one before it"),
    "%": ("", "the remainder of a division is written `remainder(a, b)`"),
    ":": ("", "arguments are given with `=`, and names have no annotations"),
    ".": ("", "values have no members: a function is applied as `f(x)` or `x >> f`"),
    "@": ("", "`@` stands only in `@foundry(1);`, at the top; a product with learned numbers is `linear(x, out)`"),
    "...": ("", "some of the channels are `slice(x, start, stop)`"),
    "?": ("", "a choice is written `where(condition, a, b)`"),
    "\\": ("", "white space has no meaning, so a line need not be continued"),
    "\N{ZERO WIDTH NO-BREAK SPACE}": (" ", "save the file without a byte-order mark"),
    "\N{NO-BREAK SPACE}": (" ", "use an ordinary space"),
    **dict.fromkeys("\N{GREEK SMALL LETTER PI}\N{GREEK CAPITAL LETTER PI}", ("pi", "")),
    "\N{GREEK SMALL LETTER THETA}": ("theta", ""),
    "\N{GREEK SMALL LETTER ALPHA}": ("alpha", ""),
    "\N{GREEK SMALL LETTER BETA}": ("beta", ""),
    "\N{GREEK SMALL LETTER GAMMA}": ("gamma", ""),
    "\N{GREEK SMALL LETTER SIGMA}": ("sigma", ""),
    "\N{GREEK SMALL LETTER LAMDA}": ("lam", ""),
    "\N{MINUS SIGN}": ("-", ""),
    "\N{EN DASH}": ("-", ""),
    "\N{MULTIPLICATION SIGN}": ("*", ""),
    "\N{MIDDLE DOT}": ("*", ""),
    "\N{DIVISION SIGN}": ("/", ""),
    "\N{LESS-THAN OR EQUAL TO}": ("<=", ""),
    "\N{GREATER-THAN OR EQUAL TO}": (">=", ""),
    "\N{NOT EQUAL TO}": ("!=", ""),
    "\N{RIGHTWARDS ARROW}": ("=>", ""),
    "\N{RIGHTWARDS DOUBLE ARROW}": ("=>", ""),
    "\N{MUCH GREATER-THAN}": (">>", ""),
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}": (">>", ""),
    "\N{FULLWIDTH LEFT PARENTHESIS}": ("(", ""),
    "\N{FULLWIDTH RIGHT PARENTHESIS}": (")", ""),
    "\N{FULLWIDTH COMMA}": (",", ""),
    "\N{FULLWIDTH SEMICOLON}": (";", ""),
    "\N{GREEK QUESTION MARK}": (";", ""),
    "\N{FULLWIDTH EQUALS SIGN}": ("=", ""),
}

CHOOSE = "choose another name"

# Words of Python: what each stands for here ("" where nothing does), and help.
KEYWORDS: dict[str, tuple[str, str]] = {
    "and": ("&", "`&` means and"),
    "or": ("|", "`|` means or"),
    "not": ("!", "`!` means not"),
    "True": ("1", "write 1"),
    "False": ("0", "write 0"),
    "None": ("", "leave the argument out"),
    "lambda": ("", "a function is written `fn(x) => …`"),
    "def": ("", "a function is written `name(parameters) = …;`"),
    "return": ("", "a block ends with its result: `{ …; result }`"),
    **dict.fromkeys(("if", "elif", "else"), ("", "a choice is written `where(condition, a, b)`")),
    **dict.fromkeys(("for", "while", "break", "continue"), ("", "`n * f` is n copies of f, one after another")),
    **dict.fromkeys(("import", "from"), ("", "the prelude is always there; nothing is imported")),
    "class": ("", "a genome has functions and values only"),
    **dict.fromkeys(
        ("as", "assert", "async", "await", "del", "except", "finally", "in", "is", "nonlocal", "pass",
         "raise", "try", "with", "yield"),
        ("", CHOOSE),
    ),
}  # fmt: skip

# Words that begin statements of Python, which nothing behind them can be understood without.
STATEMENTS = {"class", "def", "for", "from", "if", "import", "try", "while", "with"}

_QUOTES = {
    '"': '"',
    "'": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}",
    "\N{LEFT SINGLE QUOTATION MARK}": "\N{RIGHT SINGLE QUOTATION MARK}",
}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MEMBER = re.compile(r"(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
# `-> Tensor` between a function's parameters and its `=`.
_RESULT = re.compile(r"->\s*[A-Za-z_][\w.]*(?:\[[^\]\n]*\])?\s*(?==[^=>])")
_MARK = re.compile(r"@[A-Za-z0-9_]{0,30}")
# A run of characters that no genome contains; other scripts' letters come as whole words.
_STRANGE = re.compile(r"[^\x00-\x7f]+|[$`]+")


def foreign_word(text: str, span: Span) -> tuple[Diagnostic, str]:
    """The error for a word of Python, and what it stands for."""
    stands_for, help = KEYWORDS[text]
    fixes: tuple[Fix, ...] = ()
    if stands_for:
        end = span.end
        fixes = (Fix(f"write `{stands_for}`", (Edit(span.start, end, stands_for),), "safe"),)
    message = f"`{text}` is a word of Python that genomes do not use"
    return Diagnostic("F207", message, span, found=f"`{text}`", help=help, fixes=fixes), stands_for


def foreign_sign(text: str, position: int, span: Span, before: str) -> tuple[Diagnostic, str, int]:
    """The error for what stands at `position`, what it stands for, and where it ends.

    `span` begins there; `before` is the type of the word before, "" at the beginning of the text.
    """
    value_before = before in ("NAME", "NUMBER", "RPAR", "RBRACKET", "RBRACE")
    character = text[position]
    two, three = text[position : position + 2], text[position : position + 3]
    if character in _QUOTES:
        return _string(text, position, span)
    if (member := _MEMBER.match(text, position)) and value_before:
        problem = _sign(".", "", _SIGNS["."][1], span)
        return replace(problem, span=_sized(span, member.group())), "", member.end()
    if (result := _RESULT.match(text, position)) and before == "RPAR":
        fix = Fix("leave it out", (Edit(span.start, span.start + byte_length(result.group()), ""),), "safe")
        problem = _sign("->", "", "the type of a result is inferred", span)
        return replace(problem, fixes=(fix,)), "", result.end()
    if (mark := _MARK.match(text, position)) and not before:
        sign = mark.group()
        return _sign(sign, "@foundry", "a genome begins with `@foundry(1);`", span), "@foundry", position + len(sign)
    if (two == "//" and not value_before) or two == "/*":
        return _comment(text, position, span)
    if two == "//":
        help = "`/` between whole numbers that divide gives a whole number"
        return _sign("//", "/", help, span), "/", position + 2
    for sign in (three, two, character):
        if sign in _SIGNS:
            stands_for, help = _SIGNS[sign]
            return _sign(sign, stands_for, help, span), stands_for.strip(), position + len(sign)
    run = _STRANGE.match(text, position)
    content = character
    if run:
        content = character + _until(run.group()[1:])
    help = "outside comments a genome is plain ASCII" if not content.isascii() else ""
    span = _sized(span, content)
    shown = content if len(content) <= 20 else content[:20] + "…"
    message = f"the characters `{shown}` have no meaning here"
    if len(content) == 1:
        message = f"the character `{shown}` (U+{ord(content):04X}) has no meaning here"
    problem = Diagnostic("F102", message, span, found=f"`{shown}`", help=help)
    return problem, "x" if content.isalpha() else "", position + len(content)


def each_counts(sign: str) -> bool:
    """Whether each of several such signs on a line is a mistake of its own; the others come in pairs or crowds."""
    return sign in ("%", "...", "+=", "-=", "*=", "/=") or (sign[0] == "." and len(sign) > 1)


def not_a_number(content: str, span: Span) -> Diagnostic:
    """The error for a number with more behind it than numbers have."""
    shown = content if len(content) <= 30 else content[:30] + "…"
    fixes: tuple[Fix, ...] = ()
    help = "a name begins with a letter; a number is written like 12, 0.5 or 1e-3"
    if re.fullmatch(r"[0-9_]+(\.[0-9_]*)?", content):
        help = "digits stand together"
        fixes = (Fix("leave out the `_`", (Edit(span.start, span.end, content.replace("_", "")),), "safe"),)
    elif re.fullmatch(r"0[xX][0-9a-fA-F]{1,16}", content):
        help = "numbers are decimal"
        fixes = (Fix("write it in decimal", (Edit(span.start, span.end, str(int(content, 16))),), "safe"),)
    elif product := re.fullmatch(r"([0-9]+\.?[0-9]*)([A-DF-Za-df-z_][A-Za-z_]*)", content):
        help = "a product is written with `*`"
        fixes = (Fix("write `*`", (Edit(span.start, span.end, f"{product[1]} * {product[2]}"),)),)
    message = f"`{shown}` is neither a number nor a name"
    return Diagnostic("F101", message, span, found=f"`{shown}`", help=help, fixes=fixes)


def _sign(sign: str, stands_for: str, help: str, span: Span) -> Diagnostic:
    span = _sized(span, sign)
    shown = f"`{sign}`" if sign.isprintable() else f"the invisible character U+{ord(sign):04X}"
    fixes: tuple[Fix, ...] = ()
    if stands_for.strip():
        help = help or f"write `{stands_for}`"
        fixes = (Fix(f"write `{stands_for}`", (Edit(span.start, span.end, stands_for),), "safe"),)
    elif stands_for:
        text = "" if sign == "\N{ZERO WIDTH NO-BREAK SPACE}" else stands_for
        fixes = (Fix("replace it" if text else "remove it", (Edit(span.start, span.end, text),), "safe"),)
    return Diagnostic("F102", f"{shown} is no sign of this language", span, found=shown, help=help, fixes=fixes)


def _string(text: str, position: int, span: Span) -> tuple[Diagnostic, str, int]:
    quote = _QUOTES[text[position]]
    end = position + 1
    while end < len(text) and text[end] not in "\r\n" + quote:
        end += 1
    inner = text[position + 1 : end]
    end += end < len(text) and text[end] == quote
    span = _sized(span, text[position:end])
    fixes: tuple[Fix, ...] = ()
    if _NAME.fullmatch(inner):
        bare = inner + "()" if inner in OPTIMIZERS else inner
        fixes = (Fix("leave out the quotes", (Edit(span.start, span.end, bare),), "safe"),)
    shown = inner if len(inner) <= 30 else inner[:30] + "…"
    help = "functions and axes are named without quotes: `act = silu`, `per = head`"
    problem = Diagnostic("F102", f"the text `{shown}` stands in quotes", span, found="quotes", help=help, fixes=fixes)
    return problem, inner if fixes else "x", end


def _comment(text: str, position: int, span: Span) -> tuple[Diagnostic, str, int]:
    sign = text[position : position + 2]
    end = text.find("*/", position) + 2 if sign == "/*" else 0
    if end < 2:
        end = min((i for i in (text.find("\n", position), text.find("\r", position)) if i >= 0), default=len(text))
    lines = [line.strip(" \t*") for line in text[position + 2 : end].removesuffix("*/").split("\n")]
    comment = "\n".join(f"# {line}" for line in lines if line)
    if end < len(text) and text[end] not in "\r\n":  # a line that goes on behind it
        comment += "\n"
    edit = Edit(span.start, span.start + byte_length(text[position:end]), comment)
    span = Span(span.start, span.start + 2, span.line, span.column, span.file)
    if sign == "//":
        edit = Edit(span.start, span.end, "#")
    fixes = (Fix("begin the comment with `#`", (edit,), "safe"),)
    help = "a comment runs from `#` to the end of its line"
    return Diagnostic("F102", f"`{sign}` begins no comment", span, found=f"`{sign}`", help=help, fixes=fixes), "", end


def _until(characters: str) -> str:
    """The characters before the first that has a meaning of its own."""
    return "".join(takewhile(lambda character: character not in _SIGNS and character not in _QUOTES, characters))


def _sized(span: Span, content: str) -> Span:
    return replace(span, end=span.start + byte_length(content))
