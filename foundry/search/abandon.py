"""Giving up early: the loss in training above which a genome will not be promoted, as the archive tells it.

At each checkpoint the final score is regressed on the mean training loss since the checkpoint before, over the genomes
that ran to the end at this rung with this seed. The limit is the loss from which on fewer than 2 % would still get the
score that promotion needs, by Student's prediction interval or by the residuals that were seen, whichever is wider.
Genomes that were abandoned are missing above the limit alone, which leaves a regression on the loss as it was.

Extrapolating loss curves to end hopeless runs: Domhan et al. 2015 (IJCAI), from curves that other runs left behind:
Klein et al. 2017 (ICLR).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foundry.evals.curve import Curve, mean_between
from foundry.evals.statistics import t_quantile

CHECKPOINTS = (0.25, 0.5, 0.75)  # of training
FEWEST = 12  # genomes with a score, before anything is abandoned
CHANCE = 0.02  # that what is abandoned would have been promoted
PROMOTED = 1 / 3  # of a rung

Row = Mapping[str, Any]
Limits = tuple[tuple[float, float], ...]


def limits(rows: Iterable[Row], rung: int, seed: int, threshold: float, chance: float = CHANCE) -> Limits:
    """Where to stop a genome at a rung: pairs of progress and bits per byte, as `foundry.train.loop.train` takes them.

    threshold: the score that promotion needs, see `needed`. chance: that an abandoned genome would have had it. Empty
    with fewer than FEWEST genomes to learn from; a checkpoint at which the loss says nothing has no pair of its own,
    or an infinite one.
    """
    examples = finished(rows, rung, seed)
    if len(examples) < FEWEST or not math.isfinite(threshold):
        return ()
    scores = np.array([row["val_bpb"] for row in examples])
    found = []
    for begin, end in zip((0.0, *CHECKPOINTS), CHECKPOINTS, strict=False):
        losses = np.array([mean_between(row["train_curve"], begin, end) for row in examples])
        found.append((end, _limit(losses, scores, threshold, chance)))
    return tuple(found) if any(math.isfinite(limit) for _, limit in found) else ()


def finished(rows: Iterable[Row], rung: int, seed: int) -> list[Row]:
    """The rows of a rung and seed that were trained to the end and scored on validation text, in their order."""
    return [
        row
        for row in rows
        if (row["rung"], row["seed"], row["status"]) == (rung, seed, "ok")
        and row["val_bpb"] is not None
        and not row.get("shared_with")
        and mean_between(row["train_curve"] or (), 0.0, CHECKPOINTS[-1]) is not None
    ]


def needed(scores: Sequence[float], share: float = PROMOTED) -> float:
    """The score with which one more genome would stand in the best `share` of a rung, or a place behind it; infinite
    where nobody is there yet."""
    ranked = sorted(scores)
    places = math.floor(share * (len(ranked) + 1)) + 1
    return ranked[places - 1] if places <= len(ranked) else math.inf


def _limit(losses: np.ndarray, scores: np.ndarray, threshold: float, chance: float) -> float:
    """The loss from which on a score at or below `threshold` has less than `chance`: where the lower end of the
    prediction interval of score on loss, a parabola's branch, reaches the threshold. Infinite where it never does."""
    n, spread = len(losses), float(np.var(losses) * len(losses))
    if spread <= 0:
        return math.inf
    centre, slope = losses.mean(), float((losses - losses.mean()) @ scores / spread)
    residuals = scores - scores.mean() - slope * (losses - centre)
    reach = _reach(residuals, 1 / n + (losses - centre) ** 2 / spread, chance)
    above = scores.mean() - threshold
    # (above + slope u)² = reach² (1 + 1/n + u²/spread), of which the larger u counts
    a, b, c = slope**2 - reach**2 / spread, 2 * slope * above, above**2 - reach**2 * (1 + 1 / n)
    if slope <= 0 or a <= 0:  # the slope itself is in doubt
        return math.inf
    return float(centre + (-b + math.sqrt(max(0.0, b * b - 4 * a * c))) / (2 * a))


def _reach(residuals: np.ndarray, leverages: np.ndarray, chance: float) -> float:
    """How far below its prediction a score may fall, in units of the prediction's scale: Student's quantile, or what
    was seen when each genome was predicted without itself (Allen 1974)."""
    n = len(residuals)
    sigma = math.sqrt(residuals @ residuals / (n - 2))
    left_out = np.sort(-residuals / np.sqrt(np.maximum(1 - leverages, 1e-9)))[::-1]
    seen = left_out[max(0, math.floor(chance * (n + 1)) - 1)]
    return max(sigma * t_quantile(1 - 2 * chance, n - 2), float(seen))


# What it would have done ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replay:
    """What abandonment would have done at a rung, each genome judged by those that had finished before it.

    genomes: how many. worthy: those that were promoted, or stood among the best third at the end. abandoned: how many
    would have been, `wrong` of them worthy. saved: share of the rung's compute.
    """

    rung: int
    genomes: int
    worthy: int
    abandoned: int
    wrong: int
    saved: float


def replay(rows: Sequence[Row], rung: int, seed: int) -> Replay:
    """What abandonment would have done at a rung of an archive."""
    examples = finished(rows, rung, seed)
    promoted = {row["genome_hash"] for row in rows if row["rung"] == rung + 1 and row["val_bpb"] is not None}
    last = needed([row["val_bpb"] for row in examples])
    worthy = [row["genome_hash"] in promoted or row["val_bpb"] < last for row in examples]
    stops = []
    for index, row in enumerate(examples):
        before = examples[:index]
        threshold = needed([other["val_bpb"] for other in before])
        stops.append(stopped_at(row["train_curve"], limits(before, rung, seed, threshold)))
    abandoned = [stop is not None for stop in stops]
    wrong = sum(a and w for a, w in zip(abandoned, worthy, strict=True))
    saved = sum(1 - stop for stop in stops if stop is not None)
    return Replay(rung, len(examples), sum(worthy), sum(abandoned), wrong, saved / max(1, len(examples)))


def replays(rows: Sequence[Row]) -> list[Replay]:
    """What abandonment would have done at every rung that has enough genomes, with the seed that most share."""
    found = []
    for rung in sorted({row["rung"] for row in rows}):
        seeds = Counter(row["seed"] for row in rows if row["rung"] == rung)
        seed = max(seeds, key=lambda seed: (seeds[seed], -seed))
        if len(finished(rows, rung, seed)) > FEWEST:
            found.append(replay(rows, rung, seed))
    return found


def stopped_at(curve: Curve, limits: Limits) -> float | None:
    """The progress at which a curve would have been stopped, or None."""
    begin = 0.0
    for end, limit in limits:
        mean = mean_between(curve, begin, end)
        if mean is not None and mean > limit:
            return end
        begin = end
    return None
