"""A bandit over ways of making children: each one's share follows from what its children achieved.

Thompson sampling on the chance that a child beats its parents by more than the noise at the first rung
(Thompson 1933, Biometrika 25; Chapelle & Li 2011), per unit of compute. Old children count less, since
what works early in a search need not work late. A way without a record is as good as the average one.
"""

from __future__ import annotations

import random
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from foundry.evals.statistics import noise
from foundry.search.population import CONTROL, SEARCH_ARM, SEED, TUNE, Individual, Population

FLOOR = 0.2  # of the children are shared out by prior shares, whatever happens
FEW, MANY = 3, 8  # entrants of the tournament that gives shares: among uneven shares, and among many small ones
HALF_LIFE = 200  # children, of any operator, after which a result counts half
RIVALS = 60  # genomes that one made from nothing is compared with
AND = " + "  # joins the names of operators
STRENGTH = 4.0  # children that the average chance counts as, where a way has a record of its own


@dataclass(frozen=True)
class Trial:
    """What came of a child at the first rung.

    operator: what made it, several joined by `+`. won: it beat every parent by more than the noise. failed: it gave
        no score though it was not stopped early. lead: bits per byte ahead of its best parent, negative behind; None
        where that is unknown. cost: in evaluations of the first rung. genome_hash: the child's.
    """

    operator: str
    won: bool
    failed: bool = False
    lead: float | None = None
    cost: float = 1.0
    genome_hash: str = ""


def operators_of(name: str) -> tuple[str, ...]:
    """The operators that made a child, from what the archive calls them."""
    return tuple(name.split(AND))


def trials(population: Population) -> list[Trial]:
    """What came of each child of the search, in order of birth.

    One made from nothing competes with the middle of those that came before it. One that shares another's result
    wins nothing.
    """
    margin, level, out = first_rung_noise(population), population.levels(), []
    before: deque[float] = deque(maxlen=RIVALS)
    for child in population.individuals.values():
        if child.arm != SEARCH_ARM or child.operator in (TUNE, CONTROL):
            continue
        score = child.rungs().get(0)
        if child.operator != SEED and any(rung == 0 for rung, _ in child.tried):
            rivals = _rivals(population, child, level, before)
            lead = min(rivals) - score if score is not None and rivals else None
            won = lead is not None and lead > margin and not child.shared
            failed = child.failed and score is None
            out.append(Trial(child.operator, won, failed, lead, child.cost, child.genome_hash))
        if score is not None:
            before.append(score)
    return out


def _rivals(
    population: Population, child: Individual, level: Mapping[str, float], before: Iterable[float]
) -> list[float]:
    """The scores at the first rung that a child has to beat; those of parents that never ran there as they stand."""
    if not child.parents:
        earlier = list(before)
        return [statistics.median(earlier)] if earlier else []
    found = [population.individuals[p] for p in child.parents if p in population]
    scores = [parent.rungs().get(0, level.get(parent.genome_hash)) for parent in found]
    return [score for score in scores if score is not None]


def first_rung_noise(population: Population) -> float:
    """The standard deviation of one evaluation at the first rung, 0 where nothing was repeated."""
    groups = [[s for (rung, _), s in i.scores.items() if rung == 0] for i in population.individuals.values()]
    repeated = [scores for scores in groups if len(scores) > 1]
    return noise(*repeated) if repeated else 0.0


@dataclass(frozen=True)
class Record:
    """Wins, tries and cost of a way of making children, each counted by its age."""

    wins: float = 0.0
    tries: float = 0.0
    cost: float = 0.0


def records(trials: Sequence[Trial], way: Callable[[str], str] = str) -> dict[str, Record]:
    """The record of every way, from trials in the order of birth. `way` says with what an operator is counted.

    A child that several operators made counts for each.
    """
    sums: dict[str, list[float]] = {}
    for age, trial in enumerate(reversed(trials)):
        weight = 0.5 ** (age / HALF_LIFE)
        for name in dict.fromkeys(map(way, operators_of(trial.operator))):
            entry = sums.setdefault(name, [0.0, 0.0, 0.0])
            entry[0] += weight * trial.won
            entry[1] += weight
            entry[2] += weight * trial.cost
    return {name: Record(*entry) for name, entry in sums.items()}


def shares(
    prior: Mapping[str, float], known: Mapping[str, Record], rng: random.Random, entrants: int = MANY
) -> dict[str, float]:
    """One draw of the bandit: the share of each way, adding up to 1, in the order of `prior`.

    Every way draws a chance of success from its posterior, divided by its cost. The share is then that of
    winning a tournament: entrants drawn by prior share, the best chance wins. A way that works takes over up to
    1 − (1 − prior) ** entrants. With equal records shares are about the prior's where those are small, or
    entrants few.
    """
    total = sum(prior.values())
    if not total:
        return dict.fromkeys(prior, 0.0)
    worth = _worth(prior, known, rng)
    out = {name: FLOOR * prior[name] / total for name in prior}
    below = 0.0
    for name in sorted(prior, key=lambda name: worth[name]):
        reached = below + prior[name] / total
        out[name] += (1 - FLOOR) * (min(reached, 1.0) ** entrants - below**entrants)
        below = min(reached, 1.0)
    return out


def _worth(names: Iterable[str], known: Mapping[str, Record], rng: random.Random) -> dict[str, float]:
    """For each way a draw of its chance of success, divided by its mean cost; both lean on those of all ways."""
    names = list(names)
    mine = [known.get(name, Record()) for name in names]
    tries = sum(record.tries for record in mine)
    chance = (sum(record.wins for record in mine) + 1) / (tries + 6)
    usual = (sum(record.cost for record in mine) + 1) / (tries + 1)
    out = {}
    for name, record in zip(names, mine, strict=True):
        losses = max(record.tries - record.wins, 0.0)
        drawn = rng.betavariate(STRENGTH * chance + record.wins, STRENGTH * (1 - chance) + losses)
        cost = (record.cost + STRENGTH * usual) / (record.tries + STRENGTH)
        out[name] = drawn / max(cost, 0.1)
    return out


def choose(weights: Mapping[str, float], rng: random.Random) -> str:
    """A name in proportion to its weight."""
    (name,) = rng.choices(list(weights), list(weights.values()))
    return name
