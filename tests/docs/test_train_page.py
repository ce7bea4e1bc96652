"""docs/train.md is true: its commands are ones that the command line takes, and the first of them train and write."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from foundry.cli.main import app, main
from foundry.compiler.scale.search import Asked, scale
from foundry.dsl.check import load_program
from foundry.dsl.source import read_genome, shipped_genomes
from foundry.train.journal import NAMES
from foundry.train.settings import override

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "train.md").read_text("utf-8")
TYPED = re.findall(r"^\$ (.+)$", PAGE, re.MULTILINE)
BENCHES = re.findall(r"`python (bench/\S+\.py)( [^`]*)?`", PAGE)
GROUP = typer.main.get_command(app)


def words(typed):
    """What follows `foundry` in a command line, without where its output goes; None for other programs."""
    found = re.search(r"(?:^|-m )foundry (.*?)(?: > \S+)?$", typed)
    return shlex.split(found[1]) if found else None


def parsed(arguments):
    """The options of a command line by name; raises click's error where the command line does not take it."""
    command = GROUP
    while hasattr(command, "commands"):
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return command.make_context(command.name, list(arguments)).params


COMMANDS = [typed for typed in TYPED if words(typed)]
TRAINED = [typed for typed in COMMANDS if words(typed)[0] == "train"]


def genome(name):
    """The text of a genome that a command of the page names, or that one before it made."""
    made = {typed.split(" > ")[1]: words(typed) for typed in COMMANDS if " > " in typed}
    if name in made:
        size = parsed(made[name])
        millions = float(size["parameters"].removesuffix("M"))
        return scale(genome(size["file"]), Asked(parameters=int(millions * 1e6), vocab=size["vocab"])).text
    outs = {parsed(words(typed))["out"]: typed for typed in TRAINED if "--resume" not in typed}
    if name in outs:
        before = parsed(words(outs[name]))
        return override(genome(before["genome"]), before["settings"] or [])
    return read_genome(str(shipped_genomes()[name]))


@pytest.mark.parametrize("typed", COMMANDS)
def test_every_command_is_one_that_the_command_line_takes(typed):
    assert parsed(words(typed))


@pytest.mark.parametrize("typed", TRAINED)
def test_every_setting_is_one_that_its_genome_can_have(typed):
    options = parsed(words(typed))
    if options["genome"]:
        load_program(override(genome(options["genome"]), options["settings"] or []))


def test_every_setting_of_the_table_is_one():
    settings = [shlex.split(typed)[1] for typed in re.findall(r"`(--set [^`]+)`", PAGE) if "…" not in typed]
    assert len(settings) >= 9
    for pair in settings:
        load_program(override(read_genome(str(shipped_genomes()["llama"])), [pair]))


def test_every_column_of_the_journal_is_told():
    table = PAGE[PAGE.index("| column |") : PAGE.index("## When it goes wrong")]
    told = [name for cell in re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE) for name in re.findall(r"\w+", cell)]
    assert sorted(told) == sorted(NAMES)


def test_every_bench_is_there_and_has_the_options_that_are_given():
    for file, options in BENCHES:
        source = (ROOT / file).read_text()
        for option in re.findall(r"--([\w-]+)", options):
            assert option in source, f"{file} --{option}"


def test_the_first_commands_train_and_write(tmp_path, monkeypatch, capsys):
    """As the page has them, on a little text and for a few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text("\n\n".join(f"{n} times {k} is {n * k}. " * 60 for n in range(20) for k in range(20)))
    train, generate = (words(typed) for typed in COMMANDS[:2])
    short = ["--steps", "8", "--data", "text.txt", "--validations", "1", "--sample", "4"]
    at = train.index("--time")
    assert main([*train[:at], *train[at + 2 :], *short]) == 0
    assert "bits per byte of validation text" in capsys.readouterr().out
    again = next(words(typed) for typed in COMMANDS if "--resume" in typed)
    assert main(again) == 0
    assert "after 8 steps" in capsys.readouterr().out
    assert main([*generate, "--max-tokens", "10"]) == 0
    assert capsys.readouterr().out
