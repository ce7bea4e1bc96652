"""The generator that all other fuzzing stands on: it uses the whole language, stays finite, and shrinks to little."""

import random

import hypothesis
import pytest
from hypothesis import HealthCheck, given, settings

from foundry.dsl.check import examine, load_program
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.types import seq
from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD
from foundry.testing import Case, Coverage, crossings, expressions, genomes, mutants
from foundry.testing.coverage import CONTEXTS, Pair, compatible, covered, pairs, primitives

GENOMES = 300
FEW = settings(max_examples=8, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def coverage():
    return covered(load_program(random_genome(random.Random(seed), WILD)) for seed in range(GENOMES))


def test_every_primitive_of_the_registry_is_generated(coverage):
    assert coverage.unused == []


def test_much_of_what_the_types_allow_is_soon_met(coverage):
    """Pairs are wished for evenly, so that the share grows as fast as it can: 2,000 genomes reach four fifths."""
    assert len(set(coverage.pairs) & compatible()) > 0.25 * len(compatible())
    for context in CONTEXTS:
        assert any(pair.context == context for pair in coverage.pairs)


def test_no_program_has_a_pair_that_the_types_forbid(coverage):
    assert set(coverage.pairs) <= compatible()


def test_edges_are_seen_through_calls_copies_and_slots():
    program = load_program(
        "@foundry(1); bend(x) = tanh(x); layer(x) = bend(linear(x, 8));"
        "heads(x) = merge_heads(attend(split_heads(x, 2), split_heads(x, 2), split_heads(x, 2),"
        " score = fn(s) => abs(exp(s)), mask = fn(i, j) => i - j < 3));"
        "model = embed(vocab = 5, width = 8) >> 2 * layer >> heads >> unembed();"
        "recipe = train(schedule = fn(t) => cos(sin(t)), loss = fn(logits, y) => relu(cross_entropy(logits, y)));"
    )
    found = pairs(program)
    for consumer, producer in (("linear", "embed"), ("tanh", "linear"), ("linear", "tanh"), ("attend", "split_heads")):
        assert Pair("model", consumer, producer) in found
    assert Pair("score", "abs", "exp") in found and Pair("mask", "less", "subtract") in found
    assert Pair("progress", "cos", "sin") in found and Pair("loss", "relu", "cross_entropy") in found
    assert Pair("model", "linear", "unembed") not in found


def test_what_is_compatible_follows_from_the_shape_rules():
    allowed = compatible()
    assert {Pair("model", "merge_heads", "attend"), Pair("model", "attend", "split_heads")} <= allowed
    assert Pair("score", "log", "lookup") in allowed and Pair("loss", "abs", "cross_entropy") in allowed
    assert Pair("model", "linear", "attend") not in allowed  # heads are joined first
    assert Pair("score", "abs", "conv") not in allowed  # no slot looks along the sequence
    assert Pair("mask", "abs", "param") not in allowed  # and no mask learns
    assert Pair("model", "embed", "linear") not in allowed  # only whole numbers are looked up


def test_coverage_adds_up_and_says_what_is_missing():
    one, both = Coverage(), Coverage()
    program = load_program("@foundry(1); model = embed(vocab = 5, width = 8) >> unembed();")
    one.add(program)
    both.merge(one)
    both.merge(one)
    assert both.programs == 2 and both.pairs[Pair("model", "unembed", "embed")] == 2
    assert "attend" in both.unused and Pair("model", "merge_heads", "attend") in both.missing
    assert f"of {len(PRIMITIVES)} primitives in 2 genomes" in both.summary()


def test_nearly_all_wild_models_give_finite_logits_losses_and_gradients():
    torch = pytest.importorskip("torch")
    wrong = []
    for seed in range(60):
        case = Case(random_genome(random.Random(10_000 + seed), WILD), seed)
        model, tokens = case.fresh(torch.float32), case.tokens
        logits = model(tokens)
        loss = case.module.loss(logits[:, :-1], tokens[:, 1:]).mean()
        if loss.requires_grad:
            loss.backward()
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not all(t.isfinite().all() for t in (logits, loss, *gradients)):
            wrong.append(case.text)
    assert len(wrong) <= 1, wrong[0]


@FEW
@given(genomes())
def test_hypothesis_draws_genomes_that_check_clean(text):
    assert examine(text).ok


@FEW
@given(expressions(seq(8), {"x": seq(8)}))
def test_hypothesis_draws_expressions_of_a_type(text):
    text = f"@foundry(1); layer(x) = x + {text}; model = embed(vocab = 5, width = 8) >> layer >> unembed();"
    checked = examine(text)
    assert checked.ok or checked.diagnostics[0].code == "F306", checked.diagnostics[0].message


@FEW
@given(mutants(steps=2))
def test_mutants_check_clean(text):
    assert examine(text).ok


@FEW
@given(crossings())
def test_crossings_check_clean(text):
    assert examine(text).ok


def test_what_is_found_shrinks_to_a_few_lines():
    """A genome that merely has to hold one primitive comes down to it, a layer around it, and the model's two ends."""
    small = hypothesis.find(
        genomes(),
        lambda text: "attend(" in text and "attend" in primitives(load_program(text)),
        settings=settings(max_examples=100, database=None, suppress_health_check=list(HealthCheck)),
        random=random.Random(1),
    )
    assert len(small.splitlines()) <= 16, small
    assert "recipe" not in small
