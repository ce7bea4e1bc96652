"""Hypothesis strategies: genomes, expressions of a type, mutants and crossings, all drawn by the one generator.

The generator asks for decisions through `Draw`; here hypothesis makes them, so that it can shrink what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from foundry.dsl.format import format_expr
from foundry.dsl.types import TensorType
from foundry.generate.genomes import random_expr, random_genome
from foundry.generate.policy import WILD, Policy
from foundry.testing.texts import arbitrary

T = TypeVar("T")
GRAIN = 1000  # steps in which a number is drawn


class HypothesisDraw:
    """Decisions by hypothesis. It shrinks to the first of a choice, the least number, and to no."""

    def __init__(self, draw: Callable[[SearchStrategy[Any]], Any]):
        self.draw = draw

    def choice(self, items: Sequence[T]) -> T:
        return items[self.integer(0, len(items) - 1)]

    def integer(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high))) if low < high else low

    def number(self, low: float, high: float) -> float:
        return low + (high - low) * self.integer(0, GRAIN) / GRAIN

    def chance(self, probability: float) -> bool:
        return self.integer(0, GRAIN - 1) >= GRAIN * (1 - probability)

    def whole(self, make: Callable[[], T]) -> T:
        made: T = self.draw(st.builds(make))
        return made


@st.composite
def genomes(draw: Callable[[SearchStrategy[Any]], Any], policy: Policy = WILD) -> str:
    """Texts of genomes that check clean."""
    return random_genome(HypothesisDraw(draw), policy)


@st.composite
def expressions(
    draw: Callable[[SearchStrategy[Any]], Any],
    sort: str | TensorType,
    scope: Mapping[str, TensorType] | None = None,
    depth: int = 3,
) -> str:
    """Texts of expressions: of a type, made of the names in scope, or functions of a role such as `score`."""
    return format_expr(random_expr(HypothesisDraw(draw), sort, scope, depth, policy=WILD))


@st.composite
def mutants(
    draw: Callable[[SearchStrategy[Any]], Any], parents: SearchStrategy[str] | None = None, steps: int = 1
) -> str:
    """Genomes some mutations away from others; a parent that no operator changes stays as it is."""
    from foundry.search.operators import Barren, mutate

    text = str(draw(parents if parents is not None else genomes()))
    for _ in range(steps):
        try:
            text = mutate(text, HypothesisDraw(draw)).text
        except Barren:
            break
    return text


@st.composite
def crossings(draw: Callable[[SearchStrategy[Any]], Any], parents: SearchStrategy[str] | None = None) -> str:
    """Genomes with a part of another; the first parent where nothing of the second fits."""
    from foundry.search.operators import Barren, crossover

    pool = parents if parents is not None else genomes()
    first, second = str(draw(pool)), str(draw(pool))
    try:
        return crossover(first, second, HypothesisDraw(draw)).text
    except Barren:
        return first


@st.composite
def texts(draw: Callable[[SearchStrategy[Any]], Any], seeds: Sequence[str] = ()) -> str | bytes:
    """Any texts at all: bytes, signs, words, and genomes gone wrong. seeds: genomes to begin from."""
    return arbitrary(HypothesisDraw(draw), seeds)
