"""What the checker says of right and of wrong genomes."""

import pickle

import pytest

from foundry.dsl.check import apply_edits, check, load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.program import all_units, parameter_count
from foundry.dsl.values import Applied

MODEL = "model = embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1);\n"
LAYER = "layer(x) = x + attention(rmsnorm(x), heads = 4);\n"


def genome(*parts: str) -> str:
    return "@foundry(1);\n" + "\n".join(parts)


def layer(body: str, *more: str) -> str:
    return genome(f"layer(x) = {body};", MODEL, *more)


def recipe(arguments: str) -> str:
    return genome(LAYER, MODEL, f"recipe = train({arguments});")


# text, code, the text that the primary span covers, a part of the message
WRONG = {
    "unknown name": (layer("x + atention(x, heads = 4)"), "F201", "atention", "nothing is called atention"),
    "unknown argument": (layer("x + attention(x, head = 4)"), "F202", "head = 4", "no argument head"),
    "argument twice": (layer("x + linear(x, 64, out = 64)"), "F203", "out = 64", "out twice"),
    "recursion": (layer("x + layer(x)"), "F204", None, "layer → layer"),
    "mutual recursion": (genome("f(x) = g(x);", "g(x) = f(x);", "layer(x) = f(x);", MODEL), "F204", None, "f → g → f"),
    "recursion by value": (
        genome("w(f) = f(f);", "layer(x) = w(fn(f) => f(f));", MODEL), "F204", None, "inside one another",
    ),
    "no model": (genome("layer(x) = x;"), "F206", None, "no model"),
    "name of the language": (genome("linear(x) = x;", MODEL, "layer(x) = x + x;"), "F207", None, "linear"),
    "sum of two widths": (layer("x + linear(x, 32)"), "F301", "x + linear(x, 32)", "seq[64] and seq[32]"),
    "sum with heads": (layer("x + split_heads(x, 4)"), "F301", "x + split_heads(x, 4)", "heads[4, 16]"),
    "repeat that changes width": (layer("linear(x, 32)"), "F301", "2 * layer", "takes seq[64] and gives seq[32]"),
    "heads do not divide": (layer("x + attention(x, heads = 5)"), "F302", "heads = 5", "5 heads do not divide the 64"),
    "kv heads do not divide": (
        layer("x + attention(x, heads = 4, kv_heads = 3)"), "F302", "kv_heads = 3", "3 key heads do not divide the 4",
    ),
    "rotary on odd heads": (layer("x + attention(x, heads = 64, pos = rope)"), "F302", None, "no whole number"),
    "number as activation": (layer("x + mlp(x, act = 3)"), "F303", "act = 3", "the number 3"),
    "copies behind the function": (
        genome(LAYER, "model = embed(vocab = 256, width = 64) >> layer * 2 >> unembed(tied = 1);"),
        "F303", "layer * 2", "n * f",
    ),
    "missing argument": (layer("x + attention(x)"), "F304", "attention(x)", "needs heads"),
    "too many arguments": (layer("x + relu(x, 2, 3)"), "F305", "relu(x, 2, 3)", "takes 1"),
    "width past the limit": (
        genome("model = embed(vocab = 256, width = 99999999999) >> unembed(tied = 1);"),
        "F306", "width = 99999999999", "width",
    ),
    "no copies": (genome(LAYER, MODEL.replace("2 *", "0 *")), "F306", "0 * layer", "0 copies"),
    "learning rate": (recipe("optimizer = adamw(lr = 30)"), "F306", "lr = 30", "lr of adamw is 30"),
    "division by zero": (recipe("batch = 1 / 0"), "F307", "1 / 0", "no finite value"),
    "tower of powers": (recipe("batch = 9 ** 9 ** 9"), "F307", "9 ** 9 ** 9", "no finite value"),
    "root of a negative": (recipe("clip = (0 - 1) ** 0.5"), "F307", "(0 - 1) ** 0.5", "no finite value"),
    "mask gives numbers": (
        layer("x + attention(x, heads = 4, mask = fn(i, j) => i - j)"), "F308", "mask = fn(i, j) => i - j", "yes or no",
    ),
    "score with an unknown slot": (
        layer("x + attention(x, heads = 4, score = fn(s, q) => s * q)"),
        "F308", "score = fn(s, q) => s * q", "no q to bind",
    ),
    "score sees the sequence": (
        layer("x + attention(x, heads = 4, score = fn(s) => s + mean(x))"), "F308", "mean(x)", "uses x from outside",
    ),
    "param outside": (genome("g = param(1);", "layer(x) = x * g;", MODEL), "F308", "param(1)", "outside any function"),
    "tied in a repeated block": (
        layer("{ y = unembed(x, tied = 1); x + linear(y, 64) }"), "F308", "2 * layer", "unembeds with tied weights",
    ),
    "model is a number": (genome("model = 3;"), "F308", "3", "the number 3"),
    "model without logits": (
        genome("model = embed(vocab = 256, width = 64) >> split_heads(4);"), "F301", None, "instead of logits",
    ),
    "optimizer is a number": (recipe("optimizer = 3"), "F310", "optimizer = 3", "optimizer is the number 3"),
    "loss per channel": (recipe("loss = fn(logits, y) => logits"), "F310", None, "instead of one number per token"),
    "learned schedule": (recipe("schedule = fn(t) => param(1) * t"), "F308", None, "schedule function learns"),
    "too many parameters": (
        genome("layer(x) = x + mlp(x, hidden = 16000000);",
               "model = embed(vocab = 256, width = 1000000) >> 1000 * layer >> unembed(tied = 1);"),
        "F401", None, "parameters",
    ),
    "expansion without end": (
        genome(*(f"f{n}(x) = f{n + 1}(f{n + 1}(x));" for n in range(30)),
               "f30(x) = x + mlp(x);", "layer(x) = f0(x);", MODEL),
        "F402", None, "operations",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_one_mistake_gives_one_error_at_its_place(case):
    text, code, covered, message = WRONG[case]
    errors = [d for d in check(text).diagnostics if d.severity == "error"]
    assert [d.code for d in errors] == [code]
    (error,) = errors
    assert message in error.message
    assert 0 <= error.span.start <= error.span.end <= len(text.encode())
    if covered is not None:
        assert text.encode()[error.span.start : error.span.end].decode() == covered


def test_load_program_raises_with_every_diagnostic():
    with pytest.raises(GenomeError) as raised:
        load_program(layer("{ y = foo(x); x + quux(y) }"))
    assert [d.code for d in raised.value.diagnostics] == ["F201", "F201"]


def test_independent_mistakes_are_all_reported():
    text = genome(
        "layer(x) = { x = x + attention(x, heads = 5); x = x + mlp(x, act = 3); x + linear(x, 32) };", MODEL,
        "recipe = train(optimizer = adamw(lr = 30), batch = 1 / 0);",
    )  # fmt: skip
    codes = sorted(d.code for d in check(text).diagnostics)
    assert {"F302", "F306", "F307"} <= set(codes)


@pytest.mark.parametrize(
    ("case", "replacement"),
    [("unknown name", "attention"), ("unknown argument", "heads"), ("heads do not divide", "4")],
)
def test_a_verified_fix_removes_its_error(case, replacement):
    text = WRONG[case][0]
    (error,) = check(text).diagnostics
    fix = error.fixes[0]
    assert fix.verified and fix.edits[0].text == replacement
    assert check(apply_edits(text, fix.edits)).ok


def test_an_error_inside_the_prelude_is_blamed_on_the_genome_and_traced():
    text = layer("x + attention(x, heads = 5)")
    (error,) = check(text).diagnostics
    assert [label.message for label in error.trace][:2] == ["in attention", "in split_heads"]


def test_unused_definitions_are_warnings():
    checked = check(genome("spare(x) = x;", LAYER, MODEL))
    assert checked.ok
    assert [(d.code, d.severity) for d in checked.diagnostics] == [("F205", "warning")]


def test_a_call_without_its_sequence_waits_for_it():
    named = genome("mix = attention(heads = 4, kv_heads = 2);", "layer(x) = x + mix(rmsnorm(x));", MODEL)
    direct = genome("layer(x) = x + attention(rmsnorm(x), heads = 4, kv_heads = 2);", MODEL)
    positional = genome("mix = attention(4, 2);", "layer(x) = x + mix(rmsnorm(x));", MODEL)
    assert len({parameter_count(load_program(text)) for text in (named, direct, positional)}) == 1


def test_every_application_has_its_own_weights_and_share_has_one_set():
    base = parameter_count(load_program(layer("x")))
    once = parameter_count(load_program(layer("x + mlp(x)"))) - base
    own = genome("layer(x) = { f = mlp(hidden = 256); f(x) + f(f(x)) };", MODEL)
    shared = genome("layer(x) = { f = share(mlp(hidden = 256)); f(x) + f(f(x)) };", MODEL)
    looped = genome("layer(x) = x + mlp(x);", MODEL.replace("2 * layer", "share(2 * layer)"))
    assert once == 2 * 2 * 64 * 256
    assert parameter_count(load_program(own)) == base + 3 * once
    assert parameter_count(load_program(shared)) == base + once
    assert parameter_count(load_program(looped)) == base + once // 2


def test_published_parameter_counts():
    gpt2 = genome(
        "layer(x) = { x = x + attention(layernorm(x), heads = 12, bias = 1);"
        " x + mlp(layernorm(x), act = gelu_tanh, bias = 1) };",
        "model(tokens) = { x = embed(tokens, vocab = 50257, width = 768)"
        " + embed(position(tokens), vocab = 1024, width = 768);"
        " x >> 12 * layer >> layernorm >> unembed(tied = 1) };",
    )
    llama = genome(
        "layer(x) = { x = x + attention(rmsnorm(x), heads = 32, pos = rope); x + glu(rmsnorm(x), hidden = 11008) };",
        "model = embed(vocab = 32000, width = 4096) >> 32 * layer >> rmsnorm >> unembed;",
    )
    assert parameter_count(load_program(gpt2)) == 124_439_808  # Radford et al. 2019, the released weights
    assert parameter_count(load_program(llama)) == 6_738_415_616  # Touvron et al. 2023, Llama 2 7B


def test_bindings_name_the_weights():
    units = {u.name: u for u in all_units(load_program(genome(LAYER, MODEL)))}
    linears = [n.name for n in units["attention"].nodes if n.op == "linear"]
    assert linears == ["q", "k", "v", "out"]


def test_dead_code_has_no_weights():
    live = load_program(layer("x + mlp(x)"))
    dead = load_program(layer("{ y = linear(x, 512); x + mlp(x) }"))
    assert parameter_count(live) == parameter_count(dead)


def test_a_learned_score_has_one_number_per_head():
    text = layer("x + attention(x, heads = 4, score = fn(s, i, j) => s - param(0.5, per = head) * (i - j))")
    plain = parameter_count(load_program(layer("x + attention(x, heads = 4)")))
    assert parameter_count(load_program(text)) == plain + 2 * 4


def test_values_from_outside_reach_into_repeated_blocks():
    text = genome(
        "layer(x, v) = x + mlp(x) + v;",
        "model(tokens) = { x = embed(tokens, vocab = 256, width = 64); v = linear(x, 64);"
        " x >> 3 * layer(v = v) >> unembed(tied = 1) };",
    )
    program = load_program(text)
    (repeat,) = [n for n in program.model.nodes if n.op == "repeat"]
    assert [i.name for i in repeat.tensors] == ["x", "v"]


def test_sorts_say_what_each_expression_is():
    checked = check(genome(LAYER, MODEL))
    assert checked.genome is not None
    sorts = {str(s) for values in checked.sorts.values() for s in values if not isinstance(s, Applied)}
    assert {"seq[64]", "number", "function"} <= sorts
    applied = [s for values in checked.sorts.values() for s in values if isinstance(s, Applied)]
    assert any(str(a.result) == "seq[256]" and str(a.inputs[0]) == "tokens" for a in applied)


def test_the_recipe_has_defaults_and_takes_functions():
    plain = load_program(genome(LAYER, MODEL)).recipe
    assert (plain.optimizer.name, plain.batch, plain.clip) == ("adamw", 2048, 1.0)
    rich = load_program(
        recipe(
            "optimizer = muon(lr = 2e-2), schedule = fn(t) => min(t / 0.02, 1) * (0.1 + 0.45 * (1 + cos(pi * t))),"
            " loss = fn(logits, y) => cross_entropy(logits, y) + 1e-4 * logsumexp(logits) ** 2,"
            " context = fn(t) => where(t < 0.5, 64, 128)"
        )
    ).recipe
    assert rich.optimizer.settings["momentum"] == 0.95
    assert [n.op for n in rich.context.nodes] == ["less", "where"]


def test_a_fraction_of_a_whole_number_is_no_whole_number():
    text = layer("x + embed(position(x) * 0.5, vocab = 128, width = 64)")
    (error,) = check(text).diagnostics
    assert (error.code, "looks up tokens or positions" in error.message) == ("F301", True)
    assert check(layer("x + 0.01 * channel_index(x, 64)")).ok


def test_ties_are_to_the_embedding_of_the_model_itself():
    text = genome(
        "model(tokens) = { x = embed(position(tokens), vocab = 128, width = 64);"
        " x + 0 * linear(x, 64) >> 2 * (fn(y) => y + embed(tokens, vocab = 256, width = 64)) >> unembed(tied = 1) };"
    )
    assert [d.code for d in check(text).diagnostics if d.severity == "error"]


def test_repeats_inside_repeats_are_limited():
    text = genome("model = embed(vocab = 256, width = 8) >> 1000 * (1000 * linear(8)) >> unembed();")
    (found,) = check(text).diagnostics
    assert (found.code, found.message) == ("F402", "1,000,000 copies of a function inside one another")


def test_errors_of_a_genome_travel_to_another_process():
    with pytest.raises(GenomeError) as error:
        load_program("@foundry(1);")
    copy = pickle.loads(pickle.dumps(error.value))
    assert (copy.diagnostics, copy.text, str(copy)) == (error.value.diagnostics, error.value.text, str(error.value))
