"""The population: what every genome has achieved so far, who may be a parent, and who moves up a rung.

All of it follows from the rows of the archive, so that a resumed run has the population it had.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from foundry.search import variety

SEED, TUNE, CONTROL = "seed", "tune", "control"  # operators of genomes that no mutation made
SEARCH_ARM, CONTROL_ARM = "search", "control"  # which share of the budget paid for a genome
EVERYWHERE = -1  # the island of baselines: all of them
MEASURED = 0.2  # of its training must a genome have had before its seconds per flop are believed
OVERTIME = 4.0  # first rungs that a genome costs that is killed for its time


@dataclass
class Individual:
    """A genome and its results.

    arm: which share of the budget paid for it. number: of the proposal that made it, −1 without one.
    scores: validation bits per byte by (rung, seed). behaviour: what it computes, by (rung, seed).
    tried: the (rung, seed) that have ended somehow. seconds: wall-clock seconds per flop, as last measured.
    compute_per_token: flop of training. cost: of its first rung, 1 if it ran to its end.
    shared: its score at the first rung is another genome's that computes the same.
    failed: it has ended badly at some rung; one whose training was abandoned has not.
    """

    genome_hash: str
    operator: str
    parents: tuple[str, ...]
    family: str
    born: int
    arm: str = SEARCH_ARM
    number: int = -1
    island: int = EVERYWHERE
    scores: dict[tuple[int, int], float] = field(default_factory=dict)
    behaviour: dict[tuple[int, int], str] = field(default_factory=dict)
    tried: set[tuple[int, int]] = field(default_factory=set)
    seconds: float | None = None
    compute_per_token: float | None = None
    cache_bytes_per_token: float | None = None
    cost: float = 1.0
    shared: bool = False
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

    @property
    def niche(self) -> variety.Niche:
        """What kind of genome it is: by its cost per token, its cache per token, and its family."""
        return variety.niche(self.compute_per_token, self.cache_bytes_per_token, self.family)


class Population:
    """Individuals by genome hash, in order of birth, on one island or several."""

    def __init__(self, islands: int = 1) -> None:
        self.individuals: dict[str, Individual] = {}
        self.islands = islands

    def __contains__(self, genome_hash: str) -> bool:
        return genome_hash in self.individuals

    def add(
        self,
        genome_hash: str,
        operator: str,
        parents: Iterable[str],
        family: str,
        arm: str = SEARCH_ARM,
        number: int = -1,
    ) -> Individual:
        """The individual of a hash, new or known. Another learning rate belongs where its origin does."""
        if genome_hash not in self.individuals:
            island = variety.island_of(genome_hash, number, self.islands)
            new = Individual(genome_hash, operator, tuple(parents), family, len(self.individuals), arm, number, island)
            origin = self.origin(new)
            if origin is not new:
                new.arm, new.island = origin.arm, origin.island
            elif operator == SEED:
                new.island = EVERYWHERE
            self.individuals[genome_hash] = new
        return self.individuals[genome_hash]

    def observe(self, row: Mapping[str, Any]) -> None:
        """Take in a row of the archive whose genome is known. Test scores are not looked at."""
        individual = self.individuals[row["genome_hash"]]
        key = (row["rung"], row["seed"])
        spent = row.get("compute_spent")
        spent = row["compute_budget"] if spent is None else spent
        individual.tried.add(key)
        if row["rung"] == 0:
            individual.cost = OVERTIME if row["status"] == "timeout" else spent / row["compute_budget"]
        if row["status"] not in ("ok", "abandoned"):
            individual.failed = True
            return
        if spent >= MEASURED * row["compute_budget"]:
            individual.seconds = row["wall_s"] / spent
        if spent > 0 and row.get("tokens") and individual.compute_per_token is None:
            individual.compute_per_token = spent / row["tokens"]
        if row.get("cache_bytes_per_token") is not None:
            individual.cache_bytes_per_token = row["cache_bytes_per_token"]
        if row["status"] == "ok":
            self._score(individual, key, row)

    def _score(self, individual: Individual, key: tuple[int, int], row: Mapping[str, Any]) -> None:
        """Note the score of a row, or that of the row whose result it shares."""
        behaviour, score = row.get("behaviour_hash") or individual.genome_hash, row["val_bpb"]
        original = self.individuals.get((row.get("shared_with") or "").split("-")[0])
        if original is not None:
            individual.shared = individual.shared or key[0] == 0
            behaviour = original.behaviour.get(key, behaviour)
            score = original.scores.get(key) if score is None else score
            individual.compute_per_token = individual.compute_per_token or original.compute_per_token
        individual.behaviour[key] = behaviour
        if score is not None:
            individual.scores[key] = score

    # Who is who ------------------------------------------------------------------------------------

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

    def children(self, arm: str = SEARCH_ARM) -> list[Individual]:
        """What an arm of the search made, in order of birth: no baselines, no controls, nothing that failed."""
        return [
            i
            for i in self.individuals.values()
            if i.arm == arm and not i.failed and i.operator != CONTROL and not self.is_baseline(i)
        ]

    # Who stands where ------------------------------------------------------------------------------

    def best(self, individuals: Iterable[Individual], rung: int | None = None) -> list[Individual]:
        """Those with a score, best first: by their score at `rung`, or those on higher rungs first."""
        if rung is not None:
            scored = [(i.rungs()[rung], i) for i in individuals if rung in i.rungs()]
            return [i for _, i in sorted(scored, key=lambda pair: pair[0])]
        scored_at = [(-i.top, i.rungs()[i.top], i) for i in individuals if i.top >= 0]
        return [i for _, _, i in sorted(scored_at, key=lambda entry: entry[:2])]

    def promotable(self, rung: int, seed: int, places: int | None = None, arm: str = SEARCH_ARM) -> list[Individual]:
        """Children of an arm in the top third of a rung (or in its first `places`), best first, without those
        that compute exactly what a better-placed one computes. Asynchronous halving: Li et al. 2020, 1810.05934.

        The third is of all that ran there, those included whose training was abandoned.
        """
        ran = [i for i in self.children(arm) if (rung, seed) in i.tried]
        ranked = self.best((i for i in ran if (rung, seed) in i.scores), rung)
        places = len(ran) // 3 if places is None else max(places, len(ran) // 3)
        return distinct(ranked, (rung, seed))[:places]

    def alive(self) -> list[Individual]:
        """Those of the search with a score that have not failed, in order of birth; the only ones it learns from."""
        return [
            i
            for i in self.individuals.values()
            if i.top >= 0 and not i.failed and i.operator != CONTROL and i.arm == SEARCH_ARM
        ]

    def levels(self) -> dict[str, float]:
        """Where each individual of the search stands, in bits per byte of the first rung: its score at the highest
        rung that it reached, plus the median of what others lost on the way there."""
        drops: dict[int, list[float]] = defaultdict(list)
        standing = {i.genome_hash: i.rungs() for i in self.alive()}
        for rungs in standing.values():
            if 0 in rungs:
                for rung in rungs.keys() - {0}:
                    drops[rung].append(rungs[0] - rungs[rung])
        drop = {0: 0.0} | {rung: statistics.median(values) for rung, values in drops.items()}
        out = {}
        for genome_hash, rungs in standing.items():
            comparable = [rung for rung in rungs if rung in drop]
            if comparable:
                out[genome_hash] = rungs[max(comparable)] + drop[max(comparable)]
        return out


def population_of(rows: Iterable[Mapping[str, Any]], islands: int = 1) -> Population:
    """The population of an archive's rows, families unknown."""
    population = Population(islands)
    for row in rows:
        arm, number = row.get("arm") or SEARCH_ARM, row.get("proposal", -1)
        population.add(row["genome_hash"], row["operator"], row["parent_hashes"], "", arm, number)
        population.observe(row)
    return population


def distinct(individuals: Iterable[Individual], key: tuple[int, int] | None = None) -> list[Individual]:
    """The first of those that compute the same at a (rung, seed); None: at the first that each has."""
    out, seen = [], set()
    for individual in individuals:
        at = key or min(individual.behaviour, default=(0, 0))
        behaviour = (at, individual.behaviour.get(at, individual.genome_hash))
        if behaviour not in seen:
            out.append(individual)
        seen.add(behaviour)
    return out


def better(a: Individual, b: Individual) -> bool:
    """Whether a stands above b: by the highest rung that both have reached, else by the rung reached."""
    scores_a, scores_b = a.rungs(), b.rungs()
    common = scores_a.keys() & scores_b.keys()
    if not common:
        return a.top > b.top
    rung = max(common)
    return scores_a[rung] < scores_b[rung]
