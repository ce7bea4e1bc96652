"""A screen: cheap signals that speak against a genome before anything is paid for training it. Standard library only.

`foundry.search.predictors.screen` builds it from an archive, of signals alone that have been seen to help there.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Feature:
    """A signal, and its values in the archive in ascending order. `higher_is_worse`: large values go with many bits."""

    signal: str
    values: tuple[float, ...]
    higher_is_worse: bool

    def place(self, value: float | None) -> float:
        """Where a value stands among those of the archive, from 0, better than all, to 1; 0.5 where there is none."""
        if value is None:
            return 0.5
        below = (bisect_left(self.values, value) + bisect_right(self.values, value)) / 2 / len(self.values)
        return below if self.higher_is_worse else 1 - below


@dataclass(frozen=True)
class Screen:
    """What rejects a genome: the mean of its places, where that is above `limit`."""

    features: tuple[Feature, ...]
    limit: float

    def place(self, signals: Mapping[str, float]) -> float:
        """The mean place of a genome, from 0 to 1."""
        return sum(feature.place(signals.get(feature.signal)) for feature in self.features) / len(self.features)

    def rejects(self, signals: Mapping[str, float]) -> str:
        """Why a genome with these signals is not worth training, or ""."""
        place = self.place(signals)
        if place <= self.limit:
            return ""
        return f"{', '.join(f.signal for f in self.features)} put it at {place:.2f} of 1, behind {self.limit:.2f}"
