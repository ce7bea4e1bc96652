"""Who leads: the genomes of an archive, rung by rung, ranked by their mean score over seeds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


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
