"""No index lies outside its table: what cannot be proven is refused."""

import pytest

from foundry.dsl.check import check

MODEL = "@foundry(1); model(tokens) = {{ x = embed(tokens, vocab = 61, width = 16); {} }};"
LOSS = "@foundry(1); model = embed(vocab = 61, width = 16) >> unembed(); recipe = train(loss = fn(logits, y) => {});"


def refused(text):
    return [(d.code, d.message) for d in check(text).diagnostics]


@pytest.mark.parametrize(
    "index",
    [
        "remainder(tokens * 7, 61)",
        "min(max(tokens - 5, 0), 60)",
        "60 - tokens",
        "where(tokens > 3, tokens, 2) * (tokens > 5)",
        "position(tokens)",
        "max(position(tokens) - 2, 0)",
        "remainder(-position(tokens), 5)",
        "(fn(n) => n + 1)(remainder(tokens, 60))",
    ],
)
def test_an_index_inside_its_table_is_accepted(index):
    assert refused(MODEL.format(f"x + embed({index}, vocab = 61, width = 16) >> unembed()")) == []


@pytest.mark.parametrize(
    ("index", "may_be"),
    [
        ("tokens + 1", "61"),
        ("tokens * 2", "120"),
        ("tokens - 1", "-1"),
        ("-tokens", "-60"),
        ("tokens * position(tokens)", "above 60"),
        ("tokens - position(tokens)", "below 0"),
        ("position(tokens) - 1", "-1"),
        ("position(tokens) + 61", "61"),
        ("remainder(tokens, -5)", "-4"),
    ],
)
def test_an_index_that_may_lie_outside_is_refused(index, may_be):
    found = refused(MODEL.format(f"x + embed({index}, vocab = 61, width = 16) >> unembed()"))
    assert found == [("F306", f"embed has a vector for each of 0 to 60, but the number may be {may_be}")]


def test_a_table_with_fewer_rows_than_there_are_tokens_is_refused():
    found = refused("@foundry(1); model = embed(vocab = 10, width = 16) >> unembed(vocab = 61);")
    assert found == [("F306", "embed has a vector for each of 0 to 9, but the number may be 60")]


def test_a_cross_entropy_needs_a_logit_for_every_token():
    asked = "x = penalty(x, cross_entropy(linear(x, 20), {})); unembed(x)"
    assert refused(MODEL.format(asked.format("remainder(tokens, 20)"))) == []
    assert refused(MODEL.format(asked.format("tokens"))) == [
        ("F306", "there is a logit for each of 0 to 19, but the number may be 60")
    ]


def test_the_tokens_of_a_loss_are_those_of_the_model():
    assert refused(LOSS.format("cross_entropy(logits, min(y + 5, 60))")) == []
    assert refused(LOSS.format("cross_entropy(logits, y - 5)")) == [
        ("F306", "there is a logit for each of 0 to 60, but the number may be -5")
    ]


def test_a_loss_must_depend_on_the_logits_and_be_a_number():
    assert [code for code, _ in refused(LOSS.format("y * 0.5 + 1"))] == ["F310"]
    assert [code for code, _ in refused(LOSS.format("max(logits) > y"))] == ["F310"]


def test_the_place_is_that_of_the_embedding():
    text = "@foundry(1); model = embed(vocab = 10, width = 16) >> unembed(vocab = 61);"
    (diagnostic,) = check(text).diagnostics
    assert text[diagnostic.span.start : diagnostic.span.end].startswith("embed(vocab = 10")
