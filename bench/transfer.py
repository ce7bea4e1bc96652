"""Whether one learning rate is right for models of other widths and depths, with `train(transfer = 64)` and without.

    python bench/transfer.py                                    widths 32, 64, 128: about five minutes of one core
    python bench/transfer.py --widths 64 --depths 2 4 8 --optimizer muon

Trains a model like llama at every size with every rate, for the same number of steps on the same batches. Prints bits
per byte by rate, the best rate at each size (the bottom of a parabola through the best of the grid and its neighbours),
its drift, and what is lost where the best rate of the reference size is used elsewhere.
"""

from __future__ import annotations

import argparse
import itertools
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from foundry.compiler.cost import compute_per_token
from foundry.data.corpus import load_corpus
from foundry.dsl.check import load_program
from foundry.evals.proxy import evaluate

CONTEXT, BATCH = 128, 512
REFERENCE = 64  # the width that the rates of the baselines are tuned at, and what `transfer` is set to
MODEL = """@foundry(1);

layer(x) = {{
  x = x + attention(rmsnorm(x), heads = {heads}, kv_heads = {kv_heads}, pos = rope(theta = 1e4));
  x + glu(rmsnorm(x), hidden = {hidden}, act = silu)
}};

model = embed(vocab = 256, width = {width}) >> {depth} * layer >> rmsnorm >> unembed(tied = {tied});

recipe = train(optimizer = {optimizer}, schedule = warmup_cosine, batch = {batch}, transfer = {transfer});
"""
OPTIMIZERS = {
    "adamw": (5e-3, "adamw(lr = {rate:.6g}, betas = [0.9, 0.95], decay = 0.1)"),
    "lion": (6e-4, "lion(lr = {rate:.6g}, betas = [0.9, 0.99], decay = 0.1)"),
    "muon": (2e-2, "muon(lr = {rate:.6g}, adamw_lr = {adamw_rate:.6g})"),
}


@dataclass(frozen=True)
class Cell:
    """One training run. rate: a factor on the optimizer's usual rate, a power of two."""

    width: int
    depth: int
    rate: float
    transfer: int
    seed: int
    optimizer: str
    tied: int


def genome(cell: Cell) -> str:
    """A model like llama of this size, with this rate."""
    usual, pattern = OPTIMIZERS[cell.optimizer]
    heads = max(2, cell.width // 16)
    return MODEL.format(
        heads=heads,
        kv_heads=heads // 2,
        hidden=cell.width * 11 // 4,
        width=cell.width,
        depth=cell.depth,
        tied=cell.tied,
        optimizer=pattern.format(rate=usual * cell.rate, adamw_rate=5e-3 * cell.rate),
        batch=BATCH,
        transfer=cell.transfer,
    )


def score(job: tuple[Cell, int]) -> float:
    """Bits per byte on validation text after so many steps; infinite where training failed."""
    cell, steps = job
    text = genome(cell)
    compute = steps * BATCH * compute_per_token(load_program(text), CONTEXT)
    outcome = evaluate(text, load_corpus(), compute=compute, seed=cell.seed)
    return math.inf if outcome.status != "ok" or outcome.bits_per_byte is None else outcome.bits_per_byte


def bottom(rates: list[float], scores: list[float]) -> float:
    """The best rate: where a parabola in log rate through the best of the grid and its neighbours is lowest."""
    best = int(np.argmin(scores))
    if not 0 < best < len(rates) - 1 or not np.isfinite(scores[best - 1 : best + 2]).all():
        return rates[best]
    left, middle, right = scores[best - 1 : best + 2]
    shift = 0.5 * (left - right) / (left - 2 * middle + right)  # in steps of the grid, within half of one
    return float(rates[best] * (rates[best + 1] / rates[best]) ** shift)


def report(sizes: list[int], reference: int, rates: list[float], columns: dict[int, list[float]]) -> None:
    """One table, a row for each size: `columns` has the bits per byte at each rate."""
    print("| size | " + " | ".join(f"×{rate:g}" for rate in rates) + f" | best | lost with the rate of {reference} |")
    print("|---" * (len(rates) + 3) + "|")
    chosen = int(np.argmin(columns[reference]))
    best = {size: bottom(rates, columns[size]) for size in sizes}
    for size in sizes:
        cells = " | ".join(f"{value:.3f}" for value in columns[size])
        print(f"| {size} | {cells} | ×{best[size]:.2f} | {columns[size][chosen] - min(columns[size]):.3f} |")
    if len(sizes) > 1:
        drift = np.polyfit(np.log2(sizes), [math.log2(best[size]) for size in sizes], 1)[0]
        print(f"\nfor each doubling of the size the best rate moves by a factor of {2**drift:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", nargs="+", type=int, default=[32, 64, 128])
    parser.add_argument("--depths", nargs="+", type=int, default=[4])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.25, 0.5, 1, 2, 4, 8])
    parser.add_argument("--transfers", nargs="+", type=int, default=[0, REFERENCE])
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw")
    parser.add_argument("--tied", type=int, choices=[0, 1], default=1)
    parser.add_argument("--steps", type=int, default=200, help="of 512 tokens")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1, help="processes, of one thread each")
    of = parser.parse_args()
    load_corpus()

    axes = of.transfers, of.widths, of.depths, of.rates, range(of.seeds)
    keys = list(itertools.product(*axes))
    jobs = [(Cell(w, d, r, t, seed, of.optimizer, of.tied), of.steps) for t, w, d, r, seed in keys]
    with ProcessPoolExecutor(of.workers, multiprocessing.get_context("spawn")) as pool:
        scores = np.reshape(list(pool.map(score, jobs)), [len(axis) for axis in axes]).mean(-1)

    print(f"{of.optimizer}, tied = {of.tied}, {of.steps} steps of {BATCH} tokens, {of.seeds} seed(s)")
    for transfer, of_transfer in zip(of.transfers, scores, strict=True):  # (width, depth, rate)
        for index, depth in enumerate(of.depths if len(of.widths) > 1 else []):
            print(f"\ntransfer = {transfer}, {depth} layers, by width:\n")
            columns = dict(zip(of.widths, of_transfer[:, index].tolist(), strict=True))
            report(of.widths, nearest(of.widths, REFERENCE), of.rates, columns)
        for index, width in enumerate(of.widths if len(of.depths) > 1 else []):
            print(f"\ntransfer = {transfer}, width {width}, by depth:\n")
            columns = dict(zip(of.depths, of_transfer[index].tolist(), strict=True))
            report(of.depths, nearest(of.depths, 4), of.rates, columns)


def nearest(sizes: list[int], to: int) -> int:
    return min(sizes, key=lambda size: abs(size - to))


if __name__ == "__main__":
    main()
