"""Completion: what is offered may follow, what may follow is offered, and values are those that the checker takes."""

import time
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lark import Lark
from lark.exceptions import UnexpectedInput

from foundry.dsl.check import check, prelude
from foundry.dsl.complete import complete
from foundry.dsl.cursor import locate, offset
from foundry.dsl.registry import CALLABLE, CONSTANTS, OPTIMIZERS, SPECIAL
from foundry.dsl.source import MAX_BYTES, resource
from foundry.dsl.usual import MOST, usual

MODEL = "@foundry(1);\nmodel = embed(vocab = 256, width = 96) >> 2 * layer >> unembed(tied = 1);\n"
LLAMA, GPT2, HYBRID = (resource("genomes", f"{name}.genome") for name in ("llama", "gpt2", "hybrid"))


def texts(prefix, *kinds, at=None):
    """The texts offered, of some kinds."""
    return [offer.text for offer in complete(prefix, at).offers if offer.kind in kinds or not kinds]


def values(prefix):
    return texts(prefix, "value")


@cache
def peer():
    """The grammar in lark's own hands, with lark's own lexer."""
    return Lark(resource("grammars", "foundry.lark"), parser="lalr")


def viable(text):
    """Whether a genome may begin so, to lark."""
    try:
        state = peer().parse_interactive(text)
        state.exhaust_lexer()
    except UnexpectedInput:
        return None
    return state.accepts()


# Against the grammar


def check_offers(prefix):
    """Every sign, argument and value that is offered, and one name of each kind, may follow, to lark."""
    completion = complete(prefix)
    assert bool(completion.offers) != bool(completion.problem)
    seen = set()
    for offer in completion.offers:
        if offer.kind not in ("sign", "word", "argument", "value") and offer.kind in seen:
            continue
        seen.add(offer.kind)
        written = {"number": "1", "name": "zz", "end": ""}.get(offer.kind, offer.text)
        accepts = viable(prefix[: offer.start] + written)
        assert accepts is not None, offer
        assert offer.kind != "end" or "$END" in accepts
    return completion


@given(st.sampled_from([LLAMA, GPT2, HYBRID]), st.data())
def test_what_is_offered_in_a_genome_may_follow(text, data):
    check_offers(text[: data.draw(st.integers(0, len(text)))])


@given(st.data())
def test_what_is_offered_after_a_changed_genome_may_follow(data):
    cut = data.draw(st.integers(0, len(LLAMA)))
    place = data.draw(st.integers(0, cut))
    change = data.draw(st.sampled_from(["", ";", ")", "}", "(", "= ", "fn(", "1e-", "@", "#", "&&", "\n", "'", ", "]))
    prefix = LLAMA[:place] + change + LLAMA[place + data.draw(st.integers(0, 3)) : cut]
    completion = complete(prefix)
    if viable(prefix) is not None and not completion.problem:
        check_offers(prefix)


@given(st.one_of(st.text(), st.text(alphabet="@foundry(1);{}[]=>* \n#aé-.e,&|!'\"\\")))
def test_arbitrary_text_never_raises(text):
    completion = complete(text)
    assert bool(completion.offers) != bool(completion.problem)


@pytest.mark.parametrize("end", range(0, len(LLAMA), 7))
def test_everything_that_may_follow_is_offered(end):
    prefix = LLAMA[:end].rstrip() + " "
    if "#" in prefix.rsplit("\n", 1)[-1]:
        return
    signs = {t.pattern.value: t.name for t in peer().terminals if t.name not in ("NAME", "NUMBER", "COMMENT")}
    kinds = {"name", "binding", "parameter", "function", "argument"}
    offers = complete(prefix).offers
    offered = {signs[offer.text] for offer in offers if offer.text in signs}
    offered |= {"NAME"} if kinds & {offer.kind for offer in offers} else set()
    offered |= {"NUMBER"} if {"number", "value"} & {offer.kind for offer in offers} else set()
    offered |= {"$END"} if "end" in {offer.kind for offer in offers} else set()
    offered |= {"FOUNDRY"} if offers and offers[0].text == "@foundry(1);" else set()
    assert offered == (viable(prefix) or set())


# The shape of a genome


def test_an_empty_text_begins_with_the_header():
    assert texts("") == texts("  \n") == texts("# a comment\n") == ["@foundry(1);"]
    assert texts("@fou") == ["@foundry(1);"] and texts("@foundry(") == ["1"]


def test_definitions_that_are_missing_are_offered():
    assert texts("@foundry(1);\n", "definition") == ["model", "recipe"]
    assert texts(MODEL, "definition") == ["recipe"]
    assert texts(MODEL + "rec", "definition") == ["recipe"]
    assert texts(LLAMA, "definition") == []


def test_a_genome_may_end_after_a_definition_only():
    assert "end" in [offer.kind for offer in complete(MODEL).offers]
    assert "end" not in [offer.kind for offer in complete(MODEL + "layer(x) = x").offers]


def test_inside_a_comment_nothing_is_offered():
    completion = complete("@foundry(1);\n# a thought")
    assert completion.offers == () and "comment" in completion.problem


@pytest.mark.parametrize(
    ("prefix", "says"),
    [("@foundry(1);\nmodel = )", "2:9: `)` does not fit here"), ("@foundry(1);\nmodel = 'x' ", "2:9: "),
     ("model = ", "1:1: `model` does not fit"), ("@foundry(1);\nf(x) = " + "(" * 200, "nest deeper"),
     ("@foundry(1);\n\x00", "2:1: "), (" " * (MAX_BYTES + 1), "larger")],
)  # fmt: skip
def test_a_text_that_no_genome_begins_with_says_where_it_goes_wrong(prefix, says):
    completion = complete(prefix)
    assert completion.offers == () and says in completion.problem


def test_a_mistake_in_an_earlier_definition_does_not_silence_a_later_one():
    prefix = "@foundry(1);\nbad = ;\nother(x) = x;\nlayer(x, y) = x + "
    assert {"x", "y", "other", "bad"} <= set(texts(prefix, "parameter", "definition"))
    assert "model" in texts("@foundry(1);\nbad = ;\n", "definition")


# Words


def test_a_word_at_the_cursor_filters_and_what_follows_it_is_offered_too():
    offers = complete(MODEL + "layer(x) = x >> rms").offers
    assert [offer.text for offer in offers if offer.kind == "function"] == ["rmsnorm"]
    assert all(offer.start == len(MODEL + "layer(x) = x >> ") for offer in offers if offer.kind == "function")
    signs = [offer for offer in complete(MODEL + "layer(x) = x").offers if offer.kind == "sign"]
    assert {">>", "+", ";", "("} <= {sign.text for sign in signs} and {sign.start for sign in signs} == {
        len(MODEL + "layer(x) = x")
    }


def test_a_number_at_the_cursor_filters_values():
    assert values(MODEL + "layer(x) = x + attention(x, heads = 1") == ["1", "12", "16"]


def test_operators_say_what_they_mean():
    details = {offer.text: offer.detail for offer in complete(MODEL + "layer(x) = x ").offers}
    assert "copies" in details["*"] and details[">>"].startswith("x >> f")


# Names in sight


def test_everything_of_the_language_is_in_sight():
    offered = set(texts(MODEL + "layer(x) = x + "))
    assert offered >= CALLABLE | SPECIAL | set(CONSTANTS) | {d.name for d in prelude().definitions}


@pytest.mark.parametrize(
    ("body", "seen", "unseen"),
    [
        ("f(x, y = ", {"x"}, {"y", "f"}),
        ("f(x) = { a = x; b = ", {"x", "a"}, {"b"}),
        ("f(x) = { a = { c = x; c }; b = ", {"a"}, {"c"}),
        ("f(x) = { a = { c = x; ", {"x", "c"}, {"a"}),
        ("f(x) = g(fn(z) => z * ", {"x", "z"}, set()),
        ("f(x) = g(fn(z) => z, ", {"x"}, {"z"}),
        ("f(x) = (fn(z) => z)(", {"x"}, {"z"}),
        ("f(x) = [fn(z) => z, ", {"x"}, {"z"}),
        ("f(x) = { g = fn(z) => z; ", {"x", "g"}, {"z"}),
        ("f(x) = x;\ng(y) = ", {"f", "y"}, {"x", "g"}),
        ("f(x) = fn(u) => fn(v) => ", {"x", "u", "v"}, set()),
    ],
)
def test_names_are_in_sight_where_the_language_says_so(body, seen, unseen):
    local = set(texts("@foundry(1);\n" + body, "parameter", "binding", "definition"))
    assert seen <= local and not unseen & local


def test_the_innermost_names_come_first_and_once():
    offered = texts("@foundry(1);\nf(x, y) = { x = y; z = x; ", "parameter", "binding")
    assert offered == ["z", "x", "y"]


def test_definitions_behind_the_cursor_are_in_sight():
    text = "@foundry(1);\nmodel = embed(vocab = 256, width = 64) >> \n;\n# A layer.\nlayer(x) = x;\n"
    offers = complete(text, text.index("\n;")).offers
    assert [(o.text, o.detail) for o in offers if o.kind == "definition"] == [("layer", "A layer.")]


# Arguments


def test_arguments_that_a_call_lacks_are_offered_with_what_they_take():
    offers = [o for o in complete(MODEL + "layer(x) = x + attention(x, kv_heads = 2, ").offers if o.kind == "argument"]
    assert [o.text for o in offers][:2] == ["heads = ", "head_dim = "] and "kv_heads = " not in [o.text for o in offers]
    assert offers[0].detail == "a whole number from 1 to 16,777,216 (required)"


def test_the_genome_s_own_functions_have_arguments_too():
    prefix = "@foundry(1);\nblock(x, mix, width = 64) = mix(x);\nmodel = embed(vocab = 256, width = 64) >> block("
    assert texts(prefix, "argument") == ["mix = ", "width = "]


def test_no_argument_is_offered_in_the_middle_of_one():
    assert texts(MODEL + "layer(x) = x + attention(x, heads = ", "argument") == []
    assert texts(MODEL + "layer(x) = x + attention(x + ", "argument") == []
    assert texts(MODEL + "layer(x) = x + (", "argument") == []


def test_a_call_of_a_call_knows_what_it_was_given():
    offered = texts(MODEL + "layer(x) = attention(heads = 4)(x, ", "argument")
    assert "kv_heads = " in offered and "heads = " not in offered


# Values


def test_heads_are_the_divisors_of_the_width():
    expected = [str(n) for n in range(1, 97) if 96 % n == 0]
    assert values(MODEL + "layer(x) = x + attention(rmsnorm(x), heads = ") == expected
    assert values(MODEL + "layer(x) = { y = attention(rmsnorm(x), heads = ") == expected


def test_heads_with_rotary_positions_are_of_even_width():
    expected = [str(n) for n in range(1, 97) if 96 % n == 0 and (96 // n) % 2 == 0]
    text = MODEL + "layer(x) = x + attention(rmsnorm(x), heads = , pos = rope);\n"
    assert texts(text, "value", at=text.index(", pos")) == expected


def test_key_heads_divide_the_heads():
    assert values(MODEL + "layer(x) = x + attention(x, heads = 8, kv_heads = ") == ["1", "2", "4", "8"]


def test_where_the_width_is_unknown_usual_values_are_offered():
    assert "4" in values("@foundry(1);\nlayer(x) = x + attention(x, heads = ")


def test_flags_and_axes_have_few_values():
    assert values(MODEL + "layer(x) = x + linear(x, 96, bias = ") == ["0", "1"]
    assert values(MODEL + "layer(x) = x * param(1, per = ") == ["channel"]  # a sequence has no heads
    assert values("@foundry(1);\nf(x) = x * param(1, per = ") == ["head", "channel", "[head, channel]"]


def test_a_slot_takes_the_functions_of_its_names_first():
    assert values(MODEL + "layer(x) = x + attention(x, heads = 4, mask = ")[:2] == ["everything", "window"]
    scores = values(MODEL + "layer(x) = x + attention(x, heads = 4, score = ")
    assert scores.index("alibi") < scores.index("tanh") and "window" not in scores and "rmsnorm" not in scores
    schedules = values(MODEL + "layer(x) = x;\nrecipe = train(schedule = ")
    assert schedules[0] == "warmup_cosine" and "rmsnorm" not in schedules


def test_parameters_of_a_function_in_a_slot_are_its_names():
    assert texts(MODEL + "layer(x) = x + attention(x, heads = 4, mask = fn(i, ", "parameter") == ["h", "j"]
    assert texts(MODEL + "layer(x) = x;\nrecipe = train(loss = fn(logits, ", "parameter")[0] == "y"


def test_an_activation_is_any_function_that_keeps_the_shape():
    offered = values(MODEL + "layer(x) = x + mlp(x, act = ")
    assert offered[0] == "gelu" and {"silu", "relu", "tanh"} <= set(offered)
    assert not {"split_heads", "merge_heads", "attention", "layer", "position"} & set(offered)


def test_the_genome_s_own_functions_fit_where_the_checker_takes_them():
    text = MODEL + "bump(x) = x * tanh(x);\ntwo(x, y) = x + y;\nlayer(x) = x + mlp(x, act = "
    assert "bump" in values(text) and "two" not in values(text)


def test_numbers_are_the_default_and_what_genomes_use():
    offered = values(MODEL + "layer(x) = x + attention(x, heads = 4, pos = rope(theta = ")
    assert offered[0] == "1e4" and len(offered) <= MOST + 1
    assert usual("adamw", "lr") and usual("nothing", "lr") == ()


def test_an_optimizer_is_a_call():
    assert values(MODEL + "layer(x) = x;\nrecipe = train(optimizer = ") == [f"{name}(" for name in OPTIMIZERS]


@pytest.mark.parametrize(
    ("prefix", "closing"),
    [
        (MODEL + "layer(x) = x + attention(x, heads = ", ");"),
        (MODEL + "layer(x) = x + attention(x, heads = 4, score = ", ");"),
        (MODEL + "layer(x) = x + mlp(x, act = ", ");"),
        (MODEL + "layer(x) = x + conv(x, kernel = ", ");"),
        (MODEL + "layer(x) = x;\nrecipe = train(optimizer = adamw(lr = ", "));"),
    ],
)
def test_every_value_offered_checks_clean(prefix, closing):
    offered = values(prefix)
    assert offered and all(check(prefix + value + closing).ok for value in offered)


def test_completion_is_quick():
    complete(MODEL)
    began = time.monotonic()
    complete(MODEL + "layer(x) = x + attention(x, heads = 4, score = ")
    assert time.monotonic() - began < 2


# Places


def test_a_place_is_a_line_and_a_column_from_1():
    text = "ab\n\ncé\n"
    assert [offset(text, *place) for place in ((1, 1), (1, 3), (2, 1), (3, 2), (4, 1))] == [0, 2, 3, 5, 7]
    assert [offset(text, *place) for place in ((0, 1), (1, 0), (1, 4), (5, 1))] == [None] * 4


def test_the_rest_of_a_word_behind_the_cursor_is_no_matter():
    text = MODEL + "layer(x) = x + attention(x, heads = 1234);\n"
    assert texts(text, "value", at=text.index("234")) == ["1", "12", "16"]


def test_a_cursor_knows_what_is_open_around_it():
    cursor = locate("@foundry(1);\nf(x) = { a = g(x, [1, (b = ")
    assert [opened.kind for opened in cursor.open] == ["text"] and cursor.problem
    cursor = locate("@foundry(1);\nf(x) = { a = g(x, [1, (2 + ")
    assert [opened.kind for opened in cursor.open] == ["text", "block", "call", "list", "group"]
