"""Evaluations that will not end are ended, and nothing else is lost. `bench/limits.py` says how soon."""

import time
from collections import Counter

import doomed
import psutil
import pytest
import tiny

from foundry.search import candidates, evolve, schedule
from foundry.search.archive import Archive
from foundry.search.budget import Budget
from foundry.search.settings import Settings
from foundry.search.workers import Job, Workers

MEMORY = 400 << 20
SOON = 20.0  # seconds, on a machine with any amount of other work; without an end they would take a minute
LIMIT = 1.5  # seconds
DEATHS = {"for ever": "timeout", "memory": "out_of_memory", "signal": "crashed"}  # what their rows say


def job(name, text="answer", seconds=LIMIT, corpus=None, compute=0.0, seed=0):
    return Job(name, text, corpus, compute, seed, "validation", seconds)


@pytest.fixture
def pool():
    """A function that makes workers for a kind of job; all of them are closed at the end."""
    made = []

    def make(run, count=2, memory=MEMORY):
        made.append(Workers(run, count, memory, preload=("doomed", "tiny")))
        made[-1].start(job("warm", seconds=0.0))  # the first one waits for the fork server
        finish(made[-1])
        return made[-1]

    yield make
    for workers in made:
        workers.close()


def finish(workers):
    found = {}
    while workers.running:
        for finished in workers.wait(5):
            found[finished.job.eval_id] = finished
    return found


def test_a_limit_holds_while_the_main_thread_is_busy(pool):
    text = next(str(n) for n in range(1000) if doomed.fate_of(str(n)) == "for ever")
    workers = pool(doomed.deadly)
    workers.start(job("late", text))
    pid = workers._running[0].process.pid
    deadline = time.monotonic() + SOON
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline  # nobody asks for results, and it ends all the same
    assert finish(workers)["late"].status == "timeout"


@pytest.mark.parametrize("run", [doomed.stubborn, doomed.deadly])
def test_one_that_takes_for_ever_is_recorded_at_its_limit(pool, run):
    text = next(str(n) for n in range(1000) if doomed.fate_of(str(n)) == "for ever")
    workers = pool(run)
    workers.start(job("late", text))
    late = finish(workers)["late"]
    assert (late.status, late.error_code, late.outcome) == ("timeout", f"over {LIMIT:.1f} s", None)
    assert LIMIT <= late.wall_s < LIMIT + SOON


def test_one_that_eats_memory_is_recorded_when_it_passes_its_limit(pool, tmp_path):
    workers = pool(doomed.hoard)
    workers.start(job("full", corpus=str(tmp_path / "when"), compute=float(MEMORY), seconds=60.0))
    full = finish(workers)["full"]
    ended, passed = time.time(), (tmp_path / "when").stat().st_mtime
    assert (full.status, full.error_code) == ("out_of_memory", f"over {MEMORY >> 20} MiB")
    assert full.peak_rss > MEMORY and ended - passed < SOON


def test_one_that_dies_by_a_signal_is_recorded_at_once_by_the_signals_name(pool):
    text = next(str(n) for n in range(1000) if doomed.fate_of(str(n)) == "signal")
    workers = pool(doomed.deadly)
    workers.start(job("dead", text, seconds=60.0))
    dead = finish(workers)["dead"]
    assert (dead.status, dead.error_code, dead.outcome) == ("crashed", "SIGBUS", None)
    assert dead.wall_s < SOON


def test_the_others_go_on_beside_one_that_is_killed(pool):
    workers = pool(tiny.evaluate, count=3)
    workers.start(job("for ever", "sleep"))
    workers.start(job("dead", "fault"))
    workers.start(job("well", "answer", seconds=60.0, seed=4))
    found = finish(workers)
    assert {name: one.status for name, one in found.items()} == {
        "for ever": "timeout", "dead": "crashed", "well": "ok",
    }  # fmt: skip
    assert found["well"].outcome["bits_per_byte"] == 0.5
    assert workers.free == 3


TINY = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = 32);
model = embed(vocab = 256, width = 16) >> layer >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = 5e-3), context = fn(t) => 32, batch = 256);
"""


def test_a_real_training_that_hangs_inside_torch_is_killed_in_time():
    from foundry.data.corpus import load_corpus

    workers = Workers(doomed.slow, 1, preload=("foundry.search.warm", "doomed"))
    try:
        workers.start(Job("hangs", TINY, load_corpus(), 3e9, 0, "validation", 6.0))
        hangs = finish(workers)["hangs"]
    finally:
        workers.close()
    assert hangs.status == "timeout", hangs.error_code
    assert 6.0 <= hangs.wall_s < 6.0 + SOON


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A corpus that is small and quickly built."""
    folder = tmp_path_factory.mktemp("text")
    for number in range(300):
        (folder / f"{number}.txt").write_text(" ".join(f"word{(number * k) % 97}" for k in range(1, 200)))
    return str(folder)


@pytest.fixture(scope="module")
def searched(data, tmp_path_factory):
    """The archive of a search among deadly genomes, and its result."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    for module in (evolve, schedule):
        patch.setattr(module, "GRACE", 1.5)
    settings = Settings(
        tmp_path_factory.mktemp("runs") / "deadly", Budget("evals", 120), data=data, workers=2, memory=MEMORY,
        run_job=doomed.deadly, preload=("doomed", "tiny"),
    )  # fmt: skip
    result = evolve.evolve(settings, lambda snapshot: None)
    patch.undo()
    return Archive(settings.out), result


def test_a_search_among_deadly_genomes_records_each_death_and_loses_nothing_else(searched):
    archive, result = searched
    rows = archive.rows()
    deaths = Counter()
    for row in rows:
        trained = row["test_bpb"] is None and not row["shared_with"]
        fate = doomed.fate_of(archive.genome(row["genome_hash"])) if trained else ""
        assert row["status"] == DEATHS.get(fate, row["status"]), (row["eval_id"], fate)
        assert fate or row["status"] not in DEATHS.values(), row["eval_id"]
        deaths[fate] += 1
    assert all(deaths[fate] for fate in doomed.FATES), deaths
    assert not archive.warnings and len({row["eval_id"] for row in rows}) == len(rows) >= 100
    late = [row for row in rows if row["status"] == "timeout"]
    assert all(row["wall_s"] < float(row["error_code"].split()[1]) + SOON for row in late)
    assert result.verdict and candidates.read(archive.genome(result.winner))


def test_what_is_killed_is_neither_a_parent_nor_promoted(searched):
    archive, _ = searched
    rows = archive.rows()
    first = {row["genome_hash"] for row in rows if row["rung"] == 0}
    killed = {genome_hash for genome_hash in first if doomed.fate_of(archive.genome(genome_hash))}
    assert killed
    assert [row["eval_id"] for row in rows if killed & set(row["parent_hashes"])] == []
    assert [row["eval_id"] for row in rows if row["rung"] > 0 and row["genome_hash"] in killed] == []
