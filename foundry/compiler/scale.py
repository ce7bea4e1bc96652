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
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from typing import TypeVar

from foundry.compiler.depth import Depth, depth_of
from foundry.compiler.resize import Factors, resized
from foundry.compiler.sizes import EXPERTS, HEADS, VOCAB, Sizes, sizes_of
from foundry.dsl.check import MAX_PARAMETERS, Checked, check
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.program import parameter_count
from foundry.dsl.provenance import traced

Item = TypeVar("Item")

NEAR = math.log(1.1)  # how far from the parameters that are asked for a genome may be
SLENDER = math.log(1.5)  # how far from its proportion of width to depth, before its heads are narrowed
NARROWEST = 8  # channels of a head
WIDEST = 1 << 17
STEPS = ((256, 8), (512, 16), (1024, 32), (WIDEST, 64))  # widths up to … are multiples of …


class ScaleError(Exception):
    """A size that a genome cannot have. The message says why, and what it can have."""


@dataclass(frozen=True)
class Asked:
    """The size that is asked for; what is None follows from the others, or stays."""

    parameters: int | None = None
    width: int | None = None
    depth: int | None = None
    vocab: int | None = None
    experts: int | None = None


@dataclass(frozen=True)
class Scaled:
    """A genome at a size: its text, width, layers and parameters, and by how much its heads were narrowed."""

    text: str
    width: int
    depth: int
    parameters: int
    narrowed: int = 1


@dataclass(frozen=True)
class Way:
    """How the heads change: the factor of their channels, and whether a single one stays single."""

    head: Fraction
    single_stays: bool


def scale(text: str, asked: Asked) -> tuple[Scaled, Scaled]:
    """The genome as it is, and at the size that is asked for.

    Raises:
        GenomeError: the genome has errors.
        ScaleError: it cannot have that size, or not within a tenth of the parameters.
    """
    checked = check(text)
    if checked.program is None:
        raise GenomeError(checked.diagnostics, text)
    search = _Search(checked, asked)
    return search.original, search.found()


def _far(scaled: Scaled, parameters: int) -> float:
    return abs(math.log(scaled.parameters / parameters))


class _Search:
    """The candidates for one request."""

    def __init__(self, checked: Checked, asked: Asked):
        assert checked.program is not None
        self.checked, self.asked, self.genome = checked, asked, checked.program.genome
        program = traced(checked.program)
        self.sizes: Sizes = sizes_of(program)
        self.depth: Depth = depth_of(program)
        self.original = Scaled("", self.sizes.width, self.depth.total, parameter_count(checked.program))
        self.made = cache(self._made)
        self.seen: dict[str, Scaled] = {}
        self._refuse()

    def _refuse(self) -> None:
        asked, depth = self.asked, self.depth
        if asked.experts is not None and not self.sizes.of(EXPERTS):
            raise ScaleError("the genome has no experts whose number stands in it")
        if asked.vocab is not None and not self.sizes.of(VOCAB):
            raise ScaleError("the vocabulary of the genome is not a number that stands in it")
        if asked.parameters is not None and asked.parameters > MAX_PARAMETERS:
            raise ScaleError(f"a genome has at most {MAX_PARAMETERS:,} parameters")
        if asked.depth is not None and asked.depth not in depth.reachable:
            raise ScaleError(f"it cannot have {asked.depth} layers: {self._depths(asked.depth)}")

    def _depths(self, layers: int) -> str:
        """Which numbers of layers there are around one."""
        if len(self.depth.reachable) == 1:
            return f"its {self.depth.total} are written out one by one"
        below = max((n for n in self.depth.reachable if n < layers), default=None)
        above = min((n for n in self.depth.reachable if n > layers), default=None)
        return f"the nearest that keep its pattern are {_or(below, above)}"

    # ---- candidates ---------------------------------------------------------------------------------------------

    @cached_property
    def ways(self) -> list[Way]:
        """Heads as wide as they are, then narrower ones."""
        counts = {size.value for size in self.sizes.of(HEADS)}
        singles = (False, True) if 1 in counts and counts != {1} else (False,)
        halvings = [Fraction(1)]
        while self.sizes.channels and min(self.sizes.channels) * halvings[-1] / 2 >= NARROWEST:
            halvings.append(halvings[-1] / 2)
        return [Way(head, single) for head in halvings for single in singles]

    def widths(self, way: Way) -> Sequence[int]:
        """The widths that a way of changing the heads allows, in order."""
        if not self.sizes.tied:
            return sorted({*_grid(), self.sizes.width})
        step = self.sizes.width * way.head / self._common(way)
        return [int(step * n) for n in range(1, int(WIDEST / step) + 1) if (step * n).denominator == 1]

    def _common(self, way: Way) -> int:
        """The greatest common divisor of the numbers of heads: they grow by multiples of one over it."""
        counts = [size.value for size in self.sizes.of(HEADS) if size.value > 1 or not way.single_stays]
        return math.gcd(*counts) or 1

    def _heads(self, way: Way, width: int) -> Fraction:
        """The factor of the number of heads that goes with a width."""
        common = self._common(way)
        exact = Fraction(width, self.sizes.width) / way.head
        return Fraction(max(1, round(exact * common)), common)

    def _made(self, way: Way, width: int, depth: int) -> Scaled | None:
        """The genome with a width and so many layers, or None where that is none."""
        factors = Factors(width, self._heads(way, width), way.head, way.single_stays, self.asked.vocab, self.asked.experts)
        genome = resized(self.genome, self.sizes, factors, self.checked.sorts)
        if genome is None:
            return None
        text = format_genome(self.depth.put(depth, genome))
        program = check(text).program
        if program is None:
            return None
        made = Scaled(text, width, depth, parameter_count(program), int(1 / way.head))
        return self.seen.setdefault(text, made)

    # ---- choices ------------------------------------------------------------------------------------------------

    def found(self) -> Scaled:
        """The best candidate.

        Raises:
            ScaleError: none is good enough.
        """
        if self.asked.parameters is None:
            return self.exact(self.asked.width or self.sizes.width, self.asked.depth or self.depth.total)
        best: Scaled | None = None
        for way in self.ways:
            candidate = self.nearest(way, self.asked.parameters)
            if candidate is None:
                continue
            if self.good(candidate, self.asked.parameters):
                return candidate
            if best is None or self.cost(candidate, self.asked.parameters) < self.cost(best, self.asked.parameters):
                best = candidate
        if best is None or _far(best, self.asked.parameters) > NEAR:
            raise ScaleError(self.excuse(self.asked.parameters))
        return best

    def exact(self, width: int, depth: int) -> Scaled:
        """The candidate of a width and a number of layers, with heads as wide as they can be."""
        legal = [way for way in self.ways if width in self.widths(way)]
        made = next(filter(None, (self.made(way, width, depth) for way in legal)), None)
        if made is not None:
            return made
        widths = {w for way in self.ways for w in self._beside(self.widths(way), width)}
        below = max((w for w in widths if w < width), default=None)
        above = min((w for w in widths if w > width), default=None)
        if legal or not widths:
            raise ScaleError(f"it cannot have a width of {width}: {self._mistake(legal, width, depth)}")
        raise ScaleError(f"it cannot have a width of {width}: its heads allow {_or(below, above)}")

    def _beside(self, widths: Sequence[int], width: int) -> Iterator[int]:
        yield from sorted(widths, key=lambda w: abs(w - width))[:2]

    def good(self, candidate: Scaled, parameters: int) -> bool:
        """Whether a candidate is near enough that heads need not be narrowed."""
        if _far(candidate, parameters) > NEAR:
            return False
        return self.asked.width is not None or self.asked.depth is not None or self._stretch(candidate) <= SLENDER

    def cost(self, candidate: Scaled, parameters: int) -> float:
        """How far a candidate is from the parameters, and a little for how far from its proportions."""
        beyond = 10 * (_far(candidate, parameters) > NEAR)
        return beyond + _far(candidate, parameters) + 0.2 * self._stretch(candidate)

    def _stretch(self, candidate: Scaled) -> float:
        ratio = candidate.width / candidate.depth * self.depth.total / self.sizes.width
        return abs(math.log(ratio))

    def nearest(self, way: Way, parameters: int) -> Scaled | None:
        """The best candidate of one way of changing the heads."""
        widths = self.widths(way) if self.asked.width is None else [self.asked.width]
        depths = self.depth.reachable if self.asked.depth is None else [self.asked.depth]
        if self.asked.width is not None:
            if self.asked.width not in self.widths(way):
                return None
            candidates = around(depths, lambda depth: self.made(way, self.asked.width or 0, depth), parameters)
        else:
            candidates = [c for depth in self._slender(way, widths, depths, parameters)
                          for c in self._at(way, widths, depth, parameters)]  # fmt: skip
        return min(candidates, key=lambda c: self.cost(c, parameters), default=None)

    def _at(self, way: Way, widths: Sequence[int], depth: int, parameters: int) -> list[Scaled]:
        return around(widths, lambda width: self.made(way, width, depth), parameters)

    def _slender(self, way: Way, widths: Sequence[int], depths: Sequence[int], parameters: int) -> Sequence[int]:
        """The numbers of layers at which the proportion of width to depth is about the original one: the more layers,
        the narrower is a model of so many parameters."""
        low, high = 0, len(depths)
        while low < high:
            middle = (low + high) // 2
            candidates = self._at(way, widths, depths[middle], parameters)
            wide = [c for c in candidates if c.width / c.depth > self.sizes.width / self.depth.total]
            low, high = (middle + 1, high) if wide else (low, middle)
        return depths[max(0, low - 2) : low + 2]

    # ---- words --------------------------------------------------------------------------------------------------

    def _mistake(self, ways: list[Way], width: int, depth: int) -> str:
        """Why the genome does not check at a size."""
        for way in ways:
            factors = Factors(width, self._heads(way, width), way.head, way.single_stays, self.asked.vocab, self.asked.experts)
            genome = resized(self.genome, self.sizes, factors, self.checked.sorts)
            if genome is not None:
                found = check(format_genome(self.depth.put(depth, genome))).diagnostics
                errors = [diagnostic.message for diagnostic in found if diagnostic.severity == "error"]
                if errors:
                    return errors[0]
        return "a number of heads, or of channels of a head, would be no whole number"

    def excuse(self, parameters: int) -> str:
        """Why there is no genome with so many parameters, and what there is."""
        known = sorted(self.seen.values(), key=lambda made: made.parameters)
        below = next((made for made in reversed(known) if made.parameters < parameters), None)
        above = next((made for made in known if made.parameters > parameters), None)
        nearest = _or(*(made and f"{made.parameters:,} (width {made.width}, depth {made.depth})" for made in (below, above)))
        words = f"{parameters:,} parameters cannot be reached within a tenth: the nearest have {nearest}"
        vocab = self.asked.vocab or self.checked.program.vocab  # type: ignore[union-attr]
        if above is not None and below is None and vocab * above.width > parameters / 2:
            words += f"; {vocab:,} tokens take {vocab * above.width:,} of them: ask for fewer with --vocab"
        return words


def around(items: Sequence[Item], made: Callable[[Item], Scaled | None], parameters: int) -> list[Scaled]:
    """The candidates next below and above a number of parameters, among items in whose order it grows."""
    low, high = 0, len(items)
    while low < high:
        middle = (low + high) // 2
        found, index = None, middle
        while found is None and index < min(high, middle + 4):
            found, index = made(items[index]), index + 1
        if found is not None and found.parameters < parameters:
            low = index
        else:
            high = middle
    return [found for item in items[max(0, low - 2) : low + 2] if (found := made(item)) is not None]


def _grid() -> Iterator[int]:
    """Widths that no head asks for: multiples of 8, of more where they are large."""
    low = 0
    for high, step in STEPS:
        yield from range(low + step, high + 1, step)
        low = high


def _or(a: object, b: object) -> str:
    return " and ".join(str(value) for value in (a, b) if value is not None) or "none"
