"""Layers of any arrangement are found where the compiler puts them."""

import random

import pytest
import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.zoo.layers import arranged

BLOCKS = """@foundry(1);
norm = rmsnorm(eps = 1e-6);
block(x, hidden, mask) = {
  x = x + attention(norm(x), heads = 2, mask = mask);
  x + glu(norm(x), hidden = hidden)
};
a_block = block(hidden = 3, mask = window(size = 2));
b_block = block(hidden = 5, mask = everything);
c_block(x) = x + glu(norm(x), hidden = 7);
"""
HIDDEN = {"a_block": 3, "b_block": 5, "c_block": 7}


def order(expression):
    """The hidden width of each layer in the order of a pass, and the names of the weights that it has."""
    text = f"{BLOCKS}model = embed(vocab = 11, width = 4) >> {expression} >> norm >> unembed(tied = 1);"
    model, seen = load(emit(load_program(text))).Model(), []
    for name, part in model.named_modules():
        if name.endswith("glu.up"):
            part.register_forward_hook(lambda part, _, out, name=name: seen.append((name, out.shape[-1])))
    model(torch.zeros(1, 3, dtype=torch.long))
    return seen


@pytest.mark.parametrize(
    "pattern",
    ["a", "aaa", "ab", "aab", "aba", "abab", "ababa", "aabaab", "aabaaba", "abba", "aabbb", "abcabc", "aabaa", "caab",
     "bacab", "abaabb", "cccccb", "aabaabaa"],
)  # fmt: skip
def test_order_and_names(pattern):
    check(pattern)


def test_arbitrary_patterns():
    chance = random.Random(0)
    for _ in range(25):
        check("".join(chance.choices("abc"[: chance.randint(1, 3)], k=chance.randint(1, 12))))


def check(pattern):
    kinds = [f"{letter}_block" for letter in pattern]
    expression, prefixes = arranged(kinds)
    wanted = [(f"{prefix}.glu.up", HIDDEN[kind]) for prefix, kind in zip(prefixes, kinds, strict=True)]
    assert order(expression) == wanted, expression


def test_periods_are_written_as_such():
    gemma = 4 * [*5 * ["local_block"], "full_block"] + 2 * ["local_block"]
    expression, prefixes = arranged(gemma)
    assert expression == "4 * (5 * local_block >> full_block) >> 2 * local_block"
    assert prefixes[9] == "groups.1.local_blocks.3" and prefixes[25] == "local_blocks.1"
    assert arranged(32 * ["block"])[0] == "32 * block"
    assert arranged(["block"]) == ("block", ["block"])
