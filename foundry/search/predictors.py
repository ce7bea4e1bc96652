"""What cheap signals are worth: their rank correlation with scores, at equal parameters, in an archive.

Parameters alone rank decoders well (Javaheripi et al. 2022, arXiv:2203.02094), so a signal has to say something beyond
them. Those that do may reject the worst proposals before they are paid for. Genomes of a run are relatives, so that an
interval here is narrower than one over independent genomes would be.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foundry.evals.correlation import partial_spearman, spearman
from foundry.evals.curve import EARLY, early_signals
from foundry.evals.rank_bootstrap import spearman_interval
from foundry.evals.screen import Feature, Screen
from foundry.evals.statistics import sidak

FEWEST = 20  # genomes, before a correlation is taken at its word
CONFIDENCE = 0.95  # that none of the intervals of a table misses
WORST = 0.25  # of the proposals is what a screen rejects
RECENT = 300  # genomes of the first rung that decide what the search uses: what helps changes as it moves on
TOLERATED = WORST / 2  # of the genomes that were promoted may be among those
SHARED = "parameters"  # what is held fixed

SIZES = ("parameters", "flops_per_token", "bytes_per_token", "cache_bytes_per_token")  # columns of an archive
UNTRAINED = (
    "initial_bits",
    "gradient_norm",
    "gradient_spread",
    "gradient_agreement",
    "logit_entropy",
    "effective_rank",
    "reach",
)
SCORE = "score"  # of the rung itself: what a cheap signal competes with

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Correlation:
    """What a signal says of a score.

    measured, target: the rungs of the signal and of the score. n: genomes that have both. rho: rank correlation at
    equal parameters (plainly, where the signal is the parameters), nan where there are too few or all are equal.
    low, high: its bootstrap interval, so wide that all intervals of the table hold at once with CONFIDENCE.
    """

    signal: str
    measured: int
    target: int
    n: int
    rho: float
    low: float
    high: float

    @property
    def helps(self) -> bool:
        """Whether the interval excludes 0, with genomes enough for it to be believed."""
        return self.n >= FEWEST and (self.low > 0 or self.high < 0)


def predictors(rows: Sequence[Row], tell: Callable[[int, int], None] | None = None) -> list[Correlation]:
    """Every signal against the score of the next rung, and those known before training against that of the first rung
    too; the strongest of each table first. Rungs nobody was promoted from are left out. `tell` hears how many tables
    are done, and of how many."""
    tables = [(0, 0), *((rung, rung + 1) for rung in sorted({row["rung"] for row in rows}))]
    found = []
    for done, (measured, target) in enumerate(tables):
        if tell is not None:
            tell(done, len(tables))
        found += correlations(rows, measured, target)
    return found


def correlations(rows: Sequence[Row], measured: int, target: int, seed: int = 0) -> list[Correlation]:
    """The signals of one rung against the scores of another, or of the same, where only those count that are known
    before training. `seed` draws the bootstrap."""
    scores = _scores(rows, target)
    values = {row["genome_hash"]: signals(row) for row in _searched(rows, measured) if row["genome_hash"] in scores}
    names = [*SIZES, *UNTRAINED, *(() if measured == target else (*EARLY, SCORE))]
    names = [name for name in names if any(name in known for known in values.values())]
    confidence = sidak(max(1, len(names)), CONFIDENCE)
    found = []
    for name in names:
        genomes = [genome for genome, known in values.items() if name in known and SHARED in known]
        columns = [values[genome][name] for genome in genomes], [scores[genome] for genome in genomes]
        shared = [values[genome][SHARED] for genome in genomes]
        found.append(_correlation(name, measured, target, *columns, shared, confidence, seed))
    return sorted(found, key=lambda c: -abs(c.rho) if math.isfinite(c.rho) else 1.0)


def chosen(rows: Sequence[Row]) -> list[Correlation]:
    """The signals that the search may use before it pays for training: those of the untrained model that help at the
    first rung. Sizes are none of them: in a run where one line prevails, they tell that line from all others, and to
    weigh sizes is what the niches are for."""
    return [c for c in correlations(_searched(rows, 0)[-RECENT:], 0, 0) if c.helps and c.signal in UNTRAINED]


def screen(rows: Sequence[Row]) -> Screen | None:
    """What rejects the worst quarter of proposals before training; None while no signal helps, or while the quarter
    that would have been rejected holds more than TOLERATED of the genomes that were promoted."""
    helpful = chosen(rows)
    if not helpful:
        return None
    known = {row["genome_hash"]: signals(row) for row in _searched(rows, 0)[-RECENT:]}
    features = tuple(
        Feature(c.signal, tuple(sorted(s[c.signal] for s in known.values() if c.signal in s)), c.rho > 0)
        for c in helpful
    )
    places = {genome: Screen(features, 1.0).place(values) for genome, values in known.items()}
    limit = float(np.quantile(list(places.values()), 1 - WORST))
    promoted = {row["genome_hash"] for row in _searched(rows, 1)} & places.keys()
    lost = sum(places[genome] > limit for genome in promoted)
    return Screen(features, limit) if lost <= TOLERATED * len(promoted) else None


def signals(row: Row) -> dict[str, float]:
    """All that a row says of a genome beside its final score, by name: sizes, what was stored, and the early curve; the
    score itself is there too, as `SCORE`. What is not finite is left out."""
    stored = dict(row.get("signals") or ())
    found = {name: row[name] for name in SIZES} | early_signals(row["train_curve"] or ()) | stored
    found[SCORE] = row["val_bpb"]
    return {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _correlation(
    name: str,
    measured: int,
    target: int,
    values: list[float],
    scores: list[float],
    shared: list[float],
    confidence: float,
    seed: int,
) -> Correlation:
    if len(values) < 3:
        return Correlation(name, measured, target, len(values), math.nan, math.nan, math.nan)
    alone = name == SHARED
    rho = spearman(values, scores) if alone else partial_spearman(values, scores, shared)
    low, high = spearman_interval(values, scores, None if alone else shared, seed=seed, confidence=confidence)
    return Correlation(name, measured, target, len(values), rho, low, high)


def _searched(rows: Iterable[Row], rung: int) -> list[Row]:
    """The rows of a rung that were trained to the end and scored on validation text, with the seed that most share."""
    scored = [
        row
        for row in rows
        if row["rung"] == rung and row["status"] == "ok" and row["val_bpb"] is not None and not row.get("shared_with")
    ]
    seeds = Counter(row["seed"] for row in scored)
    return [row for row in scored if row["seed"] == max(seeds, key=lambda seed: (seeds[seed], -seed))]


def _scores(rows: Iterable[Row], rung: int) -> dict[str, float]:
    return {row["genome_hash"]: row["val_bpb"] for row in _searched(rows, rung)}
