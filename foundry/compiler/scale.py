"""A genome at another size: wider or narrower, deeper or shallower, in the proportions that it has.

The numbers of the text that are sizes (`foundry.compiler.sizes`) change together. The channels of a head stay where the
number of heads can follow the width, else they are halved until it can. The ratio of query heads to key heads stays,
and so do the ratio of every other width to the model's, the pattern of the layers (`foundry.compiler.depth`), windows,
rotary bases, the numbers of experts, and the recipe. Every candidate is checked like any genome and its parameters are
counted; of those that check, the nearest to what was asked for wins.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache, cached_property, partial

from foundry.compiler.depth import Depth, depth_of
from foundry.compiler.resize import Factors, resized
from foundry.compiler.sizes import EXPERTS, HEADS, VOCAB, Sizes, sizes_of
from foundry.dsl.check import MAX_PARAMETERS, Checked, check, prelude
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.elaborate import Elaborator
from foundry.dsl.format import format_genome
from foundry.dsl.program import Program, parameter_count
from foundry.dsl.provenance import traced
from foundry.dsl.syntax import Genome

NEAR = math.log(1.1)  # how far from the parameters that are asked for a genome may be
SLENDER = math.log(1.5)  # how far from its proportion of width to depth, before its heads are narrowed
NARROWEST = 8  # channels of a head
UNEVEN = math.log(1.3)  # how far all heads together may be from their share of the width
GUESSES = 6  # before the rest is halved
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
    """A genome at a size: what was changed, its width, layers and parameters, and once it is written its text."""

    factors: Factors
    width: int
    depth: int
    parameters: int
    text: str = ""


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
    return search.original, search.written(search.found())


def _far(scaled: Scaled, parameters: int) -> float:
    return abs(math.log(scaled.parameters / parameters))


class _Search:
    """The candidates for one request."""

    def __init__(self, checked: Checked, asked: Asked):
        assert checked.program is not None
        self.checked, self.asked, self.genome = checked, asked, checked.program.genome
        self.program = checked.program
        program = traced(checked.program)
        self.sizes: Sizes = sizes_of(program)
        self.depth: Depth = depth_of(program)
        self.made = cache(self._made)
        self.seen: list[Scaled] = []
        self._refuse()

    @property
    def original(self) -> Scaled:
        """The genome as it is."""
        width = self.sizes.width
        return Scaled(Factors(width, Fraction(1), Fraction(1)), width, self.depth.total, parameter_count(self.program))

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
        halvings = [Fraction(1)]
        while self.sizes.channels and min(self.sizes.channels) * halvings[-1] / 2 >= NARROWEST:
            halvings.append(halvings[-1] / 2)
        singles = [False]
        counts = {size.value for size in self.sizes.of(HEADS)}
        if 1 in counts and counts != {1}:
            doubled = Factors(2 * self.sizes.width, Fraction(2), Fraction(1))
            singles = [True] if self._counted(doubled, self.depth.total) is None else [False, True]
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
        factors = self._factors(way, width)
        if abs(math.log(factors.heads * factors.head * self.sizes.width / width)) > UNEVEN and self.sizes.of(HEADS):
            return None
        parameters = self._counted(factors, depth)
        if parameters is None:
            return None
        self.seen.append(Scaled(factors, width, depth, parameters))
        return self.seen[-1]

    def _factors(self, way: Way, width: int) -> Factors:
        asked, heads = self.asked, self._heads(way, width)
        return Factors(width, heads, way.head, way.single_stays, asked.vocab, asked.experts)

    def _genome(self, factors: Factors, depth: int) -> Genome | None:
        genome = resized(self.genome, self.sizes, factors, self.checked.sorts)
        return None if genome is None else self.depth.put(depth, genome)

    def _counted(self, factors: Factors, depth: int) -> int | None:
        """The parameters of a candidate, or None where it is no genome that checks."""
        genome = self._genome(factors, depth)
        if genome is None:
            return None
        elaborator = Elaborator(genome, prelude())
        model = elaborator.model()
        if model is None or any(diagnostic.severity == "error" for diagnostic in elaborator.diagnostics):
            return None
        return parameter_count(Program(genome, model, self.program.recipe, model.result.type.width))

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
        widths, depths = self.widths(way), self.depth.reachable
        width, depth = self.asked.width, self.asked.depth
        if width is not None:
            candidates = around(depths, lambda n: self.made(way, width, n), parameters) if width in widths else []
        else:
            rows = [depth] if depth is not None else self._slender(way, widths, parameters)
            candidates = [c for row in rows for c in around(widths, partial(self._row, way, row), parameters)]
        return min(candidates, key=lambda c: self.cost(c, parameters), default=None)

    def _row(self, way: Way, depth: int, width: int) -> Scaled | None:
        return self.made(way, width, depth)

    def _slender(self, way: Way, widths: Sequence[int], parameters: int) -> list[int]:
        """The numbers of layers at which a model of so many parameters has about the original proportions."""
        depths = self.depth.reachable

        def similar(depth: int) -> Scaled | None:
            ideal = depth * self.sizes.width / self.depth.total
            return self.made(way, min(widths, key=lambda width: abs(width - ideal)), depth)

        found = {candidate.depth for candidate in around(depths, similar, parameters)}
        near = {i for i, depth in enumerate(depths) if depth in found}
        return [depth for i, depth in enumerate(depths) if {i - 1, i, i + 1} & near] or list(depths[:3])

    def written(self, found: Scaled) -> Scaled:
        """A candidate with its text, checked as a whole."""
        genome = self._genome(found.factors, found.depth)
        assert genome is not None
        text = format_genome(genome)
        diagnostics = check(text).diagnostics
        if any(diagnostic.severity == "error" for diagnostic in diagnostics):
            raise ScaleError(f"at a width of {found.width} it does not check: {diagnostics[0].message}")
        return replace(found, text=text)

    # ---- words --------------------------------------------------------------------------------------------------

    def _mistake(self, ways: list[Way], width: int, depth: int) -> str:
        """Why the genome does not check at a width."""
        for way in ways:
            genome = self._genome(self._factors(way, width), depth)
            found = check(format_genome(genome)).diagnostics if genome is not None else ()
            errors = [diagnostic.message for diagnostic in found if diagnostic.severity == "error"]
            if errors:
                return errors[0]
        return "a number of heads, or of channels of a head, would be no whole number"

    def excuse(self, parameters: int) -> str:
        """Why there is no genome with so many parameters, and what there is."""
        known = sorted(self.seen, key=lambda made: made.parameters)
        below = next((made for made in reversed(known) if made.parameters < parameters), None)
        above = next((made for made in known if made.parameters > parameters), None)
        nearest = _or(*(made and f"{made.parameters:,} (width {made.width}, depth {made.depth})" for made in (below, above)))
        words = f"{parameters:,} parameters cannot be reached within a tenth: the nearest have {nearest}"
        vocab = self.asked.vocab or self.program.vocab
        if above is not None and below is None and vocab * above.width > parameters / 2:
            words += f"; {vocab:,} tokens take {vocab * above.width:,} of them: ask for fewer with --vocab"
        return words


def around(items: Sequence[int], made: Callable[[int], Scaled | None], parameters: int) -> list[Scaled]:
    """The candidates next below and above a number of parameters, among items in whose order it grows.

    About as its power of the item; so each guess is where that would come to it.
    """
    low, high = -1, len(items)
    known: dict[int, int] = {}
    while high - low > 1:
        index = min(max(_guess(items, known, low, high, parameters), low + 1), high - 1)
        step = next((i for i in range(index, min(high, index + 4)) if made(items[i]) is not None), None)
        found = made(items[step]) if step is not None else None
        if step is None or found is None:
            high = index
            continue
        known[step] = found.parameters
        low, high = (step, high) if found.parameters < parameters else (low, index if step > index else step)
    return [found for item in items[max(0, low - 1) : low + 3] if (found := made(item)) is not None]


def _guess(items: Sequence[int], known: dict[int, int], low: int, high: int, parameters: int) -> int:
    """Where to look next between two places: where the two known counts nearest to it would have it, or halfway."""
    if not known:
        return bisect_left(items, items[len(items) // 2])
    nearest = sorted(known, key=lambda i: abs(math.log(known[i] / parameters)))[:2]
    a = nearest[0]
    power = 2.0
    if len(nearest) == 2 and known[a] != known[nearest[1]] and items[a] != items[nearest[1]]:
        b = nearest[1]
        power = max(0.5, math.log(known[a] / known[b]) / math.log(items[a] / items[b]))
    goal = bisect_left(items, items[a] * (parameters / known[a]) ** (1 / power))
    return goal if low < goal < high and goal not in known and len(known) < GUESSES else (low + high) // 2


def _grid() -> Iterator[int]:
    """Widths that no head asks for: multiples of 8, of more where they are large."""
    low = 0
    for high, step in STEPS:
        yield from range(low + step, high + 1, step)
        low = high


def _or(a: object, b: object) -> str:
    return " and ".join(str(value) for value in (a, b) if value is not None) or "none"
