"""The population: what every genome has achieved so far, who may be a parent, and who moves up a rung.

All of it follows from the rows of the archive, so that a resumed run has the population it had.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SEED, TUNE, CONTROL = "seed", "tune", "control"  # operators of genomes that no mutation made
RECENT = 60  # genomes young enough to be parents, beside the best of each family
TOURNAMENT = 4
NICHED = 0.3  # of the tournaments are held within one family


@dataclass
class Individual:
    """A genome and its results. `scores`: validation bits per byte by (rung, seed); `seconds`: wall-clock
    seconds per flop-equivalent, as last measured; `failed`: it has ended other than ok at some rung."""

    genome_hash: str
    operator: str
    parents: tuple[str, ...]
    family: str
    born: int
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    behaviour: dict[tuple[int, int], str] = field(default_factory=dict)
    tried: set[tuple[int, int]] = field(default_factory=set)
    seconds: float | None = None
    failed: bool = False

    def rungs(self) -> dict[int, float]:
        """The mean score at each rung."""
        by_rung = defaultdict(list)
        for (rung, _), score in self.scores.items():
            by_rung[rung].append(score)
        return {rung: sum(values) / len(values) for rung, values in by_rung.items()}

    @property
    def top(self) -> int:
        """The highest rung with a score; -1 without any."""
        return max((rung for rung, _ in self.scores), default=-1)


class Population:
    """Individuals by genome hash, in order of birth."""

    def __init__(self) -> None:
        self.individuals: dict[str, Individual] = {}

    def __contains__(self, genome_hash: str) -> bool:
        return genome_hash in self.individuals

    def add(self, genome_hash: str, operator: str, parents: Iterable[str], family: str) -> Individual:
        """The individual of a hash, new or known."""
        if genome_hash not in self.individuals:
            born = len(self.individuals)
            self.individuals[genome_hash] = Individual(genome_hash, operator, tuple(parents), family, born)
        return self.individuals[genome_hash]

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take in a row of the archive whose genome is known. Test scores are not looked at."""
        individual = self.individuals[row["genome_hash"]]
        key = (row["rung"], row["seed"])
        individual.tried.add(key)
        if row["status"] != "ok":
            individual.failed = True
            return
        individual.seconds = row["wall_s"] / row["compute_budget"]
        individual.behaviour[key] = row["behaviour_hash"]
        if row["val_bpb"] is not None:
            individual.scores[key] = row["val_bpb"]

    def baselines(self) -> list[Individual]:
        """The genomes that the search started from."""
        return [i for i in self.individuals.values() if i.operator == SEED]

    def variants(self, individual: Individual) -> list[Individual]:
        """An individual and its learning-rate variants."""
        mine = [i for i in self.individuals.values() if i.operator == TUNE and i.parents == (individual.genome_hash,)]
        return [individual, *mine]

    def origin(self, individual: Individual) -> Individual:
        """The genome whose learning-rate variant this is, or itself; itself where a damaged part took that genome."""
        if individual.operator != TUNE or not individual.parents:
            return individual
        return self.individuals.get(individual.parents[0], individual)

    def is_baseline(self, individual: Individual) -> bool:
        """Whether this is a baseline, tuned or not."""
        return self.origin(individual).operator == SEED

    def children(self) -> list[Individual]:
        """What the search made, in order of birth: no baselines, no controls, nothing that failed."""
        return [
            i for i in self.individuals.values() if not i.failed and i.operator != CONTROL and not self.is_baseline(i)
        ]

    def best(self, individuals: Iterable[Individual], rung: int | None = None) -> list[Individual]:
        """Those with a score, best first: by their score at `rung`, or those on higher rungs first."""
        if rung is not None:
            scored = [(i.rungs()[rung], i) for i in individuals if rung in i.rungs()]
            return [i for _, i in sorted(scored, key=lambda pair: pair[0])]
        scored_at = [(-i.top, i.rungs()[i.top], i) for i in individuals if i.top >= 0]
        return [i for _, _, i in sorted(scored_at, key=lambda entry: entry[:2])]

    def promotable(self, rung: int, seed: int, places: int | None = None) -> list[Individual]:
        """Children in the top third of a rung (or in its first `places`), best first, without those that
        compute exactly what a better-placed one computes. Asynchronous halving: Li et al. 2020, 1810.05934."""
        ranked = self.best((i for i in self.children() if (rung, seed) in i.scores), rung)
        places = len(ranked) // 3 if places is None else max(places, len(ranked) // 3)
        out, seen = [], set()
        for individual in ranked:
            behaviour = individual.behaviour[rung, seed]
            if behaviour not in seen:
                out.append(individual)
            seen.add(behaviour)
        return out[:places]

    def parents(self) -> list[Individual]:
        """Who may have children: the recent, and the best of each family, all of them with a score."""
        alive = [i for i in self.individuals.values() if i.top >= 0 and not i.failed and i.operator != CONTROL]
        families = defaultdict(list)
        for individual in alive:
            families[individual.family].append(individual)
        kept = {i.genome_hash: i for members in families.values() for i in self.best(members)[:2]}
        kept.update((i.genome_hash, i) for i in alive[-RECENT:])
        return sorted(kept.values(), key=lambda i: i.born)

    def choose_parent(self, rng: random.Random) -> Individual:
        """A tournament, in some cases within a family drawn at random: quality, and variety.

        The best of a random few rather than the best of all, and the old retire: Real et al. 2019, 1802.01548.
        """
        parents = self.parents()
        if rng.random() < NICHED:
            family = rng.choice(sorted({i.family for i in parents}))
            parents = [i for i in parents if i.family == family]
        champion, *others = rng.sample(parents, min(TOURNAMENT, len(parents)))
        for other in others:
            if better(other, champion):
                champion = other
        return champion

    def record(self) -> dict[str, tuple[int, int]]:
        """For each operator: its children with a result at the first rung, and how many of those beat every
        parent of theirs there."""
        record: dict[str, tuple[int, int]] = {}
        for child in self.individuals.values():
            if child.operator in (SEED, TUNE, CONTROL) or not any(rung == 0 for rung, _ in child.tried):
                continue
            score = child.rungs().get(0)
            scores = [p.rungs().get(0) for p in map(self.individuals.get, child.parents) if p is not None]
            rivals = [s for s in scores if s is not None]
            if not child.parents:  # made from nothing: it competes with the baselines
                rivals = [s for s in (b.rungs().get(0) for b in self.baselines()) if s is not None]
            won = score is not None and all(score < rival for rival in rivals)
            tries, wins = record.get(child.operator, (0, 0))
            record[child.operator] = (tries + 1, wins + won)
        return record


def better(a: Individual, b: Individual) -> bool:
    """Whether a stands above b: by the highest rung that both have reached, else by the rung reached."""
    scores_a, scores_b = a.rungs(), b.rungs()
    common = scores_a.keys() & scores_b.keys()
    if not common:
        return a.top > b.top
    rung = max(common)
    return scores_a[rung] < scores_b[rung]


FLOOR = 0.25  # of an operator's prior share is its own whatever happens


def shares(prior: Mapping[str, float], record: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    """The share of each operator, adding up to 1: its prior share times its rate of success, with a floor.

    The rate is (wins + 1) / (tries + 3): an operator without a record counts as one success in three.
    """
    rate = {name: (record.get(name, (0, 0))[1] + 1) / (record.get(name, (0, 0))[0] + 3) for name in prior}
    earned = {name: prior[name] * rate[name] for name in prior}
    total, total_prior = sum(earned.values()), sum(prior.values())
    return {
        name: FLOOR * prior[name] / total_prior + (1 - FLOOR) * earned[name] / total if total else 0.0 for name in prior
    }
