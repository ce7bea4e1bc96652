"""Proof that a compiler of genomes keeps its promises: genomes at random, and what must hold of every one of them.

    from hypothesis import given
    from foundry.testing import check_all, genomes

    @given(genomes())
    def test_my_compiler(text):
        check_all(text)

Needs the extra `foundry[test]`. What is named here is imported when it is asked for: genomes and texts need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "PROPERTIES": "properties",
    "Broken": "case",
    "Case": "case",
    "Coverage": "coverage",
    "HypothesisDraw": "strategies",
    "Property": "case",
    "Skipped": "case",
    "crossings": "strategies",
    "expressions": "strategies",
    "genomes": "strategies",
    "mutants": "strategies",
}
__all__ = [*_HOMES, "check_all"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def check_all(text: str, seed: int = 0) -> list[str]:
    """Hold every property against a genome; gives the names of those that it says nothing about.

    Raises:
        GenomeError: the text is no genome. Broken, or whatever the compiler raised: a property does not hold.
    """
    from foundry.testing.case import Case, Skipped
    from foundry.testing.properties import PROPERTIES

    case, silent = Case(text, seed), []
    for found in PROPERTIES:
        try:
            found.holds(case)
        except Skipped:
            silent.append(found.name)
    return silent
