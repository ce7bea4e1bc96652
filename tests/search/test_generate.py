"""The generator: what it makes checks clean, stays finite, and varies."""

import math
import random

import pytest

from foundry.dsl.check import check, load_program
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.program import all_units, parameter_count
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.source import resource
from foundry.dsl.syntax import Binary, Block, Call, Definition, Function, Genome, Name, Number, Unary
from foundry.dsl.types import heads, seq
from foundry.search.draw import RandomDraw
from foundry.search.formulas import RANGES, UNRANGED, random_activation
from foundry.search.generate import argument, random_expr, random_genome, random_tree
from foundry.search.variation.vocabulary import shipped

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


def test_a_type_that_nothing_in_scope_has_is_an_error():
    with pytest.raises(LookupError, match=r"nothing in scope is heads\[4, 16\]"):
        random_expr(random.Random(0), heads(4, 16), {"x": seq(64)})
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
    mixing, optimizers, names = set(), set(), set()
    for seed in range(60):
        program = load_program(random_genome(random.Random(seed)))
        mixing |= {node.op for unit in all_units(program) for node in unit.nodes}
        optimizers.add(program.recipe.optimizer.name)
        names |= {definition.name for definition in program.genome.definitions}
    assert {"attend", "scan", "conv", "shift"} <= mixing
    assert optimizers == {"adamw", "lion", "muon"}
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
    for callee in shipped().values():
        if callee.origin == "prelude":
            for name in callee.parameters[len(callee.leading) :]:
                given = argument(RandomDraw(random.Random(0)), callee.name, name, 64, {"heads": 4})
                assert given is not None, f"{callee.name}({name} = …)"


FUNCTIONS = {
    "tanh": math.tanh, "erf": math.erf, "sin": math.sin, "cos": math.cos, "sqrt": math.sqrt, "log": math.log,
    "exp": math.exp, "abs": abs, "relu": lambda x: max(x, 0.0), "max": max, "min": min,
    "sigmoid": lambda x: 0.5 * (1 + math.tanh(x / 2)), "softplus": lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))),
    "rsqrt": lambda x: 1 / math.sqrt(x), "param": lambda init, per=None: init,
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
