"""What the lead of a search's best genome is worth, since it was picked as the best of many on the very scores that
say it leads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundry.evals.statistics import Difference, expected_best, lead_of_best
from foundry.search.noise import Noise, noise_by_rung
from foundry.search.population import CONTROL, SEARCH_ARM, TUNE

Row = Mapping[str, Any]


@dataclass(frozen=True)
class PickedLead:
    """The best child of a rung against the best baseline there, at whatever learning rate, on the seed that ranks.

    picked_from: children with a score there. lead: child minus baseline in bits per byte of validation text, with an
    interval that allows for picking. luck: how much the best of as many equal genomes would seem to lead by.
    """

    rung: int
    child: str
    baseline: str
    picked_from: int
    lead: Difference
    luck: float

    @property
    def sentence(self) -> str:
        """The lead in words."""
        low, high = (f"{value:+.3f}".replace("-", "−") for value in (self.lead.low, self.lead.high))
        ahead = f"{abs(self.lead.mean):.3f} bits per byte {'ahead of' if self.lead.mean < 0 else 'behind'}"
        return (
            f"{self.child[:8]} is {ahead} the best baseline; picked as the best of {self.picked_from}, that is "
            f"{low} … {high} (95 %), and luck alone would seem to lead by {self.luck:.3f}"
        )


def picked_leads(rows: Sequence[Row], baselines: Iterable[str]) -> list[PickedLead]:
    """The lead at every rung of the search at which both sides have scores and the noise is known, the first rung
    first. Where a rung's own noise was not measured, that of the next shorter one stands in, which is larger.

    baselines: hashes of the genomes that the search started from.
    """
    origins = set(baselines)
    origins |= {
        row["genome_hash"] for row in rows if row["operator"] == TUNE and not origins.isdisjoint(row["parent_hashes"])
    }
    noises = [noise for noise in noise_by_rung(rows, _seeds(rows)) if noise.split == "validation"]
    found = []
    for rung, seed in sorted(_seeds(rows).items()):
        scores = _scores(rows, rung, seed)
        ours = {h: score for h, score in scores.items() if h not in origins}
        theirs = {h: score for h, score in scores.items() if h in origins}
        noise = _noise_at(noises, rung)
        if ours and theirs and noise is not None:
            child, baseline = min(ours, key=lambda h: ours[h]), min(theirs, key=lambda h: theirs[h])
            lead = lead_of_best(ours[child] - theirs[baseline], noise.sigma, noise.freedom, len(ours))
            luck = expected_best(len(ours), noise.sigma)
            found.append(PickedLead(rung, child, baseline, len(ours), lead, luck))
    return found


def _seeds(rows: Sequence[Row]) -> dict[int, int]:
    """The seed that most genomes share at each rung of the search."""
    counts: dict[int, Counter[int]] = {}
    for row in rows:
        if row["test_bpb"] is None and row["val_bpb"] is not None:
            counts.setdefault(row["rung"], Counter())[row["seed"]] += 1
    return {rung: seeds.most_common(1)[0][0] for rung, seeds in counts.items()}


def _scores(rows: Iterable[Row], rung: int, seed: int) -> dict[str, float]:
    """The score of each genome of the search at a rung."""
    return {
        row["genome_hash"]: row["val_bpb"]
        for row in rows
        if (row["rung"], row["seed"], row["status"]) == (rung, seed, "ok") and row["val_bpb"] is not None
        if row["operator"] != CONTROL and (row.get("arm") or SEARCH_ARM) == SEARCH_ARM
    }


def _noise_at(noises: Sequence[Noise], rung: int) -> Noise | None:
    """The noise of a rung, or of the longest one below it that has any."""
    return max((noise for noise in noises if noise.rung <= rung), key=lambda noise: noise.rung, default=None)
