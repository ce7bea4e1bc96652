"""A genome that stands alone says by itself all that the prelude said for it."""

import random
from pathlib import Path

import pytest

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program, prelude
from foundry.dsl.format import format_genome
from foundry.dsl.inline import self_contained
from foundry.dsl.parse import parse
from foundry.dsl.substitute import free
from foundry.generate.genomes import random_genome

GENOMES = Path(__file__).parents[2] / "genomes"
SHIPPED = {str(path.relative_to(GENOMES).with_suffix("")): path.read_text() for path in GENOMES.rglob("*.genome")}
PRELUDE = {definition.name for definition in prelude().definitions}


def alone(text):
    return format_genome(self_contained(parse(text)))


@pytest.mark.parametrize("name", [*SHIPPED, *(f"random {seed}" for seed in range(10))])
def test_a_genome_that_stands_alone_means_the_same_and_needs_no_prelude(name):
    text = SHIPPED.get(name) or random_genome(random.Random(int(name.split()[1])))
    out = alone(text)
    assert canonical_hash(load_program(out)) == canonical_hash(load_program(text))
    assert not {used for d in parse(out).definitions for used in free(d)} & PRELUDE - {
        d.name for d in parse(out).definitions
    }
    assert alone(out) == out


def test_copies_come_after_the_genome_with_their_comments():
    out = alone(SHIPPED["gpt2"])
    assert out.startswith(format_genome(parse(SHIPPED["gpt2"])))
    assert "2016, arXiv:1607.06450.\nlayernorm(x, eps = 1e-5) = " in out  # Ba, Kiros and Hinton
    assert "what a genome may call without defining it" not in out  # said of the prelude as a whole


def test_the_schedule_that_a_recipe_has_by_default_is_written_out():
    bare = "@foundry(1);\nmodel = embed(vocab = 256, width = 64) >> unembed(tied = 1);\n"
    assert "recipe = train(schedule = warmup_cosine);" in alone(bare)
    batch = alone(bare + "recipe = train(batch = 512);")
    assert "recipe = train(batch = 512, schedule = warmup_cosine);" in batch and "warmup_cosine(t, " in batch
    own = "recipe = train(adamw(), fn(t) => 1 - t);"
    assert own in alone(bare + own)


def test_a_function_that_the_genome_has_under_the_same_name_is_copied_under_another():
    text = (
        "@foundry(1);\nsilu(x) = relu(x);\nlayer(x) = x + glu(silu(x), hidden = 32);\n"
        "model = embed(vocab = 256, width = 64) >> layer >> unembed(tied = 1);\n"
    )
    out = alone(text)
    assert "silu_b(x) = x * sigmoid(x);" in out and "act = silu_b" in out and "silu(x) = relu(x);" in out
    assert canonical_hash(load_program(out)) == canonical_hash(load_program(text))


def test_a_default_schedule_is_the_preludes_whatever_the_genome_calls_its_own():
    text = (
        "@foundry(1);\nwarmup_cosine(t) = 1 - t;\nmodel = embed(vocab = 256, width = 64) >> unembed(tied = 1);\n"
        "recipe = train(context = fn(t) => 64 * warmup_cosine(t));\n"
    )
    out = alone(text)
    assert "schedule = warmup_cosine_b" in out
    assert canonical_hash(load_program(out)) == canonical_hash(load_program(text))
