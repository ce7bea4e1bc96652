"""Variation: what the operators return is different, checks clean, and keeps to the rules of each change."""

import random
import re

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_expr, format_genome
from foundry.dsl.parse import parse
from foundry.dsl.source import resource
from foundry.dsl.syntax import Binary, Call, Function, Genome, Number, walk
from foundry.generate.draw import RandomDraw
from foundry.generate.naming import name_functions
from foundry.generate.trees import links, tidy
from foundry.search.operators import CROSSINGS, OPERATORS, Tally, crossover, mutate
from foundry.search.variation.numbers import number
from foundry.search.variation.subject import subject

SHIPPED = {name: resource("genomes", f"{name}.genome") for name in ("gpt2", "llama", "primer", "hybrid")}

# A genome in which every operator has something to change: formulas, bindings, written mixers, two kinds of layer.
RICH = """@foundry(1);

bend(x) = {
  slope = param(1, per = channel);
  x * sigmoid(slope * x) + 0.1 * relu(x) ** 2
};

norm(x) = {
  gain = param(1, per = channel);
  gain * x * rsqrt(mean(x * x) + 1e-6)
};

bent(s, i, j) = {
  slope = param(0.5, per = head);
  20 * tanh(s / 20) - softplus(slope) * log(1 + i - j)
};

mix(x) = {
  q = norm(split_heads(linear(x, 64), 4));
  k = norm(split_heads(linear(x, 64), 4));
  v = split_heads(linear(x, 64), 4);
  linear(merge_heads(attend(rotate(q, position(q)), rotate(k, position(k)), v, score = bent)), width(x))
};

layer(x, mixer) = {
  h = norm(x);
  y = x + mixer(h);
  y + glu(norm(y), hidden = 96, act = bend)
};

model = embed(vocab = 256, width = 64)
  >> 2 * (layer(mixer = mix) >> layer(mixer = recurrence(hidden = 64)))
  >> 2 * layer(mixer = mix)
  >> norm
  >> unembed(tied = 1);

recipe = train(
  optimizer = adamw(lr = 4e-3, betas = [0.9, 0.95]),
  schedule = fn(t) => min(t / 0.05, 1) * (1 - 0.9 * t),
  loss = fn(logits, y) => cross_entropy(logits, y) + 1e-4 * logsumexp(logits) ** 2,
  context = fn(t) => where(t < 0.5, 64, 128),
);
"""

# Mixtures of experts, memories, and attention with a latent, a sink, a choice of logits and a learned bias.
MODERN = """@foundry(1);

mixture(x) = {
  p = softmax(linear(x, 4));
  gates = p * top(p, 2);
  experts(x, gates / sum(gates), glu(hidden = 32, act = relu2)) + mlp(x, hidden = 32)
};

keys(x) = x * rsqrt(sum(x * x) + 1e-6);

memory(x) = {
  q = split_heads(linear(x, 64), 4);
  k = keys(split_heads(conv(linear(x, 64)), 4));
  v = split_heads(linear(x, 64), 4);
  beta = sigmoid(split_heads(linear(x, head_count(k), bias = 1), head_count(k)));
  linear(merge_heads(rmsnorm(delta_attend(q, k, v, beta, decay = 0.9))), width(x))
};

fades(x) = {
  q = silu(split_heads(linear(x, 64), 4));
  k = split_heads(linear(x, 64), 4) / 4;
  v = split_heads(linear(x, 64), 4);
  forget = sigmoid(3 + split_heads(linear(x, 64, bias = 1), 4));
  linear(merge_heads(rmsnorm(linear_attend(q, k, v, forget))), width(x))
};

near(s, i, j) = s + lookup(i - j, size = 16, per = head);

attends(x) = {
  few = rmsnorm(linear(x, 24));
  q = split_heads(linear(x, 64), 4);
  q = concat(rope(slice(q, 0, 8)), slice(q, 8, 16));
  turned = rotate(split_heads(linear(x, 8), 1), position(x) * table(x, [1.0, 0.5, 0.1, 0.05]), interleaved = 1);
  k = concat(turned, split_heads(linear(few, 32), 4));
  v = split_heads(linear(few, 64), 4);
  linear(merge_heads(attend(q, k, v, score = near, top = 16, sink = 0)), width(x))
};

layer(x, mix) = {
  x = x + mix(rmsnorm(x));
  x + mixture(rmsnorm(x))
};

model = embed(vocab = 256, width = 64)
  >> layer(mix = memory)
  >> layer(mix = fades)
  >> layer(mix = attends)
  >> layer(mix = attention(heads = 4, score = near, mask = window(size = 32)))
  >> rmsnorm
  >> unembed(bias = 1);

recipe = train(
  loss = fn(logits, y, teacher) => cross_entropy(logits, y) + 0.1 * sum(softmax(teacher) * (teacher - logits)),
  difficulty = fn(t) => min(1, 0.3 + t),
);
"""
PARENTS = {**SHIPPED, "rich": RICH, "modern": MODERN}


def mutants(operator, parent, count, tally=None):
    """`count` children by one operator."""
    only = dict.fromkeys(OPERATORS, 0.0) | {operator: 1.0}
    return [mutate(parent, random.Random(seed), only, tally) for seed in range(count)]


def proposals(operator, parent, count):
    """The texts of `count` proposals of one operator, as they are."""
    made = (OPERATORS[operator].apply(subject(parent), RandomDraw(random.Random(seed))) for seed in range(count))
    return [format_genome(name_functions(tidy(tree))) for tree in made if tree is not None]


def numbers_given_to(text, argument):
    return [int(s.node.value) for s in subject(text).sites if s.argument == argument and isinstance(s.node, Number)]


@pytest.mark.parametrize("name", OPERATORS)
def test_operator_proposals_check_clean_as_they_are(name):
    """At least 7 of 10 of the raw proposals on the shipped genomes, and none without a legal site everywhere."""
    made = refused = 0
    for parent in PARENTS.values():
        for seed in range(5):
            tree = OPERATORS[name].apply(subject(parent), RandomDraw(random.Random(seed)))
            if tree is not None:
                made += 1
                refused += not check(format_genome(tidy(tree))).ok
    assert made >= 5
    assert refused <= 0.3 * made


@pytest.mark.parametrize("name", CROSSINGS)
def test_crossover_proposals_check_clean_as_they_are(name):
    made = refused = 0
    for a in PARENTS.values():
        for b in PARENTS.values():
            tree = CROSSINGS[name].apply(subject(a), subject(b), RandomDraw(random.Random(len(a) + len(b))))
            if tree is not None and a != b:
                made += 1
                refused += not check(format_genome(tidy(tree))).ok
    assert made >= 10
    assert refused <= 0.3 * made


def test_a_line_of_descent_stays_clean_and_each_child_means_something_new():
    rng, text = random.Random(3), SHIPPED["llama"]
    for _ in range(25):
        child = mutate(text, rng)
        assert check(child.text).ok
        assert canonical_hash(load_program(child.text)) != canonical_hash(load_program(text))
        assert child.operator in OPERATORS and child.description
        assert format_genome(parse(child.text)) == child.text
        text = child.text


def test_crossover_returns_clean_children_different_from_both_parents():
    rng, texts = random.Random(4), list(PARENTS.values())
    for _ in range(20):
        a, b = rng.sample(texts, 2)
        child = crossover(a, b, rng)
        hashes = {canonical_hash(load_program(text)) for text in (a, b)}
        assert canonical_hash(load_program(child.text)) not in hashes
        assert child.operator in CROSSINGS


def test_the_same_seed_gives_the_same_child():
    assert mutate(RICH, random.Random(7)) == mutate(RICH, random.Random(7))
    a, b = SHIPPED["llama"], SHIPPED["hybrid"]
    assert crossover(a, b, random.Random(7)) == crossover(a, b, random.Random(7))


def test_weights_decide_which_operators_are_drawn():
    children = mutants("learning rate", SHIPPED["gpt2"], 5)
    assert {child.operator for child in children} == {"learning rate"}
    assert all(child.description.startswith("optimizer lr: 3e-3 → ") for child in children)


def test_an_operator_without_a_legal_site_leaves_the_draw_to_another():
    tally = Tally()
    weights = dict.fromkeys(OPERATORS, 0.0) | {"rewire": 1e9, "learning rate": 1.0}
    child = mutate(SHIPPED["llama"], random.Random(0), weights, tally)  # its layer has one name: nothing to rewire
    assert child.operator == "learning rate"
    assert tally.none["rewire"] == 1


def test_a_change_without_meaning_is_never_returned():
    tally = Tally()
    only = dict.fromkeys(OPERATORS, 0.0) | {"unset argument": 1.0}
    for seed in range(10):  # tied = 1 changes the meaning, act = silu is glu's default and does not
        child = mutate(SHIPPED["llama"], random.Random(seed), only, tally)
        assert "act:" not in child.description
    assert tally.silent["unset argument"] > 0
    assert tally.acceptance("unset argument") == 1.0


def test_kv_heads_divide_whatever_heads_become():
    for child in mutants("number", SHIPPED["llama"], 30):
        (heads,), (kv_heads,) = numbers_given_to(child.text, "heads"), numbers_given_to(child.text, "kv_heads")
        assert heads % kv_heads == 0
        assert 64 % heads == 0 or numbers_given_to(child.text, "width") != [64]


def test_a_new_width_reaches_the_position_table_and_heads_divide_it():
    widths = set()
    for seed in range(60):
        tree = number(subject(SHIPPED["gpt2"]), RandomDraw(random.Random(seed)))
        text = format_genome(tree)
        tokens, positions = numbers_given_to(text, "width")
        (heads,) = numbers_given_to(text, "heads")
        assert tokens == positions and tokens % (2 * heads) == 0
        widths.add(tokens)
    assert len(widths) > 1


def test_known_improvements_are_one_mutation_away_and_drawn_often():
    """Muon, squared ReLU, short convolutions on q, k, v, and norms on q and k (So et al. 2021, Jordan et al. 2024)."""
    signs = {
        "muon": ("muon(",),
        "squared ReLU": ("relu2", "relu(x) ** 2"),
        "short convolution": ("short = conv",),
        "QK norm": ("norm = ",),
    }
    rng, found = random.Random(0), dict.fromkeys(signs, 0)
    for _ in range(200):
        child = mutate(SHIPPED["llama"], rng).text
        for name, written in signs.items():
            found[name] += any(sign in child for sign in written)
    assert all(count >= 3 for count in found.values()), found


def definition_of(text, name):
    return format_genome(Genome(1, (parse(text).definition(name),)))


def test_a_dense_channel_mixer_becomes_a_mixture_of_itself_and_a_mixture_becomes_dense():
    mixtures = proposals("upcycle", SHIPPED["llama"], 12)
    for text in mixtures:
        assert re.search(r"experts\(x, gates, glu\(hidden = (48|88|176), act = silu\)\)", text)  # 176 / 4, / 2, / 1
    for text in mixtures[:4]:
        dense = next(back for back in proposals("upcycle", text, 20) if "experts" not in back)
        assert re.search(r"x \+ glu\(rmsnorm\(x\), hidden = \d+, act = silu\)", dense)


def test_what_looks_back_is_never_made_an_expert():
    mixed = "mixed(x) = linear(conv(linear(x, 64)), width(x)); layer(x) ="
    text = (
        SHIPPED["llama"].replace("layer(x) =", mixed).replace("glu(rmsnorm(x), hidden = 176, act = silu)", "mixed(x)")
    )
    assert check(text).ok
    assert proposals("upcycle", text, 5) == []


def test_a_penalty_on_uneven_load_comes_and_goes():
    (balanced,) = proposals("balance", MODERN, 1)
    written = definition_of(balanced, "mixture")
    assert "penalty(experts(x, gates, glu(" in written and "stop(gates > 0)" in written
    assert written.count("linear(x, 4)") == 1  # one router, not two
    (plain,) = proposals("balance", balanced, 1)
    assert "penalty" not in plain


def test_the_number_of_experts_and_of_those_that_a_token_uses_changes():
    written = [definition_of(text, "mixture") for text in proposals("number", MODERN, 300)]
    counts = {found for text in written for found in re.findall(r"softmax\(linear\(x, (\d+)", text)}
    used = {found for text in written for found in re.findall(r"top\(p, (\d+)", text)}
    assert counts <= {"2", "3", "4", "6", "8"} and len(counts) > 2
    assert used <= {"1", "2", "3", "4"} and len(used) > 1


def test_a_memory_forgets_in_every_way_after_a_change():
    texts = proposals("decay", MODERN, 60)
    per_head = "decay = sigmoid(split_heads(linear(x, head_count(k), bias = 1), head_count(k))"
    for way in ("decay = 0.9", "- head_index(k)", "decay = of_head(k)", per_head, "head_count(k) * width(k)"):
        assert any(way in text for text in texts), way
    assert any("delta_attend(q, k, v, beta)" in text for text in texts)  # not at all


def test_a_score_gets_a_bias_by_distance_and_keeps_what_it_was():
    capped = SHIPPED["llama"].replace("kv_heads = 2,", "score = softcap(cap = 20),")
    biased = [text for text in proposals("extend argument", capped, 30) if "lookup(" in text]
    assert len(biased) > 3
    for text in biased:
        flat = " ".join(text.split())
        assert re.search(r"softcap\( ?s = s \+ lookup\(.*cap = 20", flat), text
        assert check(text).ok


def test_sinks_choices_of_logits_and_the_pairing_of_a_rotation_come_and_go():
    taken = proposals("unset argument", MODERN, 80)
    for written in ("sink = 0", "top = 16", "interleaved = 1"):
        assert any(written not in text for text in taken), written
    given = proposals("set argument", MODERN.replace(", top = 16, sink = 0", ""), 200)
    assert any("sink = " in text for text in given)
    assert any("top = " in text for text in given)


def test_attention_of_the_prelude_gets_a_sink_or_a_choice_of_logits_in_one_step():
    texts = proposals("sink or top", SHIPPED["llama"], 20)
    assert all("attention_b(rmsnorm(x), heads = 4, kv_heads = 2" in text for text in texts)
    for way in ("sink = 0", "sink = of_head(q)", "sink = split_heads(linear(x, head_count(q)", "top = "):
        assert any(way in text for text in texts), way


def test_expanding_copies_a_function_of_the_prelude_and_changes_the_copy():
    for child in mutants("expand", SHIPPED["llama"], 8):
        names = {definition.name for definition in parse(child.text).definitions}
        copied = [name for name in names if name.endswith("_b")]
        assert copied, child.text


def depth(stage):
    """Layers in a stage of a pipeline."""
    if isinstance(stage, Binary) and stage.operator == "*":
        return stage.left.value * depth(stage.right)
    if isinstance(stage, Binary):
        return depth(stage.left) + depth(stage.right)
    return 1


def test_specialising_keeps_the_depth():
    for child in mutants("specialise layers", SHIPPED["llama"], 8):
        assert parse(child.text).definition("layer_b") is not None
        _, *stack, _, _ = links(parse(child.text).definition("model").value)
        assert sum(depth(stage) for stage in stack) == 4


def test_crossing_recipes_takes_all_of_it_and_none_of_the_architecture():
    tree = CROSSINGS["cross recipe"].apply(subject(SHIPPED["gpt2"]), subject(RICH), RandomDraw(random.Random(0)))
    assert tree.definition("recipe").value == parse(RICH).definition("recipe").value
    assert tree.definition("layer") == parse(SHIPPED["gpt2"]).definition("layer")


def test_crossing_layer_patterns_brings_the_definitions_under_free_names():
    a, b = subject(SHIPPED["llama"]), subject(SHIPPED["hybrid"])
    tree = CROSSINGS["cross layer pattern"].apply(a, b, RandomDraw(random.Random(0)))
    names = [definition.name for definition in tree.definitions]
    assert {"layer", "layer_b", "recur", "local"} <= set(names)
    assert len(names) == len(set(names))
    assert len(links(tree.definition("model").value)) == 5  # embedding, two kinds of layer, norm, logits


def test_the_form_of_a_denominator_and_of_a_decay_stays():
    text = SHIPPED["hybrid"].replace("recur = recurrence(hidden = 64, kernel = 4);", "")
    text = text.replace(
        "model =",
        """recur(x) = {
  forget = sigmoid(linear(x, 64));
  h = scan(forget, x / (1 + abs(x)));
  h * rsqrt(mean(h * h) + 1e-6)
};

model =""",
    )
    sites = [site for site in subject(text).sites if site.guarded]
    guarded = {format_expr(site.node) for site in sites}
    assert {"sigmoid(linear(x, 64))", "1 + abs(x)", "mean(h * h) + 1e-6"} <= guarded
    assert "linear(x, 64)" not in guarded
    assert "scan(forget, x / (1 + abs(x)))" not in guarded  # a square is never negative, whatever it is a square of


def test_the_form_of_a_key_of_length_one_and_of_a_penalty_stays():
    text = MODERN.replace("experts(x, gates / sum(gates)", "penalty(experts(x, gates / sum(gates)")
    text = text.replace("act = relu2)) +", "act = relu2)), 0.01 * p, stop(gates)) +")
    guarded = {format_expr(site.node) for site in subject(text).sites if site.guarded}
    assert {"keys(split_heads(conv(linear(x, 64)), 4))", "0.01 * p", "stop(gates)", "p * top(p, 2)"} <= guarded
    free = {format_expr(site.node) for site in subject(text).sites if not site.guarded}
    assert {"softmax(linear(x, 4))", "silu(split_heads(linear(x, 64), 4))", "experts"} <= free


def test_comments_go_with_the_definition_that_they_describe():
    for child in mutants("swap activation", SHIPPED["gpt2"], 3):
        assert "GELU" not in child.text
    (child,) = mutants("learning rate", SHIPPED["gpt2"], 1)
    assert "GELU" in child.text


def test_a_parent_with_errors_is_refused():
    with pytest.raises(GenomeError):
        mutate("@foundry(1); model = nothing;", random.Random(0))


def test_every_operator_says_what_it_does():
    for operator in [*OPERATORS.values(), *CROSSINGS.values()]:
        assert operator.doc.endswith(".") and len(operator.doc) < 130
        assert operator.weight > 0


def test_a_function_applied_where_it_is_written_gets_a_name():
    rng, text = random.Random(11), RICH
    for _ in range(25):
        text = mutate(text, rng, {"wrap": 20.0}).text
        applied = [
            node for _, node in walk(parse(text)) if isinstance(node, Call) and isinstance(node.function, Function)
        ]
        assert not applied
