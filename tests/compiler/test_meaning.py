"""The emitted file computes what the program means: compared with a reference that runs the program directly.

The reference (`foundry.testing.reference`) is as plain as can be: every value has all five axes (batch, head, token,
key, channel), attention is written out, recurrences are loops, nothing is recognised or fused.
"""

import pytest
import torch
from meanings import GENOMES

from foundry.testing.case import Case, Skipped
from foundry.testing.properties import BY_NAME

torch.set_num_threads(1)


@pytest.mark.parametrize("name", GENOMES)
def test_the_file_computes_what_the_program_means(name):
    case = Case(GENOMES[name])
    for promise in ("meaning", "loss-meaning", "gradient-meaning", "initial-values", "recipe"):
        BY_NAME[promise].holds(case)


@pytest.mark.parametrize("name", GENOMES)
def test_every_form_of_a_computation_is_the_same(name):
    case = Case(GENOMES[name])
    for promise in ("attention-forms", "recognised", "flex-attention"):
        try:
            BY_NAME[promise].holds(case)
        except Skipped as nothing:
            assert str(nothing).startswith("no ")
