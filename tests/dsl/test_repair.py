"""Verified fixes: applied, checked again, and only then called so."""

import pytest

from foundry.dsl.check import apart, apply_edits, check
from foundry.dsl.diagnostics import Diagnostic, Edit, Fix
from foundry.dsl.repair import MOST_FIXES, repair

GOOD = """@foundry(1);
layer(x) = x + mlp(rmsnorm(x), hidden = 128) + attention(x, heads = 8);
model = embed(vocab = 256, width = 64) >> 2 * layer >> unembed(tied = 1);
"""


def test_several_mistakes_of_every_phase_are_mended_in_one_go():
    text = GOOD.replace("(1);", "(1)").replace("rmsnorm", "rmsnrm").replace("hidden", "hiden").replace("= 8", "= 7")
    result = repair(text)
    assert result.ok and result.text == GOOD and result.left == ()
    assert sorted(mended.diagnostic.code for mended in result.mended) == ["F101", "F201", "F202", "F302"]


def test_a_clean_genome_stays_as_it_is_to_the_byte():
    assert repair(GOOD.replace(" = ", "=")).text == GOOD.replace(" = ", "=")
    assert repair(GOOD).mended == ()


def test_what_cannot_be_mended_is_left_and_told():
    result = repair(GOOD.replace("hidden = 128", "hidden = 0.3").replace("rmsnorm", "rmsnrm"))
    assert [mended.diagnostic.code for mended in result.mended] == ["F201"]
    assert not result.ok and "hidden = 0.3" in result.text
    assert [diagnostic.severity for diagnostic in result.left] == ["error"]


def test_bytes_and_not_characters_are_counted():
    text = GOOD.replace("layer(x)", "# Hägele: × ≤\nlayer(x)").replace("rmsnorm", "rmsnrm")
    assert repair(text).text == text.replace("rmsnrm", "rmsnorm")


def test_every_mended_mistake_had_a_verified_fix():
    result = repair(GOOD.replace("rmsnorm", "rmsnrm").replace("heads", "hads"))
    assert result.mended and all(mended.fix.verified for mended in result.mended)


def test_a_fix_that_trades_one_mistake_for_another_is_not_verified():
    inside = GOOD.replace("x + mlp", "x + layr(x) + mlp")  # `layer` inside `layer` would be a circle
    (error,) = [d for d in check(inside).diagnostics if d.code == "F201"]
    assert not [fix for fix in error.fixes if fix.verified and fix.edits[0].text == "layer"]


def test_a_fix_that_brings_hidden_mistakes_to_light_is_verified():
    text = GOOD.replace("rmsnorm(x)", "rmsnrm(x)").replace("hidden = 128", "hidden = 128, act = 3")
    (error,) = [d for d in check(text).diagnostics if d.code == "F201"]
    assert any(fix.verified for fix in error.fixes)


def test_fixes_end(monkeypatch):
    """Were a fix to make its own mistake again, mending would still come to an end."""
    endless = Fix("again", (Edit(0, 0, " "),), verified=True)
    wrong = Diagnostic("F101", "wrong", fixes=(endless,))
    monkeypatch.setattr(
        "foundry.dsl.repair.check", lambda text, file: type("C", (), {"diagnostics": (wrong,), "ok": False})
    )
    assert len(repair("").mended) == MOST_FIXES


@pytest.mark.parametrize(
    "text", ["", "\n\n", "@foundry(1);", "model = (((", "\0\1\2", "é" * 100, "@foundry(1);\nmodel = 1e999;"]
)
def test_nothing_breaks_on_what_is_no_genome(text):
    result = repair(text)
    assert result.ok == check(result.text).ok


EDITS = {
    "apart": ((Edit(0, 1, "a"), Edit(1, 2, "b")), True),
    "in any order": ((Edit(1, 2, "b"), Edit(0, 1, "a")), True),
    "one in another": ((Edit(0, 4, "a"), Edit(1, 2, "b")), False),
    "two insertions in one place": ((Edit(2, 2, "a"), Edit(2, 2, "b")), False),
    "beyond the end": ((Edit(3, 9, ""),), False),
    "before the start": ((Edit(-1, 1, ""),), False),
    "backwards": ((Edit(3, 1, ""),), False),
    "none": ((), False),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_that_overlap_or_lie_outside_are_not_applied(name):
    edits, good = EDITS[name]
    assert apart(edits, "four") is good


def test_edits_are_applied_from_the_end():
    assert apply_edits("four", (Edit(0, 1, "FF"), Edit(3, 4, "R"))) == "FFouR"
