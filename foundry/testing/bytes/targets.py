"""The table of readers: a new one is a row, and is explored and its stored cases are read again at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from foundry.testing.bytes import documents, folders, genomes, weights
from foundry.testing.bytes.mutators import change_genome, change_json, change_lines
from foundry.testing.bytes.target import Target

LANGUAGE, RUNS, DATA, EMITTED = (
    ("foundry.dsl", "lark"),
    ("foundry.search",),
    ("foundry.data",),
    ("torch.serialization",),
)


def _anywhere(read: Callable[[bytes], None]) -> Callable[[Path], Callable[[bytes], None]]:
    """A reader that needs no folder."""
    return lambda folder: read


TARGETS: tuple[Target, ...] = (
    Target(
        "parser",
        "any bytes are checked within a second, and what is said of them is said of places in them",
        _anywhere(genomes.checked), LANGUAGE, genomes.seeds, genomes.words, change_genome,
    ),
    Target(
        "formatter",
        "what parses means the same when it is formatted, and formatting it again changes nothing",
        _anywhere(genomes.formatted), LANGUAGE, genomes.seeds, genomes.words, change_genome,
    ),
    Target(
        "completion",
        "at any place of any text it can be asked what may follow",
        _anywhere(genomes.completed), LANGUAGE, genomes.seeds, genomes.words, change_genome,
    ),
    Target(
        "archive",
        "a part of a run folder is read, or set aside with a line that says why",
        folders.part, RUNS, folders.part_seeds, mutate=folders.change_rows,
    ),
    Target(
        "run",
        "a run.json serves for reports and for going on, or is refused with a line that says why",
        folders.described, RUNS, folders.run_seeds, mutate=change_json,
    ),
    Target(
        "stored",
        "a genome of a run folder is read, or refused with a line that says why",
        folders.stored, RUNS, folders.stored_seeds, genomes.words, change_genome,
    ),
    Target(
        "lines",
        "JSON lines give documents, or a line that says what is wrong with them",
        documents.reader("a.jsonl"), DATA, documents.line_seeds, mutate=change_lines,
    ),
    Target(
        "parquet",
        "Parquet files give documents, or a line that says what is wrong with them",
        documents.reader("a.parquet"), DATA, documents.parquet_seeds,
    ),
    Target(
        "text",
        "plain text gives documents, or a line that says what is wrong with it",
        documents.reader("a.txt"), DATA, documents.text_seeds,
    ),
    Target(
        "cache",
        "whatever the description of a cached corpus holds, the corpus is what it was",
        documents.cache, DATA, documents.cache_seeds, mutate=change_json,
    ),
    Target(
        "weights",
        "an emitted file takes weights that fit, and refuses others with a line that says why",
        weights.reader, EMITTED, weights.seeds,
    ),
)  # fmt: skip
BY_NAME = {target.name: target for target in TARGETS}
