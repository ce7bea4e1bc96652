"""Parsing: trees, spans, comments, limits, and what is said about texts that are no genomes."""

from __future__ import annotations

import ast
import logging
import sys
import time
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lark import Lark

from foundry.dsl.diagnostics import Diagnostic, GenomeError
from foundry.dsl.parse import grammar, parse
from foundry.dsl.source import MAX_BYTES, MAX_DEPTH, MAX_DIGITS, MAX_WORDS, resource
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Function,
    ListOf,
    Name,
    Number,
    Parameter,
    Unary,
    walk,
)

HEADER = "@foundry(1);\n"
LOOK = """@foundry(1);

# A llama-style block.
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4, pos = rope(theta = 1e4));
  x + glu(rmsnorm(x), hidden = 256, act = silu)
};

model = embed(vocab = 256, width = 128) >> 6 * layer >> rmsnorm >> (fn(z) => 30 * tanh(z / 30));
"""


def expr(text: str) -> Any:
    """The tree of one expression."""
    return parse(f"{HEADER}a = {text};").definitions[0].value


def errors(text: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(GenomeError) as caught:
        parse(text)
    return caught.value.diagnostics


def apply(text: str, diagnostic: Diagnostic) -> str:
    """The text with a diagnostic's first fix."""
    data = text.encode()
    for edit in sorted(diagnostic.fixes[0].edits, key=lambda edit: -edit.start):
        data = data[: edit.start] + edit.text.encode() + data[edit.end :]
    return data.decode()


# Trees


def conflicts(text: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.DEBUG, logger="lark"):
        Lark(text, parser="lalr", debug=True)
    return [record.getMessage() for record in caplog.records if "conflict" in record.getMessage().lower()]


def test_the_grammar_is_lalr_without_conflicts(caplog):
    assert conflicts('start: start "+" start | "x"', caplog), "lark reports conflicts in an ambiguous grammar"
    assert conflicts(resource("grammars", "foundry.lark"), caplog) == []


def test_every_terminal_has_a_name():
    assert not [terminal.name for terminal in grammar().terminals if terminal.name.startswith("__")]


def test_a_genome_becomes_a_tree():
    x, norm = Name("x"), Call(Name("rmsnorm"), (Argument("", Name("x")),))
    genome = parse(
        HEADER + "f(x, n = 2) = { y = rmsnorm(x); y * [1, 2.5] };\ng = fn(t) => !t;\nh = f(3) >> f(x, n = 1)(x);"
    )
    assert genome.version == 1
    assert genome.definitions == (
        Definition(
            "f",
            (Parameter("x"), Parameter("n", Number(2))),
            Block((Binding("y", norm),), Binary("*", Name("y"), ListOf((Number(1), Number(2.5))))),
        ),
        Definition("g", None, Function((Parameter("t"),), Unary("!", Name("t")))),
        Definition(
            "h",
            None,
            Binary(
                ">>",
                Call(Name("f"), (Argument("", Number(3)),)),
                Call(Call(Name("f"), (Argument("", x), Argument("n", Number(1)))), (Argument("", x),)),
            ),
        ),
    )


def test_a_function_without_parameters_is_not_a_value():
    assert parse(HEADER + "f() = 1;").definitions[0].parameters == ()
    assert parse(HEADER + "f = 1;").definitions[0].parameters is None


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("7", 7, int), ("007", 7, int), ("1e4", 10000.0, float), ("1.", 1.0, float), (".5", 0.5, float),
        ("2.5E-3", 0.0025, float), ("9" * MAX_DIGITS, int("9" * MAX_DIGITS), int),
    ],
)  # fmt: skip
def test_a_number_with_a_point_or_an_exponent_is_a_float(text, value, kind):
    number = expr(text)
    assert number == Number(value)
    assert type(number.value) is kind


PYTHON_OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.RShift: ">>"}


def from_python(node: ast.expr) -> Any:
    """Python's tree of an arithmetic expression as ours: the two languages agree about these operators."""
    match node:
        case ast.BinOp():
            return Binary(PYTHON_OPERATORS[type(node.op)], from_python(node.left), from_python(node.right))
        case ast.UnaryOp():
            return Unary("-", from_python(node.operand))
        case ast.Call():
            return Call(from_python(node.func), tuple(Argument("", from_python(a)) for a in node.args))
        case ast.Name():
            return Name(node.id)
    raise AssertionError(node)


arithmetic = st.recursive(
    st.sampled_from(["a", "b", "c"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(list(PYTHON_OPERATORS.values())), inner).map(" ".join),
        inner.map(lambda text: "-" + text),
        inner.map(lambda text: f"({text})"),
        inner.map(lambda text: f"f({text})"),
        inner.map(lambda text: f"({text})(a, b)"),
    ),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(arithmetic)
def test_arithmetic_groups_as_in_python(text):
    assert expr(text) == from_python(ast.parse(text, mode="eval").body)


@pytest.mark.parametrize(
    ("text", "grouped"),
    [
        ("a | b & c", "a | (b & c)"),
        ("a & b < c", "a & (b < c)"),
        ("a < b + c", "a < (b + c)"),
        ("a >> b | c", "a >> (b | c)"),
        ("!a & b", "(!a) & b"),
        ("fn(x) => x >> y", "fn(x) => (x >> y)"),
        ("fn(x) => fn(y) => x + y", "fn(x) => (fn(y) => (x + y))"),
        ("6 * f(x) ** 2", "6 * ((f(x)) ** 2)"),
    ],
)
def test_operators_bind_in_the_order_of_the_grammar(text, grouped):
    assert expr(text) == expr(grouped)


@pytest.mark.parametrize(("loose", "tidy"), [("f(a,b,)", "f(a, b)"), ("[1,2,]", "[1, 2]"), ("{x;}", "{ x }"),
                                             ("fn(x,)=>x", "fn(x) => x"), ("f(\r\n\ta\r\n)", "f(a)")])  # fmt: skip
def test_white_space_and_trailing_commas_mean_nothing(loose, tidy):
    assert expr(loose) == expr(tidy)


# Spans


def test_every_span_cuts_its_own_text_out_of_the_bytes():
    text = LOOK.replace("# A", "# Ünïcödé 日本 A").replace("\n", "\r\n")
    data = text.encode()
    lines = text.split("\n")
    for _, node in walk(parse(text, "f.genome")):
        cut = data[node.span.start : node.span.end].decode()
        assert node.span.file == "f.genome"
        assert lines[node.span.line - 1][node.span.column - 1 :].startswith(cut.split("\n")[0])
        if isinstance(node, Name):
            assert cut == node.id
        if isinstance(node, Call):
            assert cut.endswith(")")
        if isinstance(node, Block):
            assert cut[0] + cut[-1] == "{}"
        if isinstance(node, Definition):
            assert cut.startswith(node.name)
            assert cut.endswith(";")


def test_parentheses_belong_to_the_span_around_them():
    product = expr("(a + b) * c")
    base = len(HEADER) + 4
    assert (product.span.start - base, product.span.end - base) == (0, 11)
    assert (product.left.span.start - base, product.left.span.end - base) == (1, 6)


# Comments


def test_comments_belong_to_the_statement_that_they_stand_at():
    genome = parse(
        """# before
@foundry(1); # behind the header
# above f

# second paragraph
f(x) = { # at the brace
  # above y
  y = g(x, # inside y
    1); # behind y
  # above the result
  y # behind the result
  # below the result
}; # behind f
a = { # at a's brace
  b };
# the end
# of all"""
    )
    f: Any = genome.definitions[0]
    a = genome.definitions[1]
    assert genome.comments == ("before", "behind the header")
    assert f.comments == ("above f", "", "second paragraph", "at the brace", "behind f")
    assert f.value.bindings[0].comments == ("above y", "inside y", "behind y")
    assert f.value.comments == ("above the result", "behind the result", "below the result")
    assert a.comments == ("at a's brace",)
    assert genome.closing == ("the end", "of all")


def test_comments_and_spans_take_no_part_in_equality():
    assert parse(LOOK) == parse(LOOK.replace("# A llama-style block.", "").replace("\n", " "))


# Limits


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "F003"), (" \r\n\t", "F003"), ("# only a comment\n# and another", "F003"),
        ("\x00" * 100, "F001"), (HEADER + "a = 1;\x1b[31m", "F001"),
        ("a" * (10 << 20), "F002"), ("é" * (MAX_BYTES // 2 + 1), "F002"),
        (HEADER + "a = " + "(" * 100_000, "F103"), (HEADER + "a = " + "[{(" * 30_000, "F103"),
        (HEADER + "a = " + "f(" * 6_000 + ")" * 6_000 + ";", "F103"),
        (HEADER + "a = " + "-" * 15_000 + "1;", "F103"), (HEADER + "a = " + "2 ** " * 9_000 + "1;", "F103"),
        (HEADER + "a = f" + "(x)" * 6_000 + ";", "F103"), (HEADER + "a = b" + " >> b" * 9_000 + ";", "F103"),
        (HEADER + "a = " + "1 + " * 9_000 + "1;", "F103"), (HEADER + "a = " + "fn(x) => " * 3_000 + "1;", "F103"),
        (HEADER + "a = 1; " * (MAX_WORDS // 4 + 1), "F106"), (HEADER + "a = " + "-" * 200_000, "F106"),
        (HEADER + f"a = {'9' * 5000};", "F104"), (HEADER + "a = 1e999;", "F104"), (HEADER + "a = -1e400;", "F104"),
        ("@foundry(2);\na = 1;", "F105"), ("@foundry(1.0);\na = 1;", "F105"), ("\ufeff" + HEADER + "a = 1;", "F102"),
        ("PK\x03\x04", "F001"), ("lorem ipsum dolor sit amet", "F101"), ('{"a": [1, 2], "b": null}', "F101"),
        ("import torch\n\nclass Model:\n    def f(self):\n        return 'a'\n", "F101"),
    ],
    ids=lambda value: repr(value[:30]) if len(value) > 4 or not value.startswith("F") else value,
)  # fmt: skip
def test_a_hopeless_text_gets_one_error_at_once(text, code):
    begin = time.process_time()
    found = errors(text)
    assert time.process_time() - begin < 1
    assert [problem.code for problem in found] == [code]
    assert len(found[0].message) < 120
    assert found[0].help


@pytest.mark.parametrize("sign", ["@", "?"])
def test_signs_that_are_no_words_count_as_words(sign):
    """Each costs as much to read; a text of nothing else once took two seconds."""
    begin = time.process_time()
    found = errors(HEADER + "a = " + sign * 262_000)
    assert time.process_time() - begin < 1
    assert found[-1].code == "F106" and len(found) <= 2


def test_depth_is_limited_exactly():
    nested = "f(" * (MAX_DEPTH - 1) + "x" + ")" * (MAX_DEPTH - 1)
    assert len(list(walk(expr(nested)))) > MAX_DEPTH
    assert [d.code for d in errors(f"{HEADER}a = f({nested});")] == ["F103"]


def test_parentheses_alone_make_nothing_deeper():
    assert expr("(" * MAX_DEPTH + "x" + ")" * MAX_DEPTH) == Name("x")


def test_parsing_does_not_recurse():
    limit = sys.getrecursionlimit()
    nested = "[" * (MAX_DEPTH - 1) + "x" + "]" * (MAX_DEPTH - 1)
    grammar()
    depth = 0
    frame: FrameType | None = sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 40)
    try:
        found = parse(f"{HEADER}a = {nested};")
    finally:
        sys.setrecursionlimit(limit)
    assert found.definitions[0].name == "a"


# What is wrong

# A text behind the header, and for each of its errors: code, line and column, message.
MISTAKES: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("a = 1\nb = 2;", [("F101", "2:6", "expected `;`, found `b`")]),
    ("a = 1", [("F101", "2:6", "expected `;`, found the end of the text")]),
    ("a = ;\nb = * 2;\nc = 3;", [("F101", "2:5", "expected an expression, found `;`"),
                                 ("F101", "3:5", "expected an expression, found `*`")]),
    ("a = { b = ; c = d e; f };", [("F101", "2:11", "expected an expression, found `;`"),
                                  ("F101", "2:19", "expected `;` or an operator, found `e`")]),
    ("a = { b = c\n d };", [("F101", "2:12", "expected `;`, found `d`")]),
    ("a = { b = 1; };", [("F101", "2:14", "the block has no result")]),
    ("a = { b = 1 };", [("F101", "2:13", "the block has no result")]),
    ("a = {};", [("F101", "2:6", "the block has no result")]),
    ("a = { b; c };", [("F101", "2:8", "expected `=`, found `;`")]),
    ("a = { f(x) = x; f };", [("F101", "2:8", "expected `=`, found `(`")]),
    ("a == 1;", [("F101", "2:3", "expected `=` or `(`, found `==`")]),
    ("a = f(x y);", [("F101", "2:9", "expected `=`, `,`, `)` or an operator, found `y`")]),
    ("a = 1 < 2 < 3;", [("F101", "2:11", "expected `;` or an operator, found `<`")]),
    ("a = x >> fn(y) => y;", [("F101", "2:10", "expected an expression, found `fn`")]),
    ("f(x) { x };", [("F101", "2:6", "expected `=`, found a block")]),
    ("{ x } = 1;\n{ y } = 2;", [("F101", "2:1", "expected a definition, found a block"),
                                ("F101", "3:1", "expected a definition, found a block")]),
    ("1 + 2;", [("F101", "2:1", "expected a definition, found `1`")]),
    ("a = 1;\n@foundry(1);", [("F101", "3:1", "expected a definition, found `@foundry`")]),
    ("fn = 1;", [("F207", "2:1", "`fn` is a word of the language")]),
    # brackets
    ("a = f(x;\nb = 2;", [("F101", "2:8", "`(` is not closed before `;`")]),
    ("a = f(x; y);\nb = ;", [("F101", "2:8", "`;` stands inside `()`"),
                            ("F101", "3:5", "expected an expression, found `;`")]),
    ("a = f(x];", [("F101", "2:8", "`(` is closed by `]`")]),
    ("a = f([x);", [("F101", "2:9", "`[` is closed by `)`")]),
    ("a = x);\nb = ;", [("F101", "2:6", "`)` closes nothing"), ("F101", "3:5", "expected an expression, found `;`")]),
    ("a = { b = 1; b;\nc = 2;\nd = ;", [("F101", "3:1", "`{` is not closed before `c`"),
                                         ("F101", "4:5", "expected an expression, found `;`")]),
    ("a = f(", [("F101", "2:7", "`(` is not closed before the end of the text")]),
    # habits
    ("a := 1;", [("F102", "2:3", "`:=` is no sign of this language")]),
    ("a = 2 ^ 3;", [("F102", "2:7", "`^` is no sign of this language")]),
    ("a = 7 // 2;", [("F102", "2:7", "`//` is no sign of this language")]),
    ("a = 7 % 2;", [("F102", "2:7", "`%` is no sign of this language")]),
    ("a = 1; // note: this", [("F102", "2:8", "`//` begins no comment")]),
    ("a = f(per = 'head');", [("F102", "2:13", "the text `head` stands in quotes")]),
    ("a = fn(x) -> x;", [("F102", "2:11", "`->` is no sign of this language")]),
    ("a = (x) => x;", [("F101", "2:9", "expected `;` or an operator, found `=>`")]),
    ("a = lambda x: x;", [("F207", "2:5", "`lambda` is a word of Python that genomes do not use")]),
    ("def f(x):\n  return x", [("F207", "2:1", "`def` is a word of Python that genomes do not use")]),
    ("a = x and y;\nb = not x;", [("F207", "2:7", "`and` is a word of Python that genomes do not use"),
                                  ("F207", "3:5", "`not` is a word of Python that genomes do not use")]),
    ("a = f(mask = None, b = True);", [("F207", "2:14", "`None` is a word of Python that genomes do not use")]),
    ("a = x.width + 1;", [("F102", "2:6", "`.` is no sign of this language")]),
    ("a = 1_000;", [("F101", "2:5", "`1_000` is neither a number nor a name")]),
    ("a = 2x;", [("F101", "2:5", "`2x` is neither a number nor a name")]),
    ("a = 1.2.3;", [("F101", "2:5", "`1.2.3` is neither a number nor a name")]),
    ("# é\na = é + 2 × 3;", [("F102", "3:5", "the character `é` (U+00E9) has no meaning here"),
                              ("F102", "3:11", "`×` is no sign of this language")]),
    # names given twice
    ("a = 1;\na = 2;", [("F203", "3:1", "a second definition is called `a`")]),
    ("f(x, x) = x;", [("F203", "2:6", "a second parameter is called `x`")]),
    ("a = fn(x, y, x) => x;", [("F203", "2:14", "a second parameter is called `x`")]),
    ("a = f(1, b = 2, b = 3);", [("F203", "2:17", "a second argument is called `b`")]),
    ("a = 1;\na = 2;\nb = ;", [("F203", "3:1", "a second definition is called `a`"),
                               ("F101", "4:5", "expected an expression, found `;`")]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_each_mistake_is_reported_once_where_it_is(text, expected):
    found = errors(HEADER + text)
    assert [(d.code, f"{d.span.line}:{d.span.column}", d.message) for d in found] == expected


@pytest.mark.parametrize("text", [text for text, _ in MISTAKES])
def test_applying_the_first_fix_removes_the_mistake(text):
    text = HEADER + text
    found = errors(text)
    for problem in found:
        if not problem.fixes:
            continue
        try:
            parse(apply(text, problem))
            left: list[str] = []
        except GenomeError as error:
            left = [d.message for d in error.diagnostics]
        assert len(left) < len(found), (problem.fixes, left)


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("model = 1;", "@foundry(1);\n\nmodel = 1;"),
        ("@foundry(1)\nmodel = 1;", "@foundry(1);\nmodel = 1;"),
        ("foundry(1);\nmodel = 1;", "@foundry(1);\nmodel = 1;"),
        ("@fondry(1);\nmodel = 1;", "@foundry(1);\nmodel = 1;"),
        ("@foundry(3);\nmodel = 1;", "@foundry(1);\nmodel = 1;"),
        (HEADER + "a = x => x;", HEADER + "a = fn(x) => x;"),
        (HEADER + "a = { f(x, y = 2) = x + y; f };", HEADER + "a = { f = fn(x, y = 2) => x + y; f };"),
        (HEADER + "a = 0xff;", HEADER + "a = 255;"),
        (HEADER + "a = f(“head”);", HEADER + "a = f(head);"),
    ],
)
def test_fixes_are_what_one_would_write(text, repaired):
    assert apply(text, errors(text)[0]) == repaired
    parse(repaired)


def test_a_missing_bracket_is_labelled_at_its_opener():
    (problem,) = errors(HEADER + "a = f(g(x;")
    opener = problem.labels[0].span
    assert (opener.line, opener.column) == (2, 8)


def test_a_repeated_name_is_labelled_at_the_first():
    (problem,) = errors(HEADER + "a = 1;\na = 2;")
    assert (problem.labels[0].span.line, problem.labels[0].span.column) == (2, 1)


def test_offsets_count_bytes_and_columns_count_characters():
    (problem,) = errors(HEADER + "a = f( # é日\n b c);")
    assert (problem.span.line, problem.span.column) == (3, 4)
    assert problem.span.start == len((HEADER + "a = f( # é日\n b ").encode())


def test_a_block_may_bind_a_name_again():
    assert [binding.name for binding in expr("{ x = g(x); x = h(x); x }").bindings] == ["x", "x"]


# Any text


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="@foundry(1);ab=,{}[]()<>!+-*/&|#. \n\"'19e", max_size=200))
def test_any_text_parses_or_has_located_errors(text):
    try:
        parse(text)
    except GenomeError as error:
        assert error.diagnostics
        size = len(text.encode("utf-8", "surrogatepass"))
        for problem in error.diagnostics:
            assert 0 <= problem.span.start <= problem.span.end <= size


WORDS = [*"=,;(){}[]<>+-*/!", "**", "=>", ">>", "fn", "x", "y", "1", "\n", HEADER]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=14))
def test_any_words_parse_or_have_an_error_that_explains_them(words):
    try:
        parse(HEADER + " ".join(words))
    except GenomeError as error:
        assert error.diagnostics
        assert not any("out of place" in problem.message for problem in error.diagnostics)


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, len(LOOK) - 1),
    st.integers(0, 8),
    st.sampled_from(["", "(", "}", ";", "=", "x", "?", "fn", ",", "é"]),
)
def test_a_damaged_genome_gets_few_errors(place, cut, inserted):
    text = LOOK[:place] + inserted + LOOK[place + cut :]
    try:
        parse(text)
    except GenomeError as error:
        assert 1 <= len(error.diagnostics) <= 3
