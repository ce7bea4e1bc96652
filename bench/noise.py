"""How much of a score is chance: the baselines at every rung, with several seeds and batch sizes.

    python bench/noise.py                            every rung, three seeds, the genomes' own batches
    python bench/noise.py --rungs 0 --batches 512 1024 2048

Prints one row for each genome, rung and batch, and for each rung and batch the pooled noise of one evaluation, and
the signal: how far apart the genomes lie, as the standard deviation of their means over that noise.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import re
import statistics
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from foundry.data.corpus import load_corpus
from foundry.evals.proxy import Outcome, evaluate
from foundry.evals.rungs import RUNGS
from foundry.evals.statistics import noise

GENOMES = Path(__file__).parents[1] / "genomes"
BASELINES = ["gpt2", "llama", "primer", "hybrid"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--genomes", nargs="+", default=BASELINES, help="names in genomes/ (default: the baselines)")
    parser.add_argument("--rungs", nargs="+", type=int, default=list(range(len(RUNGS))))
    parser.add_argument("--batches", nargs="+", type=int, default=[0], help="tokens per step; 0: the genome's own")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    options = parser.parse_args()
    load_corpus()

    cells = list(itertools.product(options.rungs, options.batches, options.genomes))
    jobs = [(*cell, seed) for cell in cells for seed in range(options.seeds)]
    with ProcessPoolExecutor(options.workers, multiprocessing.get_context("spawn")) as pool:
        outcomes = dict(zip(jobs, pool.map(run, jobs), strict=True))

    print("| genome | rung | batch | steps | tokens/s | seconds | MB | bits per byte, by seed | mean | noise |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell in cells:
        print(row(cell, [outcomes[(*cell, seed)] for seed in range(options.seeds)]))
    for rung, batch in itertools.product(options.rungs, options.batches):
        groups = [scores([outcomes[(rung, batch, g, s)] for s in range(options.seeds)]) for g in options.genomes]
        if options.seeds > 1 and len(groups) > 1 and all(groups):
            sigma, spread = noise(*groups), statistics.stdev(map(statistics.mean, groups))
            print(f"\nrung {rung}, batch {batch or 'own'}: noise {sigma:.3f}, signal {spread / sigma:.1f}")


def run(job: tuple[int, int, str, int]) -> Outcome:
    rung, batch, name, seed = job
    text = (GENOMES / f"{name}.genome").read_text()
    if batch:
        text, count = re.subn(r"batch = \d+", f"batch = {batch}", text)
        assert count == 1, f"{name} does not set its batch"
    return evaluate(text, load_corpus(), compute=RUNGS[rung].compute, seed=seed)


def scores(outcomes: list[Outcome]) -> list[float]:
    return [o.bits_per_byte for o in outcomes if o.status == "ok" and o.bits_per_byte is not None]


def row(cell: tuple[int, int, str], outcomes: list[Outcome]) -> str:
    rung, batch, name = cell
    first, good = outcomes[0], scores(outcomes)
    if len(good) < len(outcomes):
        return (
            f"| {name} | {rung} | {batch or 'own'} | " + "; ".join(f"{o.status} {o.message}" for o in outcomes) + " |"
        )
    seconds = statistics.mean(o.cpu_s for o in outcomes)
    figures = [
        name,
        str(rung),
        str(batch or "own"),
        str(first.steps),
        f"{first.tokens / seconds:,.0f}",
        f"{seconds:.1f}",
        f"{max(o.peak_rss for o in outcomes) / 1e6:.0f}",
        " ".join(f"{value:.3f}" for value in good),
        f"{statistics.mean(good):.3f}",
        f"{noise(good):.3f}" if len(good) > 1 else "",
    ]
    return "| " + " | ".join(figures) + " |"


if __name__ == "__main__":
    main()
