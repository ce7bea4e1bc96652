"""Does a short training say what a long one would? `python bench/horizon.py FOLDER [--times 20] [--last 1.13e12]`

Trains a panel of 24 genomes at the three rungs of a ten-minute run, and 20 times longer than at the last of them; then
prints Spearman's correlation of each rung with the long training, and its bootstrap interval. The panel: the baselines,
mechanisms from every folder of `genomes/`, each with the recipe that it came with, and genomes from the generator that
random search uses, the first that can be trained at all. About an hour of two cores; what FOLDER has is not done again.
`--rows FILE` appends a line of JSON. `--attempts` goes on to what might say more than the last rung does: the three
rungs extrapolated, more seeds, a longer rung, the best of three learning rates; about half an hour more.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foundry.data.corpus import load_corpus
from foundry.dsl.source import resource
from foundry.evals.correlation import spearman
from foundry.evals.rank_bootstrap import spearman_interval
from foundry.evals.rungs import RUNGS
from foundry.generate.genomes import random_genome
from foundry.search.panel import Panel, Wanted
from foundry.search.tune import scale_learning_rate

BASELINES = ("gpt2", "llama", "primer", "hybrid")
MECHANISMS = (
    "attention/mla", "attention/sliding_window", "attention/gated_delta_net", "attention/rwkv", "attention/linear",
    "attention/hybrid_samba", "channels/squared_relu", "channels/moe_softmax", "heads/untied", "norms/post",
    "positions/alibi", "recipes/muon", "recipes/lion", "residual/looped", "residual/hyper_connections",
)  # fmt: skip
RANDOM = 5
MOST_DRAWN = 80
SEED = 0


def shown(name: str) -> str:
    """The text of a genome that comes along."""
    return resource("genomes", f"{name}.genome")


def drawn(panel: Panel, compute: float, first: int = 8) -> dict[str, str]:
    """RANDOM genomes by name: the first of those drawn that can be trained."""
    found: dict[str, str] = {}
    for number in range(0, MOST_DRAWN, first):
        texts = {f"random {n}": random_genome(random.Random(n)) for n in range(number, number + first)}
        scores = panel.measure([Wanted(text, compute, SEED) for text in texts.values()], tell)
        found |= {n: t for (n, t), score in zip(texts.items(), scores, strict=True) if score.status == "ok"}
        if len(found) >= RANDOM:
            return dict(list(found.items())[:RANDOM])
    sys.exit(f"of {MOST_DRAWN} genomes that were drawn, {len(found)} can be trained; {RANDOM} are wanted")


def tell(done: int, total: int) -> None:
    print(f"\r{done} of {total} evaluations ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--times", type=float, default=20, help="the long training in last rungs")
    parser.add_argument("--last", type=float, default=1.13e12, help="the last rung, in flop")
    parser.add_argument("--data", default=None)
    parser.add_argument("--rows", type=Path, default=None)
    parser.add_argument("--attempts", action="store_true", help="try what might say more than the last rung")
    given = parser.parse_args()
    rungs = [given.last * rung.compute / RUNGS[-1].compute for rung in RUNGS]
    with Panel([load_corpus(given.data)], given.folder) as panel:
        genomes = {name: shown(name) for name in (*BASELINES, *MECHANISMS)} | drawn(panel, rungs[0])
        scores = {}
        for compute in [*rungs, given.last * given.times]:
            measured = panel.measure([Wanted(text, compute, SEED) for text in genomes.values()], tell)
            scores[compute] = dict(zip(genomes, measured, strict=True))
    lengths = list(scores)
    whole = [name for name in genomes if all(scores[c][name].bits_per_byte is not None for c in lengths)]
    print("| genome | " + " | ".join(f"{compute:.3g}" for compute in lengths) + " |\n" + "|---" * 5 + "|")
    for name in sorted(whole, key=lambda name: scores[lengths[-1]][name].bits_per_byte or 0):
        print(f"| {name} | " + " | ".join(f"{scores[c][name].bits_per_byte:.3f}" for c in lengths) + " |")
    for name in genomes.keys() - set(whole):
        print(f"{name}: " + ", ".join(scores[c][name].status for c in lengths))
    row = {"name": "horizon", "seed": SEED, "genomes": len(whole), "compute": lengths, "spearman": []}
    long = [scores[lengths[-1]][name].bits_per_byte for name in whole]
    for compute in lengths[:-1]:
        short = [scores[compute][name].bits_per_byte for name in whole]
        rho, (low, high) = spearman(short, long), spearman_interval(short, long, seed=0)
        row["spearman"].append([rho, low, high])
        print(f"{compute:.3g} against {lengths[-1]:.3g}: Spearman {rho:.3f} (95 % {low:.3f} … {high:.3f})")
    row["scores"] = {name: [scores[c][name].bits_per_byte for c in lengths] for name in whole}
    if given.rows is not None:
        with given.rows.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
    if given.attempts:
        with Panel([load_corpus(given.data)], given.folder) as panel:
            attempts(panel, {name: genomes[name] for name in whole}, scores, lengths)


def attempts(panel: Panel, genomes: dict[str, str], scores: dict[float, dict[str, Any]], lengths: list[float]) -> None:
    """Print how well each of several cheaper measurements foretells the long training."""
    last, long = lengths[-2], [scores[lengths[-1]][name].bits_per_byte for name in genomes]

    def compare(title: str, found: Sequence[float | None]) -> None:
        pairs = [(a, b) for a, b in zip(found, long, strict=True) if a is not None]
        short, after = zip(*pairs, strict=True)
        rho, (low, high) = spearman(short, after), spearman_interval(short, after, seed=0)
        print(f"{title}: Spearman {rho:.3f} (95 % {low:.3f} … {high:.3f}), n {len(pairs)}", flush=True)

    def measured(texts: Iterable[str], compute: float, seed: int = SEED) -> list[float | None]:
        return [one.bits_per_byte for one in panel.measure([Wanted(text, compute, seed) for text in texts], tell)]

    curves = [[scores[c][name].bits_per_byte for c in lengths[:-1]] for name in genomes]
    x = np.log(lengths[:-1])
    slopes = [float(np.polyfit(x, np.log(curve), 1)[0]) for curve in curves]
    compare("a power law through the three rungs", [
        curve[-1] * (lengths[-1] / last) ** slope for curve, slope in zip(curves, slopes, strict=True)
    ])  # fmt: skip
    compare("the last step alone, continued", [
        curve[-1] * (curve[-1] / curve[-2]) ** (np.log(lengths[-1] / last) / np.log(last / lengths[-3]))
        for curve in curves
    ])  # fmt: skip
    seeds = [[score for score in of if score is not None] for of in zip(
        [curve[-1] for curve in curves], *(measured(genomes.values(), last, seed) for seed in (1, 2)), strict=True
    )]  # fmt: skip
    compare("the last rung, mean of three seeds", [float(np.mean(of)) for of in seeds])
    compare("a rung four times as long", measured(genomes.values(), 4 * last))
    rates = [measured([scale_learning_rate(text, by) for text in genomes.values()], last) for by in (0.5, 2.0)]
    best = [min(s for s in of if s is not None) for of in zip([curve[-1] for curve in curves], *rates, strict=True)]
    compare("the last rung, best of three learning rates", best)


if __name__ == "__main__":
    main()
