"""Mending a genome: the fixes that its diagnostics carry, applied where the compiler has verified them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from foundry.dsl.check import apply_edits, check
from foundry.dsl.diagnostics import Diagnostic, Fix

MOST_FIXES = 200


@dataclass(frozen=True)
class Mended:
    """A mistake and the fix that removed it. The spans are those of the text at that moment."""

    diagnostic: Diagnostic
    fix: Fix


@dataclass(frozen=True)
class Repair:
    """A genome after its repair: the text, what was mended, in that order, what is left to say of it, and whether
    it checks."""

    text: str
    mended: tuple[Mended, ...]
    left: tuple[Diagnostic, ...]
    ok: bool


def repair(text: str, file: str = "") -> Repair:
    """A genome with every verified fix applied, until there is none left, at most MOST_FIXES of them.

    One fix is applied at a time, and the genome is checked again before the next: a fix was verified for the text that
    it was offered for, and for no other. Of several fixes for one mistake the first counts.
    """
    mended: list[Mended] = []
    checked = check(text, file)
    while len(mended) < MOST_FIXES:
        found = next(_verified(checked.diagnostics), None)
        if found is None:
            break
        mended.append(found)
        text = apply_edits(text, found.fix.edits)
        checked = check(text, file)
    return Repair(text, tuple(mended), checked.diagnostics, checked.ok)


def _verified(diagnostics: tuple[Diagnostic, ...]) -> Iterator[Mended]:
    """Every verified fix with its mistake, in the order of the text."""
    return (Mended(d, fix) for d in diagnostics for fix in d.fixes if fix.verified)
