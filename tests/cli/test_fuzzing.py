"""`foundry fuzz` as people meet it: what it prints, writes and stores, and the exit code."""

import contextlib
import importlib.util
import io
import json
import subprocess

import pytest

from foundry.cli.fuzzing import parse_time
from foundry.cli.main import main
from foundry.testing import campaign
from foundry.testing.campaign import Found, State
from foundry.testing.failures import Failure

GENOME = "@foundry(1);\nmodel = embed(vocab = 61, width = 8) >> unembed;\n"
BROKEN = Failure(
    "parameters", "Broken", "foundry/testing/properties/costs.py:40", "3 is not 4", GENOME, 5, "wild runs/8"
)


@pytest.fixture
def foundry(monkeypatch, tmp_path):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        out, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
        return subprocess.CompletedProcess(arguments, code, out.getvalue(), errors.getvalue())

    return run


@pytest.fixture
def asked(monkeypatch):
    """The settings that the command asked for; the campaign itself does not run, and finds what `end` says."""
    settings, end = [], {"found": {}, "stopped": False}

    def run(wanted, notify):
        settings.append(wanted)
        state = State(wanted, 0.0, ended=61.0, **end)
        state.tally.stages.update({"checked": 1234, "built": 200, "ran": 190, "texts": 5678})
        notify(state)
        return state

    monkeypatch.setattr(campaign, "run", run)
    return settings, end


def test_nothing_found(foundry, asked):
    done = foundry("fuzz", "--time", "90s")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [
        "1,234 genomes checked, 200 built, 190 run, 5,678 texts in 1:01",
        "nothing found",
    ]


def test_options_become_settings(foundry, asked, tmp_path):
    (tmp_path / "mine.genome").write_text(GENOME)
    names = ("--property", "parameters", "--property", "survives")
    options = ("--time", "1h", "--workers", "3", "--seed", "7", "--corpus", "kept", "--genome", "mine.genome")
    foundry("fuzz", *options, *names, "--stop-at-first")
    (settings,) = asked[0]
    assert (settings.seconds, settings.workers, settings.seed) == (3600, 3, 7)
    assert settings.names == ("parameters", "survives") and settings.given == (GENOME,)
    assert str(settings.corpus) == "kept" and settings.stop_at_first


def test_what_was_found_is_told_with_its_file_and_the_way_to_see_it_again(foundry, asked, tmp_path):
    asked[1]["found"]["a"] = Found(BROKEN, tmp_path / "parameters-1.genome")
    done = foundry("fuzz", "--time", "90s")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-4:] == [
        "parameters: Broken at foundry/testing/properties/costs.py:40",
        "  3 is not 4",
        f"  {tmp_path}/parameters-1.genome",
        f"  foundry fuzz --time 1min --property parameters --genome {tmp_path}/parameters-1.genome",
    ]


def test_an_interrupted_campaign_without_findings(foundry, asked):
    asked[1]["stopped"] = True
    assert foundry("fuzz", "--time", "90s").returncode == 130


@pytest.mark.parametrize("name", ["report.md", "report.json"])
def test_the_report_is_a_page_or_data(foundry, asked, tmp_path, name):
    asked[1]["found"]["a"] = Found(BROKEN)
    done = foundry("fuzz", "--time", "90s", "--report", name)
    text = (tmp_path / name).read_text()
    assert done.stderr == f"wrote {name}\n" and done.returncode == 1
    if name.endswith("json"):
        data = json.loads(text)
        assert data["genomes"]["checked"] == 1234 and data["failures"][0]["message"] == "3 is not 4"
        assert data["versions"]["torch"] and data["texts"] == 5678
    else:
        assert "| genomes checked | 1,234" in text and "3 is not 4" in text


def test_a_campaign_from_end_to_end(foundry, tmp_path):
    done = foundry("fuzz", "--time", "25s", "--workers", "1", "--property", "parameters", "--report", "r.json")
    assert done.returncode == 0, done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["failures"] == []


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10min", 600), ("2m", 120), ("1.5h", 5400), (" 1 H ", 3600)]
)
def test_times(text, seconds):
    assert parse_time(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--time", "soon"), "time 'soon' is not a number with a unit; write it like 90s, 10min or 1h"),
        (("--time", "10"), "time '10' is not a number with a unit"),
        (("--time", "0s"), "not between nothing and a week"),
        (("--time", "9" * 300 + "h"), "…' is not a number"),
        (("--property", "paramters"), "no property is called paramters; did you mean parameters?"),
        (("--property", "zzzzzz"), "no property is called zzzzzz; there are "),
        (("--corpus", "file.txt"), "cannot keep cases in file.txt: file.txt is a file"),
        (("--corpus", "file.txt/below"), "cannot keep cases in file.txt/below"),
        (("--report", "nosuch/report.md"), "cannot write nosuch/report.md: no such directory"),
        (("--report", "report.txt"), "ends in neither .md nor .json"),
        (("--genome", "nosuch"), "no file nosuch"),
        (("--workers", "-1"), "invalid value"),
    ],
)
def test_a_command_line_that_asks_for_nothing_possible(foundry, asked, tmp_path, arguments, words):
    (tmp_path / "file.txt").write_text("")
    done = foundry("fuzz", *arguments)
    assert done.returncode == 2 and done.stdout == "" and words in done.stderr.replace("Invalid", "invalid")
    assert len(done.stderr.splitlines()) == 1 and not asked[0]


def test_a_genome_with_errors_is_shown_as_check_shows_it(foundry, asked, tmp_path):
    (tmp_path / "wrong.genome").write_text(GENOME.replace("unembed", "unmbed"))
    done = foundry("fuzz", "--genome", "wrong.genome")
    assert done.returncode == 1 and done.stderr.endswith("foundry: wrong.genome has 1 error\n") and not asked[0]


def test_a_stored_file_that_is_no_case(foundry, tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x.genome").write_text(GENOME)
    done = foundry("fuzz", "--time", "90s", "--corpus", "kept")
    assert done.returncode == 2 and "kept/x.genome: its first lines name no property" in done.stderr


def test_without_the_extra_one_line_says_what_to_install(foundry, asked, monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "hypothesis" else find_spec(name))
    done = foundry("fuzz", "--time", "90s")
    assert (done.returncode, done.stderr) == (2, "foundry: fuzzing needs the extra: pip install 'foundry[test]'\n")


def test_help_has_examples(foundry):
    done = foundry("fuzz", "--help")
    assert done.returncode == 0 and "foundry fuzz --time 1h --report fuzz.md" in done.stdout
