"""Who leads: the genomes of an archive, rung by rung, ranked by their mean score over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from foundry.search.population import CONTROL, TUNE


@dataclass(frozen=True)
class Standing:
    """A genome's result at one rung: its mean bits per byte over `seeds` seeds, on `split`, and the
    archive row of its first seed."""

    bits_per_byte: float
    seeds: int
    split: str
    row: Mapping[str, Any]


def standings(rows: Iterable[Mapping[str, Any]]) -> list[tuple[int, list[Standing]]]:
    """(rung, its genomes from best to worst), the longest rung first. Failures have no standing;
    confirmation counts on test text."""
    groups: dict[int, dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        if row["status"] == "ok" and score(row) is not None:
            groups.setdefault(row["rung"], {}).setdefault(row["genome_hash"], []).append(row)
    return [
        (rung, sorted(map(_standing, genomes.values()), key=lambda s: s.bits_per_byte))
        for rung, genomes in sorted(groups.items(), reverse=True)
    ]


def score(row: Mapping[str, Any]) -> float | None:
    """A row's bits per byte: on test text where it has that, otherwise on validation text."""
    for column in ("test_bpb", "val_bpb"):
        value = row.get(column)
        if value is not None and math.isfinite(value):
            return float(value)
    return None


def _standing(rows: list[Mapping[str, Any]]) -> Standing:
    scores = [value for value in map(score, rows) if value is not None]
    split = "test" if rows[0].get("test_bpb") is not None else "validation"
    return Standing(sum(scores) / len(scores), len({row["seed"] for row in rows}), split, rows[0])


# Who leads by validation text ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Lead:
    """A genome's standing on validation text: the mean over its seeds at the highest rung that it reached."""

    genome_hash: str
    bits_per_byte: float
    rung: int


def leaders(rows: Iterable[Mapping[str, Any]], baselines: Iterable[str]) -> tuple[list[Lead], Lead | None]:
    """Each baseline at its best learning rate so far, and the leading child; those on higher rungs come first.

    baselines: the hashes of the genomes that the search started from, in order; one without a score is left out.
    Neither controls nor what failed anywhere can lead.
    """
    origins = {genome_hash: genome_hash for genome_hash in baselines}
    scores: dict[str, dict[int, list[float]]] = {}
    out: set[str] = set()
    for row in rows:
        genome_hash, parents = row["genome_hash"], row["parent_hashes"]
        if row["operator"] == TUNE and parents and parents[0] in origins:
            origins[genome_hash] = origins[parents[0]]
        if row["operator"] == CONTROL or row.get("arm") == "control" or row["status"] not in ("ok", "abandoned"):
            out.add(genome_hash)
        value = row["val_bpb"]
        if row["status"] == "ok" and value is not None and math.isfinite(value):
            scores.setdefault(genome_hash, {}).setdefault(row["rung"], []).append(value)
    best: dict[str, Lead] = {}  # by baseline; "" stands for the children
    for genome_hash, by_rung in scores.items():
        rung = max(by_rung)
        lead = Lead(genome_hash, sum(by_rung[rung]) / len(by_rung[rung]), rung)
        kind = origins.get(genome_hash, "")
        if genome_hash not in out and (kind not in best or _order(lead) < _order(best[kind])):
            best[kind] = lead
    child = best.pop("", None)
    return [best[genome_hash] for genome_hash in origins if genome_hash in best], child


def _order(lead: Lead) -> tuple[int, float]:
    return -lead.rung, lead.bits_per_byte
