"""Qwen 2 and 2.5: the blocks of Llama with biases on queries, keys and values. Qwen Team 2024, arXiv:2412.15115."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import whole
from foundry.zoo.gated import (
    ATTENTION,
    HEAD,
    PARTS,
    arguments,
    constants,
    heads,
    is_tied,
    model,
    norm,
    renamed,
    sizes,
    skipped,
)
from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary
from foundry.zoo.windows import told, windows

DEFAULTS = {"num_key_value_heads": 32, "sliding_window": 4096}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    pos, seen = rotary(config, head_dim=heads(config)[2]), windows(config, told(config))
    return (
        f"{HEAD}{norm(config)}{pos.definitions}block(x{seen.parameter}) = {{\n"
        f"  x = x + attention(norm(x), {arguments(config, pos)}, bias = 1, out_bias = 0{seen.argument});\n"
        f"  x + glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')})\n}};\n\n"
        f"{seen.blocks}{model(config, seen.stack, is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    return renamed(config, PARTS, ATTENTION[:3], is_tied(config), windows(config, told(config)).places)


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or not outline.linears[0][2] or outline.linears[3][2]:
        return
    window = next((int(n) for n in outline.attentions[0].mask if n >= 1), None)
    seen = {"use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": 0}
    for more in constants(outline):
        yield {"model_type": "qwen2", **known, **seen, **more}


FAMILY = Family(
    "Qwen 2", ("qwen2",), "Qwen2ForCausalLM", "Qwen 1.5, 2 and 2.5, QwQ, and the distilled DeepSeek R1 on them",
    genome, moves, guesses, skipped,
)  # fmt: skip
