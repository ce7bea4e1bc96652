"""The sizes that a genome can have: by how its heads change, its width, and its number of layers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property

from foundry.compiler.scale.depth import Depth, depth_of
from foundry.compiler.scale.resize import Factors, resized
from foundry.compiler.scale.sizes import HEADS, Sizes, sizes_of
from foundry.dsl.check import Checked, prelude
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.provenance import traced
from foundry.dsl.syntax import Genome

NARROWEST = 8  # channels of a head
UNEVEN = math.log(1.3)  # how far all heads together may be from their share of the width
WIDEST = 1 << 17
STEPS = ((256, 8), (512, 16), (1024, 32), (WIDEST, 64))  # widths up to … are multiples of …


@dataclass(frozen=True)
class Way:
    """How the heads change: the factor of their channels, and whether a single one (of keys, for all) stays single."""

    head: Fraction
    single_stays: bool


@dataclass(frozen=True)
class Candidate:
    """A size: how the numbers of the text change, the width and the layers, and the parameters that this gives."""

    factors: Factors
    width: int
    depth: int
    parameters: int


class Candidates:
    """The sizes of one genome. `vocab` and `experts` are what it is to have of them, None for what it has."""

    def __init__(self, checked: Checked, vocab: int | None = None, experts: int | None = None):
        assert checked.program is not None
        self.checked, self.vocab, self.experts = checked, vocab, experts
        self.program = checked.program
        program = traced(checked.program)
        self.sizes: Sizes = sizes_of(program)
        self.depth: Depth = depth_of(program)
        self.made = cache(self._made)
        self.widths = cache(self._widths)
        self.seen: list[Candidate] = []

    @cached_property
    def original(self) -> Candidate:
        """The genome as it is."""
        width = self.sizes.width
        factors = Factors(width, Fraction(1), Fraction(1))
        return Candidate(factors, width, self.depth.total, parameter_count(self.program))

    @cached_property
    def ways(self) -> list[Way]:
        """Heads as wide as they are, then narrower ones; at last a single head of keys that stays single."""
        halvings = [Fraction(1)]
        while self.sizes.channels and min(self.sizes.channels) * halvings[-1] / 2 >= NARROWEST:
            halvings.append(halvings[-1] / 2)
        singles = [False]
        counts = {size.value for size in self.sizes.of(HEADS)}
        if 1 in counts and counts != {1}:
            doubled = self.genome(Factors(2 * self.sizes.width, Fraction(2), Fraction(1)), self.depth.total)
            singles = [True] if doubled is None or _counted(doubled, self.program) is None else [False, True]
        return [Way(head, single) for single in singles for head in halvings]

    def _widths(self, way: Way) -> Sequence[int]:
        """The widths to choose among, in order, where heads change in a way."""
        if not self.sizes.tied:
            return sorted({*_grid(), self.sizes.width})
        step = self.sizes.width * way.head / self._common(way)
        return range(step.numerator, WIDEST + 1, step.numerator)  # its whole multiples

    def allows(self, way: Way, width: int) -> bool:
        """Whether a way of changing the heads allows a width; where their channels are numbers of their own, all do."""
        return not self.sizes.tied or width in self.widths(way)

    def factors(self, way: Way, width: int) -> Factors:
        """How the genome changes for a width: the heads follow it, in the steps that keep their ratio."""
        common = self._common(way)
        share = Fraction(width, self.sizes.width) / way.head
        heads = Fraction(max(1, round(share * common)), common)
        return Factors(width, heads, way.head, way.single_stays, self.vocab, self.experts)

    def _common(self, way: Way) -> int:
        """The greatest common divisor of the numbers of heads."""
        counts = [size.value for size in self.sizes.of(HEADS) if size.value > 1 or not way.single_stays]
        return math.gcd(*counts) or 1

    def _made(self, way: Way, width: int, depth: int) -> Candidate | None:
        """The genome with a width and so many layers, or None where it does not check."""
        factors = self.factors(way, width)
        uneven = abs(math.log(factors.heads * factors.head * self.sizes.width / width))
        genome = self.genome(factors, depth)
        if genome is None or (self.sizes.of(HEADS) and uneven > UNEVEN):
            return None
        parameters = _counted(genome, self.program)
        if parameters is None:
            return None
        self.seen.append(Candidate(factors, width, depth, parameters))
        return self.seen[-1]

    def genome(self, factors: Factors, depth: int) -> Genome | None:
        """The syntax tree of a size, or None where a number would be none."""
        genome = resized(self.program.genome, self.sizes, factors, self.checked.sorts)
        return None if genome is None else self.depth.put(depth, genome)


def _counted(genome: Genome, like: Program) -> int | None:
    """The parameters of a genome, or None where it has errors."""
    elaborator = Elaborator(genome, prelude())
    model = elaborator.model()
    if model is None or any(diagnostic.severity == "error" for diagnostic in elaborator.diagnostics):
        return None
    return parameter_count(Program(genome, model, like.recipe, model.result.type.width))


def _grid() -> Iterator[int]:
    """Widths that no head asks for: multiples of 8, of more where they are large."""
    low = 0
    for high, step in STEPS:
        yield from range(low + step, high + 1, step)
        low = high
