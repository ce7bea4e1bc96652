"""Genomes in folders are found by name, with the folder or without it."""

from pathlib import Path

import pytest
from small import FOLDER

from foundry.cli.arguments import resolve
from foundry.cli.failures import Misuse
from foundry.dsl import source
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse
from foundry.search.candidates import shipped_baselines


@pytest.mark.parametrize("argument", ["llama2_7b", "families/llama2_7b"])
def test_a_family_is_named_with_its_folder_or_without(argument):
    assert Path(resolve(argument)).parts[-3:] == ("genomes", "families", "llama2_7b.genome")


def test_a_name_that_is_almost_right_is_asked_about():
    with pytest.raises(Misuse, match=r"did you mean .*llama2_7b"):
        resolve("llama2")


def test_a_name_in_two_folders_needs_its_folder(tmp_path, monkeypatch):
    for folder in ("families", "heads"):
        (tmp_path / "_resources" / "genomes" / folder).mkdir(parents=True)
        (tmp_path / "_resources" / "genomes" / folder / "twin.genome").write_text("@foundry(1);\n")
    monkeypatch.setattr(source, "_PACKAGE", tmp_path)
    with pytest.raises(Misuse, match="2 genomes that come along are called twin: families/twin, heads/twin"):
        resolve("twin")
    assert resolve("heads/twin").endswith("heads/twin.genome")


def test_a_genome_outside_every_folder_comes_before_one_inside(tmp_path, monkeypatch):
    (tmp_path / "_resources" / "genomes" / "families").mkdir(parents=True)
    for name in ("twin", "families/twin"):
        (tmp_path / "_resources" / "genomes" / f"{name}.genome").write_text("@foundry(1);\n")
    monkeypatch.setattr(source, "_PACKAGE", tmp_path)
    assert resolve("twin").endswith("genomes/twin.genome")


def test_families_are_formatted():
    for path in FOLDER.glob("*.genome"):
        text = path.read_text()
        assert format_genome(parse(text)) == text, path.name


def test_families_are_no_baselines_of_a_search():
    assert set(shipped_baselines()) == {"gpt2", "hybrid", "llama", "primer"}
