"""`foundry compare`: how runs are paired on the command line, what is printed, and trainings done again."""

import contextlib
import io
import json

import pytest
from finished_run import finished, make, nothing_found

from foundry.cli.main import main
from foundry.cli.several import repeated
from foundry.data.corpus import load_corpus

HIGH, LOW = (0.2, 0.22, 0.19, 0.21), (0.1, 0.11, 0.12, 0.09)


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


@pytest.fixture
def folders(tmp_path):
    """Four runs: e0 and e1 of evolution, r0 and r1 of random search."""
    for number in (0, 1):
        make(tmp_path / f"e{number}", finished(f"e{number}", HIGH, seed=number))
        make(tmp_path / f"r{number}", finished(f"r{number}", LOW, strategy="random", seed=number))
    return tmp_path


def pairs(out):
    return [tuple(pair[side]["run_id"] for side in "ab") for pair in json.loads(out)["pairs"]]


def test_runs_pair_one_after_the_other_or_against_others_in_order(folders):
    e0, r0, e1, r1 = (folders / name for name in ("e0", "r0", "e1", "r1"))
    for arguments in ((e0, r0, e1, r1), (e0, e1, "--against", r0, r1), (e0, e1, "--against", r0, "--against", r1)):
        code, out, errors = foundry("compare", *arguments, "--json")
        assert (code, errors, pairs(out)) == (0, "", [("e0", "r0"), ("e1", "r1")])


def test_json_has_the_figures_and_nothing_that_json_lacks(folders):
    run = finished("odd", HIGH)
    run["result"]["difference"] |= {"low": None, "high": None}
    make(folders / "odd", run)
    code, out, _ = foundry("compare", folders / "odd", folders / "r0", "--json")
    found = json.loads(out, parse_constant=lambda name: pytest.fail(name))
    assert code == 0 and found["difference"] is None and found["again"] == []
    (pair,) = found["pairs"]
    assert pair["a"]["gain"]["mean"] == pytest.approx(0.205) and pair["a"]["gain"]["low"] is None
    assert pair["difference"]["mean"] == pytest.approx(0.1) and pair["b"]["strategy"] == "random"
    assert found["signs"] == {"wins": 1, "losses": 0, "ties": 0, "p": 1.0}


def test_people_get_a_table_the_sum_of_it_and_how_far_it_goes(folders):
    code, out, errors = foundry("compare", *(folders / name for name in ("e0", "r0", "e1", "r1")))
    assert (code, errors) == (0, "")
    said = " ".join(out.split())
    assert "r1 (random, seed 1)" in said and "A − B +0.100 (" in said
    assert "2 A confirmed +0.205 (+0.185 … +0.225) 2.210 13 (1) llama" in said
    assert "A gained more in 2 of 2 pairs (sign test p = 0.5); mean difference of gains +0.100" in said
    assert "How far this compares" not in said
    code, out, _ = foundry("compare", folders / "e0", folders / "r1")
    said = " ".join(out.split())
    assert "pair 1: seed: 0 against 1" in said and "One pair says which of these two winners" in said


def test_one_run_is_compared_arm_against_arm(folders):
    make(folders / "both", finished("both", HIGH, rival=LOW))
    make(folders / "both2", finished("both2", HIGH, rival=LOW))
    code, out, _ = foundry("compare", folders / "both", "--json")
    (pair,) = json.loads(out)["pairs"]
    assert code == 0 and (pair["a"]["arm"], pair["b"]["arm"]) == ("search", "control")
    code, out, _ = foundry("compare", "--arms", folders / "both", folders / "both2", "--json")
    assert code == 0 and json.loads(out)["signs"]["wins"] == 2


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("e0", "r0", "e1"), "3 runs do not pair"),
        (("e0", "e1", "--against", "r0"), "2 runs against 1"),
        (("e0", "r0", "--again", "1"), "--again needs 2 seeds"),
        (("e0", "r0", "--out", "there"), "give --again"),
        (("e0", "--arms", "--against", "r0"), "leave out --against"),
        ((), "missing argument"),
    ],
)
def test_a_command_line_that_pairs_nothing_is_misuse(folders, monkeypatch, arguments, says):
    monkeypatch.chdir(folders)
    code, out, errors = foundry("compare", *arguments)
    assert (code, out) == (2, "") and says in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments, says",
    [
        (("e0", "nowhere"), "no such run folder"),
        (("e0", "e0"), "are one run"),
        (("e0",), "no control arm"),
        (("e0", "unfinished"), "not over"),
        (("e0", "poems"), "different text"),
        (("e0", "empty", "--again", "2"), "no winner to train again"),
        (("e0", "r0", "--again", "2"), "text has changed"),
    ],
)
def test_runs_that_do_not_compare_get_one_line(folders, monkeypatch, arguments, says):
    monkeypatch.chdir(folders)
    make(folders / "unfinished", finished("unfinished", result=None, state="confirm"))
    make(folders / "poems", finished("poems", data={"name": "poems", "hash": "feed" * 4}))
    make(folders / "empty", nothing_found("empty"))
    text_for(folders, monkeypatch)
    monkeypatch.setattr("foundry.data.corpus.load_corpus", lambda path, real=load_corpus: real(str(folders / "text")))
    code, out, errors = foundry("compare", *arguments)
    assert (code, out) == (1, "") and says in errors and len(errors.splitlines()) == 1


def text_for(folder, monkeypatch):
    """A small corpus in `folder`/text."""
    monkeypatch.setenv("FOUNDRY_CACHE", str(folder / "cache"))
    (folder / "text").mkdir()
    for number in range(300):
        words = " ".join(f"word{(number * k) % 97}" for k in range(1, 200))
        (folder / "text" / f"{number}.txt").write_text(words)
    return load_corpus(str(folder / "text"))


def test_winners_and_baselines_train_again_on_fresh_seeds_and_a_repeated_command_pays_nothing(tmp_path, monkeypatch):
    corpus = text_for(tmp_path, monkeypatch)
    data = {"data": {"name": corpus.name, "hash": corpus.hash}}
    for name, strategy in (("a", "evolve"), ("b", "random")):
        run = finished(name, strategy=strategy) | data
        run["settings"]["data"] = str(tmp_path / "text")
        make(tmp_path / name, run)
    command = ("compare", tmp_path / "a", tmp_path / "b", "--again", 2, "--out", tmp_path / "again", "--json")
    code, out, errors = foundry(*command)
    assert (code, errors) == (0, "")
    (again,) = json.loads(out)["again"]
    assert again["compute"] == 2e9 and len(again["seeds"]) == 2 and again["seeds"][0] != again["seeds"][1]
    scores = again["bits_per_byte"]
    assert scores["a"] == scores["b"] and all(0 < score < 9 for score in scores["a"])  # both runs have one winner
    assert again["lead"]["mean"] == 0.0 and again["gain_a"] == again["gain_b"]
    parts = sorted((tmp_path / "again" / "evals").iterdir())
    assert len(parts) == 4  # two genomes, two seeds: what is the same is trained once
    assert foundry(*command)[1] == out
    assert sorted((tmp_path / "again" / "evals").iterdir()) == parts


@pytest.mark.parametrize(
    "given, read",
    [
        ("a --of b c --json d", "a --of b --of c --json d"),
        ("--of=b c d", "--of=b --of c --of d"),
        ("a b", "a b"),
        ("a --of b -- c d", "a --of b -- c d"),
        ("--of b -", "--of b --of -"),
        ("a --of", "a --of"),
    ],
)
def test_an_option_may_have_several_values_behind_it(given, read):
    assert repeated(given.split(), ("--of",)) == read.split()
