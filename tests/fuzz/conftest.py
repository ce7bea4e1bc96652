"""The suite's clock: a crowded processor counts more seconds for the same work.

Campaigns hold the compiler to its second; here, where other tests run beside, five are allowed.
"""

import os

import pytest

from foundry.testing import survival
from foundry.testing.properties import text

CROWDED = 1 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 5


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Time limits for a machine that does other things as well."""
    monkeypatch.setattr(survival, "SECONDS", CROWDED * survival.SECONDS)
    monkeypatch.setattr(text, "SECONDS", CROWDED * text.SECONDS)
