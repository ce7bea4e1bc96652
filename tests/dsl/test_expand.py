"""Written-out genomes mean what they meant: the hash counts every weight in the order in which it is made."""

import random
from pathlib import Path

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program, prelude
from foundry.dsl.expand import ExpandError, NotCalled, expand
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.substitute import free
from foundry.generate.genomes import random_genome

GENOMES = Path(__file__).parents[2] / "genomes"
SHIPPED = {str(path.relative_to(GENOMES).with_suffix("")): path.read_text() for path in GENOMES.rglob("*.genome")}
PRELUDE = {definition.name: definition for definition in prelude().definitions}


def genome(layer, *definitions, model="embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1)", head="x"):
    return "\n".join(["@foundry(1);", *definitions, f"layer({head}) = {layer};", f"model = {model};"])


def same(text, *names):
    """The genome with calls of these functions expanded, of which the hash is what it was."""
    out = expand(text, names)
    assert canonical_hash(load_program(out)) == canonical_hash(load_program(text))
    assert format_genome(parse(out)) == out
    return out


def definition(text, name):
    """The text of one definition, white space apart."""
    (found,) = [d for d in parse(text).definitions if d.name == name]
    return " ".join(format_genome(parse(text)).encode()[found.span.start : found.span.end].decode().split())


# every genome -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_a_genome_down_to_primitives_calls_nothing_of_the_prelude(name):
    out = same(SHIPPED[name])
    own = {d.name for d in parse(out).definitions}
    assert not {used for d in parse(out).definitions for used in free(d) if used in PRELUDE} - own


@pytest.mark.parametrize("seed", range(12))
def test_random_genomes_can_be_written_out(seed):
    text = random_genome(random.Random(seed))
    same(text)
    for own in parse(text).definitions:
        if own.name not in ("model", "recipe"):
            same(text, own.name)


def uses(name):
    """A genome that calls a function of the prelude in its plainest form, as its first parameter says."""
    first, required = PRELUDE[name].parameters[0].name, [p.name for p in PRELUDE[name].parameters if not p.default]
    if first in ("s", "i", "j") or required[0] in ("s", "i", "j"):
        slot = "mask" if "s" not in required else "score"
        return genome(f"x + attention(x, heads = 4, {slot} = {name})")
    if first in ("t", "logits"):
        slot = "loss" if first == "logits" else "schedule"
        return genome("x + mlp(x, hidden = 32)") + f"\nrecipe = train({slot} = {name});"
    return None


@pytest.mark.parametrize("name", [n for n in PRELUDE if PRELUDE[n].parameters and uses(n)])
def test_scores_masks_schedules_and_losses_become_functions_written_in_place(name):
    out = same(uses(name), name)
    assert name not in {used for d in parse(out).definitions for used in free(d)}


def test_every_function_of_the_prelude_that_a_genome_calls_can_be_expanded_alone():
    tried = set()
    for text in SHIPPED.values():
        for name in {used for d in parse(text).definitions for used in free(d)} & set(PRELUDE) - tried:
            tried.add(name)
            same(text, name)
    assert len(tried) > 40


# evaluation, once and in order --------------------------------------------------------------------------------------


def test_an_argument_with_weights_is_evaluated_once():
    out = same(genome("x + silu(linear(x, 64))"), "silu")
    assert definition(out, "layer") == "layer(x) = x + { x = linear(x, 64); x * sigmoid(x) };"


def test_arguments_keep_their_order_where_the_body_uses_them_in_another():
    text = genome("x + over(linear(x, 64), linear(x, 64))", "over(a, b) = relu(b) / a;")
    out = definition(same(text, "over"), "layer")
    assert out == "layer(x) = x + { a = linear(x, 64); relu(linear(x, 64)) / a };"


def test_arguments_by_name_are_evaluated_in_the_order_of_the_call():
    same(genome("x + over(b = linear(x, 64), a = linear(x, 64))", "over(a, b) = a / b;"), "over")


def test_weights_of_the_body_come_after_those_of_the_arguments():
    text = genome("x + scale(linear(x, 64))", "scale(a) = { c = param(1, per = channel); c * a };")
    assert "{ a = linear(x, 64); c = param(1, per = channel); c * a }" in definition(same(text, "scale"), "layer")


def test_an_argument_used_in_a_function_inside_is_bound_outside_of_it():
    text = genome("x + twice(x, y = linear(x, 64))", "twice(x, y) = { g = fn(z) => z * y; g(x) + g(x) };")
    assert "y = linear(x, 64); g = fn(z) => z * y;" in definition(same(text, "twice"), "layer")


def test_defaults_with_weights_come_last():
    same(genome("x + gated(x)", "gated(x, y = linear(x, 64)) = { a = linear(x, 64); a * y * y };"), "gated")


def test_what_a_partial_call_is_given_is_evaluated_once_for_all_its_calls():
    text = genome("{ m = mixed(w = linear(x, 64)); x + m(x) + m(x) }", "mixed(x, w) = x * w + linear(x, 64);")
    assert definition(same(text, "mixed"), "layer").count("linear") == 2


def test_a_penalty_is_not_doubled():
    text = genome("x + twice(penalty(x, 0.01 * x * x))", "twice(y) = y * y;")
    assert definition(same(text, "twice"), "layer").count("penalty") == 1


def test_shared_weights_stay_shared():
    model = "embed(vocab = 256, width = 64) >> s >> s >> layer >> unembed(tied = 1)"
    text = genome("x", "s = share(block);", "block(x) = x + mlp(x, hidden = 32);", model=model)
    same(text, "block")
    same(text, "mlp")
    with pytest.raises(ExpandError, match="shared"):
        expand(text, ["s"])


# names ---------------------------------------------------------------------------------------------------------------


def test_a_binding_of_the_body_that_would_capture_a_name_is_renamed():
    text = genome("{ q = 4; v = x * 2; x + attention(v, heads = q) }")
    out = definition(same(text, "attention"), "layer")
    assert "q_b = " in out and "head_dim = width(v) / q;" in out and "k = split_heads" in out


def test_a_local_name_does_not_hide_what_the_body_calls():
    out = same(genome("x + glu(x, hidden = width)", head="x, width = 32"), "glu")
    assert definition(out, "width_b") == "width_b = width;"


def test_the_prelude_calls_its_own_functions_and_not_those_of_the_genome():
    out = same(genome("x + glu(x, hidden = 32) + silu(x)", "silu(x) = relu(x);"), "glu")
    assert definition(out, "silu_b") == "silu_b(x) = x * sigmoid(x);"


def test_a_function_of_the_genome_goes_before_that_of_the_prelude():
    out = same(genome("x + silu(x)", "silu(x) = relu(x);"), "silu")
    assert definition(out, "layer") == "layer(x) = x + relu(x);"


def test_a_parameter_that_would_capture_a_name_keeps_its_own():
    out = same(genome("x + attention(x, heads = 4, mask = window(size = 2 * i))", head="x, i = 5"), "window")
    assert "mask = { size = 2 * i; fn(i, j) => i - j < size }" in definition(out, "layer")


# forms ---------------------------------------------------------------------------------------------------------------


def test_learned_values_along_another_tensor_stay_in_a_function_of_it():
    out = definition(same(genome("x + merge_heads(rmsnorm(split_heads(x, 4)))"), "rmsnorm"), "layer")
    assert "(fn(x) => { weight = param(1, per = channel); weight * x * rsqrt(mean(x * x) + 1e-6) })(" in out


def test_a_function_that_is_passed_on_has_its_defaults_filled():
    assert "pos = fn(x) => rotate(x, position(x) * 1e4 **" in same(
        genome("x + attention(x, heads = 4, pos = rope)"), "rope"
    )


def test_a_default_that_someone_gives_stays_a_parameter():
    text = genome("x + block(x, n = rmsnorm)", "block(x, n) = n(x, eps = 0.1);")
    assert "n = fn(x, eps = 1e-6) => {" in same(text, "rmsnorm")


def test_calls_of_calls_are_one_application():
    assert "eps" not in same(genome("x + unitnorm(eps = 1e-3)(x)"), "unitnorm")


def test_arguments_that_say_what_holds_anyway_are_left_out():
    out = definition(same(SHIPPED["llama"], "attention"), "layer")
    assert "bias" not in out and "score" not in out and "mask" not in out and "identity" not in out


def test_attention_by_hand():
    """Only what was asked for; the other calls stay as they were."""
    assert definition(same(SHIPPED["llama"], "attention"), "layer") == (
        "layer(x) = { x = x + { x = rmsnorm(x); head_dim = width(x) / 4;"
        " q = rope(split_heads(linear(x, 4 * head_dim), 4), theta = 1e4);"
        " k = rope(split_heads(linear(x, 2 * head_dim), 2), theta = 1e4);"
        " v = split_heads(linear(x, 2 * head_dim), 2);"
        " out = linear(merge_heads(attend(q, k, v)), width(x)); out };"
        " x + glu(rmsnorm(x), hidden = 176, act = silu) };"
    )


def test_an_expanded_definition_goes_and_leaves_its_comment():
    out = same("@foundry(1);\n\n# What this is.\nnorm = rmsnorm;\n" + genome("x + mlp(norm(x))")[13:], "norm")
    assert "norm =" not in out and "# What this is.\nlayer(x)" in out


# errors --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "nothing is called nothing"),
        ("gelv", "did you mean gelu"),
        ("linear", "linear is a part of the language and has no body"),
        ("model", "model is what a genome is"),
        ("alibi", "does not call alibi itself"),
    ],
)
def test_names_that_cannot_be_expanded(name, words):
    with pytest.raises(NotCalled, match=words):
        expand(SHIPPED["llama"], [name])


def test_a_function_that_only_another_one_calls_is_found_once_that_is_expanded():
    text = genome("x + glu(x, hidden = 32)")
    with pytest.raises(NotCalled):
        expand(text, ["silu"])
    assert "sigmoid" in same(text, "glu", "silu")


def test_the_result_checks_clean():
    assert not check(expand(SHIPPED["hybrid"])).diagnostics
