"""`foundry proxies`: tables of what cheap signals say, and of what giving up early would have saved."""

import contextlib
import io
import json
import re
from pathlib import Path

import pytest

from foundry.cli.main import main
from foundry.search.archive import NAMES, Archive

CURVES = Path(__file__).parent.parent / "search" / "curves.json"
RUN = {"run_id": "0" * 32, "settings": {}, "data": {}, "versions": {}, "machine": {}, "baselines": {}}


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def written(folder, rows):
    """A run folder with these rows, which name the columns that matter here."""
    archive = Archive.create(folder, RUN)
    usual = dict.fromkeys(NAMES) | {
        "parent_hashes": [],
        "operator": "random",
        "arm": "search",
        "proposal": 0,
        "compute_budget": 1.0,
        "compute_spent": 1.0,
        "shared_with": "",
        "fingerprint": "",
        "status": "ok",
        "tokens": 1,
        "steps": 1,
        "wall_s": 1.0,
        "flops_per_token": 1.0,
        "bytes_per_token": 1.0,
        "cache_bytes_per_token": 1.0,
    }
    if rows:
        archive.append([usual | {"eval_id": f"{r['genome_hash']}-{r['rung']}-{r['seed']}"} | r for r in rows])
    archive.close()
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The first two rungs of a real search of ten minutes, each genome with a signal made from its score."""
    rows = json.loads(CURVES.read_text())[1]
    for row in rows:
        row["genome_hash"] *= 2
        row["signals"] = {"reach": -row["val_bpb"], "initial_bits": 8.0}
    return written(tmp_path_factory.mktemp("runs") / "one", rows)


def test_a_table_for_each_rung_and_what_helps_is_marked(run):
    code, out, errors = foundry("proxies", run)
    assert (code, errors) == (0, "")
    assert "rung 0, from before training" in out and "rung 1, from rung 0" in out
    assert re.search(r"reach +58 +-1\.00 .* helps", out)
    assert re.search(r"score +\d+ +\+0\.\d\d .* helps", out)
    assert re.search(r"initial_bits +58 *$", out, re.MULTILINE)
    assert re.search(r"giving up early at rung 0: \d+ of 58 genomes, 0 of the \d+ worth promoting; saves \d+%", out)


def test_json_has_numbers_and_null_where_there_is_none(run):
    code, out, _ = foundry("proxies", run, "--json")
    answer = json.loads(out)
    assert code == 0 and answer["used_before_training"] == ["reach"]
    by_name = {(s["signal"], s["target"]): s for s in answer["signals"]}
    assert by_name["reach", 0]["helps"] and by_name["reach", 0]["high"] < 0
    assert by_name["initial_bits", 0]["rho"] is None
    assert [replay["rung"] for replay in answer["abandonment"]] == [0, 1]


def test_a_run_without_scores_says_so(tmp_path):
    code, out, _ = foundry("proxies", written(tmp_path / "empty", []))
    assert (code, out) == (0, "nothing to correlate yet: no two genomes have a score\n")


def test_what_is_no_run_is_one_line(tmp_path):
    code, out, errors = foundry("proxies", tmp_path / "nowhere")
    assert (code, out) == (1, "") and len(errors.splitlines()) == 1 and "no such run folder" in errors
