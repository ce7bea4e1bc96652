"""A hand-written module in the form that the compiler emits, fresh for every test, and text to train it on."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

REFERENCE = Path(__file__).with_name("reference_model.py")


@pytest.fixture
def module():
    """`reference_model.py`, loaded anew, so that a test may change its recipe."""
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
