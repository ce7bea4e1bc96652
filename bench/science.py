"""The runs behind docs/results.md, one after another: `python bench/science.py FOLDER [--text PATH] [NAME…]`.

    evolve-S, random-S, numbers-S    ten minutes each: the search, random search, Optuna on the baselines' numbers
    text-S                           ten minutes of the search on another text, which --text names
    longer-S                         half an hour of the search
    muon-S                           ten minutes from the hybrid with Muon alone, so that architecture is what is left
    onward-S                         ten minutes from the winners of all evolve-S
    compare-S                        the winners of evolve-S and random-S, trained anew side by side
    multiplier-S                     how much training the winner of evolve-S saves
    multiplier-KIND-S                the same of another run's winner; of muon-S and onward-S against evolve-S's

Most take about ten minutes of all cores, so nothing else should run beside them. What is finished is not done again,
and what was stopped goes on. Every experiment leaves one line in docs/results.jsonl: its command, figures, seeds,
machine and versions.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from shutil import copy
from typing import Any

from foundry.dsl.source import resource
from foundry.search.archive import Archive
from foundry.search.history import names

ROWS = Path(__file__).parents[1] / "docs" / "results.jsonl"
BUDGET, LONG = "10min", "30min"
ATTEMPTS = ("longer", "muon", "onward")  # at larger multipliers
SEEDS = {"evolve": range(5), "random": range(5), "numbers": range(3), "text": range(3)}
SEEDS |= {kind: range(1) for kind in ATTEMPTS}
AFTER = {"compare": range(5), "multiplier": range(5)}  # what is asked of finished runs
AFTER |= {f"multiplier-{kind}": range(1) for kind in ATTEMPTS}
MUON = "muon(lr = 0.02, decay = 0.03, adamw_lr = 5e-3)"  # its rate is tuned like any baseline's
AGAIN = 5  # seeds of a comparison


def experiments() -> list[str]:
    """The names of all experiments, paired ones next to each other."""
    runs = [f"{kind}-{seed}" for seed in range(5) for kind in SEEDS if seed in SEEDS[kind]]
    return runs + [f"{kind}-{seed}" for kind in AFTER for seed in AFTER[kind]]


def command(name: str, folder: Path, text: str) -> list[str]:
    """The arguments of `foundry` for an experiment.

    Raises:
        SystemExit: it needs a text that was not named.
    """
    kind, seed = name.rsplit("-", 1)
    if kind in ("multiplier", "multiplier-longer"):
        return ["multiplier", str(folder / f"{kind.partition('-')[2] or 'evolve'}-{seed}"), "--json"]
    if kind.startswith("multiplier-"):
        winner = folder / f"{kind.partition('-')[2]}-{seed}" / "best.genome"
        return ["multiplier", str(folder / f"evolve-{seed}"), "--of", str(winner), "--json"]
    if kind == "compare":
        rivals = [str(folder / f"{strategy}-{seed}") for strategy in ("evolve", "random")]
        return ["compare", *rivals, "--again", str(AGAIN), "--out", str(folder / name), "--json"]
    if (folder / name / "run.json").exists():
        return ["evolve", "--resume", str(folder / name)]
    if kind == "text" and not text:
        raise SystemExit("say which other text: --text PATH")
    hows = {"text": ["--data", text], "random": ["--strategy", kind], "numbers": ["--strategy", kind]}
    how = hows.get(kind, []) + [part for start in starts(kind, folder) for part in ("--baseline", str(start))]
    budget = LONG if kind == "longer" else BUDGET
    return ["evolve", "--budget", budget, "--seed", seed, *how, "--out", str(folder / name)]


def starts(kind: str, folder: Path) -> list[Path]:
    """The genomes from which a run begins; none: the shipped ones."""
    if kind == "onward":
        winners = {seed: folder / f"evolve-{seed}" / "best.genome" for seed in SEEDS["evolve"]}
        return [Path(copy(winner, folder / f"winner_{seed}.genome")) for seed, winner in winners.items()]
    if kind != "muon":
        return []
    start = folder / "hybrid_muon.genome"
    start.write_text(re.sub(r"adamw\(.*\)", MUON, resource("genomes", "hybrid.genome")), encoding="utf-8")
    return [start]


def done() -> dict[str, dict[str, Any]]:
    """The lines that are there, by experiment."""
    lines = ROWS.read_text("utf-8").splitlines() if ROWS.exists() else []
    return {row["name"]: row for row in map(json.loads, lines)}


def summary(folder: Path) -> dict[str, Any]:
    """What a finished run has shown, without its folder."""
    archive = Archive(folder)
    run, rows = archive.read_run(), archive.rows()
    result = run["result"]
    first = [row for row in rows if row["rung"] == 0 and row["proposal"] >= 0]
    return {
        "verdict": result["verdict"],
        "baseline": names(archive).get(result["baseline"], ""),
        **{key: result.get(key) for key in ("difference", "recipe_alone", "architecture_alone", "test_bpb", "compute")},
        "winner": archive.genome(result["winner"]) if result["winner"] else "",
        "evaluations": len(rows),
        "children": len({row["genome_hash"] for row in first}),
        "statuses": dict(Counter(row["status"] for row in rows)),
        "shared": sum(bool(row["shared_with"]) for row in rows),
        "seconds": round(sum(session["seconds"] for session in run["sessions"])),
        **{key: run[key] for key in ("rungs", "settings", "data", "machine", "versions")},
    }


def perform(name: str, folder: Path, text: str) -> dict[str, Any] | None:
    """Run an experiment to its end; None where it failed."""
    arguments = command(name, folder, text)
    found = subprocess.run(
        [sys.executable, "-m", "foundry", *arguments], stdout=subprocess.PIPE, text=True, check=False
    )
    if found.returncode:
        print(f"{name}: exit code {found.returncode}", file=sys.stderr)
        return None
    told = json.loads(found.stdout) if name.rsplit("-", 1)[0] in AFTER else summary(folder / name)
    shown = [Path(a).name if a == text or Path(a).parent == folder else a for a in arguments]
    return {"name": name, "command": " ".join(["foundry", *shown]), **told}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="The runs behind docs/results.md.")
    parser.add_argument("folder", type=Path, help="where the run folders go")
    parser.add_argument("names", nargs="*", metavar="NAME", help="some of them; all where none is named")
    parser.add_argument("--text", default="", help="the other text")
    options = parser.parse_intermixed_args(arguments)
    failed = 0
    for name in _chosen(options.names, parser):
        if name in done():
            continue
        print(name, file=sys.stderr, flush=True)
        row = perform(name, options.folder, options.text)
        failed += row is None
        if row is not None:
            with ROWS.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    return 1 if failed else 0


def _chosen(wanted: Iterable[str], parser: argparse.ArgumentParser) -> list[str]:
    known, asked = experiments(), list(wanted)
    if unknown := [name for name in asked if name not in known]:
        parser.error(f"no experiment is called {unknown[0]}; there are {', '.join(known)}")
    return asked or known


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
