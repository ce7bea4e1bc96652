"""Search never leaves the language: every operator is reached, and gives a genome that checks clean and is new."""

import os
import random
from functools import cache

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.source import shipped_genomes
from foundry.dsl.substitute import free
from foundry.generate.draw import RandomDraw
from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD
from foundry.generate.trees import tidy
from foundry.search.operators import CROSSINGS, OPERATORS, Tally
from foundry.search.variation.subject import subject
from foundry.testing.case import Broken, Case
from foundry.testing.properties.variation import mutation, sound

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
EACH = 300 if LONG else 12  # genomes that every operator is tried on
REACHED = 1  # of them, on which it has to find a place
ACCEPTED = 0.6  # the share of what an operator proposes that has to check clean

HANDS = (
    "llama", "hybrid", "channels/moe_softmax", "channels/moe_renormalised", "attention/gated_linear",
    "attention/gated_delta_net", "recipes/curriculum_difficulty",
)  # fmt: skip


@cache
def cases():
    """Genomes of people, and of the generator in both its policies."""
    rng = random.Random(5)
    shipped = [shipped_genomes()[name].read_text("utf-8") for name in HANDS]
    drawn = [random_genome(rng, WILD) if n % 2 else random_genome(rng) for n in range(EACH - len(shipped))]
    return [Case(text, seed) for seed, text in enumerate([*shipped, *drawn])]


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_gives_genomes_that_check_clean(name):
    tally = Tally()
    reached = sum(mutation(case, name, random.Random(case.seed), tally) is not None for case in cases())
    assert reached >= REACHED, f"{name} finds a place in {reached} of {len(cases())}"
    assert tally.acceptance(name) >= ACCEPTED


@pytest.mark.parametrize("name", CROSSINGS)
def test_every_crossing_gives_genomes_that_keep_what_they_do_not_change(name):
    reached = 0
    for case, other in zip(cases(), cases()[1:], strict=False):
        a, b = subject(case.text), subject(other.text)
        tree = CROSSINGS[name].apply(a, b, RandomDraw(random.Random(case.seed)))
        if tree is None:
            continue
        checked = examine(format_genome(tidy(tree)))
        if checked.program is None or canonical_hash(checked.program) in (a.hash, b.hash):
            continue
        reached += 1
        assert changed(a.genome, checked.genome) <= 1 or name == "cross recipe"
    assert reached >= REACHED


def changed(parent, child):
    """How many definitions of a parent are still used by their names and are others now."""
    old = {d.name: d for d in parent.definitions}
    return sum(d.name in old and d != old[d.name] for d in child.definitions)


def test_leaving_out_what_nothing_uses_keeps_the_meaning():
    for case in cases():
        tree = parse(case.text)
        assert canonical_hash(examine(format_genome(tidy(tree))).program) == canonical_hash(case.program)
        assert {name for d in tidy(tree).definitions for name in free(d)} >= {"embed"}


@pytest.mark.parametrize(
    ("child", "message"),
    [
        ("@foundry(1);\nmodel = 1;\n", "F303|F308|F310"),
        ("@foundry(1);\n\nmodel = embed(vocab = 61,width = 8) >> unembed();\n", "one format"),
        ("@foundry(1);\n\nmodel = embed(vocab = 61, width = 8) >> unembed(tied = 1);\n", "means what a parent means"),
        ("@foundry(1);\n\na = 1;\nmodel = embed(vocab = 61, width = 9) >> unembed();\n", "F205"),
    ],
)
def test_an_unsound_child_is_noticed(child, message):
    from foundry.search.operators import Child

    parent = "@foundry(1);\n\nmodel = embed(vocab = 61, width = 8) >> unembed(tied = 1);\n"
    with pytest.raises(Broken, match=message):
        sound(Child(child, "an operator", "other"), (parent,))
