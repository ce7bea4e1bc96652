"""The last stage of a run: what is left of the budget reduces a confirmed winner to what it needs.

`foundry.search.minimal` says what to evaluate; here it is fitted to a run: its rungs, its seeds, its budget.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from foundry.dsl.diagnostics import GenomeError
from foundry.search import candidates
from foundry.search.confirm import Plan, makespan
from foundry.search.edits import Edits
from foundry.search.minimal import Minimal, as_data, baseline_of, minimise
from foundry.search.panel import Scores, Study, Wanted
from foundry.search.population import CONTROL
from foundry.search.state import State, Task

FIRST_SEED, SEEDS = 60, 2  # of `State.other_seed`; as many that follow are for the comparison at the end
CAREFUL = 0.9  # of what is left may be planned with


def begin(state: State, plan: Plan, left: float) -> tuple[str, Study[Minimal]] | None:
    """The genome that the winner is compared with, and the study, at the longest rung of which the first round and
    the comparison at the end fit into what is left of the budget; None where none does or nothing can be reduced."""
    base = baseline_of(list(state.rows.values()), plan.winner, plan.baseline)
    try:
        changes = Edits(state.candidate(base).text, state.candidate(plan.winner).text)
        count = (len(changes.edits) + 2 + 3) * SEEDS
    except GenomeError:
        return None
    if not changes.edits:
        return None
    seeds = [state.other_seed(FIRST_SEED + number) for number in range(SEEDS)]
    for compute in reversed(state.rungs):
        if cost(state, plan.winner, [compute] * count) <= CAREFUL * left:
            return base, minimise(changes, compute, seeds)
    return None


def cost(state: State, genome_hash: str, computes: Sequence[float]) -> float:
    """What evaluations of genomes like this one take of the budget, in its unit."""
    match state.budget.kind:
        case "evals":
            return len(computes)
        case "flop":
            return sum(computes)
    durations = [state.seconds_for(genome_hash, compute) for compute in computes]
    return makespan(durations, state.run["settings"]["workers"])


def task(state: State, parent: str, wanted: Wanted) -> Task:
    """The evaluation in the run that somebody wants; its genome comes into the archive."""
    candidate = candidates.read(wanted.text)
    if candidate.genome_hash not in state.population:
        state.add(candidate, CONTROL, (parent,))
    return Task(candidate.genome_hash, state.rungs.index(wanted.compute), wanted.seed, wanted.compute, "reduce")


def scores(state: State, tasks: Sequence[Task]) -> Scores:
    """What came of some tasks, None where one has no score."""
    rows = [state.rows.get(one.eval_id, {}) for one in tasks]
    return [row.get("val_bpb") if row.get("status") == "ok" else None for row in rows]


def keep(state: State, plan: Plan, base: str, found: Minimal) -> None:
    """Write `minimal.genome` and `minimal.json`."""
    data = {"winner": plan.winner, "baseline": base, **as_data(found)}
    state.archive.write_file("minimal.genome", found.text)
    state.archive.write_file("minimal.json", json.dumps(data, indent=1) + "\n")
