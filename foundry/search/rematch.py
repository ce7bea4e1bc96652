"""A rematch: the winners of two runs and their tuned baselines, trained anew on fresh seeds for equal compute.

Runs confirm their winners against their own baselines, each for as long as its budget allowed. A rematch has all four
side by side: same compute, same seeds, same test text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any

from foundry.evals.statistics import Difference, paired_difference
from foundry.search.archive import Archive
from foundry.search.comparison import NotComparable, Pair
from foundry.search.panel import Wanted

ROLES = ("a", "b", "baseline_a", "baseline_b")
FIRST_SEED = 1_000_000  # beyond those of most searches; seeds that a run has used are passed over


@dataclass(frozen=True)
class Rematch:
    """What is to be trained for a pair: the text of each of `ROLES`, for `compute` flop, on `seeds`."""

    texts: Mapping[str, str]
    compute: float
    seeds: tuple[int, ...]
    data_hash: str


@dataclass(frozen=True)
class Score:
    """How a rematch ended. bits_per_byte: by role, in the order of the seeds; None where a training failed.
    lead: b's bits per byte minus a's. gain_a, gain_b: of each over its own baseline. None below two pairs."""

    compute: float
    seeds: tuple[int, ...]
    bits_per_byte: Mapping[str, tuple[float | None, ...]]
    lead: Difference | None
    gain_a: Difference | None
    gain_b: Difference | None


def rematch(pair: Pair, archives: Mapping[str, Archive], seeds: int) -> Rematch:
    """A rematch on `seeds` fresh seeds, each training as long as the longer of the two confirmations.

    archives: by folder.

    Raises:
        NotComparable: a side has no winner.
        ArchiveError: the text of a genome is lost.
    """
    for one in (pair.a, pair.b):
        if not one.winner or one.compute is None:
            raise NotComparable(f"{one.folder} {one.arm}".strip() + ": there is no winner to train again")
    used = {row["seed"] for one in (pair.a, pair.b) for row in archives[one.folder].rows()}
    texts = {
        "a": archives[pair.a.folder].genome(pair.a.winner),
        "b": archives[pair.b.folder].genome(pair.b.winner),
        "baseline_a": archives[pair.a.folder].genome(pair.a.baseline),
        "baseline_b": archives[pair.b.folder].genome(pair.b.baseline),
    }
    compute = max(one.compute for one in (pair.a, pair.b) if one.compute is not None)
    return Rematch(texts, compute, fresh_seeds(used, seeds), pair.a.run["data"]["hash"])


def fresh_seeds(used: Iterable[int], number: int) -> tuple[int, ...]:
    """Seeds that are not among `used`, the same ones whenever it is asked."""
    taken = set(used)
    return tuple(islice((seed for seed in count(FIRST_SEED) if seed not in taken), number))


def wanted(match: Rematch) -> list[Wanted]:
    """The evaluations, seed by seed, so that one that is broken off has whole pairs."""
    return [
        Wanted(match.texts[role], match.compute, seed, "test", match.data_hash)
        for seed in match.seeds
        for role in ROLES
    ]


def score(match: Rematch, values: Sequence[float | None]) -> Score:
    """The end of a rematch, from the bits per byte of what was `wanted`, in that order."""
    by_role = {role: tuple(values[index :: len(ROLES)]) for index, role in enumerate(ROLES)}
    return Score(
        match.compute,
        match.seeds,
        by_role,
        lead=_over(by_role["b"], by_role["a"]),
        gain_a=_over(by_role["baseline_a"], by_role["a"]),
        gain_b=_over(by_role["baseline_b"], by_role["b"]),
    )


def over_pairs(scores: Sequence[Score]) -> Difference | None:
    """The mean lead of a over several rematches, with Student's interval over them; None for fewer than two."""
    leads = [one.lead.mean for one in scores if one.lead is not None]
    return paired_difference(leads, [0.0] * len(leads)) if len(leads) > 1 else None


def _over(base: Sequence[float | None], other: Sequence[float | None]) -> Difference | None:
    pairs: list[Any] = [(x, y) for x, y in zip(base, other, strict=True) if x is not None and y is not None]
    return paired_difference([x for x, _ in pairs], [y for _, y in pairs]) if len(pairs) > 1 else None
