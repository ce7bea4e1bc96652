"""The verdict of a run in words and rows, from run.json and the archive."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from foundry.evals.statistics import CONFIRMED, WORSE
from foundry.search.archive import Archive
from foundry.search.history import names
from foundry.search.population import CONTROL, SEED, TUNE
from foundry.search.tune import learning_rate

ROLES = {
    "winner": "winner",
    "baseline": "best tuned baseline",
    "control": "baseline with the winner's recipe",
    "rival": "best of the random control",
}


@dataclass(frozen=True)
class Arm:
    """One row of the confirmation: a role, its genome, its test bits per byte by seed (None where an
    evaluation is missing or failed), their mean, and the genome's learning rate."""

    role: str
    name: str
    genome_hash: str
    scores: tuple[float | None, ...]
    mean: float | None
    learning_rate: float


def sentence(archive: Archive) -> str:
    """What the run has shown, in one sentence with its numbers."""
    run = archive.read_run()
    result = run.get("result")
    if result is None:
        return "This run is not over: it has no verdict yet."
    if not result["winner"]:
        return "No confirmed improvement: the search ended with nothing to confirm."
    baseline = names(archive).get(result["baseline"], result["baseline"])
    difference = result["difference"]
    if difference is None:
        return f"No confirmed improvement: confirmation against {baseline} ended before there were two pairs."
    facts = f"(95 % interval {bounds(difference)}, {difference['n']} paired seeds, test text)"
    amount = f"{abs(difference['mean']):.3f} bits per byte"
    direction = "less" if difference["mean"] < 0 else "more"
    comparison = f"the winner needs {amount} {direction} than the best tuned baseline, {baseline} {facts}"
    if result["verdict"] == CONFIRMED:
        return f"Confirmed: {comparison}."
    if result["verdict"] == WORSE:
        return f"Worse: {comparison}."
    return f"No difference shown: {comparison}."


def against_random(archive: Archive) -> str:
    """How the winner stands against the best that the control arm drew at random with an equal share; "" without."""
    result = archive.read_run().get("result") or {}
    difference = result.get("against_rival")
    if not difference:
        return ""
    facts = f"{bounds(difference)}, {difference['n']} paired seeds"
    if difference["high"] is not None and difference["high"] < 0:
        return f"The search beats random search of equal cost by {abs(difference['mean']):.3f} bits per byte ({facts})."
    if difference["low"] is not None and difference["low"] > 0:
        return f"Random search of equal cost found better, by {difference['mean']:.3f} bits per byte ({facts})."
    return f"The search is not shown to beat random search of equal cost ({signed(difference['mean'])}; {facts})."


def picking(archive: Archive) -> str:
    """How the winner was picked, which says what the interval stands for."""
    run, rows = archive.read_run(), archive.rows()
    result, plan = run.get("result") or {}, run.get("confirmation") or {}
    if not result.get("winner"):
        return ""
    tried = len({row["genome_hash"] for row in rows if _is_child(row, set(run["baselines"].values()))})
    finalists = len(plan.get("finalists", ()))
    told = (
        f"The winner was picked from {tried} genomes by validation text alone, through {finalists} "
        f"finalist{'' if finalists == 1 else 's'}. The seeds of this comparison are fresh and nothing else was "
        "scored on test text, so picking does not flatter the interval, which holds whenever one stops looking."
    )
    if run.get("rounds"):
        told += f" It is the {_ordinal(run['rounds'] + 1)} confirmation of this run, and the interval allows for that."
    return told


def _is_child(row: Mapping[str, Any], baselines: set[str]) -> bool:
    """Whether a row is of a genome that the search made: no baseline at any learning rate, no control."""
    retuned = row["operator"] == TUNE and not baselines.isdisjoint(row["parent_hashes"])
    return not (row["operator"] in (SEED, CONTROL) or retuned)


def arms(archive: Archive) -> list[Arm]:
    """The rows of the confirmation, those that have a genome."""
    result = archive.read_run().get("result") or {}
    known = names(archive)
    out = []
    for role in ROLES:
        genome_hash = result.get(role)
        if genome_hash and "test_bpb" in result:
            scores = tuple(result["test_bpb"].get(role, ()))
            good = [score for score in scores if score is not None]
            mean = sum(good) / len(good) if good else None
            rate = learning_rate(archive.genome(genome_hash))
            out.append(Arm(role, known.get(genome_hash, genome_hash), genome_hash, scores, mean, rate))
    return out


def bounds(difference: Mapping[str, Any]) -> str:
    """An interval as `−0.110 … −0.050`; open where it has no finite end."""
    return f"{signed(difference['low'])} … {signed(difference['high'])}"


def signed(value: float | None) -> str:
    """A difference with its sign, three decimals."""
    return "?" if value is None else f"{value:+.3f}".replace("-", "−")


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"{number}th")
