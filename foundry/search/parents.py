"""Parents: who may have children, and who of them has the next one."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from foundry.search import variety
from foundry.search.population import EVERYWHERE, Individual, Population, distinct

RECENT = 60  # genomes young enough to be parents, beside the best of each niche
TOURNAMENT = 12
NICHED, PARETO = 0.15, 0.15  # of the tournaments, in the end, are held within one niche, and by Pareto rank
SETTLED = 150  # children after which a search is half settled: before, it takes large steps, and mostly climbs

Rates = Callable[[str], float]  # the learning rate of a genome hash


@dataclass(frozen=True)
class Parents:
    """Those who may have children now, in order of birth. level: where each stands, as `Population.levels` has it."""

    population: Population
    individuals: tuple[Individual, ...]
    level: Mapping[str, float]
    rates: Rates | None = None

    def choose(self, rng: random.Random) -> Individual:
        """The winner of a tournament among a random few: by score; within a niche drawn at random; or by Pareto rank
        over score, compute and cache per token, and sensitivity to the learning rate. Variety waits until a search
        has settled.

        Raises:
            LookupError: there is nobody.
        """
        if not self.individuals:
            raise LookupError("no genome has a score yet")
        settled = 1 - haste(self.population)
        niched, pareto = settled * NICHED, settled * PARETO
        entrants, kind = list(self.individuals), rng.random()
        if kind < niched:
            niche = rng.choice(sorted({i.niche for i in entrants}, key=repr))
            entrants = [i for i in entrants if i.niche == niche]
        few = rng.sample(entrants, min(TOURNAMENT, len(entrants)))
        standing = self.places if niched <= kind < niched + pareto else self.level
        return min(few, key=lambda i: standing[i.genome_hash])

    @cached_property
    def places(self) -> Mapping[str, float]:
        """The place of each by Pareto rank, 0 the best."""
        objectives = [
            (
                self.level[i.genome_hash],
                i.compute_per_token,
                i.cache_bytes_per_token,
                sensitivity(self.population, i, self.rates) if self.rates else None,
            )
            for i in self.individuals
        ]
        places = variety.pareto_order(objectives)
        return {i.genome_hash: place for i, place in zip(self.individuals, places, strict=True)}


def parents(population: Population, island: int = 0, rates: Rates | None = None) -> Parents:
    """Who may have children on an island: the recent, and the best of each niche, all of them with a score.

    Of those that compute the same, the first. The old retire: Real et al. 2019, 1802.01548.
    """
    level = population.levels()
    here = (i for i in population.alive() if i.island in (EVERYWHERE, island) and i.genome_hash in level)
    alive = distinct(here)
    niches: dict[variety.Niche, list[Individual]] = defaultdict(list)
    for individual in alive:
        niches[individual.niche].append(individual)
    kept = {min(members, key=lambda i: level[i.genome_hash]).genome_hash for members in niches.values()}
    kept |= {i.genome_hash for i in alive[-RECENT:]}
    return Parents(population, tuple(i for i in alive if i.genome_hash in kept), level, rates)


def haste(population: Population) -> float:
    """From 1 at the beginning of a search towards 0: how much it has still to hurry."""
    return SETTLED / (SETTLED + len(population.children()))


def sensitivity(population: Population, individual: Individual, rates: Rates) -> float | None:
    """How much a genome minds its learning rate, in bits per byte per factor of e: measured where most of its rates
    have a score, the longest rung of those; None without two."""
    variants = population.variants(population.origin(individual))
    scored = {key: [i for i in variants if key in i.scores] for i in variants for key in i.scores}
    key = max(scored, key=lambda key: (len(scored[key]), key), default=None)
    if key is None or len(scored[key]) < 2:
        return None
    return variety.sensitivity({rates(i.genome_hash): i.scores[key] for i in scored[key]})
