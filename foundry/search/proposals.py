"""Proposals: the next child to evaluate, made from the population as it stands.

A kind of proposal is a way to make a genome from some parents: change one, cross two, draw a fresh one, or ask
Optuna for better numbers. A bandit gives every kind its share, and every operator its share of a kind.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from foundry.dsl.diagnostics import GenomeError
from foundry.generate.genomes import random_genome
from foundry.search import bandit, candidates, genes, variety
from foundry.search.candidates import Band, Candidate
from foundry.search.operators import CROSSINGS, OPERATORS, Barren, crossover, mutate
from foundry.search.parents import haste
from foundry.search.parents import parents as parents_of
from foundry.search.population import CONTROL_ARM, SEARCH_ARM, Population
from foundry.search.tune import learning_rate

TRIES = 200  # draws for one proposal
ALONE = {"random": "random", "numbers": "optuna"}  # the only kind of proposal of a strategy
STEPS = 3  # mutations of one child, at most
ANOTHER = 0.6  # chance of a further one, when a search begins

TextOf = Callable[[str], str]


@dataclass(frozen=True)
class Proposal:
    """A new child. `description` says in words what was done to the first of its parents."""

    number: int
    candidate: Candidate
    operator: str
    description: str
    parents: tuple[str, ...]
    arm: str = SEARCH_ARM


@dataclass(frozen=True)
class Around:
    """What a kind of proposal may look at. weights: of operators and crossings. another: chance of a further step."""

    population: Population
    text_of: TextOf
    weights: Mapping[str, float]
    another: float = 0.0


@dataclass(frozen=True)
class Made:
    """A genome that a kind of proposal has drawn, by which operator, and what it did."""

    text: str
    operator: str
    description: str


@dataclass(frozen=True)
class Kind:
    """A kind of proposal: its share before anything is learned, its number of parents, and what draws a genome
    from their hashes. `draw` raises Barren where they have no such child, GenomeError where one has errors."""

    prior: float
    parents: int
    draw: Callable[[Around, Sequence[str], random.Random], Made]


def propose(
    number: int,
    seed: int,
    population: Population,
    text_of: TextOf,
    band: Band,
    strategy: str = "evolve",
    arm: str = SEARCH_ARM,
) -> Proposal | None:
    """Proposal `number` of a run: a child that nobody has evaluated, within the band.

    The same number, seed and population give the same child. strategy: evolve; random, fresh genomes only, whatever
    has been learnt, as always where `arm` is control; or numbers, Optuna's numbers only. None where `TRIES` draws gave
    nothing new.
    """
    rng = random.Random(f"{seed}/{number}")
    alone = "random" if arm == CONTROL_ARM else ALONE.get(strategy)
    shares, weights = ({alone: 1.0}, {}) if alone else _learnt(population, rng)
    around = Around(population, text_of, weights, ANOTHER * haste(population))
    island = variety.homeland(number, population.islands)
    stock = parents_of(population, island, lambda genome_hash: learning_rate(text_of(genome_hash)))
    for _ in range(TRIES):
        kind = KINDS[bandit.choose(shares, rng)]
        parents = tuple(stock.choose(rng).genome_hash for _ in range(kind.parents))
        try:
            made = kind.draw(around, parents, rng)
            candidate = candidates.read(made.text)
        except (Barren, GenomeError):
            continue
        if candidate.genome_hash not in population and band.holds(candidate):
            return Proposal(number, candidate, made.operator, made.description, parents, arm)
    return None


def _learnt(population: Population, rng: random.Random) -> tuple[dict[str, float], dict[str, float]]:
    """The share of each kind, and the weight of each operator within its kind, as the bandit draws them."""
    trials = bandit.trials(population)
    priors = {name: kind.prior for name, kind in KINDS.items()}
    shares = bandit.shares(priors, bandit.records(trials, kind_of), rng, bandit.FEW)
    known = bandit.records(trials)
    weights: dict[str, float] = {}
    for table in (OPERATORS, CROSSINGS):
        weights |= bandit.shares({name: entry.weight for name, entry in table.items()}, known, rng)
    return shares, weights


def kind_of(operator: str) -> str:
    """The kind of proposal that an operator, or the first of several, belongs to."""
    operator = bandit.operators_of(operator)[0]
    return "mutate" if operator in OPERATORS else "crossover" if operator in CROSSINGS else operator


# The kinds ----------------------------------------------------------------------------------------------------------


def _mutated(around: Around, parents: Sequence[str], rng: random.Random) -> Made:
    """The parent changed once or, above all early in a search, several times: what helps much is rare, and a child
    costs the same however many changes it tries."""
    child = mutate(around.text_of(parents[0]), rng, around.weights)
    steps = [child]
    while len(steps) < STEPS and rng.random() < around.another:
        child = mutate(child.text, rng, around.weights)
        steps.append(child)
    operators = dict.fromkeys(step.operator for step in steps)
    return Made(child.text, bandit.AND.join(operators), "; ".join(step.description for step in steps))


def _crossed(around: Around, parents: Sequence[str], rng: random.Random) -> Made:
    if parents[0] == parents[1]:
        raise Barren("one genome twice")
    first, second = map(around.text_of, parents)
    child = crossover(first, second, rng, weights=around.weights)
    return Made(child.text, child.operator, child.description)


def _fresh(around: Around, parents: Sequence[str], rng: random.Random) -> Made:
    return Made(random_genome(rng), "random", "a fresh genome")


def _asked(around: Around, parents: Sequence[str], rng: random.Random) -> Made:
    """The parent with numbers that Optuna proposes, from all that differ from it in numbers alone."""
    population, text_of = around.population, around.text_of
    level = population.levels()
    tried = [(text_of(peer), level.get(peer)) for peer in genes.peers(population, parents[0], text_of)]
    text, description = genes.ask(text_of(parents[0]), tried, rng)
    return Made(text, "optuna", description)


KINDS: dict[str, Kind] = {
    "mutate": Kind(0.74, 1, _mutated),
    "crossover": Kind(0.12, 2, _crossed),
    "random": Kind(0.08, 0, _fresh),
    "optuna": Kind(0.06, 1, _asked),
}
