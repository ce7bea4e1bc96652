"""How a search should climb: its bandit, its steps and its tournaments on a landscape whose truth is known.

    python bench/dynamics.py                     short and long searches, 100 seeds
    python bench/dynamics.py --seeds 20 --children 50

A genome is a set of findings, each worth something once, and the sum of many small changes. Each of 33 operators has
its own chance of a finding; one change in twelve does great harm; the first rung misleads a little about every
change, beside the noise of an evaluation. Worths and noise are about those of ten-minute runs. Prints what the best
genome is truly worth in bits per byte, mean and standard error over seeds, for each way to search. It says nothing
about real genomes; it says which settings are far from good.
"""

from __future__ import annotations

import argparse
import itertools
import math
import random
import statistics
from dataclasses import dataclass

from foundry.search import bandit, parents, proposals
from foundry.search.bandit import Trial
from foundry.search.operators import OPERATORS

WORTHS = (0.15, 0.12, 0.10, 0.08, 0.06, 0.05, 0.05, 0.04, 0.04, 0.03)
FINDING = 0.2  # of the changes of a middling operator
HARM = 1 / 12
SMALL, MISLEADING, NOISE = 0.03, 0.03, 0.03  # bits per byte, standard deviations
FINAL = 4  # of the best by score are told apart in the end


@dataclass(frozen=True)
class Creature:
    """Findings by number; everything else that changed; what the first rung mistakes for worth; and its score."""

    found: frozenset[int]
    rest: float
    mistaken: float
    score: float

    @property
    def truth(self) -> float:
        return self.rest - sum(WORTHS[number] for number in self.found)


def changed(one: Creature, chance: float, rng: random.Random) -> Creature:
    """One change, by an operator with this chance of a finding. The score is not known yet."""
    found, rest = one.found, one.rest
    if rng.random() < HARM:
        rest += rng.uniform(0.2, 0.8)
    elif rng.random() < chance:
        found |= {rng.randrange(len(WORTHS))}
    else:
        rest += rng.gauss(0.5 * SMALL, SMALL)
    return Creature(found, rest, one.mistaken + rng.gauss(0, MISLEADING), 0.0)


def measured(one: Creature, rng: random.Random) -> Creature:
    return Creature(one.found, one.rest, one.mistaken, one.truth + one.mistaken + rng.gauss(0, NOISE))


def search(children: int, learn: bool, hasty: bool, tournament: int, seed: int) -> float:
    """What the best of so many children is truly worth, in bits per byte below the best baseline."""
    rng = random.Random(seed)
    prior = {name: operator.weight for name, operator in OPERATORS.items()}
    chance = {name: min(0.9, FINDING * math.exp(rng.gauss(-0.5, 1.0))) for name in prior}
    population = [measured(Creature(frozenset(), rest, 0.0, 0.0), rng) for rest in (0.0, 0.6, 0.7, 0.8)]
    trials: list[Trial] = []
    for number in range(children):
        weights = bandit.shares(prior, bandit.records(trials), rng) if learn else prior
        recent = population[-parents.RECENT :]
        parent = min(rng.sample(recent, min(tournament, len(recent))), key=lambda one: one.score)
        haste = parents.SETTLED / (parents.SETTLED + number)
        names = [bandit.choose(weights, rng)]
        while hasty and len(names) < proposals.STEPS and rng.random() < proposals.ANOTHER * haste:
            names.append(bandit.choose(weights, rng))
        child = parent
        for name in names:
            child = changed(child, chance[name], rng)
        child = measured(child, rng)
        population.append(child)
        trials.append(Trial(bandit.AND.join(dict.fromkeys(names)), child.score < parent.score - NOISE))
    best = sorted(population, key=lambda one: one.score)[: max(FINAL, children // 9)]
    return -min(best, key=lambda one: one.truth + rng.gauss(0, NOISE / 3)).truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--children", nargs="+", type=int, default=[50, 300])
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    print("children  shares  steps   tournament  bits per byte gained")
    for children, learn, hasty, size in itertools.product(options.children, (False, True), (False, True), (4, 12, 24)):
        gains = [search(children, learn, hasty, size, seed) for seed in range(options.seeds)]
        error = statistics.stdev(gains) / math.sqrt(len(gains))
        said = "learnt" if learn else "prior ", "several" if hasty else "one    "
        print(f"{children:8}  {said[0]}  {said[1]} {size:10}  {statistics.mean(gains):.3f} ± {error:.3f}", flush=True)


if __name__ == "__main__":
    main()
