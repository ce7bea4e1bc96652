"""The package as it is installed: its version, its metadata, the files that travel with it, its promises on paper."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

import foundry
from foundry.dsl.check import check
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.dsl.source import resource_folder

ROOT = Path(__file__).parent.parent


def test_the_version_is_the_one_in_the_metadata_and_the_changelog():
    assert importlib.metadata.version("foundry") == foundry.__version__
    assert f"\n## {foundry.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_importing_the_package_imports_nothing_else():
    code = "import sys; before = set(sys.modules); import foundry; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "['foundry']"


@pytest.mark.parametrize("room", ["dsl", "compiler.cost", "compiler.graph"])
def test_what_comes_before_training_does_not_import_torch(room):
    modules = [f"foundry.{room}"]
    if room == "dsl":
        modules = [f"foundry.dsl.{path.stem}" for path in (Path(foundry.__file__).parent / "dsl").glob("[a-z]*.py")]
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


def test_shipped_genomes_and_grammars_are_found_checked_and_formatted():
    assert (resource_folder("grammars") / "prelude.genome").is_file()
    genomes = sorted(resource_folder("genomes").glob("*.genome"))
    assert {"gpt2", "llama", "primer", "hybrid"} <= {path.stem for path in genomes}
    for path in genomes:
        text = path.read_text("utf-8")
        assert check(text).ok and format_genome(parse(text)) == text, path.name


def test_the_genome_in_the_readme_checks_clean():
    (text,) = re.findall(r"```\n(@foundry.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert check(text).diagnostics == ()


@pytest.mark.parametrize("page", ["README.md", "AGENTS.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))])
def test_files_that_the_documentation_names_exist(page):
    text, folder = (ROOT / page).read_text(), (ROOT / page).parent
    for link in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (folder / link).exists(), link
    rooms = "foundry|grammars|genomes|docs|tests|bench"
    for named in re.findall(rf"`((?:{rooms})/[a-z_/.\d]+\.(?:py|md|genome|lark))`", text):
        assert (ROOT / named).exists(), named


def test_rooms_import_downwards_only():
    rooms = (
        "dsl", "generate", "compiler", "data", "train", "zoo", "decode", "serve", "evals", "search", "testing", "cli",
    )  # fmt: skip
    for height, room in enumerate(rooms):
        for path in (Path(foundry.__file__).parent / room).rglob("*.py"):
            imported = set(re.findall(r"^\s*(?:from|import) foundry\.(\w+)", path.read_text("utf-8"), re.MULTILINE))
            assert imported <= set(rooms[: height + 1]), f"{path} imports {imported}"
