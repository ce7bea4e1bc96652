"""Variety: niches over what matters to users, Pareto selection among unlike genomes, and islands.

Niches keep the best genome of every kind (MAP-Elites, Mouret & Clune 2015, 1504.04909); Pareto ranks with
crowding let a cheaper or a calmer genome have children although another one scores better (NSGA-II, Deb et
al. 2002); islands keep many workers from all following one leader (Whitley et al. 1999).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

Niche = tuple[int | None, int | None, str]

COMPUTE_BINS = 2  # for each doubling of the compute per token
CACHE_BINS = 1  # for each doubling of the cache per token
WORKERS = 8  # that share an island
EPOCH = 20  # proposals of an island, after which its next one takes its parents from a neighbour


def niche(compute_per_token: float | None, cache_bytes_per_token: float | None, family: str) -> Niche:
    """The niche of a genome: bins of what it costs, on logarithmic scales, and its family of sequence mixers.

    compute_per_token: flop of training. cache_bytes_per_token: of a decoder. None: unknown, a bin of its own.
    A cache of nothing is bin −1.
    """
    compute = None if not compute_per_token else math.floor(COMPUTE_BINS * math.log2(compute_per_token))
    if cache_bytes_per_token is None:
        return compute, None, family
    cache = -1 if cache_bytes_per_token < 1 else math.floor(CACHE_BINS * math.log2(cache_bytes_per_token))
    return compute, cache, family


# Pareto selection ---------------------------------------------------------------------------------------------------


def ranks(objectives: Sequence[Sequence[float | None]]) -> list[int]:
    """The non-dominated rank of each point, 0 for those that none beats; less of every objective is better.

    A point dominates another if it is nowhere worse and somewhere better. None, where an objective is unknown,
    stands for the middle of what is known.
    """
    points = _filled(objectives)
    worse = np.any(points[:, None, :] > points[None, :, :], axis=2)  # (N, N): i is somewhere worse than j
    dominates: np.ndarray = ~worse & worse.T
    out = np.full(len(points), -1)
    rank = 0
    while (left := out < 0).any():
        front = left & ~dominates[left].any(axis=0)
        out[front] = rank
        rank += 1
    return out.tolist()


def crowding(objectives: Sequence[Sequence[float | None]]) -> list[float]:
    """How far each point is from its neighbours, summed over objectives, each as a share of its range.

    Infinite for those at the ends. To be compared among points of one rank alone.
    """
    points = _filled(objectives)
    out = np.zeros(len(points))
    for values in points.T:
        span = values.max() - values.min() if len(values) else 0.0
        if not span:
            continue
        order = np.argsort(values, kind="stable")
        out[order[0]] = out[order[-1]] = math.inf
        out[order[1:-1]] += (values[order[2:]] - values[order[:-2]]) / span
    return out.tolist()


def pareto_order(objectives: Sequence[Sequence[float | None]]) -> list[int]:
    """The places of all points, 0 the best: by rank, and within a rank the least crowded first."""
    points = _filled(objectives).tolist()
    rank = ranks(points)
    room = [0.0] * len(rank)
    for level in set(rank):
        members = [index for index, value in enumerate(rank) if value == level]
        for index, value in zip(members, crowding([points[index] for index in members]), strict=True):
            room[index] = value
    order = sorted(range(len(rank)), key=lambda index: (rank[index], -room[index], index))
    places = [0] * len(order)
    for place, index in enumerate(order):
        places[index] = place
    return places


def _filled(objectives: Sequence[Sequence[float | None]]) -> np.ndarray:
    """(points, objectives) without gaps: what is unknown is the median of its objective, 0 where all of it is."""
    points = np.array([[math.nan if value is None else value for value in point] for point in objectives], float)
    points = points.reshape(len(objectives), len(objectives[0]) if objectives else 0)
    for column in points.T:
        unknown = np.isnan(column)
        if unknown.any():
            column[unknown] = np.median(column[~unknown]) if not unknown.all() else 0.0
    return points


def sensitivity(scores: Mapping[float, float]) -> float | None:
    """How much a genome minds its learning rate: bits per byte per factor of e away from the best rate, the mean
    over the others tried. `scores`: bits per byte by rate, at one rung and seed. None with fewer than two rates.

    Sensitivity at small scale foretells instability at large scale: Wortsman et al. 2023, 2309.14322.
    """
    if len(scores) < 2:
        return None
    best = min(scores, key=lambda rate: (scores[rate], rate))
    slopes = [(score - scores[best]) / abs(math.log(rate / best)) for rate, score in scores.items() if rate != best]
    return sum(slopes) / len(slopes)


# Islands ------------------------------------------------------------------------------------------------------------


def islands(workers: int) -> int:
    """How many islands a run with so many workers has."""
    return max(1, workers // WORKERS)


def island_of(genome_hash: str, number: int, count: int) -> int:
    """The island of a proposal's child; by its hash where the number of its proposal is unknown, −1."""
    return (number if number >= 0 else zlib.crc32(genome_hash.encode())) % count


def homeland(number: int, count: int) -> int:
    """The island from which proposal `number` takes its parents: its own, and after every epoch a neighbour's.

    Which neighbour changes with the epoch, so that what is good reaches every island.
    """
    own, turn = number % count, number // count
    if count == 1 or turn % EPOCH or not turn:
        return own
    return (own + 1 + (turn // EPOCH - 1) % (count - 1)) % count
