"""The smallest genome that keeps a winner's gain, by backward elimination of what changed from its baseline.

Every edit is taken back alone. Those whose absence is not worse, beyond the noise of the pairs, are dropped together,
or the least worthy half of them, and so on, as long as what is left is not worse than the winner; then the remaining
ones are taken back alone again, until each is needed. What is left is compared with the winner on fresh seeds, since
the seeds that chose it flatter it. All scores are on validation text.

Each figure is in bits per byte that something saves: positive is better.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, variance
from typing import Any

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.evals.statistics import Difference, student_interval
from foundry.search.edits import Edit, Edits
from foundry.search.population import SEED, TUNE
from foundry.search.study import Scores, Study, Wanted

LOSS = 0.1  # of the gain may be lost in all, or the error of a mean over the seeds where that is more


@dataclass(frozen=True)
class Worth:
    """What an edit saves, by taking it back alone; None: what is left without it has no score, or no budget."""

    edit: Edit
    saves: Difference | None


@dataclass(frozen=True)
class Minimal:
    """What is left of a winner.

    edits: what it still has over its baseline, the worthiest first. dropped: what it no longer has.
    gain, full_gain: of it and of the winner over the baseline, on fresh seeds; loss: the winner's lead over it.
    None where a score is missing. complete: whether there was budget for all of it.
    """

    text: str
    edits: tuple[Worth, ...]
    dropped: tuple[Edit, ...]
    gain: Difference | None = None
    full_gain: Difference | None = None
    loss: Difference | None = None
    complete: bool = True

    @property
    def keeps(self) -> bool:
        """Whether it keeps the winner's gain, as far as the fresh seeds tell: that the winner leads is not shown."""
        return not self.dropped or (self.loss is not None and self.loss.low <= 0)


def as_data(result: Minimal) -> dict[str, Any]:
    """A result as plain data; every figure in bits per byte saved."""

    def plain(saved: Difference | None) -> dict[str, float] | None:
        return None if saved is None else {"mean": saved.mean, "low": saved.low, "high": saved.high, "n": saved.n}

    return {
        "genome_hash": canonical_hash(load_program(result.text)),
        "edits": [{"changes": list(one.edit.changes), "saves": plain(one.saves)} for one in result.edits],
        "dropped": [list(edit.changes) for edit in result.dropped],
        "gain": plain(result.gain),
        "full_gain": plain(result.full_gain),
        "loss": plain(result.loss),
        "keeps": result.keeps,
        "complete": result.complete,
    }


def baseline_of(rows: Sequence[Mapping[str, Any]], winner: str, best: str) -> str:
    """The genome whose changes made a winner: the baseline that its line of first parents begins with, at the learning
    rate that the run found for it; `best`, the best tuned baseline, where that is of another kind than any ancestor.

    rows: of an archive.
    """
    parents = {row["genome_hash"]: row["parent_hashes"] for row in rows}
    made = {row["genome_hash"]: row["operator"] for row in rows}
    root = winner
    while parents.get(root) and made.get(root) != SEED:
        root = parents[root][0]
    if made.get(root) != SEED or root == (parents.get(best) or [best])[0]:
        return best
    reached = {
        row["genome_hash"]: (-row["rung"], row["val_bpb"])
        for row in sorted(rows, key=lambda row: row["rung"])
        if row["val_bpb"] is not None and row["status"] == "ok"
        if row["genome_hash"] == root or (row["operator"] == TUNE and row["parent_hashes"][0] == root)
    }
    return min(reached, key=lambda genome_hash: reached[genome_hash], default=root)


def minimise(changes: Edits, compute: float, seeds: Sequence[int], data: str = "") -> Study[Minimal]:
    """A study that reduces `changes.result` towards `changes.base`; each evaluation trains for `compute` flop.

    seeds: at least two for the choice; as many that follow the largest of them are for the comparison. Wants, for e
    edits, about (e + 2) · seeds evaluations in the first round, fewer in the next ones, and 3 · seeds in the end.

    Raises:
        GenomeError: one of the two genomes has errors.
        ValueError: fewer than two seeds.
    """
    if len(seeds) < 2:
        raise ValueError("worth needs at least two seeds")
    trial = _Trial(changes, compute, tuple(seeds), data)
    complete = yield from trial.rounds()
    fresh = tuple(max(seeds) + 1 + number for number in range(len(seeds)))
    last = _Trial(changes, compute, fresh, data)
    if complete:
        complete = yield from last.measure([changes.base, changes.result, trial.text])
    last.pairs |= {(trial.text, changes.base), (changes.result, changes.base), (changes.result, trial.text)}
    return Minimal(
        text=trial.text,
        edits=trial.worths(),
        dropped=tuple(edit for edit in changes.edits if edit in trial.dropped),
        gain=last.saves(trial.text, changes.base),
        full_gain=last.saves(changes.result, changes.base),
        loss=last.saves(changes.result, trial.text),
        complete=complete,
    )


@dataclass
class _Trial:
    """What has been measured so far, and what has been dropped."""

    changes: Edits
    compute: float
    seeds: tuple[int, ...]
    data: str
    dropped: frozenset[Edit] = frozenset()
    scores: dict[str, Scores] = field(default_factory=dict)
    pairs: set[tuple[str, str]] = field(default_factory=set)  # the comparisons that say what the noise is

    @property
    def text(self) -> str:
        """The genome as it is now."""
        text = self.changes.without(self.dropped)
        assert text is not None  # it was measured
        return text

    @property
    def left(self) -> list[Edit]:
        return [edit for edit in self.changes.edits if edit not in self.dropped]

    def measure(self, texts: Iterable[str | None]) -> Generator[Sequence[Wanted], Scores | None, bool]:
        """Have some genomes evaluated on all seeds; whether there was budget for it."""
        new = [text for text in dict.fromkeys(texts) if text is not None and text not in self.scores]
        if not new:
            return True
        found = yield [Wanted(text, self.compute, seed, data=self.data) for text in new for seed in self.seeds]
        if found is None:
            return False
        count = len(self.seeds)
        self.scores.update({text: found[index * count : (index + 1) * count] for index, text in enumerate(new)})
        return True

    def rounds(self) -> Generator[Sequence[Wanted], Scores | None, bool]:
        """Drop what brings nothing, round by round; whether there was budget for it."""
        start = [self.changes.base, self.changes.result]
        while True:
            alone = [self.changes.without(self.dropped | {edit}) for edit in self.left]
            if not (yield from self.measure([*start, *alone])):
                return False
            self.pairs |= {(self.text, text) for text in alone if text is not None}
            idle = [worth.edit for worth in reversed(self.worths()) if worth.saves and worth.saves.low <= 0]
            while idle:
                text = self.changes.without(self.dropped.union(idle))
                if not (yield from self.measure([text])):
                    return False
                if text is not None and self.keeps(text):
                    break
                idle = idle[: len(idle) // 2]
            if not idle:
                return True
            self.dropped = self.dropped.union(idle)

    def worths(self) -> tuple[Worth, ...]:
        """What each remaining edit saves, as far as it was measured; the worthiest first."""
        found = []
        for edit in self.left:
            text = self.changes.without(self.dropped | {edit})
            found.append(Worth(edit, None if text is None else self.saves(self.text, text)))
        return tuple(sorted(found, key=lambda w: -math.inf if w.saves is None else -w.saves.mean))

    def keeps(self, text: str) -> bool:
        """Whether a genome is not worse than the winner, nor loses more than its share of the gain."""
        loss, gain = self.saves(self.changes.result, text), self.saves(self.changes.result, self.changes.base)
        if loss is None:
            return False
        allowed = max(LOSS * gain.mean if gain else 0.0, self.deviation()[0] / math.sqrt(len(self.seeds)))
        return loss.low <= 0 and loss.mean <= allowed

    def saves(self, better: str, worse: str) -> Difference | None:
        """How many bits per byte one genome saves against another, with a 95 % interval by the pooled noise."""
        differences = self.differences(better, worse)
        if differences is None:
            return None
        deviation, freedom = self.deviation()
        n = len(differences)
        return student_interval(mean(differences), deviation / math.sqrt(n), freedom, n)

    def deviation(self) -> tuple[float, int]:
        """The standard deviation of a paired difference over seeds, pooled over all comparisons, and its freedom.

        Few seeds say little about one comparison's noise, and many comparisons of relatives say much about theirs.
        """
        groups = [d for pair in self.pairs if (d := self.differences(*pair)) is not None]
        freedom = sum(len(group) - 1 for group in groups)
        squares = sum(variance(group) * (len(group) - 1) for group in groups)
        return (math.sqrt(squares / freedom) if freedom else 0.0), max(freedom, 1)

    def differences(self, better: str, worse: str) -> list[float] | None:
        """What the first saves against the second, seed by seed; None where a score is missing."""
        if better == worse:
            return None
        pairs = zip(self.scores.get(worse, ()), self.scores.get(better, ()), strict=False)
        found = [a - b for a, b in pairs if a is not None and b is not None]
        return found if len(found) == len(self.seeds) else None
