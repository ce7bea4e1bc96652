"""Failing cases become small, still check clean, and still fail in the same way."""

import pytest

from foundry.dsl.check import examine
from foundry.dsl.source import shipped_genomes
from foundry.testing.failures import HANGS, Failure
from foundry.testing.reduce import reduce_genome, reduce_text, smallest

LLAMA = shipped_genomes()["llama"].read_text("utf-8")


def ops(text):
    """The primitives of a genome's model, bodies of calls included."""
    from foundry.dsl.program import all_units

    return {node.op for unit in all_units(examine(text).program) for node in unit.nodes}


def test_what_is_left_of_a_genome_is_what_the_failure_needs():
    small = reduce_genome(LLAMA, lambda text: "attend" in ops(text), seconds=120)
    assert examine(small).ok and "attend" in ops(small)
    assert len(small) < 120 and "recipe" not in small and "#" not in small


def test_numbers_shrink_as_well():
    small = reduce_genome(LLAMA, lambda text: examine(text).program.vocab > 100, seconds=120)
    program = examine(small).program
    assert 100 < program.vocab <= 128 and program.model.result.op != "call"


def test_a_mutant_shrinks_like_any_other_genome():
    """It was not drawn from decisions that could be made smaller: its text is all there is."""
    import random

    from foundry.search.operators import mutate

    text = LLAMA
    for seed in range(3):
        text = mutate(text, random.Random(seed)).text
    small = reduce_genome(text, lambda text: "rotate" in ops(text), seconds=120)
    assert len(small) < len(text) / 3 and "rotate" in ops(small)


def test_a_genome_stays_as_it_is_where_all_of_it_is_needed():
    assert reduce_genome(LLAMA, lambda text: text == LLAMA, seconds=20) == LLAMA


@pytest.mark.parametrize("text", ["aaaabaaaaaaacaaaa", b"\x00\xff\x00\x00\x00b\x00\x00c"])
def test_texts_and_bytes_lose_what_the_failure_does_not_need(text):
    b, c = ("b", "c") if isinstance(text, str) else (b"b", b"c")
    assert reduce_text(text, lambda left: b in left and c in left) in ("bc", b"bc")


def test_another_failure_on_the_way_is_not_followed():
    """A smaller case that breaks something else says nothing about this failure."""
    first = Failure("runs", "KeyError", "foundry/a.py:1", "", LLAMA, 0)

    def again(text):
        place = "foundry/a.py:1" if "attend" in ops(text) else "foundry/b.py:7"
        return Failure("runs", "KeyError", place, "", text, 0)

    small = smallest(first, again)
    assert small.place == first.place and "attend" in ops(small.content) and len(small.content) < 200


def test_what_hangs_is_not_tried_again():
    hung = Failure("runs", HANGS, "foundry/a.py:1", "over 30 s", LLAMA, 0)
    assert smallest(hung, lambda text: pytest.fail("tried")) is hung
