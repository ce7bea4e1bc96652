"""Confirmation: the best of the search against the best tuned baseline, on fresh seeds and test text.

The finalists run once more with a fresh seed, so that one that was merely lucky drops out; validation
text alone picks the winner. Winner, baseline and a control, which is the baseline's architecture with the
winner's recipe, then train longer on the same fresh seeds and are scored on test text. Where a control arm
searched at random in the same run, the best that it found, picked alike, is the rival.

Pairs of winner and baseline are looked at as they come: their interval holds whenever one stops, so that no
seed is spent on what is clear already.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.format import format_genome
from foundry.dsl.inline import renamed as with_names
from foundry.dsl.parse import parse
from foundry.dsl.syntax import Definition, Genome, Name, walk
from foundry.evals.statistics import NO_DIFFERENCE, Difference, noise, sequential_difference, sidak, verdict
from foundry.search import candidates
from foundry.search.population import CONTROL, CONTROL_ARM, Individual, better
from foundry.search.schedule import FINALISTS
from foundry.search.state import State, Task

FEWEST, PLANNED, MOST = 3, 6, 12  # seeds: at least, at most in the plan, at most where time is left over
LONGER = 1.15  # times the longest rung of the search: the least before more seeds are given up for length
LONGEST = 8.0  # times the longest rung of the search: the most
CAREFUL = 0.87  # of the time left is planned with
CLEAR = 4  # pairs, from which on a clear answer ends the comparison
ROLES = ("winner", "baseline", "control", "rival")


@dataclass(frozen=True)
class Plan:
    """What confirmation will do; it stands in run.json, so that a resumed run does the same.

    rung: its index in the rows. finalist_seed: for one more run of each finalist at the last rung of the
    search. seeds: for the winner, the baseline and the control, each with `compute` flop.
    winner and control are empty until the finalists have run. rivals: the finalists of the control arm, and rival
    its best; empty where there is no such arm.
    """

    rung: int
    finalists: tuple[str, ...]
    baseline: str
    compute: float
    finalist_seed: int
    seeds: tuple[int, ...]
    winner: str = ""
    control: str = ""
    rivals: tuple[str, ...] = ()
    rival: str = ""

    @property
    def contestants(self) -> dict[str, str]:
        """The genomes of the comparison by their roles, those that are known."""
        hashes = (self.winner, self.baseline, self.control, self.rival)
        return {role: h for role, h in zip(ROLES, hashes, strict=True) if h}


def make_plan(state: State, remaining: float) -> Plan | None:
    """A plan for what remains of the budget, in its unit; None where the search gave nothing to confirm."""
    population, last = state.population, len(state.rungs) - 1
    finalists = population.best(population.children())[:FINALISTS]
    rivals = population.best(population.children(CONTROL_ARM))[:FINALISTS]
    baseline = best_baseline(state)
    if not finalists or baseline is None:
        return None
    base = 100 * (state.run["rounds"] + 1)
    rung = last + 1 + state.run["rounds"]
    again, count, compute = _size(state, finalists, rivals, baseline, remaining)
    hashes, rival_hashes = (tuple(i.genome_hash for i in group[:again]) for group in (finalists, rivals))
    seeds = tuple(state.other_seed(base + 1 + number) for number in range(count))
    return Plan(rung, hashes, baseline.genome_hash, compute, state.other_seed(base), seeds, rivals=rival_hashes)


def best_baseline(state: State) -> Individual | None:
    """The best baseline with its learning rate as tuned, each two compared at the highest rung that both reached."""
    population = state.population
    scored = [i for i in population.individuals.values() if population.is_baseline(i) and not i.failed and i.top >= 0]
    return reduce(lambda a, b: b if better(b, a) else a, scored) if scored else None


def _size(
    state: State,
    finalists: Sequence[Individual],
    rivals: Sequence[Individual],
    baseline: Individual,
    remaining: float,
) -> tuple[int, int, float]:
    """How many finalists, how many seeds, and the compute of each evaluation, so that all of it fits into what
    remains. Where time is short, finalists are given up first; one alone need not run again."""
    last, first = state.rungs[-1], state.rungs[0]
    arms = 4 if rivals else 3
    if state.budget.kind == "evals":
        count = int((remaining - len(finalists) - len(rivals)) // arms)
        return len(finalists), min(max(count, FEWEST), PLANNED), 1.5 * last
    room = _flop_room if state.budget.kind == "flop" else _time_room
    sizes = []
    for again in range(len(finalists), 0, -1):
        repeated = [i for group in (finalists[:again], rivals[:again]) if len(group) > 1 for i in group]
        others = [*finalists[:again], *rivals[:again]]
        for count in range(PLANNED, FEWEST - 1, -1):
            compute = room(state, repeated, others, baseline, count * arms, count, remaining)
            sizes.append((again, count, min(compute, LONGEST * last)))
    again, count, compute = next((size for size in sizes if size[2] >= LONGER * last), sizes[-1])
    return again, count, max(rounded_down(compute), first)


def rounded_down(value: float) -> float:
    """Three significant digits, and no more than there were."""
    unit = 10.0 ** (math.floor(math.log10(value)) - 2) if value > 0 else 1.0
    return math.floor(value / unit) * unit


def _flop_room(
    state: State,
    repeated: Sequence[Individual],
    others: Sequence[Individual],
    baseline: Individual,
    evaluations: int,
    count: int,
    remaining: float,
) -> float:
    """The compute of each of so many evaluations that use up the remaining flop."""
    return (remaining - len(repeated) * state.rungs[-1]) / evaluations


def _time_room(
    state: State,
    repeated: Sequence[Individual],
    others: Sequence[Individual],
    baseline: Individual,
    evaluations: int,
    count: int,
    remaining: float,
) -> float:
    """The compute of each of so many evaluations, `count` of them the baseline's, that end within the remaining
    seconds; the others are taken to be as slow as the slowest."""
    workers = state.run["settings"]["workers"]
    again = [state.seconds_for(i.genome_hash, state.rungs[-1]) for i in repeated]
    pace = [state.seconds_for(baseline.genome_hash, 1.0)] * count
    pace += [max(state.seconds_for(i.genome_hash, 1.0) for i in others)] * (evaluations - count)
    low, high = 0.0, LONGEST * state.rungs[-1]
    for _ in range(40):
        middle = (low + high) / 2
        if makespan([*again, *(p * middle for p in pace)], workers) <= CAREFUL * remaining:
            low = middle
        else:
            high = middle
    return low


def makespan(durations: Sequence[float], workers: int) -> float:
    """When the last of some tasks ends, if each free worker takes the next in line."""
    ends = [0.0] * workers
    for duration in durations:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


def tasks(state: State, plan: Plan) -> Iterator[Task]:
    """What is to be done, in order; the winner's and the control's once they are known."""
    last = len(state.rungs) - 1
    if not plan.winner:
        for group in (plan.finalists, plan.rivals):
            for genome_hash in group if len(group) > 1 else ():
                yield Task(genome_hash, last, plan.finalist_seed, state.rungs[last], "finalist")
    for roles in (("baseline", "winner"), ("rival",), ("control",)):
        for seed in plan.seeds:
            for role in roles:
                if role in plan.contestants:
                    yield Task(plan.contestants[role], plan.rung, seed, plan.compute, "confirm", "test")


def with_winner(state: State, plan: Plan) -> Plan:
    """The plan with its winner, once the finalists have run: the best mean on validation text."""
    winner = _best_of(state, plan.finalists, plan.finalist_seed)
    rival = _best_of(state, plan.rivals, plan.finalist_seed) if plan.rivals else ""
    text = transplant_recipe(state.candidate(plan.baseline).text, state.candidate(winner).text)
    try:
        control = state.add(candidates.read(text), CONTROL, (plan.baseline, winner)).genome_hash
    except GenomeError:
        control = ""
    return replace(plan, winner=winner, control=control, rival=rival)


def _best_of(state: State, finalists: Sequence[str], seed: int) -> str:
    """The finalist with the best mean at the last rung, of those that have run again."""
    individuals = [state.population.individuals[h] for h in finalists]
    last = len(state.rungs) - 1
    again = [i for i in individuals if (last, seed) in i.scores and not i.failed]
    return (state.population.best(again, last) or individuals)[0].genome_hash


def with_another_seed(state: State, plan: Plan, remaining: float) -> Plan | None:
    """The plan with one more seed, if the answer is not clear yet and all arms fit into what remains of the budget.

    Evaluations end early on a machine that has become faster, or where the control is the winner itself.
    """
    arms = set(plan.contestants.values())
    match state.budget.kind:
        case "evals":
            fits = len(arms) <= remaining
        case "flop":
            fits = len(arms) * plan.compute <= remaining
        case _:
            durations = [state.seconds_for(arm, plan.compute) for arm in arms]
            fits = makespan(durations, state.run["settings"]["workers"]) <= CAREFUL * remaining
    if not fits or len(plan.seeds) >= MOST or is_clear(state, plan):
        return None
    return replace(plan, seeds=(*plan.seeds, plan.seeds[-1] + 1))


def is_clear(state: State, plan: Plan) -> bool:
    """Whether winner and baseline are known to differ, or the other way round, whatever further seeds would say."""
    scores = _scores(state, plan)
    difference = _difference(scores["winner"], scores["baseline"], _confidence(state))
    known = [score for score in scores["baseline"].values() if score is not None]
    if difference is None or difference.n < CLEAR or len(known) < 2:
        return False
    return verdict(difference, noise(known)) != NO_DIFFERENCE


def shortened(state: State, plan: Plan) -> Plan:
    """The plan without the seeds that neither winner nor baseline has begun, once the answer is clear."""
    if not plan.winner or not is_clear(state, plan):
        return plan
    begun = {task.seed for task in state.tasks.values() if task.rung == plan.rung}
    begun |= {seed for h, rung, seed in state.test_scores if rung == plan.rung and h in (plan.winner, plan.baseline)}
    return replace(plan, seeds=tuple(seed for seed in plan.seeds if seed in begun))


def summary(state: State, plan: Plan | None) -> dict[str, Any]:
    """The result for run.json, from the pairs of evaluations that were finished."""
    if plan is None or not plan.winner:
        best = best_baseline(state)
        baseline = best.genome_hash if best else ""
        return {"verdict": NO_DIFFERENCE, "winner": "", "baseline": baseline, "control": "", "difference": None}
    scores = _scores(state, plan)
    difference = _difference(scores["winner"], scores["baseline"], _confidence(state))
    known = [score for score in scores["baseline"].values() if score is not None]
    sigma = noise(known) if len(known) > 1 else None
    enough = difference is not None and difference.n >= FEWEST and sigma is not None
    result: dict[str, Any] = {
        "verdict": verdict(difference, sigma) if enough and difference and sigma is not None else NO_DIFFERENCE,
        "winner": plan.winner,
        "baseline": plan.baseline,
        "control": plan.control,
        "difference": _as_dict(difference),
        "recipe_alone": _as_dict(_difference(scores["control"], scores["baseline"])),
        "architecture_alone": _as_dict(_difference(scores["winner"], scores["control"])),
        "sigma": sigma,
        "rung": plan.rung,
        "compute": plan.compute,
        "seeds": list(plan.seeds),
        "test_bpb": {role: list(by_seed.values()) for role, by_seed in scores.items() if role in ROLES[:3]},
    }
    if plan.rival:
        result["rival"] = plan.rival
        result["rival_difference"] = _as_dict(_difference(scores["rival"], scores["baseline"]))
        result["against_rival"] = _as_dict(_difference(scores["winner"], scores["rival"]))
        result["test_bpb"]["rival"] = list(scores["rival"].values())
    return result


def _scores(state: State, plan: Plan) -> dict[str, dict[int, float | None]]:
    """The test scores of every role by seed, None where there is none yet."""
    hashes = {**dict.fromkeys(ROLES, ""), **plan.contestants}
    return {
        role: {seed: state.test_scores.get((genome_hash, plan.rung, seed)) for seed in plan.seeds}
        for role, genome_hash in hashes.items()
    }


def _confidence(state: State) -> float:
    """That of a comparison, so that all confirmations of a run, of which this is not the first perhaps, hold at once
    with 95 %."""
    return sidak(state.run["rounds"] + 1)


def _difference(a: dict[int, float | None], b: dict[int, float | None], confidence: float = 0.95) -> Difference | None:
    """The paired difference over the seeds that both have, if there are two; right whenever one looks."""
    pairs = [(x, y) for x, y in ((a[seed], b[seed]) for seed in a) if x is not None and y is not None]
    if len(pairs) < 2:
        return None
    return sequential_difference([x for x, _ in pairs], [y for _, y in pairs], confidence)


def _as_dict(difference: Difference | None) -> dict[str, float | None] | None:
    if difference is None:
        return None
    return {k: v if v is not None and math.isfinite(v) else None for k, v in asdict(difference).items()}


def transplant_recipe(architecture: str, recipe: str) -> str:
    """The genome `architecture` with the recipe of the genome `recipe`, and with what that recipe calls.

    Definitions that come along are renamed where the architecture uses their name for something else.
    """
    host, donor = parse(architecture), parse(recipe)
    kept = [d for d in host.definitions if d.name != "recipe"]
    brought = _reachable(donor, "recipe")
    taken = {d.name for d in kept} | {d.name for d in donor.definitions}
    renamed: dict[str, str] = {}
    for definition in brought:
        same = host.definition(definition.name)
        if definition.name != "recipe" and same is not None and same != definition:
            number = 2
            while f"{definition.name}{number}" in taken:
                number += 1
            renamed[definition.name] = f"{definition.name}{number}"
            taken.add(renamed[definition.name])
    names = {d.name for d in kept}
    for definition in brought:
        new = replace(with_names(definition, renamed), name=renamed.get(definition.name, definition.name))
        if new.name not in names:
            kept.append(new)
    used = _reachable(Genome(1, tuple(kept)), "model", "recipe")
    return format_genome(replace(host, definitions=tuple(d for d in kept if d in used)))


def _reachable(genome: Genome, *roots: str) -> list[Definition]:
    """The definitions that some definitions use, and those themselves, in the genome's order."""
    found: set[str] = set()
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        definition = genome.definition(name)
        if definition is not None and name not in found:
            found.add(name)
            waiting += [node.id for _, node in walk(definition) if isinstance(node, Name)]
    return [d for d in genome.definitions if d.name in found]
