"""A search spends its budget once, forgets nothing that it reported, and ends with a verdict."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tiny

from foundry.dsl.check import load_program
from foundry.search import candidates
from foundry.search.archive import Archive, ArchiveError
from foundry.search.budget import Budget
from foundry.search.evolve import Evolution, evolve
from foundry.search.settings import Settings

HERE = Path(__file__).parent
EVALS = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small corpus, cached where this test run alone looks."""
    rng = random.Random(0)
    folder = tmp_path_factory.mktemp("data")
    words = ("the", "of", "and", "to", "in", "is", "that", "it", "was", "for", "on", "are", "with", "as", "his")
    documents = [" ".join(rng.choices(words, k=300)) for _ in range(300)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": d}) + "\n" for d in documents))
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(folder / "cache"))
    yield str(folder / "text.jsonl")
    patch.undo()


def settings(out, data, **changes):
    given = {"budget": Budget("evals", EVALS), "workers": 2, "run_job": tiny.landscape, "preload": ("tiny",)}
    return Settings(out, data=data, **given | changes)


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A whole small run: its result, its archive, and what it showed."""
    snapshots = []
    out = tmp_path_factory.mktemp("run") / "run"
    result = evolve(settings(out, data), snapshots.append)
    return result, Archive(out), snapshots


def rows_of(folder):
    archive = Archive(folder)
    rows = archive.rows()
    assert not archive.warnings
    return rows


# One run ------------------------------------------------------------------------------------------------------------


def test_a_run_leaves_its_folder_with_everything_in_it(finished):
    result, archive, _ = finished
    folder = archive.folder
    assert result.verdict in ("confirmed", "no difference shown", "worse") and not result.stopped
    for name in ("run.json", "best.genome", "best.py", "report.html"):
        assert (folder / name).stat().st_size > 0
    assert candidates.read((folder / "best.genome").read_text()).genome_hash == result.winner
    for row in archive.rows():
        load_program(archive.genome(row["genome_hash"]))


def test_the_budget_is_kept_and_used(finished):
    _, archive, _ = finished
    assert EVALS - 6 <= len(archive.rows()) <= EVALS


def test_nothing_is_evaluated_twice(finished):
    _, archive, _ = finished
    counts = Counter((row["genome_hash"], row["rung"], row["seed"]) for row in archive.rows())
    assert max(counts.values()) == 1


def test_the_baselines_come_first_and_measure_the_noise(finished):
    _, archive, _ = finished
    first = archive.rows()[:4]
    assert {row["genome_hash"] for row in first} == set(archive.read_run()["baselines"].values())
    noise = archive.read_run()["noise"]
    assert len(noise["values"]) == 3
    assert noise["sigma"] == pytest.approx(0.02, rel=1.5)  # what tiny.landscape adds


def test_learning_rates_of_baselines_are_tuned_at_the_second_rung(finished):
    _, archive, _ = finished
    baselines = set(archive.read_run()["baselines"].values())
    tuned = [r for r in archive.rows() if r["operator"] == "tune" and set(r["parent_hashes"]) <= baselines]
    assert len([r for r in tuned if r["rung"] == 1]) >= 4
    assert archive.read_run()["result"]["baseline"] in baselines | {r["genome_hash"] for r in tuned}


def test_children_stay_within_the_band_of_sizes(finished):
    _, archive, _ = finished
    baselines = [candidates.read(archive.genome(h)) for h in archive.read_run()["baselines"].values()]
    band = candidates.band(baselines)
    children = {r["genome_hash"] for r in archive.rows() if r["operator"] not in ("seed", "tune", "control")}
    assert len(children) > 5
    assert all(band.holds(candidates.read(archive.genome(h))) for h in children)
    sizes = sorted(c.parameters for c in baselines)
    assert sizes[0] / 2 < band.parameters * band.low < band.parameters * band.high < sizes[-1] * 2


def test_confirmation_alone_sees_test_text_with_seeds_that_the_search_never_saw(finished):
    _, archive, _ = finished
    run = archive.read_run()
    confirmed = [r for r in archive.rows() if r["rung"] == 3]
    search = [r for r in archive.rows() if r["rung"] < 3]
    assert all(r["test_bpb"] is None for r in search)
    assert all(r["val_bpb"] is None for r in confirmed)
    assert not {r["seed"] for r in confirmed} & {r["seed"] for r in search}
    assert {r["compute_budget"] for r in confirmed} == {run["confirmation"]["compute"]}
    assert run["confirmation"]["compute"] > run["rungs"][-1]["compute"]
    arms = {run["result"][role] for role in ("winner", "baseline", "control")}
    seeds = {h: {r["seed"] for r in confirmed if r["genome_hash"] == h} for h in arms}
    assert len(arms) >= 2 and {frozenset(s) for s in seeds.values()} == {frozenset(run["result"]["seeds"])}
    assert len(run["result"]["seeds"]) >= 3


def test_the_winner_leads_the_finalists_on_validation_text(finished):
    result, archive, _ = finished
    plan = archive.read_run()["confirmation"]
    scores = {
        h: [r["val_bpb"] for r in archive.rows() if r["genome_hash"] == h and r["rung"] == 2] for h in plan["finalists"]
    }
    assert len(scores) == 3 and all(len(values) >= 1 for values in scores.values())
    means = {h: sum(values) / len(values) for h, values in scores.items() if None not in values and values[1:]}
    assert result.winner == min(means, key=means.get)


def test_the_control_has_the_baselines_architecture_and_the_winners_recipe(finished):
    _, archive, _ = finished
    run = archive.read_run()["result"]
    control, baseline, winner = (candidates.read(archive.genome(run[r])) for r in ("control", "baseline", "winner"))
    assert control.architecture == baseline.architecture
    recipes = [load_program(c.text).recipe for c in (control, winner)]
    assert recipes[0].optimizer == recipes[1].optimizer and recipes[0].batch == recipes[1].batch


def test_the_verdict_follows_from_the_rows(finished):
    result, archive, _ = finished
    run = archive.read_run()["result"]
    by = {(r["genome_hash"], r["seed"]): r["test_bpb"] for r in archive.rows() if r["test_bpb"] is not None}
    differences = [by[run["winner"], s] - by[run["baseline"], s] for s in run["seeds"]]
    mean = sum(differences) / len(differences)
    assert result.difference == pytest.approx(mean) and result.low < mean < result.high
    assert result.pairs == len(differences)
    assert (result.verdict == "confirmed") <= (result.high < 0)


def test_snapshots_tell_what_is_going_on(finished):
    _, _, snapshots = finished
    phases = list(dict.fromkeys(s.phase for s in snapshots))
    assert phases == ["search", "confirm", "report"]
    busy = next(s for s in snapshots if s.best is not None and s.running)
    assert {b.name for b in busy.baselines if "=" not in b.name} <= {"gpt2", "llama", "primer", "hybrid"}
    assert len(busy.running) <= 2 and busy.events and sum(busy.counts.values()) > 4
    assert snapshots[-1].spent <= EVALS


def test_a_finished_run_that_is_resumed_says_the_same(finished, data):
    result, archive, _ = finished
    before = archive.rows()
    again = evolve(settings(archive.folder, data, resume=True), lambda snapshot: None)
    assert (again.verdict, again.winner, again.difference) == (result.verdict, result.winner, result.difference)
    assert rows_of(archive.folder) == before


def test_random_search_never_learns_from_what_it_has_seen(data, tmp_path):
    evolve(settings(tmp_path / "run", data, budget=Budget("evals", 40), strategy="random"), lambda snapshot: None)
    operators = Counter(row["operator"] for row in rows_of(tmp_path / "run"))
    assert set(operators) <= {"seed", "tune", "random", "control"} and operators["random"] > 5
    assert sum(operators.values()) <= 40


@pytest.mark.parametrize("kind, amount", [("seconds", 16.0), ("flop", 6e13)])
def test_budgets_of_time_and_of_flop_are_kept(data, tmp_path, kind, amount):
    start = time.monotonic()
    result = evolve(settings(tmp_path / "run", data, budget=Budget(kind, amount)), lambda snapshot: None)
    rows = rows_of(tmp_path / "run")
    assert rows
    if kind == "seconds":  # how much fits in is the machine's business
        assert time.monotonic() - start < amount
    else:
        assert 0.6 * amount < sum(row["compute_budget"] for row in rows) <= amount
        assert result.pairs >= 3


# Trouble ------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_a_run_is_refused(data, tmp_path):
    (tmp_path / "letters.txt").write_text("dear")
    with pytest.raises(ArchiveError, match="holds other files"):
        evolve(settings(tmp_path, data), lambda snapshot: None)
    with pytest.raises(ArchiveError, match="not a run folder"):
        evolve(settings(tmp_path, data, resume=True), lambda snapshot: None)


class Small:
    """A run of small_run.py as a process."""

    def __init__(self, folder, data, evals, *more):
        command = [sys.executable, HERE / "small_run.py", folder, data, str(evals), *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)

    def lines(self):
        yield from iter(self.process.stdout.readline, "")

    def wait_for(self, beginning):
        return next(line for line in self.lines() if line.startswith(beginning))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def test_ctrl_c_ends_the_search_and_confirms_and_the_run_can_go_on(data, tmp_path):
    folder = tmp_path / "run"
    with Small(folder, data, 80) as small:
        while int(small.wait_for("done").split()[1]) < 20:
            pass
        small.process.send_signal(signal.SIGINT)
        assert small.wait_for("verdict").split()[-1] == "stopped"
    stopped = rows_of(folder)
    assert 30 <= len(stopped) < 60 and (folder / "report.html").exists()
    with Small(folder, data, 80) as small:
        assert small.wait_for("verdict").split()[-1] == "finished"
    rows = rows_of(folder)
    assert rows[: len(stopped)] == stopped and len(stopped) < len(rows) <= 80
    first, second = ({r["seed"] for r in rows if r["rung"] == rung} for rung in (3, 4))
    assert first and second and not first & second


def test_ctrl_c_twice_leaves_at_once(data, tmp_path):
    with Small(tmp_path / "run", data, 80) as small:
        small.wait_for("done 1")
        small.process.send_signal(signal.SIGINT)
        time.sleep(0.5)  # two signals before the first is seen would be one
        small.process.send_signal(signal.SIGINT)
        assert small.process.wait(30) != 0, "an end in good order says 0"
    assert rows_of(tmp_path / "run")


def test_a_full_disk_ends_the_run_in_one_line_and_loses_nothing(data, tmp_path):
    folder = tmp_path / "run"
    with Small(folder, data, 60, "--full-disk-after", "12") as small:
        reported = 0
        for line in small.lines():
            reported = int(line.split()[1]) if line.startswith("done") else reported
        assert line.startswith("archive") and "cannot write" in line
        assert small.process.wait(5) == 0
    assert len(rows_of(folder)) >= reported >= 12
    with Small(folder, data, 60) as small:
        assert small.wait_for("verdict").split()[-1] == "finished"


def test_a_second_process_on_one_run_is_refused(data, tmp_path):
    folder = tmp_path / "run"
    with Small(folder, data, 60) as small:
        small.wait_for("done")
        with pytest.raises(ArchiveError, match="another process"):
            evolve(settings(folder, data, resume=True), lambda snapshot: None)
        with Small(folder, data, 60) as second:
            assert "another process" in second.wait_for("archive")


def test_a_damaged_part_costs_its_own_rows_and_no_others(data, tmp_path):
    folder = tmp_path / "run"
    with Small(folder, data, 60) as small:
        small.wait_for("done 1")
    before = {row["eval_id"] for row in rows_of(folder)}
    (folder / "evals/part-000002.parquet").write_bytes(b"PAR1 nonsense PAR1")
    result = evolve(settings(folder, data, resume=True), lambda snapshot: None)
    assert "part-000002.parquet" in result.warnings[0] and "set aside" in result.warnings[0]
    after = {row["eval_id"] for row in Archive(folder).rows()}
    assert len(before - after) <= 1


def test_a_run_whose_text_has_changed_is_not_resumed(data, tmp_path):
    text = tmp_path / "text.jsonl"
    text.write_text(Path(data).read_text())
    with Small(tmp_path / "run", str(text), 60) as small:
        small.wait_for("done")
    text.write_text(text.read_text() + '{"text": "and now for something else"}\n')
    with pytest.raises(ArchiveError, match="its text has changed"):
        evolve(settings(tmp_path / "run", None, resume=True), lambda snapshot: None)


def test_twenty_kills_lose_nothing_that_was_reported(data, tmp_path):
    folder, rng = tmp_path / "run", random.Random(0)
    kept: list[dict] = []
    kills = 0
    while kills < 20:
        with Small(folder, data, 90) as small:
            reported = 0
            end = time.monotonic() + rng.uniform(0.0, 0.4)
            for line in small.lines():
                reported = int(line.split()[1]) if line.startswith("done") else reported
                if line.startswith("verdict") or (reported and time.monotonic() > end):
                    break
            small.process.kill()
        kills += 1
        rows = rows_of(folder) if (folder / "run.json").exists() else []
        assert len(rows) >= reported
        assert rows[: len(kept)] == kept
        kept = rows
    with Small(folder, data, 90) as small:
        assert small.wait_for("verdict").split()[-1] == "finished"
    rows = rows_of(folder)
    assert rows[: len(kept)] == kept and len(rows) <= 90
    assert len({row["eval_id"] for row in rows}) == len(rows)
    assert json.loads((folder / "run.json").read_text())["result"]["seeds"]


def test_an_interrupt_that_python_swallowed_is_raised_again():
    evolution = object.__new__(Evolution)
    evolution.stopping = evolution.leaving = True
    with pytest.raises(KeyboardInterrupt):
        evolution._wait()
