"""The state of a run: the archive's rows and run.json, and the population that follows from them."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import os
import platform
import statistics
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psutil

import foundry
from foundry.dsl.diagnostics import GenomeError
from foundry.evals.rungs import RUNGS
from foundry.search import candidates
from foundry.search.archive import SCHEMA_VERSION, Archive, Row
from foundry.search.budget import Budget
from foundry.search.candidates import Band, Candidate
from foundry.search.population import CONTROL, CONTROL_ARM, SEARCH_ARM, SEED, TUNE, Individual, Population
from foundry.search.settings import Settings
from foundry.search.tune import learning_rate
from foundry.search.variety import islands
from foundry.search.workers import Finished

EVENTS = 12  # kept for whoever watches
SEED_SPAN = 10_000  # random seeds that belong to one run's seed
CHILDREN = ("child", "promote", "variant")  # purposes of evaluations that an arm pays for


@dataclass(frozen=True)
class Task:
    """An evaluation to be done. `purpose` as in `Running`; `arm` says whose share of the budget pays."""

    genome_hash: str
    rung: int
    seed: int
    compute: float
    purpose: str
    split: str = "validation"
    arm: str = SEARCH_ARM

    @property
    def eval_id(self) -> str:
        return f"{self.genome_hash}-{self.rung}-{self.seed}"


class State:
    """A run in progress. `run` is the content of run.json; `began` the time.monotonic() that its clock counts from."""

    def __init__(self, archive: Archive, run: dict[str, Any], began: float):
        self.archive, self.run = archive, run
        self.population = Population(islands(run["settings"]["workers"]))
        self.rows: dict[str, Mapping[str, Any]] = {}  # of the archive, by eval_id
        self.tasks: dict[str, Task] = {}  # under way, by eval_id
        self.events: deque[str] = deque(maxlen=EVENTS)
        self.counts: Counter[str] = Counter()
        self.done: set[str] = set()
        self.compute = 0.0  # flop spent
        self.by_arm: Counter[str] = Counter()  # flop spent on the children of each
        self.shared = 0  # evaluations that another one answered
        self.test_scores: dict[tuple[str, int, int], float] = {}  # (genome, rung, seed)
        self._candidates: dict[str, Candidate] = {}
        self._started = began
        self._before = sum(session["seconds"] for session in run["sessions"])

    # What the run is -------------------------------------------------------------------------------

    @property
    def budget(self) -> Budget:
        return Budget(**self.run["settings"]["budget"])

    @property
    def elapsed(self) -> float:
        """Seconds spent, those of earlier sessions included."""
        return self._before + time.monotonic() - self._started

    @property
    def spent(self) -> float:
        """What is spent of the budget in its unit; what is under way counts."""
        match self.budget.kind:
            case "evals":
                return len(self.done) - self.shared + len(self.tasks)
            case "flop":
                return self.compute + sum(task.compute for task in self.tasks.values())
        return self.elapsed

    @property
    def rungs(self) -> list[float]:
        """The compute of each rung of the search, in flop."""
        return [rung["compute"] for rung in self.run["rungs"]]

    def search_seed(self, rung: int) -> int:
        """The seed that all genomes share at a rung of the search."""
        return SEED_SPAN * self.run["settings"]["seed"] + rung

    def other_seed(self, number: int) -> int:
        """A seed that no rung of the search uses."""
        return SEED_SPAN * self.run["settings"]["seed"] + 10 + number

    @property
    def arms(self) -> tuple[str, ...]:
        """Those that spend the budget, the one that has spent least first."""
        arms = (SEARCH_ARM, CONTROL_ARM) if self.run["settings"].get("control") else (SEARCH_ARM,)
        return tuple(sorted(arms, key=lambda arm: self.by_arm[arm] + self._under_way(arm)))

    def _under_way(self, arm: str) -> float:
        return sum(task.compute for task in self.tasks.values() if task.arm == arm and task.purpose in CHILDREN)

    @property
    def band(self) -> Band:
        return candidates.band([self.candidate(h) for h in self.run["baselines"].values()])

    def candidate(self, genome_hash: str) -> Candidate:
        """The candidate of a hash, read from the archive once.

        Raises:
            ArchiveError: the archive's text of it is lost, or no longer checks clean.
        """
        if genome_hash not in self._candidates:
            text = self.archive.genome(genome_hash)
            try:
                self._candidates[genome_hash] = candidates.read(text)
            except GenomeError as error:
                raise self.archive.damaged(genome_hash, error) from None
        return self._candidates[genome_hash]

    def name(self, genome_hash: str) -> str:
        """What people call a genome: a baseline's file, with its learning rate where that was changed, or
        the beginning of its hash."""
        individual = self.population.individuals[genome_hash]
        names = {h: name for name, h in self.run["baselines"].items()}
        if genome_hash in names:
            return names[genome_hash]
        first = individual.parents[0] if individual.parents else ""
        if individual.operator == TUNE and first in names:
            return f"{names[first]} lr={learning_rate(self.candidate(genome_hash).text):g}"
        return genome_hash[:8]

    # What happens to it ----------------------------------------------------------------------------

    def add(
        self,
        candidate: Candidate,
        operator: str,
        parents: tuple[str, ...] = (),
        arm: str = SEARCH_ARM,
        number: int = -1,
    ) -> Individual:
        """Take a genome into the population, and its text into the archive. number: of its proposal."""
        self._candidates[candidate.genome_hash] = candidate
        self.archive.write_genome(candidate.genome_hash, candidate.text)
        return self.population.add(candidate.genome_hash, operator, parents, candidate.family, arm, number)

    def begin(self, task: Task) -> None:
        """Note on disk that a task starts, so that a resumed run can do it again."""
        self.tasks[task.eval_id] = task
        self.save()

    def drop(self, eval_id: str) -> None:
        """A task that will not be finished."""
        self.tasks.pop(eval_id, None)

    def finish(self, finished: Finished) -> Row:
        """Write the row of a finished task; after this it is on disk."""
        task = self.tasks[finished.job.eval_id]
        row = self._row(task, finished)
        self.archive.append([row])
        del self.tasks[task.eval_id]
        self._observe(row)
        return row

    def save(self) -> None:
        """Write run.json."""
        self.run["sessions"][-1]["seconds"] = round(time.monotonic() - self._started, 3)
        self.run["running"] = []
        for task in self.tasks.values():
            individual = self.population.individuals[task.genome_hash]
            birth = {
                "operator": individual.operator,
                "parents": list(individual.parents),
                "proposal": individual.number,
            }
            self.run["running"].append({**asdict(task), **birth})
        self.archive.write_run(self.run)

    def _observe(self, row: Mapping[str, Any]) -> None:
        self.population.observe(row)
        self.counts[row["status"]] += 1
        self.done.add(row["eval_id"])
        self.rows[row["eval_id"]] = row
        self.shared += bool(row["shared_with"])
        self.compute += row["compute_spent"]
        if row["operator"] not in (SEED, CONTROL):
            self.by_arm[row["arm"]] += row["compute_spent"]
        if row["test_bpb"] is not None and row["status"] == "ok":
            self.test_scores[row["genome_hash"], row["rung"], row["seed"]] = row["test_bpb"]

    def _row(self, task: Task, finished: Finished) -> Row:
        individual = self.population.individuals[task.genome_hash]
        outcome = {**(finished.outcome or {})}
        shared = outcome.get("shared_with") or ""
        if shared:  # the result of another evaluation, which computes the same
            first = self.rows[shared]
            outcome |= {name: first[name] for name in ("tokens", "steps", "train_curve")}
            outcome["bits_per_byte"] = first["val_bpb"]
        score = outcome.get("bits_per_byte")
        curve = [list(point) for point in outcome.get("train_curve") or ()]
        return {
            "eval_id": task.eval_id,
            "run_id": self.run["run_id"],
            "genome_hash": task.genome_hash,
            "behaviour_hash": hashlib.sha256(repr((score, curve)).encode()).hexdigest()[:16],
            "parent_hashes": list(individual.parents),
            "operator": individual.operator,
            "arm": task.arm,
            "proposal": individual.number,
            "rung": task.rung,
            "seed": task.seed,
            "status": finished.status,
            "error_code": finished.error_code,
            "compute_budget": task.compute,
            "compute_spent": 0.0 if shared else outcome.get("compute", task.compute),
            "tokens": outcome.get("tokens", 0),
            "steps": outcome.get("steps", 0),
            "val_bpb": score if task.split == "validation" else None,
            "test_bpb": score if task.split == "test" else None,
            "fingerprint": outcome.get("fingerprint") or "",
            "shared_with": shared,
            "signals": outcome.get("signals") or {},
            "train_curve": curve,
            "parameters": outcome.get("parameters") or self.candidate(task.genome_hash).parameters,
            "flops_per_token": outcome.get("flops_per_token"),
            "bytes_per_token": outcome.get("bytes_per_token"),
            "cache_bytes_per_token": outcome.get("cache_bytes_per_token"),
            "peak_rss": finished.peak_rss,
            "cpu_s": finished.cpu_s,
            "wall_s": finished.wall_s,
            "data_hash": self.run["data"]["hash"],
            "foundry_version": foundry.__version__,
            "torch_version": self.run["versions"]["torch"],
            "schema_version": SCHEMA_VERSION,
            "finished_at": datetime.datetime.now(datetime.UTC),
        }

    # What workers are told of the archive ----------------------------------------------------------------------------

    def known(self, task: Task) -> dict[str, str]:
        """The trained evaluations like a task, by the fingerprint of their genome."""
        return {
            row["fingerprint"]: eval_id
            for eval_id, row in self.rows.items()
            if row["fingerprint"] and not row["shared_with"] and row["status"] == "ok"
            and (row["rung"], row["seed"]) == (task.rung, task.seed) and row["val_bpb"] is not None
        }  # fmt: skip

    # What it expects -------------------------------------------------------------------------------

    def seconds_for(self, genome_hash: str, compute: float) -> float:
        """About how long an evaluation takes: from this genome's last one, else from all of them."""
        own = self.population.individuals[genome_hash].seconds if genome_hash in self.population else None
        if own is not None:
            return own * compute
        known = [i.seconds for i in self.population.individuals.values() if i.seconds is not None]
        return 1.25 * compute * (statistics.median(known) if known else 1 / self.run["speed"])


def new_run(settings: Settings, corpus: Any, baselines: Mapping[str, str]) -> dict[str, Any]:
    """The first run.json of a run; `baselines` are genome hashes by name."""
    memory = psutil.virtual_memory().total
    return {
        "run_id": uuid.uuid4().hex,
        "schema_version": SCHEMA_VERSION,
        "created": now(),
        "versions": {
            "foundry": foundry.__version__,
            "torch": importlib.metadata.version("torch"),
            "python": platform.python_version(),
        },
        "machine": {"system": platform.platform(), "cores": os.cpu_count(), "memory_bytes": memory},
        "settings": {
            "budget": asdict(settings.budget),
            "data": settings.data,
            "seed": settings.seed,
            "workers": settings.workers,
            "strategy": settings.strategy,
            "control": settings.control,
            "memory": settings.memory,
        },
        "data": {"name": corpus.name, "hash": corpus.hash},
        "baselines": dict(baselines),
        "state": "search",
        "rungs": [],
        "speed": RUNGS[0].compute / RUNGS[0].seconds,
        "noise": None,
        "sessions": [],
        "proposals": 0,
        "running": [],
        "rounds": 0,
        "confirmation": None,
        "result": None,
    }


def open_state(archive: Archive, run: dict[str, Any], began: float) -> State:
    """The state of a run from its archive; a session begins. What was under way is in `run["running"]`."""
    run["sessions"].append({"started": now(), "seconds": 0.0})
    state = State(archive, run, began)
    births = [
        (row["genome_hash"], row["operator"], row["parent_hashes"], row["arm"], row["proposal"])
        for row in archive.rows()
    ]
    births += [
        (
            entry["genome_hash"],
            entry["operator"],
            entry["parents"],
            entry.get("arm", SEARCH_ARM),
            entry.get("proposal", -1),
        )
        for entry in run["running"]
    ]
    for genome_hash in run["baselines"].values():
        state.population.add(genome_hash, SEED, (), state.candidate(genome_hash).family)
    for genome_hash, operator, parents, arm, number in births:
        if genome_hash not in state.population:
            family = state.candidate(genome_hash).family
            state.population.add(genome_hash, operator, parents, family, arm, number)
    for row in archive.rows():
        state._observe(row)
    return state


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
