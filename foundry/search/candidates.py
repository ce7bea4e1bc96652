"""Candidates: what the search needs to know of a genome before it pays for an evaluation."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from foundry.compiler.cost import cost
from foundry.dsl.canonical import architecture_hash, canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.program import Program, all_units
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.source import resource_folder

CONTEXT = 128  # tokens, at which candidates are compared


@dataclass(frozen=True)
class Candidate:
    """A genome that checks clean.

    family: the primitives by which its positions see earlier ones, such as `attend` or `conv+scan`.
    compute_per_token: flop to train on one token, bytes moved counted at their worth.
    """

    text: str
    genome_hash: str
    architecture: str
    family: str
    parameters: int
    compute_per_token: float


@dataclass(frozen=True)
class Band:
    """The sizes that children may have, so that size cannot win: shares of a reference."""

    parameters: float
    compute_per_token: float
    low: float = 0.5
    high: float = 1.5

    def holds(self, candidate: Candidate) -> bool:
        shares = (candidate.parameters / self.parameters, candidate.compute_per_token / self.compute_per_token)
        return all(self.low <= share <= self.high for share in shares)


def read(text: str) -> Candidate:
    """The candidate in a text.

    Raises:
        GenomeError: the text is not a genome without errors.
    """
    program = load_program(text)
    figures = cost(program, context=CONTEXT)
    return Candidate(
        text=text,
        genome_hash=canonical_hash(program),
        architecture=architecture_hash(program),
        family=family(program),
        parameters=figures.parameters,
        compute_per_token=figures.compute_per_token,
    )


def family(program: Program) -> str:
    """The primitives that mix along the sequence, joined by `+`; `none` where there is none."""
    found = {node.op for unit in all_units(program) for node in unit.nodes if node.op in PRIMITIVES}
    mixing = sorted(op for op in found if PRIMITIVES[op].stateful and op != "position")
    return "+".join(mixing) or "none"


def band(baselines: Sequence[Candidate]) -> Band:
    """Half to one and a half times the middle of the baselines."""
    return Band(
        statistics.median(c.parameters for c in baselines), statistics.median(c.compute_per_token for c in baselines)
    )


def shipped_baselines() -> dict[str, str]:
    """The genomes that seed a population and that its best is compared with: text by name."""
    return {path.stem: path.read_text("utf-8") for path in sorted(resource_folder("genomes").glob("*.genome"))}
