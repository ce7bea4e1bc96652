"""Verbs that train: eval and evolve end to end with tiny genomes and a few steps each, and what reads their runs."""

import contextlib
import io
import json
import re

import pytest

from foundry.cli.main import main
from foundry.evals.rungs import Rung
from foundry.search.archive import Archive

SMALL = (Rung(1e9, 5), Rung(2e9, 5), Rung(3e9, 5))
LLAMA = """@foundry(1);

layer(x) = {
  x = x + attention(rmsnorm(x), heads = 2);
  x + glu(rmsnorm(x), hidden = 16)
};

model = embed(vocab = 256, width = 16) >> layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 256);
"""
GPT2 = LLAMA.replace("glu(rmsnorm(x), hidden = 16)", "mlp(layernorm(x), hidden = 32)")


@pytest.fixture(autouse=True, scope="module")
def quick(tmp_path_factory):
    """Rungs of a few steps, baselines of a few thousand parameters, a corpus of a few hundred kilobytes."""
    patch = pytest.MonkeyPatch()
    folder = tmp_path_factory.mktemp("text")
    for number in range(300):
        words = " ".join(f"word{(number * k) % 97}" for k in range(1, 200))
        (folder / f"{number}.txt").write_text(words)
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    for place in ("foundry.evals.rungs", "foundry.search.schedule", "foundry.search.state", "foundry.search.evolve"):
        patch.setattr(f"{place}.RUNGS", SMALL)
    patch.setattr("foundry.search.candidates.shipped_baselines", lambda: {"llama": LLAMA, "gpt2": GPT2})
    yield folder
    patch.undo()


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def test_eval_gives_every_genome_the_same_compute_and_an_interval_against_the_first(tmp_path):
    for name, text in (("llama", LLAMA), ("gpt2", GPT2)):
        (tmp_path / name).write_text(text)
    code, out, errors = foundry("eval", tmp_path / "llama", tmp_path / "gpt2", "--seeds", "2", "--json")
    assert (code, errors) == (0, "")
    report = json.loads(out)
    llama, gpt2 = report["genomes"]
    assert report["split"] == "validation" and report["compute"] == SMALL[1].compute
    assert [e["seed"] for e in llama["evaluations"]] == [0, 1]
    for genome in (llama, gpt2):
        scores = [e["bits_per_byte"] for e in genome["evaluations"]]
        assert all(0 < score < 9 for score in scores) and genome["bits_per_byte"] == pytest.approx(sum(scores) / 2)
    assert llama["against_first"] is None
    against = gpt2["against_first"]
    assert against["low"] <= against["mean"] <= against["high"]
    assert against["mean"] == pytest.approx(gpt2["bits_per_byte"] - llama["bits_per_byte"])


def test_eval_of_a_genome_that_cannot_be_scored_says_why_and_exits_1(tmp_path):
    file = tmp_path / "wide.genome"
    file.write_text("@foundry(1);\n\nmodel = embed(vocab = 300, width = 64) >> unembed(tied = 1);\n")
    (tmp_path / "good").write_text(LLAMA)
    code, out, _ = foundry("eval", file, tmp_path / "good")
    assert code == 1 and "rejected vocab" in out and re.search(r"\d\.\d{3}", out)


@pytest.fixture(scope="module")
def run(quick, tmp_path_factory):
    """The folder and the output of a whole search."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    code, out, errors = foundry("evolve", "--budget", "40evals", "--data", quick, "--out", folder, "--workers", "2")
    assert code == 0, errors
    return folder, out


def test_evolve_prints_plain_lines_and_ends_with_the_verdict_and_what_to_type_next(run):
    folder, out = run
    events = re.findall(r"^ +\d+:\d\d  (.*)$", out, re.MULTILINE)
    assert any(event.startswith("llama: ") for event in events) and len(events) >= 30
    assert re.search(r"^(Confirmed|No difference shown|Worse|No confirmed improvement): ", out, re.MULTILINE)
    assert f"foundry show {folder}/best.genome" in out.replace("\n", "")


def test_evolve_leaves_a_complete_run_folder(run):
    folder, _ = run
    assert {"run.json", "evals", "genomes", "best.genome", "best.py", "report.html"} <= {
        p.name for p in folder.iterdir()
    }
    rows = Archive(folder).rows()
    assert 30 <= len(rows) <= 40
    compile((folder / "best.py").read_text(), "best.py", "exec")
    assert foundry("check", folder / "best.genome")[0] == 0


def test_report_and_top_read_the_run_again(run):
    folder, _ = run
    before = (folder / "report.html").read_text()
    (folder / "report.html").unlink()
    code, out, _ = foundry("report", folder)
    assert code == 0 and out.replace("\n", "") == str(folder / "report.html")
    assert (folder / "report.html").read_text()[:2000] == before[:2000]
    code, out, _ = foundry("top", folder)
    assert code == 0 and "rung 0" in out and "confirmation on test text" in out


def test_a_finished_run_may_be_resumed_and_is_only_reported_again(run):
    folder, _ = run
    rows = len(Archive(folder).rows())
    code, _, errors = foundry("evolve", "--resume", folder)
    assert code == 0, errors
    assert len(Archive(folder).rows()) == rows


def test_an_existing_run_is_not_overwritten(run, quick):
    folder, _ = run
    code, _, errors = foundry("evolve", "--budget", "40evals", "--data", quick, "--out", folder)
    assert code == 1 and "--resume" in errors and len(errors.splitlines()) == 1


def test_a_damaged_part_is_named_by_top(run, tmp_path):
    import shutil

    copy = shutil.copytree(run[0], tmp_path / "copy")
    part = sorted((copy / "evals").iterdir())[0]
    part.write_bytes(b"nothing")
    code, _, errors = foundry("top", copy)
    assert code == 0 and part.name in errors and part.exists()  # who only reads changes nothing
