"""Settings and fixtures for all tests: hypothesis repeats itself, and one thread per process.

`module` is a hand-written module in the form that the compiler emits, fresh for every test; `text` is what to train
it on.
"""

import importlib.util
import os
import sys
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

REFERENCE = Path(__file__).parent / "train" / "reference_model.py"

settings.register_profile(
    "quick", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(autouse=True)
def small_numbers_are_numbers():
    """Training rounds numbers below 1e-308 to 0, and so would whatever test comes next in this process."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def module():
    """`reference_model.py`, loaded anew, so that a test may change its recipe."""
    import torch

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("reference_model", REFERENCE)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def text():
    """A hundred thousand bytes of source code: this interpreter's `argparse` and its neighbours."""
    import argparse
    import inspect
    import typing

    return np.frombuffer((inspect.getsource(argparse) + inspect.getsource(typing)).encode(), np.uint8)
