"""What a campaign counts: small counters that workers send home and that add up."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field, fields

from foundry.testing.coverage import Coverage

SLOWEST = 12  # cases that are remembered


@dataclass
class Tally:
    """Counts of a campaign or of a part of one.

    origins: genomes by what drew them; checked, built, ran: genomes that the properties of text met, that became a
    module, and that gave logits. texts: arbitrary texts. cases, skipped, failed, seconds: by property; a failed or
    a skipped case is a case. why: reasons for skipping, by `property: reason`. coverage: the primitives and the pairs
    of them that the genomes have. slowest: (seconds, property, origin). Seconds are of processor time.
    """

    origins: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)  # checked, built, ran, texts
    cases: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    seconds: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    coverage: Coverage = field(default_factory=Coverage)
    slowest: list[tuple[float, str, str]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Count what another has counted."""
        for f in fields(self):
            if isinstance(getattr(self, f.name), Counter):
                getattr(self, f.name).update(getattr(other, f.name))
        self.coverage.merge(other.coverage)
        self.slowest = heapq.nlargest(SLOWEST, self.slowest + other.slowest)

    def took(self, name: str, origin: str, seconds: float) -> None:
        """One case of a property took so long."""
        self.cases[name] += 1
        self.seconds[name] += seconds  # type: ignore[assignment]
        if len(self.slowest) < SLOWEST or seconds > self.slowest[-1][0]:
            self.slowest = heapq.nlargest(SLOWEST, [*self.slowest, (seconds, name, origin)])
