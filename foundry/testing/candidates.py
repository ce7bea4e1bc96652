"""What a campaign tests, by number: the same seed, lane and number always give the same genome or text.

Genomes come from the generator in its wild and in its idiomatic policy, and from the search's operators applied to
those and to the genomes that ship with foundry.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass
from functools import cache

from foundry.dsl.source import shipped_genomes
from foundry.generate.draw import RandomDraw, weighted
from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD as WILD_POLICY
from foundry.search.operators import Barren, crossover, mutate
from foundry.testing.texts import arbitrary

WILD, IDIOMATIC, MUTANT, CROSSING, TEXT = "wild", "idiomatic", "mutant", "crossing", "text"
SHARES = ((6.0, WILD), (1.0, IDIOMATIC), (2.0, MUTANT), (1.0, CROSSING))
MOST_STEPS = 4  # mutations of one genome
LARGEST_SHIPPED = "families/"  # published models: right, and too large to run


@dataclass(frozen=True)
class Candidate:
    """A genome or a text under test. origin: what drew it. seed: for what else its properties draw."""

    origin: str
    content: str | bytes
    seed: int


def draw_genome(seed: int, lane: str, number: int) -> Candidate:
    """A genome that checks clean.

    Raises:
        anything: the generator or an operator is wrong.
    """
    rng = random.Random(f"{seed}/{lane}/{number}")
    draw = RandomDraw(rng)
    origin = weighted(draw, SHARES)
    case_seed = rng.randrange(2**31)
    return Candidate(origin, _GENOMES[origin](rng), case_seed)


def draw_text(seed: int, lane: str, number: int) -> Candidate:
    """A text that is probably no genome."""
    rng = random.Random(f"{seed}/{lane}/{number}")
    return Candidate(TEXT, arbitrary(rng), rng.randrange(2**31))


@cache
def shipped_texts() -> tuple[str, ...]:
    """The genomes that ship with foundry, except for those that are too large to run."""
    paths = shipped_genomes()
    return tuple(path.read_text("utf-8") for name, path in paths.items() if not name.startswith(LARGEST_SHIPPED))


def _wild(rng: random.Random) -> str:
    return random_genome(rng, WILD_POLICY)


def _idiomatic(rng: random.Random) -> str:
    return random_genome(rng)


def _parent(rng: random.Random) -> str:
    """A genome to change."""
    return rng.choice(shipped_texts()) if rng.random() < 0.4 else _wild(rng)


def _mutant(rng: random.Random) -> str:
    """A genome a few mutations away from a parent; one that no operator changes stays as it is."""
    text = _parent(rng)
    with contextlib.suppress(Barren):
        for _ in range(rng.randint(1, MOST_STEPS)):
            text = mutate(text, rng).text
    return text


def _crossing(rng: random.Random) -> str:
    """A child of two parents; the first of them where no part of the second fits."""
    first, second = _parent(rng), _parent(rng)
    try:
        return crossover(first, second, rng).text
    except Barren:
        return first


_GENOMES = {WILD: _wild, IDIOMATIC: _idiomatic, MUTANT: _mutant, CROSSING: _crossing}
