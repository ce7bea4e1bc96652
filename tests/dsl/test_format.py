"""Formatting: one text for every tree, and the same tree back from it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foundry.dsl.format import LEVELS, WIDTH, format_expr, format_genome, format_number
from foundry.dsl.parse import parse
from foundry.dsl.source import resource, resource_folder
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Parameter,
    Unary,
    walk,
)

HEADER = "@foundry(1);\n\n"

pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")


def formatted(text: str) -> str:
    return format_genome(parse(text))


def one(text: str) -> str:
    """An expression in the one format, on one line."""
    return format_expr(parse(f"{HEADER}a = {text};").definitions[0].value)


# Arbitrary trees

names = st.sampled_from(["x", "y", "heads", "f", "rmsnorm", "a_rather_long_name_for_a_thing", "fn_", "_"])
comments = st.lists(st.text("abc #é;{}", min_size=1, max_size=12).map(str.strip).filter(bool), max_size=2).map(tuple)
numbers = st.builds(Number, st.integers(0, 10**12) | st.floats(0, allow_nan=False, allow_infinity=False).map(abs))


def parameters(values: st.SearchStrategy[Expr]) -> st.SearchStrategy[tuple[Parameter, ...]]:
    one_parameter = st.builds(Parameter, names, st.none() | values)
    return st.lists(one_parameter, max_size=3, unique_by=lambda p: p.name).map(tuple)


def larger(inner: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    operators = st.sampled_from(list(LEVELS))
    arguments = st.lists(
        st.builds(Argument, st.just("") | names, inner), max_size=4, unique_by=lambda a: a.name or object()
    )
    bindings = st.lists(st.builds(Binding, names, inner, comments=comments), max_size=3)
    return st.one_of(
        st.builds(Binary, operators, inner, inner),
        st.builds(Unary, st.sampled_from("-!"), inner),
        st.builds(Call, inner, arguments.map(tuple)),
        st.builds(ListOf, st.lists(inner, max_size=4).map(tuple)),
        st.builds(Function, parameters(inner), inner),
        st.builds(Block, bindings.map(tuple), inner, comments=comments),
    )


expressions: st.SearchStrategy[Any] = st.recursive(numbers | st.builds(Name, names), larger, max_leaves=12)
definitions = st.builds(Definition, names, st.none() | parameters(expressions), expressions, comments=comments)
genomes = st.builds(
    Genome,
    st.just(1),
    st.lists(definitions, max_size=3, unique_by=lambda d: d.name).map(tuple),
    comments=comments,
    closing=comments,
)


def remarks(genome: Genome) -> list[tuple[str, ...]]:
    """All comments of a genome in the order of the tree; those after the last definition need one to stand behind."""
    found = [node.comments for _, node in walk(genome) if hasattr(node, "comments")]
    return [*found, genome.closing]


@settings(max_examples=150, deadline=None)
@given(genomes)
def test_parsing_a_formatted_genome_gives_it_back(genome):
    text = format_genome(genome)
    again = parse(text)
    assert again == genome
    assert remarks(again) == remarks(genome)
    assert format_genome(again) == text


@settings(max_examples=80, deadline=None)
@given(expressions)
def test_an_expression_on_one_line_means_the_same(expr):
    text = format_expr(expr)
    assert "\n" not in text
    assert parse(f"{HEADER}a = {text};").definitions[0].value == expr


@settings(max_examples=80, deadline=None)
@given(st.floats(0, allow_nan=False, allow_infinity=False))
def test_a_number_keeps_its_exact_value(value):
    text = format_number(value)
    assert float(text) == value
    assert "." in text or "e" in text, "an integer would be another number"
    assert len(text) <= len(repr(value))


# The look


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4, "4"), (1e4, "1e4"), (0.95, "0.95"), (3e-3, "3e-3"), (1e-6, "1e-6"), (1.5e-7, "1.5e-7"), (0.5, "0.5"),
        (50.0, "50.0"), (1.0, "1.0"), (0.0, "0.0"), (1000.0, "1e3"), (12345.0, "12345.0"), (0.0125, "0.0125"),
        (0.044715, "0.044715"),
        (1e22, "1e22"), (1.7976931348623157e308, "1.7976931348623157e308"), (5e-324, "5e-324"),
    ],
)  # fmt: skip
def test_numbers_are_short(value, text):
    assert format_number(value) == text


def test_a_number_that_no_genome_can_hold_is_refused():
    for value in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="cannot hold"):
            format_number(value)


@pytest.mark.parametrize(
    ("text", "tidy"),
    [
        ("((a)+(b*c))", "a + b * c"),
        ("(a+b)*c", "(a + b) * c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("(a**b)**c", "(a ** b) ** c"),
        ("a**(b**c)", "a ** b ** c"),
        ("(-a)**b", "(-a) ** b"),
        ("-(a**b)", "-a ** b"),
        ("2**(-1)", "2 ** -1"),
        ("-(-a)", "--a"),
        ("!(a&b)", "!(a & b)"),
        ("(a<b)==c", "(a < b) == c"),
        ("(a>>b)>>c", "a >> b >> c"),
        ("x>>(fn(z)=>z)", "x >> (fn(z) => z)"),
        ("fn(z)=>(z>>f)", "fn(z) => z >> f"),
        ("(fn(z)=>z)(x)", "(fn(z) => z)(x)"),
        ("(f)(x,)", "f(x)"),
        ("f((fn(z)=>z),a=[ 1,(2) ])", "f(fn(z) => z, a = [1, 2])"),
        ("{a=1;a;}", "{ a = 1; a }"),
    ],
)
def test_parentheses_stand_only_where_they_are_needed(text, tidy):
    assert one(text) == tidy


def test_a_genome_has_this_look():
    text = """@foundry(1);

# A llama-style block: pre-norm, rotary positions, a gated MLP.
layer(x) = {
  x = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, pos = rope(theta = 1e4));
  x + glu(rmsnorm(x), hidden = 256, act = silu)
};

capped(s) = 50 * tanh(s / 50);
near = fn(i, j) => i - j < 4096;

model = embed(vocab = 256, width = 128, scale = 11.5)
  >> 6 * (layer >> attention(heads = 8, mask = near, score = capped))
  >> rmsnorm
  >> unembed(tied = 1);

# Everything here is per token.
recipe = train(
  optimizer = adamw(lr = 3e-3, betas = [0.9, 0.95], decay = 0.1),
  schedule = fn(t) => min(t / 0.02, 1) * (0.1 + 0.45 * (1 + cos(pi * t))),
  loss = fn(logits, y) => {
    # Keep the logits small.
    z = logsumexp(logits);
    cross_entropy(logits, y) + 1e-4 * z ** 2
  },
);
"""
    assert formatted(text) == text
    squeezed = "\n".join(line.strip() for line in text.split("\n")).replace(" = ", "=").replace(", ", ",")
    assert formatted(squeezed) == text.replace("pre-norm, rotary positions, a", "pre-norm,rotary positions,a")


def test_long_parameters_go_on_under_the_first_one():
    text = (
        HEADER
        + """attention(x, heads, kv_heads = heads, head_dim = width(x) / heads, pos = identity, norm = identity,
          short = identity, score = identity, mask = everything, bias = 0) = x;
"""
    )
    assert formatted(text.replace("\n          ", " ")) == text


def test_arithmetic_that_is_too_long_goes_to_the_next_line():
    value = "min(t / warmup, 1) * (floor + (1 - floor) * 0.5 * (1 + cos(pi * t)))"
    head = "warmup_cosine(t, warmup = 0.05, floor = 0.1) ="
    assert formatted(f"{HEADER}{head} {value};") == f"{HEADER}{head}\n  {value};\n"


def test_lines_keep_within_the_width_where_names_allow_it():
    text = formatted(resource("grammars", "prelude.genome"))
    code = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    assert max(map(len, code)) <= WIDTH


def test_comments_move_above_their_statement_and_none_is_lost():
    text = """# one
@foundry(1); # two
f(x) = { # three
  y = g(x, # four
    1); # five
  # six

  # seven
  y # eight
}; # nine
# ten"""
    assert (
        formatted(text)
        == """# one
# two
@foundry(1);

# three
# nine
f(x) = {
  # four
  # five
  y = g(x, 1);
  # six

  # seven
  # eight
  y
};

# ten
"""
    )


def test_negative_and_edited_numbers_still_mean_the_same_value():
    call = Call(Name("f"), (Argument("", Number(-2)), Argument("", Binary("**", Number(-2.5), Number(2)))))
    assert format_expr(call) == "f(-2, (-2.5) ** 2)"


@pytest.mark.parametrize("path", sorted(resource_folder("genomes").glob("*.genome")), ids=lambda path: path.stem)
def test_shipped_genomes_come_back_unchanged_in_meaning(path: Path):
    genome = parse(path.read_text("utf-8"))
    assert parse(format_genome(genome)) == genome


def test_formatting_is_fast_enough_for_a_search():
    genome = parse(resource("grammars", "prelude.genome"))
    best = 1.0
    for _ in range(5):
        begin = time.process_time()
        text = format_genome(genome)
        best = min(best, time.process_time() - begin)
    assert best / text.count("\n") * 20 < 0.002


def test_deep_trees_format():
    tree: Expr = Name("x")
    for _ in range(99):
        tree = Call(Name("some_function"), (Argument("", tree), Argument("n", Number(1))))
    genome = Genome(1, (Definition("model", None, tree),))
    assert parse(format_genome(genome)) == genome
    assert format_genome(replace(genome, closing=("end",))).endswith("\n\n# end\n")
