"""Verbs that make genomes: mutate, cross, random."""

from __future__ import annotations

import random as random_numbers
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.arguments import Genome, Seed, load_source
from foundry.cli.failures import Misuse

if TYPE_CHECKING:
    from foundry.search.operators import Child

MUTATE_EXAMPLES = """\b
Examples:
  foundry mutate llama
  foundry mutate llama -n 5 --seed 7
  foundry mutate llama | foundry check -"""

CROSS_EXAMPLES = """\b
Examples:
  foundry cross llama primer
  foundry cross llama primer --seed 3 > child.genome"""

RANDOM_EXAMPLES = """\b
Examples:
  foundry random
  foundry random --seed 3 | foundry show -"""


def register(app: typer.Typer) -> None:
    app.command(epilog=MUTATE_EXAMPLES)(mutate)
    app.command(epilog=CROSS_EXAMPLES)(cross)
    app.command(epilog=RANDOM_EXAMPLES)(random)


def mutate(
    file: Genome,
    count: Annotated[int, typer.Option("-n", metavar="N", min=1, help="How many children.")] = 1,
    seed: Seed = 0,
) -> int:
    """Print changed copies of a genome.

    Each has a comment that says what was changed.
    """
    from foundry.search.operators import mutate as mutate_text

    source, _ = load_source(file)
    rng = random_numbers.Random(seed)
    for index in range(count):
        if index:
            print()
        _print_child(mutate_text(source.text, rng))
    return 0


def cross(a: Genome, b: Genome, seed: Seed = 0) -> int:
    """Print a child of two genomes."""
    from foundry.search.operators import crossover

    if a == b == "-":
        raise Misuse("standard input can be read only once: give - once")
    first, second = load_source(a)[0], load_source(b)[0]
    _print_child(crossover(first.text, second.text, random_numbers.Random(seed)))
    return 0


def random(seed: Seed = 0) -> int:
    """Print a random genome."""
    from foundry.generate.genomes import random_genome

    print(random_genome(random_numbers.Random(seed)).rstrip())
    return 0


def _print_child(child: Child) -> None:
    print("# " + " ".join(f"{child.operator}: {child.description}".split()))
    print(child.text.rstrip())
