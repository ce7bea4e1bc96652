"""Activations by the names that transformers has for them, and by those of the prelude."""

from __future__ import annotations

from typing import Any

from foundry.zoo.fields import MISSING, word
from foundry.zoo.outline import Outline

OURS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "relu": "relu",
    "relu2": "relu2",
}


def activation(config: Any, field: str, default: Any = MISSING) -> str:
    """What the prelude calls the activation in a field.

    Raises:
        ZooError: it is missing, or none that is known here.
    """
    return OURS[word(config, field, tuple(OURS), default)]


def likely(outline: Outline, tanh: str = "gelu_pytorch_tanh") -> tuple[str, ...]:
    """What transformers may call the activation of a program. tanh: its name for GELU by way of tanh."""
    told = {"erf": ("gelu",), "tanh": (tanh,), "sigmoid": ("silu",), "relu": ("relu", "relu2")}
    found = [name for operation, names in told.items() if operation in outline.operations for name in names]
    return tuple(found) or ("silu",)
