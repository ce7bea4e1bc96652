"""A genome at another size: wider or narrower, deeper or shallower, in the proportions that it has.

The numbers of the text that are sizes change together. The channels of a head stay where the number of heads can follow
the width, else they are halved until it can. The ratio of query heads to key heads stays, and so do the ratio of every
other width to the model's, the pattern of the layers, windows, rotary bases, the numbers of experts, and the recipe.
Every candidate is checked like any genome and its parameters are counted; of those that check, the nearest to what was
asked for wins.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foundry.compiler.scale.candidates import WIDEST, Candidate, Candidates, Way
from foundry.compiler.scale.depth import MOST
from foundry.compiler.scale.nearest import around
from foundry.compiler.scale.sizes import EXPERTS, HEADS, VOCAB
from foundry.dsl.check import MAX_PARAMETERS, check, examine
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.syntax import at

NEAR = math.log(1.1)  # how far from the parameters that are asked for a genome may be
SLENDER = math.log(1.5)  # how far from its proportion of width to depth, before its heads are narrowed
SLACK = 0.1  # how much worse a genome may be that has wider heads than another
REMARK = "Scaled to "


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
    """A genome at its new size, and the sizes before and after.

    heads: the channels of its heads that attend, before and after, where they are others now.
    """

    text: str
    before: Candidate
    after: Candidate
    heads: tuple[tuple[int, int], ...] = ()


def scale(text: str, asked: Asked) -> Scaled:
    """The genome at the size that is asked for.

    Raises:
        GenomeError: the genome has errors.
        ScaleError: it cannot have that size, or not within a tenth of the parameters.
    """
    checked = check(text)
    if checked.program is None:
        raise GenomeError(checked.diagnostics, text)
    search = _Search(Candidates(checked, asked.vocab, asked.experts), asked)
    found = search.found()
    channels = [(n, int(n * found.factors.head)) for n in search.of.sizes.channels if found.factors.head != 1]
    return Scaled(search.written(found), search.of.original, found, tuple(channels))


class _Search:
    """The search for one size among the candidates of a genome."""

    def __init__(self, of: Candidates, asked: Asked):
        self.of, self.asked = of, asked
        depths = of.depth.reachable
        if not of.sizes.width:
            raise ScaleError("it embeds no tokens, so it has no width")
        both = [*of.sizes.clashes, *(s.path for s in of.sizes.sizes if s.path in {d.path for d in of.depth.growing})]
        if both:
            node = at(of.program.genome, both[0])
            raise ScaleError(f"one number stands for two sizes, at {node.span.line}:{node.span.column}: write it twice")
        if asked.experts is not None and not of.sizes.of(EXPERTS):
            raise ScaleError("it has no experts whose number stands in it")
        if asked.vocab is not None and not of.sizes.of(VOCAB):
            raise ScaleError("its vocabulary is not a number that stands in it")
        if asked.parameters is not None and asked.parameters > MAX_PARAMETERS:
            raise ScaleError(f"a genome has at most {MAX_PARAMETERS:,} parameters")
        if asked.width is not None and asked.width > WIDEST:
            raise ScaleError(f"a width is at most {WIDEST:,}")
        if asked.depth is not None and asked.depth > MOST:
            raise ScaleError(f"a genome has at most {MOST:,} layers")
        if asked.depth is not None and asked.depth not in depths:
            if len(depths) == 1:
                raise ScaleError(f"its number of layers stays {of.depth.total}: nothing in it repeats them")
            near = _beside(depths, asked.depth)
            raise ScaleError(
                f"a depth of {asked.depth} breaks the pattern of its layers; the nearest that keep it: {near}"
            )
        if asked.width is not None and not any(of.allows(way, asked.width) for way in of.ways):
            widths = sorted({width for way in of.ways for width in of.widths(way)})
            near = _beside(widths, asked.width)
            raise ScaleError(f"its heads do not fit a width of {asked.width}; the nearest that they fit: {near}")

    def found(self) -> Candidate:
        """The best candidate.

        Raises:
            ScaleError: none is good enough.
        """
        goal = self.asked.parameters
        if goal is None:
            return self.exact(self.asked.width or self.of.sizes.width, self.asked.depth or self.of.depth.total)
        found: list[Candidate] = []
        for way in self.of.ways:
            best = min(self.row(way, goal), key=lambda c: self.cost(c, goal), default=None)
            if best is not None and _far(best, goal) <= NEAR:
                found.append(best)
                if self.stretch(best) <= SLENDER:
                    break
        if not found:
            raise ScaleError(self.excuse(goal))
        least = min(self.cost(candidate, goal) for candidate in found)
        return next(candidate for candidate in found if self.cost(candidate, goal) <= least + SLACK)

    def exact(self, width: int, depth: int) -> Candidate:
        """The candidate of a width and a number of layers, with heads as wide as they can be."""
        ways = [way for way in self.of.ways if self.of.allows(way, width)]
        made = next(filter(None, (self.of.made(way, width, depth) for way in ways)), None)
        if made is None:
            raise ScaleError(self.mistake(ways, width, depth))
        return made

    def row(self, way: Way, parameters: int) -> list[Candidate]:
        """Candidates near to a number of parameters, where heads change in one way."""
        width, depths = self.asked.width, self.of.depth.reachable
        if width is not None:
            if not self.of.allows(way, width):
                return []
            grown = parameters / self.of.original.parameters * (self.of.sizes.width / width) ** 2
            start = self.of.depth.total * grown
            return around(depths, lambda depth: self.of.made(way, width, depth), parameters, start, 1)
        if self.asked.depth is not None:
            return self.at(way, self.asked.depth, parameters)
        found: list[Candidate] = []
        slender = self.slender(way, parameters)
        for beside in range(4):  # the layers at which the proportions are right, and where no width fits those beside
            near = {i + step for i in slender for step in (-beside, beside)}
            found += [c for i, depth in enumerate(depths) if i in near for c in self.at(way, depth, parameters)]
            if any(_far(candidate, parameters) <= NEAR for candidate in found):
                break
        return found

    def at(self, way: Way, depth: int, parameters: int) -> list[Candidate]:
        """Candidates near to a number of parameters with so many layers."""
        grown = parameters / self.of.original.parameters * max(self.of.depth.total, 1) / max(depth, 1)
        start = self.of.sizes.width * grown**0.5
        return around(self.of.widths(way), lambda width: self.of.made(way, width, depth), parameters, start, 2)

    def slender(self, way: Way, parameters: int) -> list[int]:
        """The places among the reachable numbers of layers where a model of so many parameters has about the original
        proportions."""
        depths, widths, total = self.of.depth.reachable, self.of.widths(way), self.of.depth.total
        if len(depths) == 1:
            return [0]

        def similar(depth: int) -> Candidate | None:
            return self.of.made(way, _closest(widths, depth * self.of.sizes.width / total), depth)

        start = total * (parameters / self.of.original.parameters) ** (1 / 3)
        found = around(depths, similar, parameters, start, 3)
        return [depths.index(candidate.depth) for candidate in found] or [0]

    def cost(self, candidate: Candidate, parameters: int) -> float:
        """How far a candidate is from the parameters, and a little for how far from its proportions."""
        beyond = 10 * (_far(candidate, parameters) > NEAR)
        return beyond + _far(candidate, parameters) + 0.2 * self.stretch(candidate)

    def stretch(self, candidate: Candidate) -> float:
        """How far the proportion of width to depth is from the original one, where both are free."""
        if self.asked.width is not None or self.asked.depth is not None or len(self.of.depth.reachable) == 1:
            return 0.0
        return abs(math.log(candidate.width / candidate.depth * self.of.depth.total / self.of.sizes.width))

    # ---- results ------------------------------------------------------------------------------------------------

    def written(self, found: Candidate) -> str:
        """The text of a candidate, checked as a whole, with a remark that says its size.

        Raises:
            ScaleError: it has errors after all, or logits for another number of tokens than was asked for.
        """
        genome = self.of.genome(found.factors, found.depth)
        assert genome is not None
        remark = f"{REMARK}width {found.width}, depth {found.depth}, {found.parameters:,} parameters."
        comments = [line for line in genome.comments if not line.startswith(REMARK)]
        text = format_genome(replace(genome, comments=(*comments, remark)))
        checked = examine(text)
        errors = [diagnostic for diagnostic in checked.diagnostics if diagnostic.severity == "error"]
        if errors:
            raise ScaleError(f"at a width of {found.width} it does not check: {errors[0].message}")
        if self.asked.vocab is not None and checked.program is not None and checked.program.vocab != self.asked.vocab:
            raise ScaleError("its vocabulary is not a number that stands in it")
        return text

    def mistake(self, ways: list[Way], width: int, depth: int) -> str:
        """Why the genome does not check at a width and a number of layers."""
        asked = self.asked
        parts = [("a width of {}", asked.width), ("{} experts", asked.experts), ("{} tokens", asked.vocab)]
        size = " and ".join(words.format(count) for words, count in parts if count is not None) or f"{depth} layers"
        for way in ways:
            genome = self.of.genome(self.of.factors(way, width), depth)
            found = examine(format_genome(genome)).diagnostics if genome is not None else ()
            errors = [diagnostic.message for diagnostic in found if diagnostic.severity == "error"]
            if errors:
                return f"it cannot have {size}: {errors[0]}"
        counts = sorted(size.value for size in self.of.sizes.of(HEADS))
        return f"it cannot have {size}: its {' and '.join(map(str, dict.fromkeys(counts)))} heads cannot follow"

    def excuse(self, parameters: int) -> str:
        """Why there is no genome with so many parameters, and what there is."""
        known = sorted(self.of.seen, key=lambda made: made.parameters)
        below = next((made for made in reversed(known) if made.parameters < parameters), None)
        above = next((made for made in known if made.parameters > parameters), None)
        nearest = [f"{m.parameters:,} (width {m.width}, depth {m.depth})" for m in (below, above) if m is not None]
        words = f"{parameters:,} parameters cannot be reached within a tenth"
        if nearest:
            words += f"; the nearest that keep its proportions are {' and '.join(nearest)}"
        vocab = self.asked.vocab or self.of.program.vocab
        if above is not None and below is None and vocab * above.width > parameters / 2:
            words += f", of which {vocab:,} tokens take {vocab * above.width:,}: ask for fewer with --vocab"
        return words


def _far(candidate: Candidate, parameters: int) -> float:
    return abs(math.log(candidate.parameters / parameters))


def _closest(numbers: Sequence[int], goal: float) -> int:
    """The number nearest to another, among numbers in order."""
    index = bisect_left(numbers, goal)
    return min(numbers[max(0, index - 1) : index + 1], key=lambda number: abs(number - goal))


def _beside(numbers: Sequence[int], number: int) -> str:
    """The numbers next to one, in words."""
    below = max((n for n in numbers if n < number), default=None)
    above = min((n for n in numbers if n > number), default=None)
    return " and ".join(str(n) for n in (below, above) if n is not None)
