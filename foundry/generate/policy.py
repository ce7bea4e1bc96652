"""What a genome may be drawn from: the sizes, how deep, how usual, and what is left out of it.

A generator that could always use everything would write much the same genome every time. So each genome draws a
policy's dice first: some primitives are off, a few are preferred (swarm testing: Groce et al. 2012).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """The limits of a kind of genome; lists begin with the simplest.

    widths: channels of the stream. layers: how many at most. vocabularies: numbers of tokens. longest: rows of a table
    of learned positions. depth: of expressions inside one another. nodes: operations that are grown, about.
    idioms: how often a part is one that people write. off: the share of genomes that lack a given primitive.
    favourites: how many primitives a genome prefers at most.
    """

    widths: tuple[int, ...]
    layers: int
    vocabularies: tuple[int, ...]
    longest: tuple[int, ...]
    depth: int
    nodes: int
    idioms: float = 0.12
    off: float = 0.1
    favourites: int = 6


PROXY = Policy((64, 80, 96, 48, 128), 6, (256,), (128,), 2, 6, idioms=0.7)
WILD = Policy((8, 12, 16, 9, 24, 48), 3, (11, 2, 17, 61), (64, 24), 4, 12)
