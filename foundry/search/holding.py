"""Whether a gain holds: one genome against another at growing sizes and on several texts.

Both genomes grow together, by doublings of their parameters (`foundry.compiler.scale`), and train on a constant number
of tokens per parameter of the first genome's rival, at equal compute. At every size both get the better of their own
learning rate, half of it and twice it, on validation text of the first corpus, and one more where the best was the
last on its side. Then both train on fresh seeds, which they share, and are scored on test text.

A gain is in bits per byte that the genome saves: positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import mean, variance

from foundry.compiler.scale.search import Asked, scale
from foundry.evals.statistics import Difference, sidak, student_interval
from foundry.search.candidates import read
from foundry.search.study import Scores, Study, Wanted
from foundry.search.tune import scale_learning_rate

NO_GAIN, FADES, HOLDS, GROWS = "no gain", "fades", "holds", "grows"  # the worst first
GENOME, RIVAL = 0, 1
SIDES = (GENOME, RIVAL)
RATES = (0.5, 1.0, 2.0)  # factors on the learning rate that a genome has
FURTHER = {0.5: 0.25, 2.0: 4.0}  # tried where one of these was best
SWEEP_SEED = 77_000
SEED = 77_001  # and those that follow: of the comparison


@dataclass(frozen=True)
class Size:
    """Two genomes at one size: their texts and parameters, the compute of an evaluation in flop, and the factor on
    each one's learning rate."""

    texts: tuple[str, str]
    parameters: tuple[int, int]
    compute: float
    rates: tuple[float, float] = (1.0, 1.0)

    def tuned(self, side: int) -> str:
        """The text of one side with its learning rate."""
        rate = self.rates[side]
        return self.texts[side] if rate == 1 else scale_learning_rate(self.texts[side], rate)


@dataclass(frozen=True)
class OnText:
    """What one text says: the gain at each size, None where no pair has scores; the change of the gain for each
    doubling of the parameters; and what that means. The intervals of the gains hold all at once."""

    data: str
    gains: tuple[Difference | None, ...]
    scores: tuple[tuple[float | None, float | None], ...]  # mean bits per byte on test text, of both
    trend: Difference | None
    verdict: str


@dataclass(frozen=True)
class Holding:
    """The comparison at all sizes on all texts; the verdict is the worst of theirs."""

    sizes: tuple[Size, ...]
    texts: tuple[OnText, ...]
    verdict: str


def grown(text: str, against: str, count: int, compute: float) -> tuple[Size, ...]:
    """Two genomes at their own size and at each doubling of it. `compute` is for the first size, in flop.

    The others get as much more as the rival's parameters times what it computes per token have grown: about four times
    for each doubling.

    Raises:
        GenomeError: one of them has errors.
        ScaleError: one of them cannot be so large.
    """
    small = [read(text), read(against)]
    sizes = []
    for doublings in range(count):
        if doublings:
            texts = [scale(c.text, Asked(parameters=c.parameters << doublings)).text for c in small]
        else:
            texts = [text, against]
        here = [read(t) for t in texts]
        cost, first = (c.parameters * c.compute_per_token for c in (here[RIVAL], small[RIVAL]))
        parameters = here[GENOME].parameters, here[RIVAL].parameters
        sizes.append(Size((texts[0], texts[1]), parameters, float(f"{compute * cost / first:.3g}")))
    return tuple(sizes)


def evaluations(sizes: Sequence[Size], seeds: int, texts: int) -> tuple[int, float]:
    """About how many evaluations the comparison takes, and how many flop: half of the sweeps go one further."""
    each = len(SIDES) * (len(RATES) + seeds * texts) + 1
    return each * len(sizes), each * sum(size.compute for size in sizes)


def hold(sizes: Sequence[Size], seeds: int, data: Sequence[str]) -> Study[Holding]:
    """A study that compares two genomes at some sizes, on `seeds` seeds and the texts with these hashes."""
    rated = yield from _rated(sizes, data[0])
    fresh = range(SEED, SEED + seeds)
    wanted = [
        Wanted(size.tuned(side), size.compute, seed, "test", name)
        for name in data
        for size in rated
        for side in SIDES
        for seed in fresh
    ]
    found = iter((yield wanted) or [None] * len(wanted))
    texts = []
    for name in data:
        scores = [[[next(found) for _ in fresh] for _ in SIDES] for _ in rated]
        texts.append(_on_text(name, rated, scores))
    worst = min((text.verdict for text in texts), key=(NO_GAIN, FADES, HOLDS, GROWS).index)
    return Holding(tuple(rated), tuple(texts), worst)


# ---- learning rates --------------------------------------------------------------------------------------------------


def _rated(sizes: Sequence[Size], data: str) -> Generator[Sequence[Wanted], Scores | None, list[Size]]:
    """The sizes with the best learning rate of each side."""
    tried: dict[tuple[int, int], dict[float, float]] = {(n, side): {} for n in range(len(sizes)) for side in SIDES}
    waiting = [(n, side, rate) for n, side in tried for rate in RATES]
    while waiting:
        wanted = [
            Wanted(replace(sizes[n], rates=(rate, rate)).tuned(side), sizes[n].compute, SWEEP_SEED, data=data)
            for n, side, rate in waiting
        ]
        for (n, side, rate), score in zip(waiting, (yield wanted) or (), strict=False):
            tried[n, side][rate] = math.inf if score is None else score
        best = {place: _best(rates) for place, rates in tried.items()}
        waiting = [
            (n, side, FURTHER[rate])
            for (n, side), rate in best.items()
            if rate in FURTHER and FURTHER[rate] not in tried[n, side]
        ]
    return [replace(size, rates=(best[n, GENOME], best[n, RIVAL])) for n, size in enumerate(sizes)]


def _best(rates: Mapping[float, float]) -> float:
    """The rate with the lowest score; a genome's own where none has one."""
    return min(rates, key=lambda rate: (rates[rate], abs(math.log(rate))), default=1.0)


# ---- what it means ---------------------------------------------------------------------------------------------------


def _on_text(name: str, sizes: Sequence[Size], scores: list[list[list[float | None]]]) -> OnText:
    """scores: of each size, side and seed."""
    saved = [
        [rival - own for own, rival in zip(*sides, strict=True) if own is not None and rival is not None]
        for sides in scores
    ]
    doublings = [math.log2(size.parameters[RIVAL] / sizes[0].parameters[RIVAL]) for size in sizes]
    places = [place for place, own in zip(doublings, saved, strict=True) for _ in own]
    gains, slope = at_once(saved), trend(places, [one for own in saved for one in own])
    means = tuple((_mean(own), _mean(rival)) for own, rival in scores)
    return OnText(name, gains, means, slope, verdict(gains, slope))


def at_once(saved: Sequence[Sequence[float]]) -> tuple[Difference | None, ...]:
    """The mean of each group of paired differences, with intervals that all hold at once with 95 % confidence.

    The noise is pooled over the groups, since a few seeds say little about it. None for an empty group.
    """
    known = [own for own in saved if len(own) > 1]
    freedom = sum(len(own) - 1 for own in known)
    if not freedom:
        return (None,) * len(saved)
    deviation = math.sqrt(sum(variance(own) * (len(own) - 1) for own in known) / freedom)
    confidence = sidak(len(saved))
    return tuple(
        student_interval(mean(own), deviation / math.sqrt(len(own)), freedom, len(own), confidence) if own else None
        for own in saved
    )


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return mean(known) if known else None


def trend(x: Sequence[float], y: Sequence[float]) -> Difference | None:
    """The slope of y over x by least squares, with Student's 95 % interval; None where two places lack values."""
    freedom = len(x) - 2
    if freedom < 1 or len(set(x)) < 2:
        return None
    middle, height = mean(x), mean(y)
    spread = sum((a - middle) ** 2 for a in x)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread
    squares = sum((b - height - slope * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return student_interval(slope, math.sqrt(squares / freedom / spread), freedom, len(x))


def verdict(gains: Sequence[Difference | None], slope: Difference | None) -> str:
    """What gains at growing sizes mean: `no gain` where none is shown at any size; `fades` where none is shown at the
    largest, or the gain falls beyond doubt; `grows` where it rises beyond doubt; else `holds`."""
    shown = [gain is not None and gain.low > 0 for gain in gains]
    if not any(shown):
        return NO_GAIN
    if not shown[-1] or (slope is not None and slope.high < 0):
        return FADES
    return GROWS if slope is not None and slope.low > 0 else HOLDS
