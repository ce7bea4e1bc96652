"""Bytes as genomes: the parser and the checker, the formatter, and completion."""

from __future__ import annotations

from functools import cache

from foundry.dsl.complete import complete
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.repair import repair
from foundry.dsl.source import decode, shipped_genomes
from foundry.dsl.syntax import Genome
from foundry.testing import texts
from foundry.testing.case import Broken
from foundry.testing.survival import survives

SMALL = 600  # bytes of a seed: larger genomes say little more and are read more slowly
PLACES = 4  # at which completion is asked for


def checked(data: bytes) -> None:
    """Check a genome and mend it, as `foundry check --fix` does.

    Raises:
        Broken: as `survives`.
    """
    if survives(data):
        try:
            repair(decode(data))
        except GenomeError:
            return


def formatted(data: bytes) -> None:
    """Format a genome that parses.

    Raises:
        Broken: the formatted text is another genome, or is formatted otherwise the next time.
    """
    try:
        genome = parse(decode(data))
    except GenomeError:
        return
    text = format_genome(genome)
    again = parse(text)
    if again != genome or _comments(again) != _comments(genome):
        raise Broken(f"formatting makes another genome: {text[:200]!r}")
    if format_genome(again) != text:
        raise Broken(f"formatted twice it differs: {text[:200]!r}")


def completed(data: bytes) -> None:
    """Ask what may follow at a few places of a text, its end among them.

    Raises:
        Broken: an offer begins outside the text.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return
    for number in range(1, PLACES + 1):
        at = len(text) * number // PLACES
        if stray := next((offer for offer in complete(text, at).offers if not 0 <= offer.start <= at), None):
            raise Broken(f"{stray.text!r} is offered from {stray.start} on, before {at}")


def _comments(genome: Genome) -> tuple[tuple[str, ...], ...]:
    return (genome.comments, *(d.comments for d in genome.definitions), genome.closing)


@cache
def seeds() -> list[bytes]:
    """The small genomes that ship with foundry, the smallest first."""
    found = [path.read_bytes() for path in shipped_genomes().values()]
    return sorted((text for text in found if len(text) <= SMALL), key=len)


def words() -> list[bytes]:
    """The words of the language."""
    return sorted({word.encode() for word in texts.words()})
