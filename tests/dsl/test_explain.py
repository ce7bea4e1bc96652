"""What the codes mean: every example gets its code, and put right it gets none."""

import re
from pathlib import Path

import pytest

import foundry
from foundry.dsl import explain
from foundry.dsl.check import check
from foundry.dsl.diagnostics import CODES
from foundry.dsl.explain import explanations, find, nearest
from foundry.dsl.format import format_genome
from foundry.dsl.parse import parse

PACKAGE = Path(foundry.__file__).parent
REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def raised():
    """The codes that the sources of the checker give."""
    sources = [path for path in (PACKAGE / "dsl").glob("*.py") if path.name != "diagnostics.py"]
    return {code for path in sources for code in re.findall(r'"(F\d{3})"', path.read_text("utf-8"))}


def test_every_code_that_the_checker_gives_is_explained_and_no_other():
    assert set(explanations()) == raised() <= set(CODES)
    assert list(explanations()) == sorted(explanations())


@pytest.mark.parametrize("code", explanations())
def test_the_wrong_genome_gets_its_code_alone(code):
    assert [d.code for d in explanations()[code].diagnostics()] == [code]


@pytest.mark.parametrize("code", explanations())
def test_the_right_genome_is_clean_and_formatted(code):
    good = explanations()[code].good
    assert check(good).ok and check(good).diagnostics == ()
    assert format_genome(parse(good)) == good


@pytest.mark.parametrize("code", explanations())
def test_an_explanation_has_words_of_its_own_and_shows_both_genomes(code):
    explanation = explanations()[code]
    page = explain.text(explanation)
    assert len(explanation.text) > 60 and explanation.text.endswith(".")
    assert re.search(rf"^(error|warning)\[{code}\]: ", page, re.MULTILINE)
    assert "wrong:" in page and "right:" in page and "model = " in page
    assert len(page) < 4000 and max(map(len, page.splitlines())) < 260


def test_only_what_cannot_be_written_out_is_made():
    written = explain.WRITTEN.read_text("utf-8")
    made = re.findall(r"```bad\n([a-z0-9-]+)\n```", written)
    assert sorted(made) == sorted(explain.MADE)


def test_a_code_is_found_by_its_number_or_its_name_in_any_case():
    assert find("F301") is find("f301") is find("shape") is find("Shape") is explanations()["F301"]
    assert find("F000") is None and find("") is None and find("shapes") is None


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("F31", "F301"), ("shap", "shape"), ("F999", "F402"), ("too_deep", "too-deep"), ("307", "F307")],
)
def test_an_unknown_code_is_near_others(typed, meant):
    assert meant in nearest(typed)


def test_nothing_is_near_nonsense():
    assert nearest("zzzzzzzz") == []


def test_data_holds_what_the_checker_says():
    data = explain.as_data(explanations()["F201"])
    assert data["name"] == "unknown-name" and data["phase"] == "names" and "rmsnrm" in data["bad"]
    (found,) = data["diagnostics"]
    assert found["code"] == "F201" and found["fixes"][0]["verified"]
    assert all(len(str(explain.as_data(e))) < 20_000 for e in explanations().values())


def test_the_page_of_codes_is_up_to_date():
    assert (REFERENCE / "codes.md").read_text("utf-8") == explain.page()
