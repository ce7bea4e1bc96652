"""A plugin of pytest: hypothesis stops at the first failing example, since a planted fault need not be explained."""

import pytest
from hypothesis import Phase, settings


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """After `tests/conftest.py` has chosen a profile: the same one, without shrinking."""
    chosen = settings.get_profile("quick")
    settings.register_profile("unshrunk", chosen, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("unshrunk")
