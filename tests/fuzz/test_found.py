"""Cases that a campaign once found stay mended: each is tried again with the property that it broke."""

from pathlib import Path

import pytest

from foundry.dsl.check import examine
from foundry.testing.case import Case, Skipped
from foundry.testing.corpus import TEXT_PROPERTY, read_corpus
from foundry.testing.properties import BY_NAME, PROPERTIES
from foundry.testing.survival import survives
from foundry.testing.worker import OWN

FOUND = read_corpus(Path(__file__).parent / "corpus")
each = pytest.mark.parametrize("stored", FOUND, ids=lambda stored: stored.path.stem)


def test_every_stored_case_names_a_property_that_there_is():
    assert {stored.property for stored in FOUND} <= {*BY_NAME, *OWN}


@each
def test_a_found_case_stays_mended(stored):
    if stored.property == TEXT_PROPERTY:
        survives(stored.content)
        return
    if not examine(stored.content).ok:
        pytest.skip("it is refused now")
    case = Case(stored.content, stored.seed)
    tested = [p for p in PROPERTIES if p.name == stored.property or not p.runs]
    for each_property in tested:
        try:
            each_property.holds(case)
        except Skipped:
            continue
