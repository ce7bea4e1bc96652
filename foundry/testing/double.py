"""An emitted file in float64, so that what it computes can be told from rounding.

Emitted files turn whole numbers and booleans to decimals of PyTorch's default type, or by `float()`; here both are
float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch

from foundry.compiler.load import load


@contextmanager
def float64() -> Iterator[None]:
    """PyTorch's default type is float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def load_double(source: str) -> ModuleType:
    """An emitted file as a module whose model and loss compute in float64 throughout."""
    module: Any = load(source.replace(".float()", ".double()"))
    module.Model.forward = float64()(module.Model.forward)
    module.loss = float64()(module.loss)
    return module


def stirred(module: ModuleType, seed: int, stir: float = 0.1) -> Any:
    """A model in evaluation mode, initialised, then moved away from neutral values: each weight plus noise."""
    model = module.Model()
    model.initialise(seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(stir * torch.randn(weight.shape, generator=generator))
    return model.eval()
