"""Measured peak memory over predicted, of the shipped genomes of proxy size and of wild ones.

python bench/memory.py [--wild N]
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterable
from pathlib import Path

import torch

from foundry.generate.genomes import random_genome
from foundry.generate.policy import WILD
from foundry.testing.case import Case
from foundry.testing.properties.costs import CONTEXT, ROWS, memory_ratios

GENOMES = Path(__file__).parents[1] / "genomes"
SHARES = (0.0, 0.05, 0.5, 0.95, 1.0)


def shipped() -> Iterable[Case]:
    """Every genome but the published models, which are too large to build."""
    paths = sorted(path for path in GENOMES.rglob("*.genome") if path.parent.name != "families")
    return (Case(path.read_text(encoding="utf-8")) for path in paths)


def wild(count: int) -> Iterable[Case]:
    """Genomes of the fuzzer."""
    return (Case(random_genome(random.Random(seed), WILD), seed) for seed in range(count))


def ratios(cases: Iterable[Case]) -> list[tuple[float, float]]:
    """Measured over predicted, forward and in training, of each case whose positions reach far enough."""
    return [memory_ratios(case, ROWS, CONTEXT) for case in cases if (case.module.LONGEST or CONTEXT + 1) > CONTEXT]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wild", type=int, default=150, help="how many genomes of the fuzzer")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{ROWS} sequences of {CONTEXT} tokens\n")
    print("| | | lowest | 5 % | median | 95 % | highest |\n|---|---|---|---|---|---|---|")
    for name, cases in (("shipped", shipped()), ("wild", wild(arguments.wild))):
        found = ratios(cases)
        for what, values in (("training", [t for _, t in found]), ("forward", [f for f, _ in found])):
            values.sort()
            figures = " | ".join(f"{values[round(share * (len(values) - 1))]:.2f}" for share in SHARES)
            print(f"| {len(values)} {name} | {what} | {figures} |")


if __name__ == "__main__":
    main()
