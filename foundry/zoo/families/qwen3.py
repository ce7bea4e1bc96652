"""Qwen 3: the blocks of Llama with a norm on each head's query and key. Qwen Team 2025, arXiv:2505.09388."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import truth, whole
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

DEFAULTS = {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096}
NORMS = {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    pos, seen = rotary(config, head_dim=heads(config)[2]), windows(config, told(config))
    said = arguments(config, pos, bias=truth(config, "attention_bias", False))
    return (
        f"{HEAD}{norm(config)}{pos.definitions}block(x{seen.parameter}) = {{\n"
        f"  x = x + attention(norm(x), {said}, norm = norm{seen.argument});\n"
        f"  x + glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')})\n}};\n\n"
        f"{seen.blocks}{model(config, seen.stack, is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    biased = ATTENTION if truth(config, "attention_bias", False) else ()
    return renamed(config, PARTS | NORMS, biased, is_tied(config), windows(config, told(config)).places)


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or outline.linears[0][2] != outline.linears[3][2]:
        return
    window = next((int(n) for n in outline.attentions[0].mask if n >= 1), None)
    seen = {"use_sliding_window": window is not None, "sliding_window": window, "max_window_layers": 0}
    for more in constants(outline):
        yield {"model_type": "qwen3", **known, **seen, "attention_bias": outline.linears[0][2], **more}


FAMILY = Family("Qwen 3", ("qwen3",), "Qwen3ForCausalLM", "Qwen 3 0.6B to 32B", genome, moves, guesses, skipped)
