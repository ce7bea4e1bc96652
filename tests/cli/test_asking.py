"""Asking a run: SQL over its rows, a genome's descent, and a look at it while another process writes."""

import contextlib
import csv
import datetime
import io
import json
import os
import sys
import threading
import time

import pytest

from foundry.cli.main import main
from foundry.search.archive import Archive
from foundry.search.watch import QUIET, snapshots

LLAMA, TUNED, PARENT, WINNER, BROKEN = "a" * 16, "b" * 16, "c" * 16, "cc" + "d" * 14, "0" * 16
GENOME = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = HIDDEN);
model = embed(vocab = 256, width = 64) >> 2 * layer >> rmsnorm >> unembed(tied = 1);
recipe = train(optimizer = adamw(lr = RATE));
"""
RUN = {
    "run_id": "feed", "created": "2026-01-02T03:04:05+00:00",
    "versions": {"foundry": "0.1.0", "torch": "2.13.0", "python": "3.11.7"},
    "machine": {"system": "Linux", "cores": 2, "memory_bytes": 8 << 30},
    "settings": {"budget": {"kind": "evals", "amount": 40.0}, "data": None, "seed": 7, "workers": 2,
                 "strategy": "evolve"},
    "data": {"name": "python", "hash": "0123456789abcdef"}, "baselines": {"llama": LLAMA},
    "state": "search", "rungs": [{"compute": 1e11}, {"compute": 3e11}], "sessions": [{"seconds": 61.0}],
    "running": [], "result": None,
}  # fmt: skip
TASK = {"genome_hash": WINNER, "rung": 1, "seed": 5, "compute": 3e11, "purpose": "promote", "split": "validation",
        "operator": "wrap", "parents": [PARENT]}  # fmt: skip


def row(genome, rung, score, operator="seed", parents=(), status="ok", seed=1):
    return {
        "eval_id": f"{genome}-{rung}-{seed}", "run_id": "feed", "genome_hash": genome, "operator": operator,
        "parent_hashes": list(parents), "rung": rung, "seed": seed, "status": status,
        "error_code": "" if status == "ok" else "loss", "val_bpb": score, "train_curve": [[0.5, 4.0], [1.0, 3.0]],
        "signals": {"initial loss": 8.0}, "compute_budget": 1e11, "tokens": 1000, "parameters": 100,
        "flops_per_token": 1.0, "bytes_per_token": 1.0, "cache_bytes_per_token": 1.0, "wall_s": 2.0,
        "finished_at": datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC),
    }  # fmt: skip


ROWS = [
    row(LLAMA, 0, 3.0), row(TUNED, 0, 2.9, "tune", [LLAMA]), row(PARENT, 0, 2.8, "wrap", [LLAMA]),
    row(WINNER, 0, 2.75, "swap activation", [PARENT]), row(BROKEN, 0, None, "wrap", [LLAMA], "diverged"),
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run folder in the middle of its search."""
    return make(tmp_path / "run", RUN, ROWS)


def make(folder, run, rows):
    archive = Archive.create(folder, run)
    for index, genome in enumerate((LLAMA, TUNED, PARENT, WINNER, BROKEN)):
        rate = "0.01" if genome == TUNED else "3e-3"
        archive.write_genome(genome, GENOME.replace("HIDDEN", str(64 + 8 * index)).replace("RATE", rate))
    for one in rows:
        archive.append([one])
    archive.close()
    return folder


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# query --------------------------------------------------------------------------------------------------------------


def test_a_query_is_answered_as_a_table_as_json_and_as_csv(run):
    sql = "select status, count(*) as n, min(val_bpb) as best from evals group by status order by n desc"
    code, out, errors = foundry("query", run, sql)
    assert (code, errors) == (0, "") and [line.split() for line in out.splitlines()] == [
        ["status", "n", "best"], ["ok", "4", "2.75"], ["diverged", "1"],
    ]  # fmt: skip
    assert json.loads(foundry("query", run, sql, "--json")[1]) == [
        {"status": "ok", "n": 4, "best": 2.75}, {"status": "diverged", "n": 1, "best": None},
    ]  # fmt: skip
    assert list(csv.reader(io.StringIO(foundry("query", run, sql, "--csv")[1]))) == [
        ["status", "n", "best"], ["ok", "4", "2.75"], ["diverged", "1", ""],
    ]  # fmt: skip


def test_lists_maps_and_times_stay_what_they_are(run):
    columns = "parent_hashes[1] p, train_curve c, signals['initial loss'] s, signals m, finished_at t"
    sql = f"select {columns} from evals where operator = 'tune'"
    (answer,) = json.loads(foundry("query", run, sql, "--json")[1])
    assert answer == {
        "p": LLAMA, "c": [[0.5, 4.0], [1.0, 3.0]], "s": 8.0, "m": {"initial loss": 8.0}, "t": "2026-01-02T03:00:00",
    }  # fmt: skip


def test_genomes_are_a_table_too_and_join(run):
    sql = "select count(*) n from evals join genomes on hash = genome_hash where text like '%lr = 0.01%'"
    assert json.loads(foundry("query", run, sql, "--json")[1]) == [{"n": 1}]


def test_an_answer_without_rows_is_an_answer(run):
    assert foundry("query", run, "select * from evals where rung = 9")[:2] == (0, "no rows\n")
    assert foundry("query", run, "select * from evals where rung = 9", "--json")[1] == "[]\n"


@pytest.mark.parametrize(
    "sql, said",
    [
        ("select bogus from evals", 'column "bogus" not found'),
        ("from nothing", "Table with name nothing does not exist"),
        ("selec 1", "syntax error"),
        ("", "nothing is asked"),
        ("select 1; select 2", "2 statements"),
        ("delete from evals", "not delete"),
        ("create table x (a int)", "not create"),
        ("update evals set rung = 7", "not update"),
        ("copy evals to '{run}/stolen.csv'", ""),
        ("attach '{run}/other.db'", ""),
        ("install httpfs", ""),
        ("set enable_external_access = true", ""),
        ("select * from read_csv('{run}/run.json')", "disabled"),
        ("select * from read_parquet('{run}/evals/part-000001.parquet')", "disabled"),
        ("select * from '{run}/evals/part-000001.parquet'", ""),
        ("select * from glob('{run}/*')", "disabled"),
        ("select * from archive", "does not exist"),  # a variable of this process
    ],
)
def test_what_is_no_query_or_reaches_beyond_the_run_is_refused_in_one_line(run, sql, said):
    before = content(run)
    code, out, errors = foundry("query", run, sql.replace("{run}", str(run)))
    assert (code, out) == (1, "") and errors.startswith("foundry: ") and len(errors.splitlines()) == 1
    assert said in errors
    assert content(run) == before


def test_a_damaged_part_is_left_out_and_named(run):
    part = sorted((run / "evals").iterdir())[0]
    part.write_bytes(b"nothing")
    code, out, errors = foundry("query", run, "select count(*) n from evals", "--json")
    assert code == 0 and json.loads(out) == [{"n": 4}]
    assert part.name in errors and len(errors.splitlines()) == 1


def test_without_duckdb_one_line_says_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    assert foundry("query", run, "select 1") == (1, "", "foundry: queries need DuckDB: pip install 'foundry[query]'\n")


def test_two_formats_at_once_are_misuse(run):
    assert foundry("query", run, "select 1", "--json", "--csv")[0] == 2


@pytest.mark.parametrize("verb", [("query", "select 1"), ("lineage", "best"), ("watch",)])
def test_a_folder_that_is_no_run_is_refused_in_one_line(tmp_path, verb):
    for folder in (tmp_path, tmp_path / "missing"):
        code, out, errors = foundry(verb[0], folder, *verb[1:])
        assert (code, out) == (1, "") and len(errors.splitlines()) == 1


# lineage ------------------------------------------------------------------------------------------------------------


def test_a_line_of_descent_has_what_each_step_changed_and_scored(run):
    code, out, errors = foundry("lineage", run, "best", "--json")
    steps = json.loads(out)
    assert (code, errors) == (0, "")
    assert [step["genome_hash"] for step in steps] == [LLAMA, PARENT, WINNER]
    assert [step["operator"] for step in steps] == ["seed", "wrap", "swap activation"]
    assert [step["bits_per_byte"] for step in steps] == [3.0, 2.8, 2.75]
    assert steps[0]["changes"] == [] and any("64 → 80" in change for change in steps[1]["changes"])
    code, out, _ = foundry("lineage", run, "best")
    assert code == 0 and "−0.200" in out and "64 → 80" in out


def test_a_genome_is_meant_by_its_hash_its_beginning_or_a_baselines_name(run):
    def last(meant):
        return json.loads(foundry("lineage", run, meant, "--json")[1])[-1]["genome_hash"]

    assert (last(WINNER), last("ccd"), last("CCD"), last("llama")) == (WINNER, WINNER, WINNER, LLAMA)


@pytest.mark.parametrize(
    "meant, said", [("cc", "2 genomes begin with cc"), ("beef", "no genome 'beef'"), ("", "no genome")]
)
def test_a_hash_of_none_or_of_several_is_refused_in_one_line(run, meant, said):
    code, out, errors = foundry("lineage", run, meant)
    assert (code, out) == (1, "") and said in errors and len(errors.splitlines()) == 1


def test_the_best_of_a_finished_run_is_its_winner(tmp_path):
    result = {"verdict": "worse", "winner": PARENT, "baseline": LLAMA, "difference": None}
    folder = make(tmp_path / "run", RUN | {"state": "finished", "result": result}, ROWS)
    assert json.loads(foundry("lineage", folder, "best", "--json")[1])[-1]["genome_hash"] == PARENT


def test_before_a_child_has_a_score_none_is_the_best(tmp_path):
    folder = make(tmp_path / "run", RUN, ROWS[:2])
    code, _, errors = foundry("lineage", folder, "best")
    assert code == 1 and "no child has a score yet" in errors


# watch --------------------------------------------------------------------------------------------------------------


def test_a_look_shows_the_phase_the_standings_what_runs_and_what_ended(tmp_path):
    folder = make(tmp_path / "run", RUN | {"running": [TASK]}, ROWS)
    before = content(folder)
    code, out, errors = foundry("watch", folder, "--once")
    assert (code, errors) == (0, "") and content(folder) == before
    for words in ("search", "6 of 40evals", "5 evaluations (1 diverged)", "ccdddddd (best)", "−0.150 against the best",
                  "llama lr=0.01", "promote", "rung 1", "00000000: diverged (loss), by wrap"):  # fmt: skip
        assert words in out, words


def test_watching_goes_on_while_the_run_writes_and_ends_with_it(run):
    writer = Archive(run)
    writer.lock()

    def write():
        for number in range(20):
            writer.append([row(LLAMA, 0, 3.0, seed=100 + number)])
            writer.write_run(RUN | {"rungs": RUN["rungs"], "running": [TASK] if number % 2 else []})
            time.sleep(0.01)
        writer.write_run(RUN | {"state": "finished"})

    thread = threading.Thread(target=write)
    thread.start()
    seen = list(snapshots(run, every=0.005))
    thread.join()
    writer.close()
    counts = [sum(one.counts.values()) for one in seen]
    assert counts == sorted(counts) and counts[-1] == 25
    assert [one.phase for one in seen][-1] == "finished" and {one.phase for one in seen[:-1]} <= {"search"}
    assert not list((run / "evals").glob("*.damaged"))


def test_a_run_whose_process_died_is_told_as_interrupted(run):
    old = time.time() - QUIET - 5
    os.utime(run / "run.json", (old, old))
    code, out, _ = foundry("watch", run)
    assert code == 1 and f"foundry evolve --resume {run}" in out
    assert next(snapshots(run)).running == ()


def test_a_run_that_is_quiet_but_alive_is_not(run):
    writer = Archive(run)
    writer.lock()
    old = time.time() - QUIET - 5
    os.utime(run / "run.json", (old, old))
    assert next(snapshots(run)).phase == "search"
    writer.close()


def test_the_end_of_a_finished_run_is_its_verdict(tmp_path):
    result = {"verdict": "no difference shown", "winner": "", "baseline": LLAMA, "control": "", "difference": None}
    folder = make(tmp_path / "run", RUN | {"state": "finished", "result": result}, ROWS)
    code, out, _ = foundry("watch", folder)
    assert code == 0 and "No confirmed improvement" in out and f"foundry top {folder}" in out
