"""Search's operators never leave the language: what they give checks clean, is formatted and means something new."""

from __future__ import annotations

import random

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import examine
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.source import shipped_genomes
from foundry.search.operators import CROSSINGS, OPERATORS, Barren, Child, Tally, crossover, mutate
from foundry.testing.case import Broken, Case, Property, Skipped

TRIED = 5  # operators of each genome, of those that there are
BASELINES = ("llama", "hybrid", "gpt2", "primer")


def mutated(case: Case) -> None:
    rng = random.Random(case.seed)
    for name in rng.sample(sorted(OPERATORS), TRIED):
        mutation(case, name, rng)


def mutation(case: Case, name: str, rng: random.Random, tally: Tally | None = None) -> Child | None:
    """What one operator makes of a genome, None where it finds no place.

    Raises:
        Broken: it is no genome, or the same one, or is not told.
    """
    only = {other: float(other == name) for other in OPERATORS}
    try:
        child = mutate(case.text, rng, only, tally)
    except Barren:
        return None
    if child.operator != name:
        raise Broken(f"{child.operator} was applied instead of {name}")
    sound(child, (case.text,))
    return child


def crossed(case: Case) -> None:
    """A genome and another one, in either order, give children."""
    rng = random.Random(case.seed)
    other = shipped_genomes()[rng.choice(BASELINES)].read_text("utf-8")
    none = 0
    for first, second in ((case.text, other), (other, case.text)):
        try:
            child = crossover(first, second, rng)
        except Barren:
            none += 1
            continue
        if child.operator not in CROSSINGS:
            raise Broken(f"{child.operator} is no crossing")
        sound(child, (first, second))
    if none == 2:
        raise Skipped("no part of the other fits")


def sound(child: Child, parents: tuple[str, ...]) -> None:
    """Raise unless a child checks without even a warning, is formatted, told, and differs from its parents."""
    checked = examine(child.text)
    if checked.program is None or checked.diagnostics:
        first = checked.diagnostics[0]
        raise Broken(f"{child.operator}: {first.code} {first.message}, in\n{child.text}")
    if format_genome(parse(child.text)) != child.text:
        raise Broken(f"{child.operator}: the child is not in the one format:\n{child.text}")
    known = {canonical_hash(program) for program in (examine(parent).program for parent in parents) if program}
    if canonical_hash(checked.program) in known:
        raise Broken(f"{child.operator}: the child means what a parent means:\n{child.text}")
    if not child.description.strip():
        raise Broken(f"{child.operator}: nothing is said of how the child differs")


PROPERTIES = (
    Property(
        "mutation", "What a mutation gives checks clean, is formatted and means something new.", mutated, runs=False
    ),
    Property(
        "crossing", "What a crossing gives checks clean, is formatted and means something new.", crossed, runs=False
    ),
)
