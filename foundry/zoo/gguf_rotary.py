"""Rotary positions in GGUF files: a few keys, and in Llama 3.1 and Phi-3 a factor for each pair of channels."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config
from foundry.zoo.fields import number, whole
from foundry.zoo.gguf_file import GGUF
from foundry.zoo.rotary import ALIASES, longrope_factor, settings

LLAMA3, LONG, SHORT = "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"
ORIGINALS = [1 << n for n in range(4, 21)]  # lengths that a Llama 3.1 may have had before: 8192 in all that are public
LOW, HIGH = 1.0, 4.0  # its other constants, which no file holds


def rope_parameters(file: GGUF, head_dim: int) -> dict[str, Any]:
    """`rope_parameters` as transformers has them.

    Raises:
        ZooError: the kind is not known here, or not all of a head is turned where that is the rule.
    """
    say = f"{file.path}: {file.architecture}.rope"
    found = {key.partition(".rope.")[2]: value for key, value in file.keys.items() if ".rope." in key}
    dim = found.get("dimension_count", head_dim)
    if dim != head_dim and file.architecture != "phi3":
        raise ZooError(f"{say}.dimension_count is {str(dim)[:40]}; a head has {head_dim} channels, and all are turned")
    theta = {"rope_theta": _short(found.get("freq_base", 10000.0))}
    original = found.get("scaling.original_context_length")
    kind = found.get("scaling.type", "none")
    if LONG in file.tensors or SHORT in file.tensors:
        return theta | _longrope(file, found)
    if LLAMA3 in file.tensors:
        return theta | _llama3(file, theta["rope_theta"], head_dim)
    if kind == "none" or "scaling.factor" not in found:
        return theta | {"rope_type": "default"}
    factor = {"factor": _short(found["scaling.factor"])}
    if kind == "linear":
        return theta | factor | {"rope_type": "linear"}
    if kind == "yarn" and type(original) is int:
        return theta | factor | {"rope_type": "yarn", "original_max_position_embeddings": original}
    raise ZooError(f"{say}.scaling.type is {str(kind)[:40]!r}; known here: none, linear, yarn (with the length before)")


def _short(value: Any) -> float:
    return float(str(np.float32(value)))


def _llama3(file: GGUF, theta: float, head_dim: int) -> dict[str, Any]:
    """The constants that give the factors in the file."""
    factors = file.read(LLAMA3).float()
    if factors.shape != (head_dim // 2,) or not factors.isfinite().all():
        raise ZooError(f"{file.path}: {LLAMA3} is not a factor for each of {head_dim // 2} pairs of channels")
    most = _short(factors.max().item())
    if most == 1:
        return {"rope_type": "default"}
    for original in sorted(ORIGINALS, key=lambda n: n != 8192):
        rope = {"factor": most, "low_freq_factor": LOW, "high_freq_factor": HIGH}
        if torch.allclose(llama3_factors(rope, theta, head_dim, original), factors, rtol=1e-5):
            return rope | {"rope_type": "llama3", "original_max_position_embeddings": original}
    raise ZooError(f"{file.path}: {LLAMA3} has factors that are not Llama 3's; take its Hugging Face folder")


def llama3_factors(rope: Mapping[str, float], theta: float, head_dim: int, original: int) -> Tensor:
    """How much slower each pair of channels turns: (head_dim / 2,). Grattafiori et al. 2024, arXiv:2407.21783."""
    found = []
    for n in range(head_dim // 2):
        turns = original * theta ** (-2 * n / head_dim) / (2 * math.pi)  # within the length before
        low, high, factor = rope["low_freq_factor"], rope["high_freq_factor"], rope["factor"]
        smooth = min(max((turns - low) / (high - low), 0.0), 1.0)
        found.append(1 / ((1 - smooth) / factor + smooth))
    return torch.tensor(found)


def _longrope(file: GGUF, found: Mapping[str, Any]) -> dict[str, Any]:
    original, factor = found.get("scaling.original_context_length"), found.get("scaling.attn_factor")
    if LONG not in file.tensors or SHORT not in file.tensors or type(original) is not int or factor is None:
        raise ZooError(f"{file.path}: longrope lacks a list of factors, the length before, or the attention factor")
    lists = {"short_factor": file.read(SHORT), "long_factor": file.read(LONG)}
    times = round(original ** (factor**2 - 1), 3)  # the stretch that gives this attention factor by the usual formula
    usual = math.isclose(longrope_factor({}, {"factor": times}, original), factor, rel_tol=1e-6)
    return {
        "rope_type": "longrope",
        "original_max_position_embeddings": original,
        **({"factor": times} if usual else {"attention_factor": _short(factor)}),
        **{name: [_short(value) for value in values.tolist()] for name, values in lists.items()},
    }


def rope_keys(config: Config, head_dim: int) -> dict[str, Any]:
    """The keys behind `ARCHITECTURE.` for a configuration.

    Raises:
        ZooError: llama.cpp has no such rotary positions.
    """
    rope = settings(config)
    rope = rope.get("full_attention", rope)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    kind = ALIASES.get(kind, kind)
    part = number(rope, "partial_rotary_factor", number(config, "partial_rotary_factor", 1.0, 0), 0)
    if part != 1 and config.get("model_type") != "phi3":
        raise ZooError(f"gguf: partial_rotary_factor is {part:g}; llama.cpp turns whole heads in this architecture")
    theta = number(rope, "rope_theta", number(config, "rope_theta", 1e4, 0), 0)
    said: dict[str, Any] = {"rope.dimension_count": int(head_dim * part), "rope.freq_base": theta}
    if kind in ("default", "llama3"):
        return said
    if kind == "linear":
        return said | {"rope.scaling.type": "linear", "rope.scaling.factor": number(rope, "factor", above=0)}
    original = whole(config, "original_max_position_embeddings", None) or whole(
        rope, "original_max_position_embeddings", None
    )
    before = {"rope.scaling.original_context_length": original}
    if kind == "yarn" and original and _usual_yarn(rope):
        return said | before | {"rope.scaling.type": "yarn", "rope.scaling.factor": number(rope, "factor", above=0)}
    if kind == "longrope" and original and config.get("model_type") == "phi3":
        return said | before | {"rope.scaling.attn_factor": longrope_factor(config, rope, original)}
    raise ZooError(
        f"gguf: rope_type is {kind!r}, as said here; known: default, linear, llama3, yarn and, in Phi-3, longrope"
    )


def _usual_yarn(rope: Mapping[str, Any]) -> bool:
    """Whether nothing is said but what llama.cpp takes for granted."""
    usual = {"beta_fast": 32, "beta_slow": 1, "truncate": True, "mscale": None, "mscale_all_dim": None}
    return all(rope.get(k) in (None, v) for k, v in usual.items()) and rope.get("attention_factor") is None


def rope_tensors(config: Config, head_dim: int) -> dict[str, Tensor]:
    """The tensors that a file has beside the weights.

    Raises:
        ZooError: a field is missing.
    """
    rope = settings(config)
    kind = rope.get("rope_type", rope.get("type"))
    if ALIASES.get(str(kind), kind) == "longrope":
        return {LONG: torch.tensor(rope["long_factor"]).float(), SHORT: torch.tensor(rope["short_factor"]).float()}
    if kind != "llama3":
        return {}
    fields = {name: number(rope, name, above=0) for name in ("factor", "low_freq_factor", "high_freq_factor")}
    theta = number(rope, "rope_theta", number(config, "rope_theta", 1e4, 0), 0)
    original = whole(rope, "original_max_position_embeddings")
    return {LLAMA3: llama3_factors(fields, theta, head_dim, original)}
