"""What an archive tells of a run: what genomes are called, where the winner came from, which
operators paid, and what failed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from foundry.compiler.compare import describe_difference
from foundry.dsl.diagnostics import GenomeError
from foundry.search.archive import Archive, ArchiveError
from foundry.search.population import CONTROL, SEED, TUNE
from foundry.search.standings import score
from foundry.search.tune import learning_rate

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """A genome in a line of descent: what made it, its score at its longest rung of the search, and what
    changed from its first parent."""

    genome_hash: str
    name: str
    operator: str
    other_parents: tuple[str, ...]
    rung: int | None
    bits_per_byte: float | None
    changes: tuple[str, ...]


@dataclass(frozen=True)
class OperatorRecord:
    """What came of an operator's children at the first rung. `better`: ahead of their first parent on the
    same seed; `compared`: those for which that is known. `gain`: the largest such lead, bits per byte."""

    operator: str
    children: int
    failed: int
    compared: int
    better: int
    gain: float | None


@dataclass(frozen=True)
class Failures:
    """Evaluations that ended alike, and the genome of one of them."""

    status: str
    error_code: str
    count: int
    example: str


def names(archive: Archive) -> dict[str, str]:
    """What people call the genomes of a run: a baseline by its file, one with another learning rate by
    both, everything else by the beginning of its hash."""
    run = archive.read_run()
    baselines = {genome_hash: name for name, genome_hash in run["baselines"].items()}
    out = dict(baselines)
    for row in archive.rows():
        genome_hash, parents = row["genome_hash"], row["parent_hashes"]
        if genome_hash in out:
            continue
        out[genome_hash] = genome_hash[:8]
        if row["operator"] == TUNE and parents and parents[0] in baselines:
            out[genome_hash] = f"{baselines[parents[0]]} lr={learning_rate(archive.genome(genome_hash)):g}"
        if row["operator"] == CONTROL and len(parents) == 2:
            out[genome_hash] = f"{out.get(parents[0], parents[0][:8])} with the recipe of {parents[1][:8]}"
    return out


def lineage(archive: Archive, genome_hash: str) -> list[Step]:
    """The winner's line of first parents, from the genome that the search started from to itself."""
    rows: dict[str, Row] = {}
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for row in archive.rows():
        rows.setdefault(row["genome_hash"], row)
        if row["status"] == "ok" and row["val_bpb"] is not None:
            scores[row["genome_hash"]].setdefault(row["rung"], row["val_bpb"])
    line, here = [], genome_hash
    while here and here not in line:
        line.append(here)
        parents = rows[here]["parent_hashes"] if here in rows else ()
        here = parents[0] if parents else ""
    known, steps = names(archive), []
    for index, step in enumerate(reversed(line)):
        born = rows.get(step)
        rung = max(scores[step], default=None)
        steps.append(
            Step(
                genome_hash=step,
                name=known.get(step, step[:8]),
                operator=born["operator"] if born else SEED,
                other_parents=tuple(known.get(p, p[:8]) for p in born["parent_hashes"][1:]) if born else (),
                rung=rung,
                bits_per_byte=scores[step][rung] if rung is not None else None,
                changes=changes(archive, line[len(line) - index], step) if index else (),
            )
        )
    return steps


def changes(archive: Archive, before: str, after: str) -> tuple[str, ...]:
    """The difference between two genomes of an archive in genome terms; a line instead where one is lost or no
    longer checks clean."""
    try:
        return tuple(describe_difference(archive.genome(before), archive.genome(after)))
    except (ArchiveError, GenomeError) as error:
        return (str(error),)


def operators(rows: Iterable[Row]) -> list[OperatorRecord]:
    """Every operator's record, the most successful first. Baselines and controls are not children."""
    first = [row for row in rows if row["rung"] == 0]
    scores = {(row["genome_hash"], row["seed"]): score(row) for row in first if row["status"] == "ok"}
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in first:
        if row["operator"] not in (SEED, CONTROL):
            groups[row["operator"]].append(row)
    records = []
    for operator, made in groups.items():
        leads = []
        for row in made:
            own = scores.get((row["genome_hash"], row["seed"]))
            parent = scores.get((row["parent_hashes"][0], row["seed"])) if row["parent_hashes"] else None
            if own is not None and parent is not None:
                leads.append(parent - own)
        better = [lead for lead in leads if lead > 0]
        failed = sum(row["status"] != "ok" for row in made)
        records.append(OperatorRecord(operator, len(made), failed, len(leads), len(better), max(better, default=None)))
    return sorted(records, key=lambda r: (-r.better / max(r.compared, 1), -r.children))


def failures(rows: Iterable[Row]) -> list[Failures]:
    """Evaluations that did not end ok, by kind, the most frequent first."""
    counts: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    for row in rows:
        if row["status"] != "ok":
            kind = (row["status"], row["error_code"] or "")
            counts[kind] += 1
            examples.setdefault(kind, row["genome_hash"])
    return [Failures(*kind, count, examples[kind]) for kind, count in counts.most_common()]
