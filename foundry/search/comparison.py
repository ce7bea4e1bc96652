"""Runs side by side: what each gained over its own tuned baseline, pair by pair, and over all pairs.

A gain is bits per byte of test text: the best tuned baseline's minus the winner's, as the run has confirmed it, on
seeds that both share. Two runs that differ in one thing, such as the strategy, make a pair; several pairs say
whether that one thing helps. One pair says no more than which of two winners is better.

The arms of one run, the search and its control, make a pair as well. They share their baseline and their seeds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any

from foundry.evals.statistics import (
    NO_DIFFERENCE,
    Difference,
    Signs,
    paired_difference,
    sign_test,
    unpaired_difference,
    verdict,
)
from foundry.search.archive import Archive
from foundry.search.budget import Budget
from foundry.search.description import REPORTS, require
from foundry.search.history import names
from foundry.search.population import CONTROL, SEED, TUNE

SEARCH, RANDOM = "search", "control"  # the arms of a run
LEVEL = 1.25  # figures that differ by more than this factor are not the same
FAILED = ("diverged", "timeout", "out_of_memory", "crashed", "rejected", "quarantined")


class NotComparable(ValueError):
    """Runs that cannot be compared. The message is one line: which, and why."""


@dataclass(frozen=True)
class Finding:
    """What a run came to, or one arm of it.

    folder: of the run. arm: search or control; "" for the whole run. winner, baseline: genome hashes, the former ""
    where nothing was confirmed. baseline_name: what people call it.
    gain: the baseline's bits per byte minus the winner's, with the interval that the run has stored; None where it
    has none. gains, bits_per_byte: by seed, on test text. compute: flop of each of these trainings.
    evaluations: of a run, all that it has rows of; of an arm, those of its own genomes during the search. failed: how
    many of them ended without a score.
    """

    folder: str
    arm: str
    strategy: str
    seed: int
    verdict: str
    winner: str
    baseline: str
    baseline_name: str
    gain: Difference | None
    gains: Mapping[int, float]
    bits_per_byte: Mapping[int, float]
    compute: float | None
    evaluations: int
    failed: int
    run: Mapping[str, Any] = field(repr=False)

    @property
    def worth(self) -> float:
        """The mean gain; 0 where nothing was confirmed, since then the baseline is what one is left with."""
        return mean(self.gains.values()) if self.gains else 0.0


@dataclass(frozen=True)
class Pair:
    """Two findings. difference: the gain of a minus that of b, with an interval for the seeds of these two winners;
    None where one has fewer than two. remarks: how far the two do not compare."""

    a: Finding
    b: Finding
    difference: Difference | None
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Comparison:
    """Pairs, and what they say together. difference: of the mean gains, over pairs; None for a single one.
    signs: how often a is ahead."""

    pairs: tuple[Pair, ...]
    difference: Difference | None
    signs: Signs
    remarks: tuple[str, ...]


def compare_runs(runs: Sequence[tuple[Archive, Archive]]) -> Comparison:
    """Each pair of runs, and all of them.

    Raises:
        NotComparable: a run that is not over, one that stands on both sides, or two on different text.
        ArchiveError: a run folder that cannot be read.
    """
    pairs = []
    for left, right in runs:
        a, b = finding(left), finding(right)
        if a.run["run_id"] == b.run["run_id"]:
            raise NotComparable(f"{a.folder} and {b.folder} are one run; name two")
        pairs.append(_pair_of_runs(a, b))
    return _together(pairs)


def compare_arms(runs: Sequence[Archive]) -> Comparison:
    """The search of each run against its control.

    Raises:
        NotComparable: a run that is not over, or has no control.
        ArchiveError: a run folder that cannot be read.
    """
    return _together([_pair_of_arms(archive) for archive in runs])


def finding(archive: Archive, arm: str = "") -> Finding:
    """What a run came to, or one of its arms.

    Raises:
        NotComparable: the run is not over.
        ArchiveError: the run folder cannot be read.
    """
    run = archive.read_run()
    require(run, REPORTS, archive.folder / "run.json")
    result = run.get("result")
    if result is None:
        raise NotComparable(f"{archive.folder}: the run is not over; go on with it by foundry evolve --resume")
    rows = [row for row in archive.rows() if not arm or _belongs(row, arm, run)]
    role = "rival" if arm == RANDOM else "winner"
    winner, base = _by_seed(result, role), _by_seed(result, "baseline")
    gains = {seed: base[seed] - winner[seed] for seed in winner if seed in base}
    gain = _stored(result.get("rival_difference" if arm == RANDOM else "difference")) or _gain(base, winner)
    strategy = run["settings"]["strategy"]
    return Finding(
        folder=str(archive.folder),
        arm=arm,
        strategy=(run["settings"].get("control") or "random") if arm == RANDOM else strategy,
        seed=run["settings"]["seed"],
        verdict=_verdict_of_rival(gain, result) if arm == RANDOM else result["verdict"],
        winner=str(result.get(role) or ""),
        baseline=result["baseline"],
        baseline_name=names(archive).get(result["baseline"], result["baseline"][:8]),
        gain=gain,
        gains=gains,
        bits_per_byte=winner,
        compute=result.get("compute"),
        evaluations=len(rows),
        failed=sum(row["status"] in FAILED for row in rows),
        run=run,
    )


def _belongs(row: Mapping[str, Any], arm: str, run: Mapping[str, Any]) -> bool:
    """Whether an arm has paid for a row: no baseline at any learning rate, and nothing of the confirmation."""
    retuned = row["operator"] == TUNE and not set(run["baselines"].values()).isdisjoint(row["parent_hashes"])
    shared = row["operator"] in (SEED, CONTROL) or retuned or row["rung"] >= len(run["rungs"])
    return not shared and (row.get("arm") or SEARCH) == arm


def _by_seed(result: Mapping[str, Any], role: str) -> dict[int, float]:
    scores = result.get("test_bpb", {}).get(role, ())
    return {seed: value for seed, value in zip(result.get("seeds", ()), scores, strict=False) if value is not None}


def _gain(base: Mapping[int, float], other: Mapping[int, float]) -> Difference | None:
    """How much less bits per byte `other` needs than `base`, over the seeds of both."""
    seeds = [seed for seed in base if seed in other]
    return paired_difference([base[s] for s in seeds], [other[s] for s in seeds]) if len(seeds) > 1 else None


def _stored(difference: Mapping[str, Any] | None) -> Difference | None:
    """A run's own winner minus baseline, turned into a gain; a bound that it lacks is infinite."""
    if not difference:
        return None
    low, high = (difference.get(name) for name in ("low", "high"))
    return Difference(
        mean=-difference["mean"],
        low=-math.inf if high is None else -high,
        high=math.inf if low is None else -low,
        p=math.nan if difference.get("p") is None else difference["p"],
        freedom=math.nan if difference.get("freedom") is None else difference["freedom"],
        n=difference["n"],
    )


def _verdict_of_rival(gain: Difference | None, result: Mapping[str, Any]) -> str:
    """What the run would say of its control's winner, by the rule by which it judges its own."""
    sigma = result.get("sigma")
    if gain is None or sigma is None:
        return NO_DIFFERENCE
    return verdict(Difference(-gain.mean, -gain.high, -gain.low, gain.p, gain.freedom, gain.n), sigma)


# ---- pairs -----------------------------------------------------------------------------------------------------------


def _pair_of_runs(a: Finding, b: Finding) -> Pair:
    """Two runs; their gains are unpaired, since each has its own baseline and trains for its own length."""
    if a.run["data"]["hash"] != b.run["data"]["hash"]:
        raise NotComparable(
            f"{a.folder} and {b.folder} are on different text ({a.run['data']['name']}, {b.run['data']['name']}; "
            "the hashes of their data differ): bits per byte of one mean nothing for the other"
        )
    enough = min(len(a.gains), len(b.gains)) > 1
    difference = unpaired_difference(list(a.gains.values()), list(b.gains.values())) if enough else None
    return Pair(a, b, difference, (*_unlike(a, b), *_remarks(a), *_remarks(b)))


def _pair_of_arms(archive: Archive) -> Pair:
    a, b = finding(archive, SEARCH), finding(archive, RANDOM)
    if not a.run["result"].get("rival") and not a.run["settings"].get("control"):
        raise NotComparable(f"{archive.folder}: the run has no control arm (evolve --control random); name two runs")
    lead = _stored(a.run["result"].get("against_rival")) or _gain(b.bits_per_byte, a.bits_per_byte)
    return Pair(a, b, lead, (*_remarks(a), *_remarks(b)))


def _remarks(one: Finding) -> list[str]:
    """What to know of one finding."""
    name = f"{one.folder} {one.arm}".strip()
    out = []
    if not one.winner:
        out.append(f"{name}: found nothing to confirm; its gain counts as 0")
    elif not one.gains:
        out.append(f"{name}: its winner has no score on test text; its gain counts as 0")
    if one.run["state"] == "stopped":
        out.append(f"{name}: was stopped before its budget was spent")
    if one.run.get("rounds"):
        out.append(f"{name}: was confirmed {one.run['rounds'] + 1} times; the last time counts")
    return out


def _unlike(a: Finding, b: Finding) -> list[str]:
    """In what two runs differ that should be alike: a gain may come from that."""
    left, right = _conditions(a), _conditions(b)
    unlike = [f"{what}: {left[what]} against {right[what]}" for what in left if left[what] != right[what]]
    for what in ("baselines", "versions"):
        mine, theirs = a.run[what], b.run[what]
        if differing := sorted(n for n in mine.keys() | theirs.keys() if mine.get(n) != theirs.get(n)):
            unlike.append(f"{what}: not the same {', '.join(differing)}")
    for what, x, y in (
        ("speed of the machine, flop/s", a.run.get("speed"), b.run.get("speed")),
        ("compute of an evaluation in confirmation, flop", a.compute, b.compute),
    ):
        if x and y and max(x, y) > LEVEL * min(x, y):
            unlike.append(f"{what}: {x:.2g} against {y:.2g}")
    return unlike


def _conditions(one: Finding) -> dict[str, str]:
    run = one.run
    settings = run["settings"]
    return {
        "budget": str(Budget(**settings["budget"])),
        "workers": str(settings["workers"]),
        "seed": str(settings["seed"]),
        "rungs": " ".join(f"{rung['compute']:.3g}" for rung in run["rungs"]) + " flop",
        "memory for an evaluation": f"{settings.get('memory', 0) >> 20} MiB",
    }


# ---- all pairs -------------------------------------------------------------------------------------------------------


def _together(pairs: Sequence[Pair]) -> Comparison:
    """Student's interval over pairs of runs, whose spread holds the luck of a search beside that of an evaluation."""
    a, b = [pair.a.worth for pair in pairs], [pair.b.worth for pair in pairs]
    difference = paired_difference(a, b) if len(pairs) > 1 else None
    return Comparison(
        tuple(pairs), difference, sign_test(x - y for x, y in zip(a, b, strict=True)), tuple(_mixed(pairs))
    )


def _mixed(pairs: Sequence[Pair]) -> list[str]:
    """In what the pairs differ among each other."""
    out = []
    for side in ("a", "b"):
        kinds = sorted({getattr(pair, side).strategy for pair in pairs})
        if len(kinds) > 1:
            out.append(f"side {side.upper()} mixes strategies: {', '.join(kinds)}")
    texts = sorted({pair.a.run["data"]["name"] for pair in pairs})
    if len({pair.a.run["data"]["hash"] for pair in pairs}) > 1:
        out.append(f"pairs on different text: {', '.join(texts)}; the mean is over them")
    ids = [
        one.run["run_id"]
        for pair in pairs
        for one in ({pair.a.run["run_id"]: pair.a, pair.b.run["run_id"]: pair.b}).values()
    ]
    if len(set(ids)) < len(ids):
        out.append("one run stands in several pairs: the pairs are not independent, and the interval is too narrow")
    return out
