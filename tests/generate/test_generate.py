"""The generator: what it makes checks clean, stays finite, and varies."""

import math
import random
from collections import Counter

import pytest

from foundry.dsl.check import check, load_program
from foundry.dsl.format import format_expr, format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import all_units, parameter_count
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.signatures import signatures
from foundry.dsl.source import resource
from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import Binary, Block, Call, Definition, Function, Genome, Name, Number, Unary, walk
from foundry.dsl.types import TensorType, heads, seq
from foundry.generate.channels import mixture
from foundry.generate.draw import RandomDraw
from foundry.generate.formulas import RANGES, UNRANGED, random_activation
from foundry.generate.genomes import argument, random_expr, random_genome, random_tree
from foundry.generate.mixers import memory
from foundry.generate.parts import keeps, ready, use
from foundry.generate.vocabulary import callees, shipped

SHIPPED = [resource("genomes", f"{name}.genome") for name in ("gpt2", "llama", "primer", "hybrid")]

# Where a function of each role stands in a small model.
PLACES = {
    "activation": "layer(x) = x + mlp(x, act = PART);",
    "norm": "layer(x) = x + attention(x, heads = 2, norm = PART);",
    "filter": "layer(x) = x + attention(x, heads = 2, short = PART);",
    "position": "layer(x) = x + attention(x, heads = 2, pos = PART);",
    "score": "layer(x) = x + attention(x, heads = 2, score = PART);",
    "mask": "layer(x) = x + attention(x, heads = 2, mask = PART);",
    "mixer": "part = PART; layer(x) = x + part(x);",
    "channels": "part = PART; layer(x) = x + part(x);",
    "block": "layer = PART;",
    "schedule": "layer(x) = x; recipe = train(schedule = PART);",
    "context": "layer(x) = x; recipe = train(context = PART);",
    "difficulty": "layer(x) = x; recipe = train(difficulty = PART);",
    "expert": "layer(x) = x + experts(x, softmax(linear(x, 3)), PART);",
    "shares": "part = PART; layer(x) = x + experts(x, part(linear(x, 3)), mlp(hidden = 16));",
    "loss": "layer(x) = x; recipe = train(loss = PART);",
}


def text_of(expr):
    """The text of an expression."""
    return format_genome(Genome(1, (Definition("it", None, expr),))).split("it =", 1)[1].strip().rstrip(";")


@pytest.mark.parametrize("role", PLACES)
def test_functions_of_every_role_check_clean(role):
    bad = []
    for seed in range(25):
        part = text_of(random_expr(random.Random(seed), role, width=64))
        model = "model = embed(vocab = 256, width = 64) >> layer >> unembed(tied = 1);"
        checked = check(f"@foundry(1); {PLACES[role].replace('PART', part)} {model}")
        if not checked.ok:
            bad.append((part, checked.diagnostics[0].message))
    assert not bad


def test_values_have_the_type_asked_for():
    for seed in range(40):
        made = text_of(random_expr(random.Random(seed), seq(64), {"x": seq(64), "wide": seq(96)}))
        checked = check(
            "@foundry(1); layer(x) = { wide = linear(x, 96); y = " + made + "; x + y };"
            "model = embed(vocab = 256, width = 64) >> layer >> unembed(tied = 1);"
        )
        assert checked.ok, (made, checked.diagnostics[0].message)


def test_a_type_that_nothing_in_scope_leads_to_is_an_error():
    with pytest.raises(LookupError, match=r"nothing in scope leads to heads\[4, 16\]"):
        random_expr(random.Random(0), heads(4, 16), {"slope": TensorType(("head",), heads=4)})
    assert "split_heads(" in text_of(random_expr(random.Random(0), heads(4, 16), {"x": seq(64)}))
    with pytest.raises(LookupError, match="no generator for spaceship"):
        random_expr(random.Random(0), "spaceship")


def test_genomes_check_clean_as_drawn_and_always_as_returned():
    clean = sum(check(format_genome(random_tree(random.Random(seed)))).ok for seed in range(80))
    assert clean >= 76  # 95 %
    assert all(check(random_genome(random.Random(seed))).ok for seed in range(1000, 1020))


def test_genomes_are_about_as_large_as_the_shipped_ones():
    usual = sorted(parameter_count(load_program(text)) for text in SHIPPED)
    counts = sorted(parameter_count(load_program(random_genome(random.Random(seed)))) for seed in range(40))
    assert usual[0] * 0.5 <= counts[len(counts) // 2] <= usual[-1] * 1.5
    assert counts[-1] <= 3 * usual[-1]


def test_genomes_vary():
    mixing, optimizers, names, transfers = set(), set(), set(), []
    for seed in range(60):
        program = load_program(random_genome(random.Random(seed)))
        mixing |= {node.op for unit in all_units(program) for node in unit.nodes}
        optimizers.add(program.recipe.optimizer.name)
        transfers.append(program.recipe.transfer)
        names |= {definition.name for definition in program.genome.definitions}
    assert {"attend", "scan", "conv", "shift"} <= mixing
    assert optimizers == {"adamw", "lion", "muon"}
    assert set(transfers) == {0, 32, 64, 128} and transfers.count(64) > 20
    assert {"layer", "norm", "act", "mix_b"} <= names


def test_the_same_seed_draws_the_same_genome():
    assert random_genome(random.Random(5)) == random_genome(random.Random(5))


class Simplest:
    """The choices that a shrinking engine ends at."""

    def choice(self, items):
        return items[0]

    def integer(self, low, high):
        return low

    def number(self, low, high):
        return low

    def chance(self, probability):
        return False

    def whole(self, make):
        return make()


def test_any_source_of_decisions_drives_the_generator():
    text = random_genome(Simplest())
    program = load_program(text)
    assert len(text) < 700
    assert [node.op for unit in all_units(program) for node in unit.nodes].count("attend") <= 2


def test_every_elementwise_function_of_the_registry_has_a_range():
    elementwise = {name for name, entry in PRIMITIVES.items() if entry.kind == "pointwise" and name in shipped()} - {
        "max",
        "min",
    }
    assert elementwise == set(RANGES) | UNRANGED


def test_every_argument_of_the_prelude_can_be_given_a_value():
    tensors = {(name, taken.name) for name, all_ in signatures().items() for taken in all_ if taken.is_tensor}
    for callee in shipped().values():
        if callee.origin == "prelude":
            for name in callee.parameters[len(callee.leading) :]:
                if name in callee.required and (callee.name, name) in tensors:
                    continue  # a value of the function around, such as how long a step of `state_decay` is
                given = argument(RandomDraw(random.Random(0)), callee.name, name, 64, {"heads": 4})
                assert given is not None, f"{callee.name}({name} = …)"


MECHANISMS = ("experts", "attend", "linear_attend", "delta_attend", "scan", "lookup", "table", "concat", "stop", "top")


def test_a_genome_holds_a_few_mechanisms_and_not_all_of_them():
    held = Counter()
    for seed in range(100):
        tree = parse(random_genome(random.Random(seed)))
        names = {name for definition in tree.definitions for name in occurrences(definition)}
        held[len(names & set(MECHANISMS))] += 1
    assert max(held) <= 6
    assert held[0] + held[1] + held[2] > 70


def test_functions_that_learn_per_head_or_give_another_width_are_no_candidates_for_a_slot():
    """By what they are made of, the decay of a memory looks like an activation, and a latent like a channel mixer."""
    for role, kept in (("activation", "seq"), ("norm", "heads"), ("channels", "seq"), ("mixer", "seq")):
        for callee in (c for c in callees(shipped(), role, "prelude") if ready(c)):
            assert keeps(use(RandomDraw(random.Random(0)), callee, 64), kept, 64), callee.name
    assert not ready(shipped()["latent"])
    assert shipped()["softmax_router"].role == shipped()["sigmoid_router"].role == "router"
    assert shipped()["fading"].role == "per head"
    assert shipped()["elu1"].role == "activation"  # its min takes two: no reduction over the channel
    assert shipped()["softmax"].role == "shares"


def mixtures(count):
    """The bodies of so many mixtures of experts that are written out."""
    made = (mixture(RandomDraw(random.Random(seed)), 128) for seed in range(count))
    return [function.body for function in made if isinstance(function, Function)]


def calls_of(tree, name):
    return [node for _, node in walk(tree) if isinstance(node, Call) and node.function == Name(name)]


def test_mixtures_route_in_different_ways():
    texts = [format_expr(body) for body in mixtures(200)]
    assert len(texts) > 100
    for part in (
        "softmax(linear",
        "sigmoid(linear",
        "renormalised_router(",
        "/ (sum(gates) + 1e-6)",
        "penalty(",
        "glu(",
    ):
        assert 5 < sum(part in text for text in texts) < len(texts), part
    assert any("experts(" in text and ")) + " in text for text in texts)  # an expert that every token uses


def test_a_router_with_one_choice_is_never_renormalised():
    """Its gate would always be 1, and nothing but a penalty would teach the router."""
    for body in mixtures(200):
        (choice,) = calls_of(body, "top") or [None]
        if choice is not None and choice.arguments[1].value == Number(1):
            assert "sum(gates)" not in format_expr(body)
        for router in ("softmax_router", "renormalised_router", "sigmoid_router"):
            for call in calls_of(body, router):
                assert {a.name: a.value for a in call.arguments}["active"].value > 1


def test_keys_of_the_delta_rule_have_length_one_and_memories_stay_finite():
    torch = pytest.importorskip("torch")
    from foundry.compiler.emit import emit
    from foundry.compiler.load import load

    for seed in range(15):
        part = memory(RandomDraw(random.Random(seed)), 48)
        text = format_genome(Genome(1, (Definition("part", part.parameters, part.body),)))
        if calls_of(part, "delta_attend"):
            assert "k = key_of * rsqrt(sum(key_of * key_of) + 1e-6)" in text
        model = "layer(x) = x + part(rmsnorm(x)); model = embed(vocab = 256, width = 48) >> 2 * layer >> unembed();"
        module = load(emit(load_program(text + model)))
        built = module.Model()
        built.initialise(seed)
        for weight in built.parameters():
            weight.data.mul_(3)
        logits = built(torch.randint(0, 256, (2, 128), generator=torch.Generator().manual_seed(seed)))
        assert logits.isfinite().all(), text


def test_a_loss_with_a_teacher_is_cross_entropy_where_there_is_none():
    """The divergence of the logits from themselves is 0, and so is its gradient."""
    torch = pytest.importorskip("torch")
    from foundry.compiler.emit import emit
    from foundry.compiler.load import load

    losses = (random_expr(random.Random(seed), "loss") for seed in range(400))
    taught = [loss for loss in losses if isinstance(loss, Function) and "teacher" in {p.name for p in loss.parameters}]
    assert taught
    for loss in taught[:3]:
        recipe = f"recipe = train(loss = {text_of(loss)});"
        module = load(emit(load_program(f"@foundry(1); model = embed(vocab = 9, width = 9); {recipe}")))
        logits = torch.randn(2, 5, 9, generator=torch.Generator().manual_seed(0), requires_grad=True)
        y = torch.randint(0, 9, (2, 5))
        per_token = module.loss(logits, y)
        plain = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(2, 5)
        expected = plain * (0.5 + 0.5 * plain.tanh()) if "tanh" in text_of(loss) else plain
        assert torch.allclose(per_token.view(2, 5), expected, atol=1e-6)
        (grad,) = torch.autograd.grad(per_token.sum(), logits, retain_graph=True)
        (same,) = torch.autograd.grad(expected.sum(), logits)
        assert torch.allclose(grad, same, atol=1e-6)


FUNCTIONS = {
    "tanh": math.tanh, "erf": math.erf, "sin": math.sin, "cos": math.cos, "sqrt": math.sqrt, "log": math.log,
    "exp": math.exp, "abs": abs, "relu": lambda x: max(x, 0.0), "max": max, "min": min,
    "sigmoid": lambda x: 0.5 * (1 + math.tanh(x / 2)), "softplus": lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    "rsqrt": lambda x: 1 / math.sqrt(x), "param": lambda init, per=None: init,
    "stop": lambda x: x,
}  # fmt: skip
OPERATORS = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": lambda a, b: a**b,
}  # fmt: skip


def value_of(tree, names):
    """What a formula gives for a number; raises where mathematics does."""
    if isinstance(tree, Number):
        return tree.value
    if isinstance(tree, Name):
        return names.get(tree.id, 0.0)
    if isinstance(tree, Unary):
        return -value_of(tree.operand, names)
    if isinstance(tree, Binary):
        return OPERATORS[tree.operator](value_of(tree.left, names), value_of(tree.right, names))
    if isinstance(tree, Block):
        for binding in tree.bindings:
            names = names | {binding.name: value_of(binding.value, names)}
        return value_of(tree.result, names)
    assert isinstance(tree, Call) and isinstance(tree.function, Name)
    return FUNCTIONS[tree.function.id](*(value_of(argument.value, names) for argument in tree.arguments))


def test_fresh_activations_are_finite_and_grow_no_faster_than_a_square():
    for seed in range(300):
        function = random_activation(RandomDraw(random.Random(seed)), depth=2 + seed % 2)
        if isinstance(function, Name):
            continue
        assert isinstance(function, Function)
        for x in (-300.0, -10.0, -1.0, -0.1, 0.0, 0.1, 1.0, 10.0, 300.0):
            value = value_of(function.body, {"x": x})
            assert math.isfinite(value)
            assert abs(value) <= 20 * (1 + x * x), text_of(function)


def test_what_is_drawn_reads_back():
    for seed in range(10):
        text = random_genome(random.Random(seed))
        assert format_genome(parse(text)) == text
