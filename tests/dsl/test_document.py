"""The reference: everything that has a name is in it, from the registry and the prelude alone."""

import re
from pathlib import Path

import pytest

from foundry.dsl import pages
from foundry.dsl.check import check, prelude
from foundry.dsl.document import KINDS, comment, entries, fits, source
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import all_units
from foundry.dsl.registry import CALLABLE, CONSTANTS, OPERATORS, OPTIMIZERS, PRIMITIVES, SLOTS, SPECIAL, TRAIN
from foundry.dsl.samples import example, in_slot, measure, written
from foundry.dsl.signatures import places, signatures, waits_for_one
from foundry.dsl.syntax import Argument, Call, Name, walk

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
NAMES = sorted(CALLABLE | SPECIAL)
FUNCTIONS = [d.name for d in prelude().definitions]


def known(text):
    """The signatures of a text's definitions."""
    return signatures({d.name: d for d in parse(f"@foundry(1);\n{text}").definitions})


# What there is


def test_everything_with_a_name_is_in_the_reference_once():
    named = [*CALLABLE, *SPECIAL, *FUNCTIONS, *CONSTANTS, *SLOTS, *OPERATORS, ">>", "!", "fn", "{", "[", "@foundry"]
    assert sorted(entries()) == sorted(named)


def test_entries_come_by_kind():
    kinds = [entry.kind for entry in entries().values()]
    assert kinds == sorted(kinds, key=list(KINDS).index) and set(kinds) == set(KINDS)


@pytest.mark.parametrize("name", [name for name in entries() if name not in FUNCTIONS])
def test_every_entry_says_what_it_is(name):
    entry = entries()[name]
    assert entry.doc and entry.usage
    assert all(meaning for _, meaning in entry.binds)


def test_slots_say_what_each_name_in_them_is():
    assert [name for name, _ in entries()["mask"].binds] == ["h", "i", "j"]
    assert dict(entries()["mask"].binds)["j"] == "the position of the key"


def test_operators_come_from_the_loosest_to_the_tightest():
    # The order of the rules of the grammar: pipe, either, both, comparison, sum, product, power.
    forms = [name for name, entry in entries().items() if entry.kind == "form"]
    order = [forms.index(sign) for sign in (">>", "|", "&", "<", "+", "*", "**", "!")]
    assert order == sorted(order)


# Signatures


def test_the_sorts_of_a_prelude_function_follow_from_its_body():
    taken = {t.name: t for t in signatures()["attention"]}
    sorts = {name: t.sort for name, t in taken.items()}
    assert sorts | {"out_bias": "flag"} == sorts
    expected = {
        "x": "seq", "heads": "integer", "kv_heads": "integer", "head_dim": "number", "pos": "function",
        "norm": "function", "score": "score", "mask": "mask", "bias": "flag",
    }  # fmt: skip
    assert {name: sorts[name] for name in expected} == expected
    assert taken["heads"].required and taken["kv_heads"].default == "heads"
    assert taken["mask"].slot == "mask" and taken["mask"].legal == "a function of h, i, j"


@pytest.mark.parametrize(
    ("text", "sort"),
    [
        ("f(p) = linear(p, 8);", "seq"),
        ("f(p, x) = linear(x, p);", "integer"),
        ("f(p) = linear(p);", "integer"),  # it waits for its sequence
        ("f(p) = rmsnorm >> linear(8, bias = p);", "flag"),
        ("f(p, x) = p(x);", "function"),
        ("f(p, x) = x >> p;", "function"),
        ("f(p, x) = g(x, p); g(x, q) = split_heads(x, q);", "integer"),
        ("f(p, x) = { y = fn(z) => p(z); y(x) };", "function"),
        ("f(p, x) = { p = linear(x, 8); split_heads(x, p) };", "value"),  # another p
        ("f(p, x) = (fn(p) => p(x))(relu);", "value"),
        ("f(p = relu, x = 1) = x;", "function"),
        ("f(p = 3) = 2 * p;", "number"),
        ("f(p) = p + 1;", "value"),
        ("f(p) = f(p);", "value"),
        ("f(p) = g(p); g(p) = f(p);", "value"),
        ("f(p) = unknown(p);", "value"),
    ],
)
def test_the_sort_of_a_parameter(text, sort):
    (found,) = [t.sort for t in known(text)["f"] if t.name == "p"]
    assert found == sort


def test_limits_come_along_from_the_registry():
    kernel = next(t for t in signatures()["gated_conv"] if t.name == "kernel")
    assert kernel.legal == "a whole number from 1 to 4,096" and kernel.default == "3"
    lr = next(t for t in signatures()["adamw"] if t.name == "lr")
    assert lr.legal == "a number from 1e-6 to 1" and lr.meaning.endswith("3e-3 by default")


def test_a_long_chain_of_definitions_is_read_without_recursing_out():
    chain = "".join(f"f{n}(x) = f{n + 1}(x);\n" for n in range(1500))
    assert len([name for name in known(chain) if re.fullmatch(r"f\d+", name)]) == 1500


def test_arguments_by_position_find_their_places():
    call = parse("@foundry(1);\na = linear(8, bias = 1);").definitions[0].value
    assert [t.name for t in places(call.arguments, signatures()["linear"])] == ["out", "bias"]
    assert waits_for_one(signatures()["rmsnorm"]) and not waits_for_one(signatures()["attention"])


# Examples and figures


@pytest.mark.parametrize("name", NAMES)
def test_every_name_has_an_example_that_checks_and_uses_it(name):
    text = example(name)
    assert text, f"foundry/dsl/examples/built_in.genome has to show {name}"
    checked = check(text)
    assert checked.ok and checked.diagnostics == ()
    assert format_genome(parse(text)) == text
    assert any(node == Name(name) for _, node in walk(parse(text)))
    if name in PRIMITIVES:
        units = [*all_units(checked.program), checked.program.recipe.loss]
        assert any(node.op == name for unit in units for node in unit.nodes)


def test_no_example_is_written_out_for_nothing():
    assert {d.name for d in written().definitions} <= set(NAMES)


@pytest.mark.parametrize(
    ("name", "result", "flops", "weights", "keeps"),
    [
        # x is seq[64]. linear to 128 channels: 2 * 64 * 128 operations, and a bias.
        ("linear", "seq[128]", 16384, {"weight": (128, 64), "bias": (128,)}, (0, 0)),
        # 4 heads of 16 channels meet 128 positions: 2 * 4 * (16 + 16) * 128; two key heads of 16, and as many values.
        ("attend", "heads[4, 16]", 32768, {}, (64, 0)),
        ("conv", "seq[64]", 2 * 64 * 3, {"weight": (64, 1, 3)}, (0, 2 * 64)),
        ("scan", "seq[64]", 2 * 64, {}, (0, 64)),
        ("mean", "seq[1]", 64, {}, (0, 0)),
        ("embed", "seq[64]", 0, {"weight": (256, 64)}, (0, 0)),
    ],
)
def test_what_a_primitive_costs_in_its_example(name, result, flops, weights, keeps):
    found = measure(name)
    assert (str(found.result), found.flops, found.weights) == (result, flops, weights)
    assert (found.grows, found.stays) == keeps


def test_figures_are_words():
    assert pages.figures(entries()["linear"]).startswith(
        "seq[64] gives seq[128]; 16,384 FLOPs per token; learns weight"
    )
    assert "a decoder keeps 64 numbers for each token" in pages.figures(entries()["attend"])
    assert "32,768 FLOPs per token at a context of 128;" in pages.figures(entries()["attend"])
    assert pages.figures(entries()["param"]).startswith("it gives values over (channel 64)")
    assert pages.figures(entries()["embed"]).startswith("tokens give seq[64]")
    assert pages.figures(entries()["mlp"]) == "" and measure("mlp") is None


# The prelude


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_prelude_function_shows_its_source(name):
    definition = prelude().definition(name)
    again = parse(f"@foundry(1);\n\n{source(definition)}").definitions
    assert again == (definition,)
    assert entries()[name].source == source(definition)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_prelude_function_has_a_comment(name):
    assert entries()[name].doc == comment(prelude().definition(name)) != ""


def test_a_comment_is_the_paragraph_right_above():
    text = "@foundry(1);\n\n# Of the file.\n\n# Of this\n# function.\nf(x) = x;\n"
    assert comment(parse(text).definitions[0]) == "Of this function."


def test_calls_and_users_are_each_other_s_mirror():
    for name, entry in entries().items():
        for other in entry.calls:
            if other in entries():
                assert name in entries()[other].used_by
    assert {"linear", "attend", "everything"} <= set(entries()["attention"].calls)
    assert "attention" in entries()["attend"].used_by


def test_functions_that_fit_a_slot_by_their_names():
    assert "window" in fits("mask") and "window" not in fits("score")
    assert {"softcap", "alibi"} <= set(fits("score")) and "silu" not in fits("score")
    assert "warmup_cosine" in fits("schedule") and fits("loss") == ("z_loss",)


@pytest.mark.parametrize("slot", SLOTS)
def test_a_slot_is_a_place_that_the_checker_looks_at(slot):
    assert not check(f"@foundry(1);\nbad(nothing, at, all) = 1;\n{in_slot(slot, 'bad')}").ok


# Pages


def test_the_pages_are_up_to_date():
    found = {path.name: path.read_text("utf-8") for path in REFERENCE.iterdir()}
    assert sorted(found) == sorted(pages.pages())
    for name, content in pages.pages().items():
        assert found[name] == content, f"write them again: {pages.COMMAND}"


def test_the_pages_say_what_wrote_them_and_hold_every_name():
    together = "".join(pages.pages().values())
    assert all(page.startswith(f"<!-- Written by `{pages.COMMAND}`") for page in pages.pages().values())
    for entry in entries().values():
        assert entry.usage.replace("|", "\\|") in together


def test_a_page_for_a_terminal_is_narrow():
    for entry in entries().values():
        text = pages.text(entry)
        assert max(map(len, text.splitlines())) <= 120 and entry.usage.split("(")[0] in text


def test_a_usage_breaks_between_arguments():
    assert "score: score = identity" in pages.text(entries()["attention"])


def test_data_has_arguments_example_and_figures():
    data = pages.as_data(entries()["linear"])
    assert data["arguments"][1] == {
        "name": "out", "sort": "integer", "default": None, "legal": "a whole number from 1 to 16,777,216",
        "required": True,
    }  # fmt: skip
    assert data["measured"]["flops"] == 16384 and check(data["example"]).ok
    assert pages.as_data(entries()["window"])["fits_as"] == ["mask"]
    assert set(pages.as_data(entries()["schedule"])["binds"]) == {"t"}


def test_a_primitive_names_the_file_of_its_mechanism():
    for name in CALLABLE & set(PRIMITIVES):
        for file in pages.as_data(entries()[name]).get("code", []):
            assert (Path(__file__).parents[2] / file).is_file()
    assert pages.as_data(entries()["attend"])["code"] == ["foundry/compiler/mechanisms/attend.py"]


def test_optimizers_and_train_show_every_setting():
    for name, args in {**OPTIMIZERS, "train": TRAIN}.items():
        assert [t.name for t in entries()[name].arguments] == [a.name for a in args]


def test_an_example_in_a_slot_calls_the_function_there():
    tree = parse(f"@foundry(1);\n{in_slot('mask', 'window')}")
    calls = [node for _, node in walk(tree) if isinstance(node, Call) and node.function == Name("attention")]
    assert Argument("mask", Name("window")) in calls[0].arguments
