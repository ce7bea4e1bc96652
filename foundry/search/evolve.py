"""A search from its first evaluation to its report: `evolve(settings, notify)`.

One loop serves every phase: whatever has finished is written down, every free worker gets the next task,
and whoever watches is told, four times a second. A run that is killed goes on from its folder.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from foundry.compiler.emit import emit
from foundry.data.corpus import Corpus, load_corpus
from foundry.dsl.check import load_program
from foundry.evals.rungs import RUNGS
from foundry.evals.statistics import CONFIRMED, WORSE
from foundry.search import candidates, confirm, reduction
from foundry.search.archive import Archive, ArchiveError
from foundry.search.confirm import Plan
from foundry.search.description import GOES_ON, require
from foundry.search.minimal import Minimal
from foundry.search.panel import Scores, Wanted
from foundry.search.population import Individual
from foundry.search.schedule import GRACE, PATIENCE, Schedule, first_compute, rungs_from
from foundry.search.settings import Result, Running, Score, Settings, Snapshot
from foundry.search.state import CHILDREN, State, Task, new_run, open_state
from foundry.search.workers import Finished, Job, Workers

TICK = 0.25  # seconds between snapshots
BEAT = 5.0  # seconds between notes of the time spent
REPORTING = 0.02  # of a budget of time is kept for the report, at least REPORT_SECONDS
REPORT_SECONDS = 6.0
STRAGGLERS = 0.03  # of a budget of time is how long the last evaluations of the search may take over it
PROBE = 0.5  # of the usual first rung: an evaluation that measures the machine's speed
PROBE_SECONDS = 60.0


def evolve(settings: Settings, notify: Callable[[Snapshot], None]) -> Result:
    """Search, confirm and report within the budget.

    Ctrl-C once ends the search and goes on to confirmation; twice leaves at once, and the run can be resumed.

    Raises:
        ArchiveError: the run folder cannot be used, or its disk is full; what was reported stays.
        CorpusError: the text cannot be used.
        GenomeError: a baseline has errors.
        KeyboardInterrupt: Ctrl-C was pressed twice.
    """
    began = settings.began or time.monotonic()
    with _opened(settings, began) as evolution, _interruptible(evolution):
        evolution.notify = notify
        return evolution.go()


class Evolution:
    """A run under way: its state, its workers, and who watches."""

    def __init__(self, state: State, workers: Workers, corpus: Corpus, left_over: list[dict[str, Any]]):
        self.state, self.workers, self.corpus = state, workers, corpus
        self.left_over = left_over
        self.notify: Callable[[Snapshot], None] = lambda snapshot: None
        self.phase = "starting"
        self.schedule: Schedule | None = None  # in the search alone
        self.stopping = False
        self.leaving = False  # Python swallows an interrupt inside a weak reference's callback: it is raised again
        self._told = self._beaten = 0.0

    def go(self) -> Result:
        state = self.state
        if state.run["state"] == "search":
            self._search()
            state.run["state"] = "confirm"
            state.save()
        if state.run["state"] == "confirm":
            state.run["result"] = self._confirm()
            if state.run["result"]["verdict"] == CONFIRMED and not self.stopping:
                self._reduce()
            state.run["state"] = "stopped" if self.stopping else "finished"
            state.run["busy_share"] = round(self.workers.busy_share, 4)
            state.save()
        return self._report()

    # The phases ------------------------------------------------------------------------------------

    def _search(self) -> None:
        state = self.state
        if not state.run["rungs"]:
            if state.budget.kind == "seconds":
                state.run["speed"] = self._measure_speed()
            first = first_compute(state.budget, self.workers.count, state.run["speed"])
            state.run["rungs"] = rungs_from(first)
            state.save()
        self.phase = "search"
        schedule = self.schedule = Schedule(state, self.left_over)
        while not (self.stopping or schedule.over):
            self._fill(schedule.next)
            if not self.workers.running:
                break
            if not self.workers.free:
                schedule.prepare()
            self._wait()
            schedule.measure_noise()
        self._let_stragglers_end(schedule.limit)
        self.schedule = None

    def _let_stragglers_end(self, limit: float) -> None:
        """Wait a little for the last evaluations of the search; those that take longer are dropped."""
        state = self.state
        while self.workers.running and not self.stopping:
            if state.budget.kind == "seconds" and state.elapsed > limit + STRAGGLERS * state.budget.amount:
                break
            self._wait()
        self._drop_running()

    def _confirm(self) -> dict[str, Any]:
        state = self.state
        self.phase = "confirm"
        plan = plan_from(state.run["confirmation"]) or confirm.make_plan(state, self._left())
        if plan is None:
            state.events.append("nothing to confirm: no child has a score")
            return confirm.summary(state, None)
        self._note(plan)
        while True:
            if not plan.winner and not self._unfinished(plan, "finalist"):
                plan = confirm.with_winner(state, plan)
                state.events.append(f"{state.name(plan.winner)} is the winner on validation text")
                self._note(plan)
            if (shorter := confirm.shortened(state, plan)) != plan:
                state.events.append(f"clear after {len(shorter.seeds)} pairs")
                plan = shorter
                self._note(plan)
            self._fill(partial(self._next_of, plan))
            if plan.winner and self.workers.free and (longer := self._with_another_seed(plan)):
                plan = longer
                self._note(plan)
            elif not self.workers.running or self._out_of_time():
                break
            else:
                self._wait()
        self._drop_running()
        return confirm.summary(state, plan if plan.winner else confirm.with_winner(state, plan))

    def _reduce(self) -> None:
        """Reduce the winner to what it needs, as far as the budget goes."""
        state, plan = self.state, plan_from(self.state.run["confirmation"])
        begun = reduction.begin(state, plan, self._left()) if plan else None
        if plan is None or begun is None:
            return
        self.phase = "reduce"
        base, study = begun
        try:
            wanted = next(study)
            while True:
                wanted = study.send(self._measured(plan.winner, wanted))
        except StopIteration as end:
            found: Minimal = end.value
        self._drop_running()
        if found.complete:
            reduction.keep(state, plan, base, found)
            state.events.append(f"{len(found.edits)} of its edits are needed, {len(found.dropped)} are not")

    def _measured(self, winner: str, wanted: Sequence[Wanted]) -> Scores | None:
        """What came of what a study wants; None where the budget is spent."""
        state = self.state
        tasks = [reduction.task(state, winner, one) for one in wanted]
        waiting = list({task.eval_id: task for task in tasks if task.eval_id not in state.done}.values())
        if reduction.cost(state, winner, [task.compute for task in waiting]) > self._left():
            return None
        while waiting or self.workers.running:
            self._fill(lambda: waiting.pop(0) if waiting else None)
            if self.stopping or self._out_of_time():
                return None
            self._wait()
        return reduction.scores(state, tasks)

    def _with_another_seed(self, plan: Plan) -> Plan | None:
        return None if self.stopping else confirm.with_another_seed(self.state, plan, self._left())

    def _report(self) -> Result:
        from foundry.search.report import write_report

        state = self.state
        self.phase = "report"
        self._tell()
        result = state.run["result"]
        best = result["baseline"] if result["verdict"] == WORSE or not result["winner"] else result["winner"]
        if best:
            text = state.candidate(best).text
            state.archive.write_file("best.genome", text)
            state.archive.write_file("best.py", emit(load_program(text), title="best"))
        state.save()
        report = Path(write_report(state.archive.folder))
        state.save()
        self._tell()
        difference = result["difference"] or {}
        return Result(
            folder=state.archive.folder,
            verdict=result["verdict"],
            winner=result["winner"],
            baseline=result["baseline"],
            difference=difference.get("mean"),
            low=difference.get("low"),
            high=difference.get("high"),
            pairs=difference.get("n", 0),
            report=report,
            warnings=tuple(state.archive.warnings),
            stopped=state.run["state"] == "stopped",
        )

    # What the phases share -------------------------------------------------------------------------

    def _fill(self, next_task: Callable[[], Task | None]) -> None:
        """Give every free worker a task, while there are tasks."""
        while self.workers.free:
            task = next_task()
            if task is None:
                return
            self._start(task)

    def _start(self, task: Task) -> None:
        state = self.state
        expected = state.seconds_for(task.genome_hash, task.compute)
        text = state.candidate(task.genome_hash).text
        state.begin(task)
        limit = PATIENCE * expected + GRACE
        job = Job(task.eval_id, text, self.corpus, task.compute, task.seed, task.split, limit)
        if self.schedule is not None and task.purpose in CHILDREN:
            job = replace(job, probe=task.rung == 0, known=state.known(task), limits=self.schedule.limits(task))
            job = replace(job, screen=self.schedule.screen(task))
        self.workers.start(job)

    def _wait(self) -> None:
        """Write down what finishes within a tick; tell whoever watches."""
        if self.leaving:
            raise KeyboardInterrupt
        for finished in self.workers.wait(TICK):
            self._finish(finished)
        if time.monotonic() - self._beaten > BEAT:
            self._beaten = time.monotonic()
            self.state.save()
        if time.monotonic() - self._told > 0.8 * TICK:
            self._tell()

    def _finish(self, finished: Finished) -> None:
        state = self.state
        task = state.tasks[finished.job.eval_id]
        row = state.finish(finished)
        name = state.name(task.genome_hash)
        score = row["val_bpb"] if row["test_bpb"] is None else row["test_bpb"]
        if row["status"] != "ok" or score is None:
            said = f"{row['status']} ({row['error_code']})" if row["error_code"] else row["status"]
        else:
            said = f"{score:.3f} at rung {task.rung}" + (" on test text" if task.split == "test" else "")
        how = f", by {row['operator']}" if task.purpose == "child" else ""
        state.events.append(f"{name}: {said}{how}")

    def _drop_running(self) -> None:
        for job, _ in self.workers.running:
            self.state.drop(job.eval_id)
        self.workers.close()

    def _next_of(self, plan: Plan) -> Task | None:
        known = self.state.done | self.state.tasks.keys()
        return next((task for task in confirm.tasks(self.state, plan) if task.eval_id not in known), None)

    def _unfinished(self, plan: Plan, purpose: str) -> bool:
        tasks = confirm.tasks(self.state, plan)
        return any(task.purpose == purpose and task.eval_id not in self.state.done for task in tasks)

    def _note(self, plan: Plan) -> None:
        self.state.run["confirmation"] = asdict(plan)
        self.state.save()

    def _left(self) -> float:
        """What remains of the budget for confirmation, in its unit. One that the user asked for early gets
        no more than it would have had at the end."""
        state, amount = self.state, self.state.budget.amount
        left = amount - state.spent
        if state.budget.kind == "seconds":
            left -= max(REPORT_SECONDS, REPORTING * amount)
        reserve = amount - Schedule(state, []).limit
        return min(left, reserve) if self.stopping else left

    def _out_of_time(self) -> bool:
        state = self.state
        return state.budget.kind == "seconds" and self._time_left() <= 0

    def _time_left(self) -> float:
        amount = self.state.budget.amount
        return amount - max(REPORT_SECONDS, REPORTING * amount) - self.state.elapsed

    def _measure_speed(self) -> float:
        """Flop-equivalents per second of one worker while all of them work; the usual where that fails."""
        text = self.state.candidate(next(iter(self.state.run["baselines"].values()))).text
        compute = PROBE * RUNGS[0].compute
        for number in range(self.workers.count):
            seed = self.state.other_seed(number)
            self.workers.start(Job(f"probe-{number}", text, self.corpus, compute, seed, "validation", PROBE_SECONDS))
        speeds = []
        while self.workers.running and not self.stopping:
            for finished in self.workers.wait(TICK):
                if finished.status == "ok":
                    speeds.append(compute / finished.wall_s)
            self._tell()
        self.workers.close()
        return min(speeds, default=float(self.state.run["speed"]))

    def _tell(self) -> None:
        self._told = time.monotonic()
        self.notify(self._snapshot())

    def _snapshot(self) -> Snapshot:
        state, population = self.state, self.state.population
        running = []
        for job, seconds in self.workers.running:
            task = state.tasks.get(job.eval_id)
            if task is None:
                running.append(Running("speed", "starting", 0, seconds))
            else:
                running.append(Running(state.name(task.genome_hash), task.purpose, task.rung, seconds))
        baselines = []
        for baseline in population.baselines():
            best = population.best(i for i in population.variants(baseline) if not i.failed)
            baselines += [self._score(individual) for individual in best[:1]]
        children = population.best(population.children())
        return Snapshot(
            folder=state.archive.folder,
            phase=self.phase,
            budget=state.budget,
            spent=state.spent,
            seconds=state.elapsed,
            baselines=tuple(baselines),
            best=self._score(children[0]) if children else None,
            running=tuple(running),
            counts=dict(state.counts),
            events=tuple(state.events),
        )

    def _score(self, individual: Individual) -> Score:
        name = self.state.name(individual.genome_hash)
        return Score(name, individual.genome_hash, individual.rungs()[individual.top], individual.top)


def plan_from(stored: dict[str, Any] | None) -> Plan | None:
    """The plan of confirmation that stands in a run.json, None before there is one."""
    if stored is None:
        return None
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return Plan(**fields)


# Opening a run ------------------------------------------------------------------------------------------------------


@contextmanager
def _opened(settings: Settings, began: float) -> Iterator[Evolution]:
    """The run of some settings, new or resumed. On leaving, no worker is left and the folder is free."""
    archive = Archive(settings.out) if settings.resume else None
    if archive is not None:
        archive.lock()
    workers = Workers(settings.run_job, settings.workers, settings.memory, settings.preload)
    try:
        if archive is None:
            archive, state, corpus = _new(settings, began)
            left_over: list[dict[str, Any]] = []
        else:
            state, corpus, left_over = _resumed(archive, settings, began)
        yield Evolution(state, workers, corpus, left_over)
    finally:
        workers.close()
        if archive is not None:
            archive.close()


def _new(settings: Settings, began: float) -> tuple[Archive, State, Corpus]:
    corpus = load_corpus(settings.data)
    texts = settings.baselines if settings.baselines is not None else candidates.shipped_baselines()
    baselines = {name: candidates.read(text) for name, text in texts.items()}
    run = new_run(settings, corpus, {name: c.genome_hash for name, c in baselines.items()})
    archive = Archive.create(settings.out, run)
    for candidate in baselines.values():
        archive.write_genome(candidate.genome_hash, candidate.text)
    return archive, open_state(archive, run, began), corpus


def _resumed(archive: Archive, settings: Settings, began: float) -> tuple[State, Corpus, list[dict[str, Any]]]:
    """The run of a folder. One that was stopped before its search was over goes on searching, and is confirmed
    again with seeds that nobody has seen; one that is finished is reported again."""
    run = archive.read_run()
    require(run, GOES_ON, archive.folder / "run.json")
    corpus = load_corpus(run["settings"]["data"])
    if corpus.hash != run["data"]["hash"]:
        raise ArchiveError(
            f"{archive.folder}: its text has changed since (was {run['data']['hash']}, is {corpus.hash}); "
            "bring the old text back, or begin a new run"
        )
    run["settings"]["workers"] = settings.workers
    left_over = run["running"] if run["state"] == "search" else []
    state = open_state(archive, run, began)
    if run["state"] == "stopped" and state.spent < Schedule(state, []).limit:
        run["state"], run["confirmation"], run["rounds"] = "search", None, run["rounds"] + 1
    return state, corpus, left_over


@contextmanager
def _interruptible(evolution: Evolution) -> Iterator[None]:
    """Ctrl-C once asks the run to stop; twice raises KeyboardInterrupt. Only the main thread hears it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        evolution.leaving = evolution.stopping
        if evolution.leaving:
            raise KeyboardInterrupt
        evolution.stopping = True

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
