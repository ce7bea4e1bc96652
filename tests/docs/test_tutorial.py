"""The tutorial in docs/language.md is true: its genomes check, its commands print what the page shows.

A fence `genome NAME` is a file; a fence `genome` alone is an excerpt, which the first genome completes; one whose name
begins with `wrong` does not check. Commands of `console` fences run in the order of the page, in one folder. In what
they print, `…` stands for anything within a line, and for any lines where it stands alone.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundry.cli.main import main
from foundry.data.corpus import load_corpus
from foundry.dsl.check import check
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.evals.rungs import Rung

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+) ?(\S*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SEEDS = "4"  # of the page's evaluation; two are enough to see what it prints


@dataclass(frozen=True)
class Block:
    """A fence of the page: what it holds, the name of its file, and the line it begins in."""

    language: str
    name: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command line, and what the page shows of its output."""

    typed: str
    shown: str
    line: int

    @property
    def measured(self):
        """Whether its numbers are measurements, which are others on another machine."""
        return self.typed.startswith(("python ", "foundry eval "))


def blocks():
    page = (ROOT / "docs" / "language.md").read_text("utf-8")
    return [Block(*f.groups(), page.count("\n", 0, f.start()) + 1) for f in FENCE.finditer(page)]


def commands(block):
    """The commands of a console fence, each with the lines that follow it."""
    parts = re.split(r"^\$ (.*)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == "", "a console block begins with a command"
    return [Command(typed, shown, block.line) for typed, shown in zip(parts[1::2], parts[2::2], strict=True)]


BLOCKS = blocks()
FILES = [block for block in BLOCKS if block.language == "genome" and block.name]
EXCERPTS = [block for block in BLOCKS if block.language == "genome" and not block.name]
COMMANDS = [command for block in BLOCKS if block.language == "console" for command in commands(block)]
FIRST = parse(FILES[0].text)


def completed(excerpt):
    """An excerpt with the first line of every genome, and with what it lacks of the first genome's definitions."""
    genome = parse(f"@foundry(1);\n\n{excerpt}")
    defined = {definition.name for definition in genome.definitions}
    lacking = [d for d in FIRST.definitions if d.name not in defined and d.name in ("layer", "model")]
    return "\n".join([format_genome(genome), *(FILES[0].text[d.span.start : d.span.end] for d in lacking)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the reader types: the repository's folders, and evaluations of a few steps on a little text."""
    path = tmp_path_factory.mktemp("reader")
    for name in ("docs", "genomes"):
        (path / name).symlink_to(ROOT / name)
    text = tmp_path_factory.mktemp("text") / "book.txt"
    text.write_text("\n\n".join(f"{n} times {k} is {n * k}. " * 60 for n in range(20) for k in range(20)))
    patch = pytest.MonkeyPatch()
    patch.chdir(path)
    patch.setenv("COLUMNS", "100")
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    patch.setattr("foundry.evals.rungs.RUNGS", (Rung(1.3e10, 5),) * 2)
    patch.setattr("foundry.data.corpus.load_corpus", lambda _: load_corpus(text))
    for block in FILES:
        (path / block.name).write_text(block.text)
    yield path
    patch.undo()


def output(typed):
    """What a command line prints, mistakes included. Verbs of foundry run in this process, the rest in a shell."""
    verb, *arguments = shlex.split(typed)
    if verb != "foundry":
        line = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", typed)
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(line, shell=True, capture_output=True, text=True, env=env, check=True, timeout=60).stdout
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        main(["2" if word == SEEDS else word for word in arguments])
    return printed.getvalue()


def without_numbers(text):
    """The words of each line, for what is measured."""
    return re.sub(r"[-+]?\d[\d,]*(\.\d+)?", "#", re.sub(r" +", " ", text))


def matches(actual, shown):
    """Whether the output is what the page shows."""
    lines = []
    for line in shown.splitlines():
        words = ".*?".join(map(re.escape, line.rstrip().split("…")))
        lines.append(r"(?:.*\n)*?" if line == "…" else words + r" *\n")
    return re.fullmatch("".join(lines), actual) is not None


@pytest.fixture(scope="module")
def printed(folder):
    """What every command of the page prints, in the order of the page."""
    return {command: output(command.typed) for command in COMMANDS}


@pytest.mark.parametrize("block", FILES, ids=lambda block: block.name)
def test_every_genome_checks_unless_it_is_called_wrong(block):
    assert bool(check(block.text).diagnostics) == block.name.startswith("wrong")
    assert format_genome(parse(block.text)) == block.text


@pytest.mark.parametrize("block", EXCERPTS, ids=lambda block: f"line {block.line}")
def test_every_excerpt_checks_with_what_it_leaves_out(block):
    assert not check(completed(block.text)).diagnostics
    assert format_genome(parse(f"@foundry(1);\n\n{block.text}")) == f"@foundry(1);\n\n{block.text}"


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.typed)
def test_every_command_prints_what_the_page_shows(command, printed):
    actual, shown = printed[command], command.shown
    if command.measured:
        actual, shown = without_numbers(actual), without_numbers(shown)
    assert matches(actual, shown), actual


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.language == "python"], ids=lambda block: f"line {block.line}")
def test_every_excerpt_of_an_emitted_file_is_in_one(block, folder, printed):
    assert any(block.text in file.read_text() for file in folder.glob("*.py"))


def test_same_meaning_same_hash(printed):
    shown = [text.split()[1] for command, text in printed.items() if command.typed.startswith("foundry show")]
    assert shown[0] == shown[1]


def test_the_picture_is_what_the_command_draws(folder, printed):
    assert (folder / "llama.svg").read_text() == (ROOT / "docs" / "llama.svg").read_text()
