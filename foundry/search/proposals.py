"""Proposals: the next child to evaluate, made from the population as it stands."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from foundry.dsl.diagnostics import GenomeError
from foundry.search import candidates
from foundry.search.candidates import Band, Candidate
from foundry.search.generate import random_genome
from foundry.search.operators import OPERATORS, crossover, mutate
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
    weights = shares(dict.fromkeys(OPERATORS, 1.0), record)
    for _ in range(TRIES):
        (kind,) = rng.choices(list(kinds), list(kinds.values()))
        if kind == "random":
            parents: tuple[str, ...] = ()
            text, operator, description = random_genome(rng), "random", "a fresh genome"
        else:
            first = population.choose_parent(rng)
            parents = (first.genome_hash,)
            if kind == "crossover":
                second = population.choose_parent(rng)
                if second is first:
                    continue
                parents = (first.genome_hash, second.genome_hash)
                child = crossover(text_of(first.genome_hash), text_of(second.genome_hash), rng)
            else:
                child = mutate(text_of(first.genome_hash), rng, weights)
            text, operator, description = child.text, child.operator, child.description
        try:
            candidate = candidates.read(text)
        except GenomeError:
            continue
        if candidate.genome_hash not in population and band.holds(candidate):
            return Proposal(number, candidate, operator, description, parents)
    return None


def _by_kind(record: dict[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
    """The record of each kind of proposal: operators that are not among the mutations are crossovers."""
    out: dict[str, tuple[int, int]] = {}
    for operator, (tries, wins) in record.items():
        kind = "random" if operator == "random" else "mutate" if operator in OPERATORS else "crossover"
        before = out.get(kind, (0, 0))
        out[kind] = (before[0] + tries, before[1] + wins)
    return out
