"""`foundry diff` and `foundry graph` as people and agents meet them: what is printed, where, and the exit code."""

import contextlib
import io
import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from foundry.cli.main import main
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.source import resource

LLAMA = resource("genomes", "llama.genome")
DEEPER = LLAMA.replace("4 * layer", "8 * layer")
WRONG = LLAMA.replace("rmsnorm(x)", "rmsnrm(x)", 1)


@pytest.fixture
def foundry(monkeypatch):
    """Run a command here; `text` is its standard input."""

    def run(*arguments, text=""):
        out, errors = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())

    return run


# diff ----------------------------------------------------------------------------------------------------------------


def test_genomes_that_differ_are_shown_with_the_change_in_cost(foundry, tmp_path):
    (tmp_path / "deeper.genome").write_text(DEEPER)
    done = foundry("diff", "llama", tmp_path / "deeper.genome")
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "llama → deeper" and lines[2] == "  layers: 4 → 8"
    rows = {" ".join(line.split()[:-3]): line.split()[-3:] for line in lines[4:] if line.split()[-1:] == ["2"]}
    assert rows == {"decode cache per token": ["1,024", "2,048", "2"], "lower bound": ["1,024", "2,048", "2"]}
    assert "parameters" in done.stdout and lines[-1] == "  at a context of 128 tokens"


def test_genomes_that_mean_the_same_are_the_same_program(foundry):
    done = foundry("diff", "llama", "-", text=LLAMA.replace("layer", "block").replace("# Llama", "# Other"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the same program (hash {canonical_hash(load_program(LLAMA))})\n"


def test_contexts_of_their_own_are_named(foundry):
    done = foundry("diff", "llama", "-", text=LLAMA.replace("batch = 512", "batch = 512, context = 64"))
    assert done.stdout.endswith("  at contexts of 128 and 64 tokens\n") and "context: 128 → 64" in done.stdout


def test_json_of_a_difference(foundry):
    done = foundry("diff", "--json", "llama", "-", text=DEEPER)
    report = json.loads(done.stdout)
    assert done.returncode == 1 and report.keys() == {"same", "a", "b", "changes", "left_out", "cost"}
    assert report["same"] is False and report["left_out"] == 0
    assert report["a"] == {"genome": "llama", "hash": canonical_hash(load_program(LLAMA))}
    assert report["changes"] == [
        {
            "kind": "changed",
            "place": "",
            "what": "layers",
            "before": "4",
            "after": "8",
            "layers": [],
            "text": "layers: 4 → 8",
        }
    ]
    assert report["cost"]["cache_bytes_per_token"] == {"before": 1024.0, "after": 2048.0, "ratio": 2.0}


def test_json_of_the_same_program(foundry):
    done = foundry("diff", "--json", "llama", "llama")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["same"] is True and report["changes"] == []
    assert report["a"]["hash"] == report["b"]["hash"]


def test_a_genome_with_errors_is_shown_as_check_shows_it(foundry):
    done = foundry("diff", "llama", "-", text=WRONG)
    assert done.returncode == 2 and done.stdout == ""
    shown = foundry("check", "-", text=WRONG).stdout
    assert done.stderr == shown + "foundry: - has 1 error\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("llama",), "missing argument"),
        (("llama", "nosuch"), "no file nosuch"),
        (("-", "-"), "standard input can be read only once"),
        (("--loud", "llama", "gpt2"), "no such option"),
    ],
)
def test_a_command_line_that_asks_for_nothing_possible(foundry, arguments, words):
    done = foundry("diff", *arguments)
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr.lower()
    assert len(done.stderr.splitlines()) == 1


# graph ---------------------------------------------------------------------------------------------------------------


def test_a_picture_goes_to_standard_output_or_to_a_file(foundry, tmp_path):
    printed = foundry("graph", "llama")
    assert (printed.returncode, printed.stderr) == (0, "")
    assert ET.fromstring(printed.stdout).get("aria-label") == "llama"
    done = foundry("graph", "llama", "-o", tmp_path / "llama.svg")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"wrote {tmp_path}/llama.svg, a picture of llama\n"
    assert (tmp_path / "llama.svg").read_text(encoding="utf-8") == printed.stdout


def test_a_picture_of_standard_input(foundry):
    done = foundry("graph", "-", text=LLAMA)
    assert done.returncode == 0 and ET.fromstring(done.stdout).get("aria-label") == "standard input"


def test_depth_opens_calls(foundry):
    closed, opened = (foundry("graph", "--depth", depth, "llama").stdout for depth in (0, 2))
    assert "rmsnorm" in closed and "attend<" not in closed and "attend<" in opened


def test_a_genome_with_errors_has_no_picture(foundry):
    done = foundry("graph", "-", text=WRONG)
    assert done.returncode == 1 and done.stdout == "" and "error[F201]" in done.stderr


def test_a_file_that_cannot_be_written(foundry, tmp_path):
    done = foundry("graph", "llama", "-o", tmp_path / "missing" / "llama.svg")
    assert done.returncode == 2 and "cannot write" in done.stderr and "no such file or directory" in done.stderr


def test_a_depth_that_is_no_depth(foundry):
    assert foundry("graph", "--depth", "-1", "llama").returncode == 2
    assert foundry("graph", "--depth", "deep", "llama").returncode == 2
