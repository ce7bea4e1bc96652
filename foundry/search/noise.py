"""The noise of a run: how far evaluations of one genome lie apart that differ in their seed alone, rung by rung."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from foundry.evals.statistics import noise
from foundry.search.population import SEED
from foundry.search.standings import score

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Noise:
    """The standard deviation of one evaluation, in bits per byte, as measured on a run's own machine.

    rung, compute (flop), data_hash, split: what was repeated. sigma: pooled over the genomes that ran with several
    seeds. freedom: its degrees of freedom, by which intervals must be widened. genomes, n: how many repeated genomes
    and evaluations it rests on.
    """

    rung: int
    compute: float
    data_hash: str
    split: str
    sigma: float
    freedom: int
    genomes: int
    n: int


def noise_by_rung(rows: Iterable[Row], chosen_by: Mapping[int, int] | None = None) -> list[Noise]:
    """The noise at every rung where a genome has scores of several seeds, the first rung first.

    chosen_by: for each rung the seed by whose scores genomes were picked to run again. A score that got its genome
    picked is low by luck more often than by chance, and would make the noise look larger than it is; so those scores
    of children are left out. Baselines run again whatever they scored.

    Results that were shared without training are no repetition, and are left out too.
    """
    chosen_by = chosen_by or {}
    groups: dict[tuple[int, float, str, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    for row in rows:
        value = score(row)
        picked = row["operator"] != SEED and chosen_by.get(row["rung"]) == row["seed"]
        if row["status"] != "ok" or value is None or row.get("shared_with") or picked:
            continue
        split = "validation" if row.get("test_bpb") is None else "test"
        place = (row["rung"], row["compute_budget"], row.get("data_hash") or "", split)
        groups[place][row["genome_hash"]][row["seed"]] = value
    measured = (_pooled(place, [list(g.values()) for g in genomes.values()]) for place, genomes in groups.items())
    return sorted((m for m in measured if m is not None), key=lambda m: (m.rung, m.compute, m.data_hash, m.split))


def _pooled(place: tuple[int, float, str, str], genomes: Iterable[list[float]]) -> Noise | None:
    repeated = [scores for scores in genomes if len(scores) > 1]
    if not repeated:
        return None
    n = sum(map(len, repeated))
    return Noise(*place, noise(*repeated), n - len(repeated), len(repeated), n)
