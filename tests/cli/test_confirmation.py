"""Verbs that ask what a win is worth, on scores that are made up: confirm, minimal, multiplier; and eval's folder."""

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest
from finished_run import finished

from foundry.cli.main import main
from foundry.data.corpus import load_corpus
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.search.archive import Archive
from foundry.search.panel import Panel

sys.path.insert(0, str(Path(__file__).parent.parent / "search"))
import tiny

BASE = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2);
  x + mlp(rmsnorm(x), hidden = 32)
};

model = embed(vocab = 256, width = 16) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 256);
"""
WINNER = BASE.replace("hidden = 32", "hidden = 32, act = relu2").replace("lr = 5e-3", "lr = 6e-3")
CONTROL = BASE.replace("lr = 5e-3", "lr = 6e-3")


@pytest.fixture(autouse=True)
def made_up(monkeypatch):
    """Panels whose evaluations are `tiny.plain`: squared ReLU saves 0.3 bits per byte, nothing else matters."""

    class Quick(Panel):
        def __init__(self, corpora, folder=None, workers=0):
            super().__init__(corpora, folder, 2, tiny.plain, ("tiny",))

    monkeypatch.setattr("foundry.search.panel.Panel", Quick)


@pytest.fixture(scope="module", autouse=True)
def words(tmp_path_factory):
    """Two small texts."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    folders = []
    for name in ("words", "others"):
        folder = tmp_path_factory.mktemp(name)
        for number in range(300):
            (folder / f"{number}.txt").write_text(" ".join(f"{name}{(number * k) % 97}" for k in range(1, 200)))
        folders.append(str(folder))
    yield folders
    patch.undo()


@pytest.fixture
def genomes(tmp_path):
    (tmp_path / "winner.genome").write_text(WINNER)
    (tmp_path / "base.genome").write_text(BASE)
    return str(tmp_path / "winner.genome"), str(tmp_path / "base.genome")


def hashed(text):
    return canonical_hash(load_program(text))


@pytest.fixture
def run(tmp_path, words):
    """A finished run whose winner has squared ReLU and another learning rate."""
    winner, base, control = map(hashed, (WINNER, BASE, CONTROL))
    corpus = load_corpus(words[0])
    about = finished(data={"name": corpus.name, "hash": corpus.hash}, baselines={"base": base})
    about["settings"]["data"] = words[0]
    about["rungs"] = [{"compute": 1e11}, {"compute": 1e12}]
    about["result"] |= {"winner": winner, "baseline": base, "control": control, "compute": 2e12}
    archive = Archive.create(tmp_path / "run", about)
    for text in (WINNER, BASE, CONTROL):
        archive.write_genome(hashed(text), text)
    archive.close()
    return tmp_path / "run"


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def test_confirm_says_for_each_text_whether_the_gain_holds(genomes, words, tmp_path):
    winner, base = genomes
    given = ("confirm", winner, "--against", base, "--sizes", 2, "--data", *words, "--out", tmp_path / "kept")
    code, out, errors = foundry(*given, "--json")
    assert code == 0 and "evaluations at 2 sizes" in errors
    report = json.loads(out)
    assert report["verdict"] == "holds" and [text["verdict"] for text in report["texts"]] == ["holds", "holds"]
    assert [text["data_hash"] for text in report["texts"]] == [load_corpus(path).hash for path in words]
    small, large = report["sizes"]
    assert large["parameters"][1] == pytest.approx(2 * small["parameters"][1], rel=0.1)
    for text in report["texts"]:
        assert all(gain["low"] < 0.3 < gain["high"] for gain in text["gains"]) and len(text["gains"]) == 2
    rows = len(Archive(tmp_path / "kept").rows())
    code, out, _ = foundry(*given)
    assert code == 0 and "holds: " in out and "over all texts: holds" in out
    assert len(Archive(tmp_path / "kept").rows()) == rows  # nothing was paid for again


def test_confirm_fits_a_budget_and_stays_with_its_plan(genomes, words, tmp_path):
    given = ("confirm", *genomes[:1], "--against", genomes[1], "--sizes", 2, "--seeds", 2, "--data", words[0])
    given = (*given, "--out", tmp_path / "kept")
    assert foundry(*given, "--budget", "2e13flop")[0] == 0
    rows = Archive(tmp_path / "kept").rows()
    assert 1e13 < sum(row["compute_budget"] for row in rows) < 2.3e13
    code, _, errors = foundry(*given, "--budget", "4e13flop")
    assert code == 2 and "--budget 2e13flop" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words_of_it"),
    [
        (("llama",), "--against"),
        (("llama", "--against", "llama"), "same program"),
        (("llama", "--against", "gpt2", "--budget", "500evals"), "a time or a number of flop"),
        (("llama", "--against", "gpt2", "--budget", "soon"), "10min"),
        (("llama", "--against", "gpt2", "--seeds", "1"), "--seeds"),
        (("llama", "--against", "nothing-of-that-name"), "no file"),
    ],
)
def test_misuse_of_confirm_is_one_line_and_leaves_nothing(arguments, words_of_it, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = foundry("confirm", *arguments)
    assert (code, out) == (2, "") and words_of_it in errors and len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_confirm_of_a_genome_that_cannot_grow_says_why(tmp_path, genomes):
    (tmp_path / "flat.genome").write_text("@foundry(1);\n\nmodel(x) = 0 * embed(x, vocab = 256, width = 256);\n")
    code, _, errors = foundry("confirm", genomes[0], "--against", tmp_path / "flat.genome", "--sizes", 8)
    assert code == 1 and "cannot be compared at 8 sizes" in errors


def test_minimal_drops_what_brings_nothing_and_writes_what_is_left(run):
    code, out, errors = foundry("minimal", run)
    assert code == 0 and "2 edits" in errors
    assert "act: gelu → relu2" in out and "dropped: optimizer lr" in out and "it keeps the gain" in out
    left = (run / "minimal.genome").read_text()
    assert hashed(left) == hashed(WINNER.replace("6e-3", "5e-3"))
    data = json.loads((run / "minimal.json").read_text())
    assert data["edits"][0]["saves"]["mean"] == pytest.approx(0.3, abs=0.03) and data["winner"] == hashed(WINNER)
    rows = Archive(run / "panel").rows()
    assert all(row["test_bpb"] is None and row["compute_budget"] == 1e12 for row in rows)
    assert foundry("minimal", run, "--json")[0] == 0 and len(Archive(run / "panel").rows()) == len(rows)


def test_multiplier_prints_both(run):
    code, out, _ = foundry("multiplier", run, "--json")
    assert code == 0
    report = json.loads(out)
    for role in ("baseline", "control"):  # 0.3 bits per byte are 10 ** (0.3 / 0.4) in compute
        one = report["against"][role]
        assert one["low"] < 10**0.75 < one["high"] and one["value"] == pytest.approx(10**0.75, rel=0.2)
    assert report["seeds"] == [11, 12, 13]
    code, out, _ = foundry("multiplier", run)
    assert code == 0 and "best tuned baseline" in out and "baseline with the winner's recipe" in out


def test_multiplier_takes_another_genome_in_the_winners_place(run, genomes):
    own = json.loads(foundry("multiplier", run, "--json")[1])
    (run / "again.genome").write_text(WINNER)
    assert json.loads(foundry("multiplier", run, "--of", run / "again.genome", "--json")[1]) == own
    code, out, _ = foundry("multiplier", run, "--of", genomes[1], "--json")
    assert code == 0 and json.loads(out)["levels"]["baseline"] == own["levels"]["baseline"]
    assert json.loads(out)["winner"] != own["winner"]
    code, _, errors = foundry("multiplier", run, "--of", "nothing-of-that-name")
    assert code == 2 and "no file" in errors and len(errors.splitlines()) == 1


@pytest.mark.parametrize("verb", ["minimal", "multiplier"])
def test_a_run_without_a_winner_or_with_another_text_is_refused(run, tmp_path, verb):
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"result": None}))
    code, _, errors = foundry(verb, run)
    assert code == 1 and "no winner yet" in errors
    other = about | {"data": {"name": "words", "hash": "0" * 16}}
    (run / "run.json").write_text(json.dumps(other))
    code, _, errors = foundry(verb, run)
    assert code == 1 and "no longer what it was" in errors and len(errors.splitlines()) == 1
    code, _, errors = foundry(verb, tmp_path / "nowhere")
    assert code == 1 and "no such run folder" in errors


def test_eval_keeps_its_results_in_a_folder_and_goes_on(genomes, words, tmp_path, monkeypatch):
    monkeypatch.setattr("foundry.cli.evaluation.corpora", lambda paths: [load_corpus(words[0])])
    given = ("eval", *genomes, "--out", tmp_path / "kept", "--json")
    first = json.loads(foundry(*given, "--seeds", 2)[1])
    again = json.loads(foundry(*given, "--seeds", 3)[1])
    assert len(Archive(tmp_path / "kept").rows()) == 6
    assert again["genomes"][0]["evaluations"][:2] == first["genomes"][0]["evaluations"]
