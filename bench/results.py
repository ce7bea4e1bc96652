"""A table of finished runs, for docs/results.md: `python bench/results.py RUN...`

One row per run: what was searched, the verdict on test text with its interval, and how much of the gain the winner's
recipe and its architecture each bring. Differences are in bits per byte, negative where the first is better.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

from foundry.search.archive import Archive
from foundry.search.history import names

HEAD = (
    "| strategy, seed | evaluations (failed) | baseline, bits per byte | winner, bits per byte "
    "| difference, 95 % interval | pairs | recipe alone | architecture alone | verdict | seconds |"
)


def interval(difference: dict | None) -> str:
    """`−0.123 (−0.150 … −0.096)`, or a dash."""
    if not difference:
        return "–"
    return "{mean:+.3f} ({low:+.3f} … {high:+.3f})".format(**difference).replace("-", "−")


def row(folder: Path) -> str:
    """The line of one run."""
    archive = Archive(folder)
    run, rows = archive.read_run(), archive.rows()
    result, settings = run["result"], run["settings"]
    failed = sum(Counter(r["status"] for r in rows if r["status"] != "ok").values())
    scores = {arm: [v for v in values if v is not None] for arm, values in result["test_bpb"].items()}
    means = {arm: sum(values) / len(values) for arm, values in scores.items() if values}
    baseline = names(archive).get(result["baseline"], "–")
    cells = [
        f"{settings['strategy']}, {settings['seed']}",
        f"{len(rows)} ({failed})",
        f"{baseline}: {means.get('baseline', float('nan')):.3f}",
        f"{result['winner'][:8]}: {means.get('winner', float('nan')):.3f}",
        interval(result["difference"]),
        str((result["difference"] or {}).get("n", 0)),
        interval(result["recipe_alone"]),
        interval(result["architecture_alone"]),
        result["verdict"],
        f"{sum(s['seconds'] for s in run['sessions']):.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    print(HEAD)
    print("|---" * HEAD.count(" | ") + "|---|")
    for folder in sys.argv[1:]:
        print(row(Path(folder)))
