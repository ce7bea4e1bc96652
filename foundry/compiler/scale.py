"""A genome at another size: wider or narrower, deeper or shallower, in the proportions that it has.

The numbers of the text that are sizes (`foundry.compiler.sizes`) change together. The channels of a head stay where the
number of heads can follow the width, else they are halved until it can. The ratio of query heads to key heads stays,
and so do the ratio of every other width to the model's, the pattern of the layers (`foundry.compiler.depth`), windows,
rotary bases, the numbers of experts, and the recipe. Every candidate is checked like any genome and its parameters are
counted; of those that check, the nearest to what was asked for wins.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

from foundry.compiler.depth import Depth, depth_of
from foundry.compiler.resize import Factors, resized
from foundry.compiler.sizes import EXPERTS, HEAD, HEADS, VOCAB, Sizes, sizes_of
from foundry.dsl.check import MAX_PARAMETERS, check
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.provenance import traced

NEAR = math.log(1.1)  # how far from the parameters asked for a genome may be
SLENDER = math.log(1.5)  # how far from the proportion of width to depth, before the heads change instead
NARROWEST_HEAD = 8
WIDEST = 1 << 20
STEPS = ((256, 8), (512, 16), (1024, 32), (WIDEST, 64))  # widths up to … are multiples of …


class ScaleError(Exception):
    """A size that a genome cannot have; the message says why, and what it can have."""


@dataclass(frozen=True)
class Asked:
    """The size that is asked for; None where it is left to the others, or stays."""

    parameters: int | None = None
    width: int | None = None
    depth: int | None = None
    vocab: int | None = None
    experts: int | None = None


@dataclass(frozen=True)
class Scaled:
    """A genome at a size: its text, width, layers and learned numbers, and by how much its heads were narrowed."""

    text: str
    width: int
    depth: int
    parameters: int
    narrowed: int = 1


def scale(text: str, asked: Asked) -> Scaled:
    """The genome of another size.

    Raises:
        GenomeError: the genome has errors.
        ScaleError: it cannot have that size, or not within a tenth of the parameters.
    """
    checked = check(text)
    if checked.program is None:
        raise GenomeError(checked.diagnostics, text)
    search = _Search(checked.program, asked)
    found = search.found()
    if asked.parameters is None:
        return found
    if _far(found.parameters, asked.parameters) > NEAR:
        raise ScaleError(search.excuse(asked.parameters))
    return found


def _far(a: float, b: float) -> float:
    return abs(math.log(a / b))
