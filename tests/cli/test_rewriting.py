"""expand, scale, fmt --inline and check --fix as people and agents meet them: output, files, exit codes."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys

import pytest

from foundry.cli.main import main
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.source import resource

GOOD = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = 128);
model = embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1);
"""
WRONG = GOOD.replace("rmsnorm", "rmsnrm").replace("hidden", "hiden")
HOPELESS = GOOD.replace("hidden = 128", "hidden = 0.3").replace("rmsnorm", "rmsnrm")


@pytest.fixture
def foundry(monkeypatch):
    """Run a command here; `text` (str or bytes) is its standard input."""

    def run(*arguments, text=""):
        data = text.encode() if isinstance(text, str) else text
        out, errors = io.StringIO(), io.StringIO()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())

    return run


def meaning(text):
    return canonical_hash(load_program(text))


# expand --------------------------------------------------------------------------------------------------------------


def test_expand_prints_a_genome_of_the_same_hash(foundry):
    done = foundry("expand", "-", text=GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert meaning(done.stdout) == meaning(GOOD) and "mlp" not in done.stdout and "linear(" in done.stdout
    assert foundry("fmt", "--check", "-", text=done.stdout).returncode == 0


def test_expand_of_names_leaves_the_others(foundry):
    out = foundry("expand", "-", "mlp", "gelu", text=GOOD).stdout
    assert "mlp" not in out and "erf(" in out and "rmsnorm(x)" in out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("atention", "did you mean attention?"),
        ("linear", "has no body"),
        ("recipe", "recipe is what a genome is"),
        ("glu", "the genome does not call glu itself"),
    ],
)
def test_expand_of_what_is_not_called_is_misuse(foundry, name, words):
    done = foundry("expand", "-", name, text=GOOD)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "") and words in line


# fmt --inline --------------------------------------------------------------------------------------------------------


def test_inline_makes_a_file_stand_alone_once(foundry, tmp_path):
    file = tmp_path / "a.genome"
    file.write_text(GOOD)
    file.chmod(0o640)
    assert foundry("fmt", "--inline", "--check", file).returncode == 1 and file.read_text() == GOOD
    done = foundry("fmt", "--inline", file)
    assert (done.returncode, done.stdout) == (0, f"formatted {file}\n")
    assert meaning(file.read_text()) == meaning(GOOD) and "\nrmsnorm(x, eps = 1e-6) = {" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o640 and os.listdir(tmp_path) == ["a.genome"]
    assert foundry("fmt", "--inline", "--check", file).returncode == 0
    assert foundry("fmt", "--check", file).returncode == 0


def test_inline_of_standard_input_is_a_filter(foundry):
    done = foundry("fmt", "--inline", "-", text=GOOD)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith(GOOD)
    assert foundry("fmt", "--inline", "-", text=done.stdout).stdout == done.stdout


# check --fix ---------------------------------------------------------------------------------------------------------


def test_fix_mends_a_file_in_place_and_says_how(foundry, tmp_path):
    file = tmp_path / "a.genome"
    file.write_text(WRONG)
    file.chmod(0o600)
    done = foundry("check", "--fix", file)
    assert done.returncode == 0 and file.read_text() == GOOD
    first, second, last = done.stdout.splitlines()
    assert first == f"{file}:3:20: fixed F201, nothing is called rmsnrm: replace rmsnrm by rmsnorm"
    assert "F202" in second and last == f"{file}: ok"
    assert file.stat().st_mode & 0o777 == 0o600 and os.listdir(tmp_path) == ["a.genome"]


def test_fix_leaves_a_clean_file_alone(foundry, tmp_path):
    file = tmp_path / "a.genome"
    file.write_bytes(GOOD.replace("\n", "\r\n").encode())
    before = file.stat().st_mtime_ns, file.read_bytes()
    assert foundry("check", "--fix", file).stdout == f"{file}: ok\n"
    assert (file.stat().st_mtime_ns, file.read_bytes()) == before


def test_fix_keeps_line_ends_and_links(foundry, tmp_path):
    file, link = tmp_path / "a.genome", tmp_path / "link.genome"
    file.write_bytes(WRONG.replace("\n", "\r\n").encode())
    link.symlink_to(file)
    assert foundry("check", "--fix", link).returncode == 0
    assert link.is_symlink() and file.read_bytes() == GOOD.replace("\n", "\r\n").encode()


def test_fix_says_what_is_left_and_exits_with_1(foundry, tmp_path):
    file = tmp_path / "a.genome"
    file.write_text(HOPELESS)
    done = foundry("check", "--fix", file)
    assert done.returncode == 1 and "fixed F201" in done.stdout and "0.3" in done.stdout
    assert "error[F302]" in done.stdout and "ok" not in done.stdout.splitlines()[-1]
    assert file.read_text() == GOOD.replace("hidden = 128", "hidden = 0.3")


def test_fix_of_standard_input_prints_it_and_reports_on_standard_error(foundry):
    done = foundry("check", "--fix", "-", text=WRONG)
    assert (done.returncode, done.stdout) == (0, GOOD) and "-:3:20: fixed F201" in done.stderr
    done = foundry("check", "--fix", "-", text=HOPELESS)
    assert done.returncode == 1 and "hidden = 0.3" in done.stdout and "error[F302]" in done.stderr


def test_fix_in_json(foundry, tmp_path):
    report = json.loads(foundry("check", "--fix", "--json", "-", text=HOPELESS).stdout)
    assert report["ok"] is False and [d["code"] for d in report["diagnostics"]] == ["F302"]
    assert report["fixed"] == [
        {
            "file": "-",
            "line": 3,
            "column": 20,
            "code": "F201",
            "message": "nothing is called rmsnrm",
            "fix": "replace rmsnrm by rmsnorm",
        }
    ]
    assert report["text"] == GOOD.replace("hidden = 128", "hidden = 0.3")
    (tmp_path / "a.genome").write_text(WRONG)
    report = json.loads(foundry("check", "--fix", "--json", tmp_path).stdout)
    assert report["ok"] and len(report["fixed"]) == 2 and "text" not in report


def test_without_fix_json_has_what_it_always_had(foundry):
    assert set(json.loads(foundry("check", "--json", "llama").stdout)) == {"ok", "diagnostics"}


def test_fix_mends_each_file_of_a_folder_that_it_can(foundry, tmp_path):
    for name, text in (("a", WRONG), ("b", HOPELESS), ("c", GOOD)):
        (tmp_path / f"{name}.genome").write_text(text)
    done = foundry("check", "--fix", tmp_path)
    assert done.returncode == 1
    assert [(tmp_path / f"{name}.genome").read_text() == GOOD for name in "abc"] == [True, False, True]


def test_fix_does_not_touch_what_comes_along_or_does_not_exist(foundry):
    for name in ("llama", "no/such.genome"):
        done = foundry("check", "--fix", name)
        assert done.returncode == 2 and done.stderr == f"foundry: no file {name}\n"


def test_fix_prints_nothing_for_what_is_no_text(foundry):
    done = foundry("check", "--fix", "-", text=b"\xff\xfe\x00")
    assert done.returncode == 1 and done.stdout == "" and "F001" in done.stderr


# scale ---------------------------------------------------------------------------------------------------------------


def test_scale_prints_a_genome_and_tells_its_size_apart(foundry):
    done = foundry("scale", "llama", "--parameters", "1M")
    assert done.returncode == 0 and foundry("check", "-", text=done.stdout).stdout == "-: ok\n"
    told = re.fullmatch(
        r"width 64 → (\d+), depth 4 → (\d+)(?:, heads of 16 → \d+ channels)?, 201,280 → ([\d,]+) parameters,"
        r" 1,000,000 asked for \(([+-]\d\.\d)%\)\n",
        done.stderr,
    )
    assert told and f"# Scaled to width {told[1]}, depth {told[2]}, {told[3]} parameters." in done.stdout
    shown = json.loads(foundry("show", "--json", "-", text=done.stdout).stdout)
    assert f"{shown['parameters']:,}" == told[3] and abs(shown["parameters"] / 1e6 - 1) < 0.1


@pytest.mark.parametrize("written", ["300000", "300k", "0.3M", "300K", "0.0003b"])
def test_parameters_are_written_as_people_write_them(foundry, written):
    assert "300,000 asked for" in foundry("scale", "llama", "--parameters", written).stderr


def test_a_family_at_the_size_of_a_proxy(foundry):
    done = foundry("scale", "families/llama3_2_1b", "--parameters", "1M", "--vocab", "256")
    assert done.returncode == 0 and "vocab = 256" in done.stdout and "128256 tokens" in done.stdout  # its comment


def test_the_recipe_stays(foundry):
    out = foundry("scale", "llama", "--width", "128").stdout
    recipe = resource("genomes", "llama.genome").partition("recipe")[2]
    assert out.endswith(recipe)
    assert "its recipe: the learning rate is the one" in " ".join(foundry("scale", "--help").stdout.split())


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "say a size"),
        (["--parameters", "many"], 2, "'many' is no number of parameters: write 300k, 30M or 1.5B"),
        (["--parameters", "0"], 2, "'0' is no number"),
        (["--parameters", "-3M"], 2, "'-3M' is no number"),
        (["--parameters", "nan"], 2, "'nan' is no number"),
        (["--parameters", "1e6"], 2, "'1e6' is no number"),
        (["--parameters", "٣"], 2, "is no number"),
        (["--parameters", "9" * 400], 2, "is no number"),
        (["--width", "0"], 2, "--width"),
        (["--width", "-64"], 2, "--width"),
        (["--width", "6.4"], 2, "--width"),
        (["--depth", "none"], 2, "--depth"),
        (["--parameters", "1M", "--width", "64", "--depth", "4"], 2, "leave out one of the three"),
        (["--width", "100"], 1, "its heads do not fit a width of 100; the nearest that they fit: 96 and 112"),
        (["--parameters", "10"], 1, "cannot be reached within a tenth"),
        (["--parameters", "999T"], 1, "at most"),
        (["--experts", "8"], 1, "it has no experts"),
    ],
)
def test_sizes_that_cannot_be_are_one_line(foundry, arguments, code, words):
    done = foundry("scale", "llama", *arguments)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (code, "") and words in line


# all -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["expand"], ["scale", "--width", "128"]])
def test_a_bad_genome_is_refused_on_standard_error(foundry, arguments):
    verb, *options = arguments
    done = foundry(verb, "-", *options, text=WRONG)
    assert (done.returncode, done.stdout) == (1, "") and "error[F201]" in done.stderr


@pytest.mark.parametrize("verb", ["expand", "scale", "check", "fmt"])
def test_help_has_examples_that_work(foundry, verb, tmp_path):
    examples = re.findall(r"^ +(foundry .*?)(?:   .*)?$", foundry(verb, "--help").stdout, re.MULTILINE)
    assert len(examples) >= 3
    (tmp_path / "genomes").mkdir()
    for name in ("genomes/llama.genome", "candidate.genome", "mine.genome"):
        (tmp_path / name).write_text(GOOD)
    script = "\n".join(example.replace("foundry ", f"{sys.executable} -m foundry ", 1) for example in examples)
    done = subprocess.run(["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
