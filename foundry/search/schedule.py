"""The search phase: which evaluation is worth the most to a worker that has just become free.

In this order: what a killed run left under way; the baselines at the first rung, and the best of them with
other seeds, for the noise; promotions; learning rates of baselines and of promising children; new children.
There are no generations and nobody waits for anybody. With a control, the arm that has spent less comes first.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from foundry.dsl.diagnostics import GenomeError
from foundry.evals.rungs import RUNGS
from foundry.evals.screen import Screen
from foundry.evals.statistics import noise
from foundry.search import abandon, candidates, predictors
from foundry.search.budget import Budget
from foundry.search.population import SEED, TUNE, Individual
from foundry.search.proposals import Proposal, propose
from foundry.search.state import State, Task
from foundry.search.tune import STEP, learning_rate, next_factor, scale_learning_rate

SEARCH_SHARE = 0.56  # of the budget; the rest confirms and reports
NOISE_RUNS = 2  # of the best baseline at the first rung, with seeds of their own
TUNED = 2  # baselines whose learning rate is tuned
REACH = 0.3  # bits per byte: one further behind the best is not tuned, since no rate has been seen to bring as much
TUNING_SHARE = 0.4  # of what is spent may go into learning rates while children wait
LATE = 0.7  # of the search, after which the best children move up whatever their number
FINALISTS = 3
PATIENCE = 4  # times the expected seconds, plus GRACE, is an evaluation's time limit
GRACE = 5.0
LEAST = 6e10  # flop at the first rung: a dozen steps and more for any genome of proxy size
SCREEN_EVERY = 10  # evaluations
UNSCREENED = 4  # one in so many children
SHORTEST_SEARCH = 0.35  # of the budget, where the machine is so slow that confirmation needs more than the rest


def first_compute(budget: Budget, workers: int, speed: float) -> float:
    """The compute of the first rung: longer budgets buy longer evaluations as well as more of them.

    2.5 seconds for ten minutes on two workers, and with the square root of the budget. Steps of √2, so
    that machines of about the same speed compare genomes at the same compute. Evaluations of no
    stated length get the usual rungs, and none gets less than LEAST.
    """
    usual = RUNGS[0].compute
    if budget.kind == "evals":
        return usual
    whole = budget.amount * workers * speed if budget.kind == "seconds" else budget.amount
    usual_speed = usual / RUNGS[0].seconds
    of_ten_minutes = 1200 * (speed if budget.kind == "seconds" else usual_speed)
    seconds = 2.5 * math.sqrt(whole / of_ten_minutes)
    wanted = min(max(seconds, 1.0), 60.0) * (speed if budget.kind == "seconds" else usual_speed)
    compute = usual * math.sqrt(2) ** round(2 * math.log2(wanted / usual))
    return max(LEAST, float(f"{compute:.3g}"))


def rungs_from(first: float) -> list[dict[str, float]]:
    """The rungs of a search, in the usual proportions."""
    return [{"compute": float(f"{first * rung.compute / RUNGS[0].compute:.3g}")} for rung in RUNGS]


def confirmation_evals(amount: float) -> int:
    """How many of so many evaluations confirmation needs: finalists, and three genomes on some seeds."""
    return FINALISTS + 3 * (5 if amount >= 100 else 3)


class Schedule:
    """Hands out the tasks of the search phase."""

    def __init__(self, state: State, left_over: list[dict[str, Any]]):
        self.state = state
        names = set(Task.__dataclass_fields__)
        self._again = [Task(**{k: v for k, v in entry.items() if k in names}) for entry in left_over]
        self._ahead: dict[str, Proposal | None] = {}  # by arm
        self._barren = 0
        self._screen: Screen | None = None
        self._screened = 0  # evaluations that it rests on
        settings = state.run["settings"]
        self.workers, self.strategy = settings["workers"], settings["strategy"]

    @property
    def limit(self) -> float:
        """How much of the budget may be spent when the search ends: the rest is kept for confirmation, and
        follows the measured speed."""
        amount = self.state.budget.amount
        if self.state.budget.kind == "evals":
            return amount - confirmation_evals(amount)
        share = SEARCH_SHARE
        if self.state.budget.kind == "seconds" and self.state.rungs:
            longest = self.state.seconds_for("", self.state.rungs[-1])
            share = min(share, 1 - (FINALISTS + 9) * longest / self.workers / amount)
        return max(share, SHORTEST_SEARCH) * amount

    @property
    def over(self) -> bool:
        """Whether the search has used its part of the budget, or has nothing left to try."""
        return self.state.spent >= self.limit or self._barren >= 3

    def next(self) -> Task | None:
        """The next task, or None where nothing fits any more or results must come first."""
        for task in self._options():
            if task.eval_id not in self.state.done and task.eval_id not in self.state.tasks and self._fits(task):
                return task
        return None

    def prepare(self) -> None:
        """Make the next proposal while all workers are busy."""
        arm = self.state.arms[0]
        if self._ahead.get(arm) is None and self._may_propose():
            self._ahead[arm] = self._propose(arm)

    def _fits(self, task: Task) -> bool:
        state = self.state
        cost = {"evals": 1.0, "flop": task.compute}.get(state.budget.kind)
        if cost is None:
            cost = state.seconds_for(task.genome_hash, task.compute)
        return state.spent + cost <= self.limit

    def _task(self, individual: Individual, rung: int, purpose: str) -> Task:
        seed = self.state.search_seed(rung)
        return Task(individual.genome_hash, rung, seed, self.state.rungs[rung], purpose, arm=individual.arm)

    def _options(self) -> Iterator[Task]:
        while self._again:
            yield self._again.pop(0)
        yield from self._calibration()
        yield from self._tuned_baselines()
        for arm in self.state.arms:
            yield from self._promotions(arm)
            if self._tuning_is_due():
                yield from self._tuning(arm)
            yield from self._children(arm)

    def _children(self, arm: str) -> Iterator[Task]:
        if self._may_propose():
            proposal = self._ahead.pop(arm, None) or self._propose(arm)
            if proposal is not None:
                individual = self.state.add(
                    proposal.candidate, proposal.operator, proposal.parents, arm, proposal.number
                )
                self.state.run["proposals"] = max(self.state.run["proposals"], proposal.number + 1)
                yield self._task(individual, 0, "child")

    # Calibration -----------------------------------------------------------------------------------

    def _calibration(self) -> Iterator[Task]:
        state = self.state
        baselines = state.population.baselines()
        for baseline in baselines:
            yield self._task(baseline, 0, "baseline")
        seed = state.search_seed(0)
        if all((0, seed) in b.tried for b in baselines) and state.run["noise"] is None:
            best = state.population.best((b for b in baselines if (0, seed) in b.scores), 0)
            for number in range(NOISE_RUNS if best else 0):
                # the best at the common seed: repeats do not move the ranking
                first = min(best, key=lambda b: b.scores[0, seed])
                yield Task(first.genome_hash, 0, state.other_seed(number), state.rungs[0], "noise")

    def measure_noise(self) -> None:
        """Note the standard deviation of one evaluation at the first rung once the repeats are in."""
        state = self.state
        seeds = {state.other_seed(number) for number in range(NOISE_RUNS)}
        if state.run["noise"] is not None:
            return
        for baseline in state.population.baselines():
            if seeds <= {seed for rung, seed in baseline.tried if rung == 0}:
                values = [score for (rung, _), score in baseline.scores.items() if rung == 0]
                if len(values) > 1:
                    state.run["noise"] = {
                        "sigma": noise(values),
                        "rung": 0,
                        "genome": baseline.genome_hash,
                        "values": values,
                    }
                    state.events.append(f"noise at rung 0: ±{noise(values):.3f} bits per byte")

    # Promotions ------------------------------------------------------------------------------------

    @property
    def _late(self) -> bool:
        return self.state.spent > LATE * self.limit

    def places(self, rung: int) -> int | None:
        """How many of a rung move up whatever their number; None where it is the best third alone."""
        return (FINALISTS if rung == 1 else FINALISTS + 1) if self._late else None

    def _promotions(self, arm: str) -> Iterator[Task]:
        population = self.state.population
        for rung in reversed(range(len(self.state.rungs) - 1)):
            for individual in population.promotable(rung, self.state.search_seed(rung), self.places(rung), arm):
                if individual.top == rung and (rung + 1, self.state.search_seed(rung + 1)) not in individual.tried:
                    yield self._task(individual, rung + 1, "promote")

    def limits(self, task: Task) -> tuple[tuple[float, float], ...]:
        """Where the training of a task is given up: a loss from which nobody has reached what moves up."""
        state = self.state
        if task.purpose not in ("child", "promote") or task.seed != state.search_seed(task.rung):
            return ()
        place = (task.rung, task.seed)
        tried = [i for i in state.population.children(task.arm) if place in i.tried]
        ranked = state.population.best((i for i in tried if place in i.scores), task.rung)
        last = task.rung == len(state.rungs) - 1
        places = FINALISTS if last else max(self.places(task.rung) or 0, len(tried) // 3)
        if not 0 < places < len(ranked):
            return ()
        wanted = ranked[places - 1].scores[place]
        return abandon.limits(state.rows.values(), task.rung, task.seed, wanted)

    def screen(self, task: Task) -> Screen | None:
        """What new children are refused for before they are trained: signals that have been seen to help in this
        run. Looked at again after every few evaluations. Some children pass unscreened, so that the archive goes on
        to see what a screen would refuse."""
        individual = self.state.population.individuals.get(task.genome_hash)
        if task.purpose != "child" or individual is None or individual.number % UNSCREENED == 0:
            return None
        if len(self.state.rows) >= self._screened + SCREEN_EVERY:
            self._screened = len(self.state.rows)
            self._screen = predictors.screen(list(self.state.rows.values()))
        return self._screen

    def _tuned_baselines(self) -> Iterator[Task]:
        """The two best learning rates of each tuned baseline at the last rung, when its trials are over or time
        is: rates that are level at one rung need not be at the next."""
        population = self.state.population
        for baseline in self._to_tune():
            if self._late or len(population.variants(baseline)) >= self.trials:
                seed = self.state.search_seed(1)
                pending = [v for v in population.variants(baseline) if (1, seed) not in v.tried]
                if not pending:
                    for variant in population.best(population.variants(baseline), 1)[:2]:
                        yield self._task(variant, 2, "tune")

    # Learning rates --------------------------------------------------------------------------------

    @property
    def trials(self) -> int:
        """Learning rates tried for a baseline, its own included: six in ten minutes on two workers."""
        budget = self.state.budget
        expected = budget.amount if budget.kind == "evals" else 125 * math.sqrt(self._budget_in_ten_minutes())
        return min(max(round(expected / 20), 3), 20)

    def _budget_in_ten_minutes(self) -> float:
        budget = self.state.budget
        if budget.kind == "seconds":
            return budget.amount * self.workers / 1200
        return budget.amount / (1200 * RUNGS[0].compute / RUNGS[0].seconds)

    def _tuning_is_due(self) -> bool:
        """Learning rates get up to half of the workers, and a share of what is spent, whichever is less."""
        state = self.state
        tuning = [task for task in state.tasks.values() if task.purpose in ("tune", "variant")]
        if len(tuning) >= max(1, self.workers // 2):
            return False
        tried = (1, state.search_seed(1))
        rates = [i for i in state.population.individuals.values() if i.operator in (SEED, TUNE) and tried in i.tried]
        spent = len(rates) * state.rungs[1]
        return spent <= TUNING_SHARE * state.compute or not self._may_propose()

    def _tuning(self, arm: str) -> Iterator[Task]:
        population = self.state.population
        scored = population.best(population.baselines(), 0)
        for baseline in scored:
            yield self._task(baseline, 1, "tune")
        for baseline in self._to_tune():
            variants = population.variants(baseline)
            if len(variants) < self.trials:
                factor = next_factor(self._tried(baseline), self.state.search_seed(1))
                yield from self._variant(baseline, factor, "tune")
        children = population.best((i for i in population.children(arm) if i.operator != TUNE), 1)
        for child in children[:FINALISTS]:
            if child.rungs().get(1) is not None and len(population.variants(child)) == 1:
                yield from self._variant(child, STEP, "variant")
            elif child.rungs().get(1) is not None and len(population.variants(child)) == 2:
                yield from self._variant(child, 1 / STEP, "variant")

    def _to_tune(self) -> list[Individual]:
        """The best baselines, once each has run at the second rung with its own learning rate: the first, and
        others within its reach."""
        population, seed = self.state.population, self.state.search_seed(1)
        baselines = population.baselines()
        alive = [b for b in baselines if not b.failed]
        if not alive or any((1, seed) not in b.tried for b in alive):
            return []
        ranked = population.best((b for b in alive if (1, seed) in b.scores), 1)
        return [b for b in ranked[:TUNED] if b.scores[1, seed] - ranked[0].scores[1, seed] < REACH]

    def _tried(self, baseline: Individual) -> list[tuple[float, float | None]]:
        own = learning_rate(self.state.candidate(baseline.genome_hash).text)
        return [
            (learning_rate(self.state.candidate(v.genome_hash).text) / own, v.rungs().get(1))
            for v in self.state.population.variants(baseline)
        ]

    def _variant(self, individual: Individual, factor: float, purpose: str) -> Iterator[Task]:
        """The individual with another learning rate, if there is room for it and nobody is that yet."""
        if not self._fits(self._task(individual, 1, purpose)):
            return
        text = scale_learning_rate(self.state.candidate(individual.genome_hash).text, factor)
        try:
            candidate = candidates.read(text)
        except GenomeError:
            return
        if candidate.genome_hash not in self.state.population:
            yield self._task(self.state.add(candidate, TUNE, (individual.genome_hash,), individual.arm), 1, purpose)

    # Children --------------------------------------------------------------------------------------

    def _may_propose(self) -> bool:
        """Whether there are parents to choose from, and the budget holds another first rung."""
        state = self.state
        parents = [b for b in state.population.baselines() if b.top >= 0]
        if len(parents) < min(2, len(state.population.baselines())):
            return False
        return self._fits(Task("", 0, state.search_seed(0), state.rungs[0], "child"))

    def _propose(self, arm: str) -> Proposal | None:
        state = self.state
        ahead = [proposal.number for proposal in self._ahead.values() if proposal is not None]
        number = max([state.run["proposals"] - 1, *ahead]) + 1
        proposal = propose(
            number,
            state.run["settings"]["seed"],
            state.population,
            lambda genome_hash: state.candidate(genome_hash).text,
            state.band,
            self.strategy,
            arm,
        )
        self._barren = 0 if proposal else self._barren + 1
        if proposal is None:
            state.run["proposals"] = number + 1
        return proposal
