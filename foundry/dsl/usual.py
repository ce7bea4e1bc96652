"""The numbers that the genomes that come along give to each argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cache

from foundry.dsl.check import prelude
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_number
from foundry.dsl.parse import parse
from foundry.dsl.signatures import places, signatures
from foundry.dsl.source import shipped_genomes
from foundry.dsl.syntax import Call, Genome, Name, Number, walk

MOST = 6  # values of an argument


def usual(function: str, argument: str) -> tuple[str, ...]:
    """The numbers that are given to an argument of a function, as text, the most frequent first; at most `MOST`."""
    counts = _counts().get((function, argument), Counter())
    return tuple(format_number(value) for value, _ in counts.most_common(MOST))


@cache
def _counts() -> dict[tuple[str, str], Counter[int | float]]:
    """How often each number is given, by function and argument."""
    known = signatures()
    counts: dict[tuple[str, str], Counter[int | float]] = {}
    for tree in (prelude(), *_shipped()):
        for _, node in walk(tree):
            if isinstance(node, Call) and isinstance(node.function, Name):
                taken = known.get(node.function.id, ())
                for argument, place in zip(node.arguments, places(node.arguments, taken), strict=True):
                    if place is not None and isinstance(argument.value, Number):
                        counter = counts.setdefault((node.function.id, place.name), Counter())
                        counter[argument.value.value] += 1
    return counts


def _shipped() -> Iterator[Genome]:
    for path in shipped_genomes().values():
        try:
            yield parse(path.read_text("utf-8"))
        except GenomeError:  # a file that somebody is writing
            continue
