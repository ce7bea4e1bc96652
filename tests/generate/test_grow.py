"""The typed core: ways that lead where they say, ranges that hold, and primitives that it never heard of."""

import random

import pytest

from foundry.dsl import elaborate, resolve, rules
from foundry.dsl.check import examine
from foundry.dsl.format import format_expr, format_genome
from foundry.dsl.registry import PRIMITIVES, Arg, Primitive
from foundry.dsl.types import BOOLEAN, FLOAT, TensorType, heads, seq
from foundry.generate.draw import RandomDraw
from foundry.generate.genomes import random_expr, random_genome
from foundry.generate.policy import WILD
from foundry.generate.tame import ANY, RULES, TAME, Range, demands
from foundry.generate.trees import tidy
from foundry.generate.ways import Home, Way, gives, pool, stated, takes, ways
from foundry.generate.wild import wild_tree
from foundry.testing.coverage import primitives

HOMES = (Home("model", 16), Home("score", 0, 2), Home("mask", 0, 2), Home("loss", 17), Home("progress"))
RANGES = (Range(-6, 6), Range(-1, 1), Range(0, 1), Range(0.2, 5), Range(-3, -0.5), Range(0, 30), Range(0.6, 0.9))


@pytest.mark.parametrize("home", HOMES, ids=lambda home: home.kind)
def test_every_way_leads_to_its_type(home):
    for name, entry in PRIMITIVES.items():
        tensors, _ = stated(entry)
        for goal in pool(home):
            for way in ways(name, goal, home):
                assert len(way.types) <= len(tensors)
                assert entry.shape(way.types, way.attrs) == goal, (name, way)


def test_a_goal_decides_the_inputs():
    home = Home("model", 16)
    cuts = {way.types + way.settings for way in ways("split_heads", heads(2, 8), home)}
    assert cuts == {(seq(16), ("heads", 2))}
    queries = {way.types[0].heads for way in ways("attend", heads(2, 8), home)}
    assert queries == {2}  # as many query heads as the result has
    assert ways("merge_heads", heads(2, 8), home) == ()
    assert not ways("conv", seq(16), Home("score", 0, 2))  # a score may not look along the sequence
    assert seq(16) in gives("linear", home) and heads(2, 8) not in takes("linear", home)


# Of two numbers that nobody compares with care, the ranges say no more than that there is an answer.
TRUTHS = ("less", "less_equal", "greater", "greater_equal", "equal", "unequal", "both", "either", "invert", "where")


def numbers_within(rng, wanted):
    low, high = max(wanted.low, -50), min(wanted.high, 50)
    return [low, high, (low + high) / 2, *(rng.uniform(low, high) for _ in range(5))]


@pytest.mark.parametrize("name", [n for n in RULES if PRIMITIVES[n].fold is not None])
def test_values_stay_in_the_range_that_was_asked_for(name):
    """The registry's own arithmetic says what a primitive makes of numbers in the ranges that the table demands."""
    entry, rng, tried = PRIMITIVES[name], random.Random(name), 0
    arity = len(entry.args)
    for wanted in RANGES:
        for ranges in demands(name, wanted, Way((2.0,) * arity)):
            if ANY in ranges:
                continue
            for _ in range(20):
                inputs = [rng.choice(numbers_within(rng, r)) for r in ranges]
                made = entry.fold(*inputs)
                tried += 1
                assert wanted.low - 1e-6 <= made <= wanted.high + 1e-6, (name, wanted, inputs, made)
    assert tried or name in TRUTHS


def test_what_learns_is_never_taken_for_positive():
    way = Way((seq(16),))
    assert demands("linear", TAME, way)
    assert not demands("linear", Range(0, 6), way)
    assert not demands("embed", Range(0.5, 6), Way((TensorType(),), (("vocab", 4),)))


def test_the_logarithm_of_a_map_stands_only_where_it_comes_to_yes_or_no():
    assert demands("log", ANY, Way((seq(16),))) == [(ANY,)]
    (inner,) = demands("log", TAME, Way((seq(16),)))[0]
    assert inner.low > 0 and not demands("linear", inner, Way((seq(16),)))


def test_expressions_of_any_type_check_clean():
    kinds = {
        "seq[16]": seq(16),
        "seq[1]": seq(1),
        "heads": heads(2, 8),
        "truth": TensorType(seq(16).axes, 0, 16, BOOLEAN),
    }
    uses = {"seq[16]": "y", "seq[1]": "y * x", "heads": "merge_heads(y)", "truth": "where(y, x, 0)"}
    for kind, wanted in kinds.items():
        clean = 0
        for seed in range(30):
            made = random_expr(random.Random(seed), wanted, {"x": seq(16)}, depth=3, policy=WILD)
            layer = f"layer(x) = {{ y = {format_expr(made)}; x + {uses[kind]} }};"
            checked = examine(f"@foundry(1); {layer} model = embed(vocab = 17, width = 16) >> layer >> unembed();")
            clean += checked.ok
        assert clean >= 28, kind


def test_a_new_primitive_is_generated_without_more_ado(monkeypatch):
    """One entry in the registry is all that the generator needs; it may have arguments and a rule of its own."""

    def thinned(types, attrs):
        (x,) = types
        if not (x.is_seq and x.width % attrs["step"] == 0):
            raise rules.Mismatch("takes every so many channels of a sequence", "x")
        return TensorType(x.axes, 0, x.width // attrs["step"], FLOAT)

    args = (Arg("x", "seq"), Arg("step", "integer", low=1, high=64))
    entry = Primitive("thinned", "structure", args, "every so many channels", thinned, lambda *_: 0)
    names = elaborate.CALLABLE | {"thinned"}
    monkeypatch.setitem(PRIMITIVES, "thinned", entry)
    monkeypatch.setattr(elaborate, "CALLABLE", names)
    monkeypatch.setattr(resolve, "BUILT_IN", resolve.BUILT_IN | {"thinned"})
    used, clean = 0, 0
    for seed in range(150):
        tree = tidy(wild_tree(RandomDraw(random.Random(seed)), WILD))
        text = format_genome(tree)
        if "thinned(" in text:
            checked = examine(text)
            clean += checked.ok
            used += checked.ok and "thinned" in primitives(checked.program)
    assert used > 3 and clean > 3


def test_wild_genomes_are_small_and_repeat():
    texts = [random_genome(random.Random(seed), WILD) for seed in range(30)]
    assert texts == [random_genome(random.Random(seed), WILD) for seed in range(30)]
    assert len(set(texts)) == 30
    assert sum(map(len, texts)) / 30 < 2500
