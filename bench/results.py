"""The tables of docs/results.md, from the lines in docs/results.jsonl: `python bench/results.py [PAGE]`

They are printed, or put into their places in PAGE.

Differences are in bits per byte of test text, negative where the first is better, with 95 % intervals.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import rediscover

from foundry.evals.statistics import paired_difference, sign_test

ROWS = Path(__file__).parents[1] / "docs" / "results.jsonl"
Row = Mapping[str, Any]
DASH = "–"
SEARCHES = ("evolve", "random", "numbers", "text", "longer", "muon", "onward")


def interval(difference: Mapping[str, float] | None) -> str:
    """`−0.123 (−0.150 … −0.096)`, or a dash."""
    if not difference:
        return DASH
    return "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**difference).replace("-", "−")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def average(values: Sequence[float | None]) -> float:
    """Over those that are there."""
    return mean([value for value in values if value is not None] or [float("nan")])


def runs(rows: Sequence[Row]) -> str:
    """One line for each run."""
    heads = (
        "run", "children", "evaluations", "baseline", "winner", "difference", "pairs", "recipe alone",
        "architecture alone", "verdict",
    )  # fmt: skip
    return table(heads, map(_run, rows))


def _run(row: Row) -> list[str]:
    scores = {arm: average(values) for arm, values in row["test_bpb"].items() if values}
    return [
        row["name"].replace("-", " "),
        str(row["children"]),
        str(row["evaluations"]),
        f"{row['baseline']}: {scores.get('baseline', float('nan')):.3f}",
        f"{scores.get('winner', float('nan')):.3f}",
        interval(row["difference"]),
        str((row["difference"] or {}).get("n", 0)),
        interval(row["recipe_alone"]),
        interval(row["architecture_alone"]),
        row["verdict"],
    ]


def versus(a: Sequence[Row], b: Sequence[Row], rematches: Mapping[str, Row]) -> str:
    """Pairs of runs with one seed: whose winner gained more, each over its own baseline, and trained side by side."""
    kinds = (a[0]["name"].partition("-")[0], b[0]["name"].partition("-")[0])
    others = {row["name"].rpartition("-")[2]: row for row in b}
    lines, differences, leads = [], [], []
    for row in a:
        seed = row["name"].rpartition("-")[2]
        if seed not in others:
            continue
        gains = [gain(row), gain(others[seed])]
        differences.append(gains[1] - gains[0])
        again = rematches.get(seed, {}).get("again", [{}])[0].get("lead")
        if again:
            leads.append(again["mean"])
        turned = again and {"mean": -again["mean"], "low": -again["high"], "high": -again["low"]}
        cells = [f"{value:.3f}" for value in gains] + [f"{differences[-1]:+.3f}".replace("-", "−"), interval(turned)]
        lines.append([seed, *cells])
    heads = ("seed", *(f"gain of {kind}" for kind in kinds), "difference", "winners trained anew, side by side")
    told = [table(heads, lines), overall(kinds[0], "gained more", differences)]
    return "\n".join([*told, *([overall(kinds[0], "won side by side", [-lead for lead in leads])] if leads else [])])


def gain(row: Row) -> float:
    """What a run's winner saves of the bits per byte of its baseline; nothing where none was confirmed to."""
    return -row["difference"]["mean"] if row["difference"] else 0.0


def overall(first: str, what: str, differences: Sequence[float]) -> str:
    """How often the first is ahead, where that is the negative side, and by how much."""
    signs = sign_test([-difference for difference in differences])
    line = f"{first} {what} in {signs.wins} of {len(differences)} pairs (sign test p = {signs.p:.2g})"
    if len(differences) < 2:
        return line + "."
    found = paired_difference(differences, [0.0] * len(differences))
    return line + f"; mean {interval({'mean': found.mean, 'low': found.low, 'high': found.high})}."


def multipliers(rows: Sequence[Row]) -> str:
    """How much more training the baseline, and the baseline with the winner's recipe, need for the same."""
    return table(
        ("winner of", "against the tuned baseline", "against it with the winner's recipe"),
        (
            [
                _after(row["name"]),
                *(_times(row["against"].get(r)) for r in ("baseline", "control")),
            ]
            for row in rows
        ),
    )


def _after(name: str) -> str:
    """The run that was asked how much it saves."""
    kind, seed = name.removeprefix("multiplier-").rpartition("-")[::2]
    return f"{kind or 'evolve'} {seed}"


def _times(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "no score"
    if one["value"] is None:
        return f"over ×{one['tried'][1]:.2g}" if one["low"] is not None else f"under ×{one['tried'][0]:.2g}"
    low, high = ("?" if end is None else f"{end:.2f}" for end in (one["low"], one["high"]))
    return f"×{one['value']:.2f} ({low} … {high})"


def horizon(row: Row) -> str:
    """Whether short trainings rank genomes as a long one does."""
    last = row["compute"][-1]
    lines = [
        [f"{compute:.3g}", f"{last / compute:.0f}", f"{rho:.3f} ({low:.3f} … {high:.3f})"]
        for compute, (rho, low, high) in zip(row["compute"], row["spearman"], strict=False)
    ]
    return table(("flop", "times as long", f"Spearman over {row['genomes']} genomes"), lines)


def tables(rows: Sequence[Row]) -> dict[str, str]:
    """The tables of the page by the names of their places."""
    kinds: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["name"]):
        kinds.setdefault(row["name"].partition("-")[0], []).append(row)
    again = {row["name"].rpartition("-")[2]: row for row in kinds.get("compare", [])}
    found = {"runs": runs([row for kind in SEARCHES for row in kinds.get(kind, [])])}
    for other in ("random", "numbers"):
        if "evolve" in kinds and other in kinds:
            found[other] = versus(kinds["evolve"], kinds[other], again if other == "random" else {}) + "\n"
    if "multiplier" in kinds:
        found["multipliers"] = multipliers(kinds["multiplier"])
    if "rediscover" in kinds:
        fields = set(rediscover.Found.__dataclass_fields__)
        runs_of = [rediscover.Found(**{k: v for k, v in r.items() if k in fields}) for r in kinds["rediscover"]]
        found["rediscovery"] = rediscover.table(runs_of) + "\n"
    if "horizon" in kinds:
        found["horizon"] = horizon(kinds["horizon"][-1])
    return found


def written(page: str, found: Mapping[str, str]) -> str:
    """A page with each table in its place: between `<!-- table: NAME -->` and `<!-- end -->`."""

    def place(match: re.Match[str]) -> str:
        return f"<!-- table: {match[1]} -->\n\n{found.get(match[1], 'Not measured yet.' + chr(10))}\n<!-- end -->"

    return re.sub(r"<!-- table: (\w+) -->.*?<!-- end -->", place, page, flags=re.DOTALL)


def main(arguments: Sequence[str]) -> None:
    found = tables([json.loads(line) for line in ROWS.read_text("utf-8").splitlines()])
    if not arguments:
        print("\n".join(found.values()))
    for page in map(Path, arguments):
        page.write_text(written(page.read_text("utf-8"), found), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
