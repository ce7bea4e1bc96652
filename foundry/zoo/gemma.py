"""What Gemma 2 and 3 share: norms around each part, whose weights are counted from 1, and a scaled embedding."""

from __future__ import annotations

import math
from typing import Any

from foundry.zoo.family import Config
from foundry.zoo.fields import number, whole, written
from foundry.zoo.gated import PARTS, heads, is_tied
from foundry.zoo.rotary import Rotary

NORMED = PARTS | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "glu_norm",
    "post_feedforward_layernorm": "post_glu_norm",
}


def norm(config: Config) -> str:
    """The definition of the norm. Raises ZooError."""
    return (
        "# The weight is stored as its difference from 1.\n"
        f"norm(x, eps = {written(number(config, 'rms_norm_eps', 1e-6, above=0))}) = {{\n"
        "  weight = param(0, per = channel);\n  (1 + weight) * x * rsqrt(mean(x * x) + eps)\n};\n\n"
    )


def score(config: Config, pos: Rotary, cap: float | None) -> str:
    """What attention's logits go through: the scale, where it is not that of a head's channels, and a soft cap."""
    head_dim = heads(config)[2]
    factor = pos.scale * math.sqrt(head_dim / number(config, "query_pre_attn_scalar", 256, above=0))
    inside = "s" if factor == 1 else f"{written(factor)} * s"
    if cap is not None:
        return f", score = fn(s) => {capped(inside, cap)}"
    return "" if factor == 1 else f", score = fn(s) => {inside}"


def capped(inside: str, cap: float) -> str:
    return f"{written(cap)} * tanh({inside} / {written(cap)})"


def cap_of(config: Config, name: str, default: float | None) -> float | None:
    """A soft cap; null says that there is none. Raises ZooError."""
    value: Any = config.get(name, default)
    return None if value is None else number({name: value}, name, above=0)


def model(config: Config, stack: str, cap: float | None) -> str:
    """The last definition of a genome. Raises ZooError."""
    width = whole(config, "hidden_size")
    logits = f" >> (fn(z) => {capped('z', cap)})" if cap is not None else ""
    tied = "(tied = 1)" if is_tied(config, True) else ""
    return (
        f"model(tokens) = {{\n  x = sqrt({width}) * embed(tokens, vocab = {whole(config, 'vocab_size')}, "
        f"width = {width});\n  x >> {stack} >> norm >> unembed{tied}{logits}\n}};\n"
    )
