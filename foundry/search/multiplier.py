"""The training-compute multiplier: with how much less compute a winner is as good as another genome.

The rival trains with some compute. The winner trains with that and with fractions of it, each with a complete schedule
of its own and on the same seeds, until it is worse beyond doubt. Between two computes its bits per byte are taken to
be linear in the logarithm. The multiplier is the rival's compute over the one at which the two meet.

Its interval holds every compute at which the paired scores do not tell the two apart: Student's test on the seeds'
differences, turned round (after Fieller, JRSS B 16, 1954). So it is open where the fractions do not reach far enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from statistics import mean, stdev
from typing import NamedTuple

from foundry.evals.statistics import t_quantile
from foundry.search.study import Study, Wanted

FRACTIONS = (1.0, 2.0, 3.0, 4.5)  # the rival's compute over the winner's, tried at once
STEP = 1.5  # from one to the next beyond them
MOST, LEAST = 60.0, 0.2  # the multipliers that are tried at most
POINTS = 24  # between two computes, at which the two are compared


@dataclass(frozen=True)
class Multiplier:
    """How many times less compute the winner needs for a rival's bits per byte, with the 95 % interval.

    None: beyond what was tried. tried: the multipliers between which the winner was measured, the least first.
    """

    value: float | None
    low: float | None
    high: float | None
    tried: tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """Bits per byte by compute and seed; a compute of which a score is missing is left out."""

    seeds: tuple[int, ...]
    scores: dict[float, tuple[float, ...]] = field(default_factory=dict)

    def at(self, compute: float) -> tuple[float, ...]:
        """The scores at a compute between two that were measured, linear in its logarithm."""
        known = sorted(self.scores)
        above = next(c for c in known if c >= compute)
        below = next(c for c in reversed(known) if c <= compute)
        share = math.log(compute / below) / math.log(above / below) if above > below else 0.0
        return tuple(a + share * (b - a) for a, b in zip(self.scores[below], self.scores[above], strict=True))


@dataclass(frozen=True)
class Multipliers:
    """What a study found: the winner's curve, each rival's bits per byte at `compute` by seed, and its multiplier; None
    where scores are missing."""

    compute: float
    curve: Curve
    levels: Mapping[str, tuple[float, ...] | None]
    against: Mapping[str, Multiplier | None]


def multipliers(
    winner: str, rivals: Mapping[str, str], compute: float, seeds: Sequence[int], split: str = "test", data: str = ""
) -> Study[Multipliers]:
    """A study of the winner's multiplier against each rival, by name.

    Raises:
        ValueError: fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError("an interval needs at least two seeds")
    curve = Curve(tuple(seeds))
    asked = [(text, compute) for text in rivals.values()]
    computes = [compute / fraction for fraction in FRACTIONS]
    asked += [(winner, one) for one in computes]
    found = yield [Wanted(text, one, seed, split, data) for text, one in asked for seed in seeds]
    scores = [tuple((found or ())[i * len(seeds) : (i + 1) * len(seeds)]) for i in range(len(asked))]
    levels = {name: _whole(own) for name, own in zip(rivals, scores, strict=False)}
    curve.scores.update(_known(computes, scores[len(rivals) :]))
    goals = [level for level in levels.values() if level is not None]
    while curve.scores and goals and (one := _next(curve, goals, compute)):
        found = yield [Wanted(winner, one, seed, split, data) for seed in seeds]
        new = _known([one], [tuple(found or ())])
        if not new:
            break
        curve.scores.update(new)
    against = {name: multiplier(curve, level, compute) if level else None for name, level in levels.items()}
    return Multipliers(compute, curve, levels, against)


def multiplier(curve: Curve, level: Sequence[float], compute: float) -> Multiplier | None:
    """The multiplier at which a winner's curve meets a rival's scores at `compute`, seed by seed.

    None where the curve has no points.
    """
    if not curve.scores:
        return None
    places = sorted(_places(curve), reverse=True)
    leads = [(place, _lead(curve, level, place)) for place in places]
    tried = compute / places[0], compute / places[-1]
    value = _meeting(leads)
    sure = None  # the least compute down to which the winner is better beyond doubt
    for place, lead in leads:
        if lead.high >= 0:
            break
        sure = place
    lost = next((place for place, lead in leads if lead.low > 0), None)
    return Multiplier(
        value=None if value is None else compute / value,
        low=None if sure is None else compute / sure,
        high=None if lost is None else compute / lost,
        tried=tried,
    )


class Lead(NamedTuple):
    """A mean difference and its 95 % interval by Student's t."""

    mean: float
    low: float
    high: float


def _meeting(leads: Sequence[tuple[float, Lead]]) -> float | None:
    """The largest compute below which the winner's mean is worse, None where that is not within what was tried."""
    for (above, better), (below, worse) in pairwise(leads):
        if better.mean <= 0 < worse.mean:
            share = better.mean / (better.mean - worse.mean)
            return above * (below / above) ** share
    return None


def _places(curve: Curve) -> set[float]:
    """Computes between those of a curve, in equal ratios, and its own."""
    known = sorted(curve.scores)
    between = {a * (b / a) ** (step / POINTS) for a, b in pairwise(known) for step in range(1, POINTS)}
    return between | set(known)


def _lead(curve: Curve, level: Sequence[float], compute: float) -> Lead:
    """The winner's bits per byte at a compute minus the rival's, over the seeds; negative where it is better."""
    differences = [own - rival for own, rival in zip(curve.at(compute), level, strict=True)]
    error = stdev(differences) / math.sqrt(len(differences))
    middle, reach = mean(differences), _quantile(len(differences) - 1) * error
    return Lead(middle, middle - reach, middle + reach)


@cache
def _quantile(freedom: int) -> float:
    return t_quantile(0.95, freedom)


def _next(curve: Curve, goals: Sequence[Sequence[float]], compute: float) -> float | None:
    """The next compute to try: less while some rival is not lost against beyond doubt, more while one is not beaten."""
    least, most = min(curve.scores), max(curve.scores)
    if compute / least * STEP <= MOST and any(_lead(curve, goal, least).low <= 0 for goal in goals):
        return least / STEP
    if compute / most / STEP >= LEAST and any(_lead(curve, goal, most).high >= 0 for goal in goals):
        return most * STEP
    return None


def _whole(scores: Sequence[float | None]) -> tuple[float, ...] | None:
    """The scores, where there are some and none is missing."""
    known = tuple(score for score in scores if score is not None)
    return known if known and len(known) == len(scores) else None


def _known(computes: Iterable[float], scores: Sequence[Sequence[float | None]]) -> dict[float, tuple[float, ...]]:
    """The scores by compute, of those computes of which none is missing."""
    whole = zip(computes, map(_whole, scores), strict=False)
    return {compute: own for compute, own in whole if own is not None}
