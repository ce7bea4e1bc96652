"""Reach: the generator and the operators write every primitive, and every function of the prelude.

`pytest -s` prints how often each was written.
"""

import random
from collections import Counter

import pytest

from foundry.dsl.check import prelude
from foundry.dsl.format import format_expr, format_genome
from foundry.dsl.parse import parse
from foundry.dsl.registry import CALLABLE, OPTIMIZERS, SLOTS, TRAIN
from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import Definition, Genome
from foundry.generate.draw import RandomDraw
from foundry.generate.genomes import random_expr, random_genome
from foundry.generate.parts import ready, use
from foundry.generate.trees import tidy
from foundry.generate.vocabulary import callees, shipped
from foundry.search.operators import OPERATORS
from foundry.search.variation.subject import subject

GENOMES, PARTS, COPIES = 80, 250, 8
# channel mixers more often: a third of the mixtures of experts among them has one of the prelude's routers
ROLES = ("activation", "norm", "filter", "position", "shares", "expert", "mixer", *3 * ("channels",))

# What neither writes, with the reason why that is right.
UNREACHED: dict[str, str] = {}


def written(text):
    """The names that a genome uses and does not bind itself, each as often as it stands there."""
    return Counter(name for definition in parse(text).definitions for name in occurrences(definition))


@pytest.fixture(scope="module")
def reached():
    """How often each name was written: in fresh genomes, in the parts that operators draw, and where they copy mixers
    of the prelude."""
    rng, found = random.Random(0), Counter()
    for _ in range(GENOMES):
        found += written(random_genome(rng))
    for role in (*ROLES, *SLOTS):
        for _ in range(PARTS):
            found += written(format_genome(Genome(1, (Definition("part", None, random_expr(rng, role)),))))
    expand = OPERATORS["expand"]
    for role in ("mixer", "channels"):
        for callee in (c for c in callees(shipped(), role, "prelude") if ready(c)):
            for _ in range(COPIES):
                mixer = format_expr(use(RandomDraw(rng), callee, 64, richness=0.5))
                layer = f"mix = {mixer}; layer(x) = x + mix(x);"
                text = f"@foundry(1); {layer} model = embed(vocab = 256, width = 64) >> layer >> unembed();"
                tree = expand.apply(subject(text), RandomDraw(rng))
                found += written(format_genome(tidy(tree))) if tree is not None else Counter()
    return found


def report(title, names, found):
    print(f"\n{title}: " + ", ".join(f"{name} {found[name]}" for name in sorted(names)))


def test_every_primitive_is_written(reached):
    names = CALLABLE | {"width", "head_count", "query", "key"}
    report("primitives", names, reached)
    assert {name for name in names if not reached[name]} == names & set(UNREACHED)


def test_every_function_of_the_prelude_is_written(reached):
    names = {definition.name for definition in prelude().definitions}
    report("prelude", names, reached)
    assert {name for name in names if not reached[name]} == names & set(UNREACHED)


def test_every_optimizer_and_every_function_of_a_recipe_is_written(reached):
    assert all(reached[name] for name in OPTIMIZERS)
    slots = {arg.name for arg in TRAIN if arg.sort == "function"}
    recipes = "".join(random_genome(random.Random(seed)) for seed in range(60))
    assert all(f"{slot} = " in recipes for slot in slots)
