"""Proposals: the next child to evaluate, made from the population as it stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from foundry.dsl.diagnostics import GenomeError
from foundry.generate.genomes import random_genome
from foundry.search import candidates
from foundry.search.candidates import Band, Candidate
from foundry.search.operators import CROSSINGS, OPERATORS, Barren, crossover, mutate
from foundry.search.population import Population, shares

KINDS = {"mutate": 0.78, "crossover": 0.12, "random": 0.10}  # prior shares
TRIES = 200  # draws for one proposal


@dataclass(frozen=True)
class Proposal:
    """A new child. `description` says in words what was done to the first of its parents."""

    number: int
    candidate: Candidate
    operator: str
    description: str
    parents: tuple[str, ...]


def propose(
    number: int,
    seed: int,
    population: Population,
    text_of: Callable[[str], str],
    band: Band,
    strategy: str,
) -> Proposal | None:
    """Proposal `number` of a run: a child that nobody has evaluated, within the band.

    The same number, seed and population give the same child. `strategy` is evolve, or random: fresh
    genomes only, whatever has been learnt. None where `TRIES` draws gave nothing new.
    """
    rng = random.Random(f"{seed}/{number}")
    record = population.record()
    kinds = shares(KINDS, _by_kind(record)) if strategy == "evolve" else {"random": 1.0}
    weights = shares({name: operator.weight for name, operator in OPERATORS.items()}, record)
    for _ in range(TRIES):
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        parents = _parents(kind, population, rng)
        try:
            text, operator, description = _draw(kind, [text_of(parent) for parent in parents], rng, weights)
            candidate = candidates.read(text)
        except (Barren, GenomeError):
            continue
        if candidate.genome_hash not in population and band.holds(candidate):
            return Proposal(number, candidate, operator, description, parents)
    return None


def _parents(kind: str, population: Population, rng: random.Random) -> tuple[str, ...]:
    count = {"random": 0, "mutate": 1, "crossover": 2}[kind]
    return tuple(population.choose_parent(rng).genome_hash for _ in range(count))


def _draw(kind: str, texts: list[str], rng: random.Random, weights: dict[str, float]) -> tuple[str, str, str]:
    """A child's text, its operator, and what was done.

    Raises:
        Barren: the parents have no such child. GenomeError: a parent has errors.
    """
    if kind == "random":
        return random_genome(rng), "random", "a fresh genome"
    if kind == "crossover":
        if texts[0] == texts[1]:
            raise Barren("one genome twice")
        child = crossover(texts[0], texts[1], rng)
    else:
        child = mutate(texts[0], rng, weights)
    return child.text, child.operator, child.description


def _by_kind(record: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The record of each kind of proposal."""
    out: dict[str, tuple[int, int]] = {}
    for operator, (tries, wins) in record.items():
        kind = "mutate" if operator in OPERATORS else "crossover" if operator in CROSSINGS else operator
        before = out.get(kind, (0, 0))
        out[kind] = (before[0] + tries, before[1] + wins)
    return out
