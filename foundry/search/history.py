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
from foundry.search.bandit import Trial, operators_of, trials
from foundry.search.population import CONTROL, SEARCH_ARM, SEED, TUNE, Population, population_of
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
    """What an operator earned.

    children: with a result at the first rung; failed: those that gave none. compared: those for which it is known
        how far ahead of their best parent they were there; better: ahead at all; wins: by more than the noise.
    gain: the largest lead, bits per byte. earned: the leads of all wins, added up.
    promoted: children that a longer rung saw. in_line: steps of the winner's line of descent.
    compute: flop spent on its children in the search, all rungs.
    """

    operator: str
    children: int
    failed: int
    compared: int
    better: int
    gain: float | None
    wins: int = 0
    promoted: int = 0
    in_line: int = 0
    compute: float = 0.0
    earned: float = 0.0

    @property
    def gain_per_compute(self) -> float:
        """Bits per byte won per flop; 0 where nothing was spent."""
        return self.earned / self.compute if self.compute else 0.0


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
    archived = archive.rows()
    rows: dict[str, Row] = {}
    scores: dict[str, dict[int, float]] = defaultdict(dict)
    for row in archived:
        rows.setdefault(row["genome_hash"], row)
        if row["status"] == "ok" and row["val_bpb"] is not None:
            scores[row["genome_hash"]].setdefault(row["rung"], row["val_bpb"])
    line = descent(archived, genome_hash)
    known, steps = names(archive), []
    for index, step in enumerate(line):
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
                changes=changes(archive, line[index - 1], step) if index else (),
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


def operators(rows: Iterable[Row], winner: str = "") -> list[OperatorRecord]:
    """Every operator's record in the search, what earned most per compute first; `winner` is a genome hash.

    Baselines, learning rates and controls are not children. One that several operators made counts for each.
    """
    rows = [row for row in rows if (row.get("arm") or SEARCH_ARM) == SEARCH_ARM and row["operator"] != CONTROL]
    population = population_of(rows)
    made: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials(population):
        for operator in operators_of(trial.operator):
            made[operator].append(trial)
    spent: Counter[str] = Counter()
    for row in rows:
        if row.get("test_bpb") is None:
            own = row.get("compute_spent")
            for operator in operators_of(row["operator"]):
                spent[operator] += row["compute_budget"] if own is None else own
    steps = [population.individuals[step].operator for step in descent(rows, winner) if step in population]
    line = Counter(operator for step in steps for operator in operators_of(step))
    records = [
        _record(operator, found, population, line[operator], spent[operator]) for operator, found in made.items()
    ]
    return sorted(records, key=lambda r: (-r.gain_per_compute, -r.better / max(r.compared, 1), -r.children))


def _record(operator: str, made: list[Trial], population: Population, in_line: int, compute: float) -> OperatorRecord:
    leads = [trial.lead for trial in made if trial.lead is not None]
    better = [lead for lead in leads if lead > 0]
    return OperatorRecord(
        operator=operator,
        children=len(made),
        failed=sum(trial.failed for trial in made),
        compared=len(leads),
        better=len(better),
        gain=max(better, default=None),
        wins=sum(trial.won for trial in made),
        promoted=sum(any(rung > 0 for rung, _ in population.individuals[t.genome_hash].tried) for t in made),
        in_line=in_line,
        compute=compute,
        earned=sum(trial.lead for trial in made if trial.won and trial.lead is not None),
    )


def descent(rows: Iterable[Row], genome_hash: str) -> list[str]:
    """The line of first parents of a genome, from the one that the search started from to itself."""
    parents: dict[str, tuple[str, ...]] = {}
    for row in rows:
        parents.setdefault(row["genome_hash"], tuple(row["parent_hashes"]))
    line, here = [], genome_hash
    while here and here not in line:
        line.append(here)
        here = next(iter(parents.get(here, ())), "")
    return line[::-1]


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
