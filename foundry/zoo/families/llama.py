"""Llama 1 to 3.x, and what is built like it, SmolLM among others. Touvron et al. 2023, arXiv:2302.13971; Grattafiori et
al. 2024, arXiv:2407.21783."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import truth, whole
from foundry.zoo.gated import (
    ATTENTION,
    HEAD,
    MLP,
    PARTS,
    arguments,
    constants,
    heads,
    is_tied,
    model,
    norm,
    prefixes,
    renamed,
    sizes,
    skipped,
)
from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    pos = rotary(config, head_dim=heads(config)[2])
    bias = ", bias = 1" if truth(config, "mlp_bias", False) else ""
    return (
        f"{HEAD}{norm(config)}{pos.definitions}block(x) = {{\n"
        f"  x = x + attention(norm(x), {arguments(config, pos, bias=truth(config, 'attention_bias', False))});\n"
        f"  x + glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')}{bias})\n}};\n\n"
        f"{model(config, prefixes(config)[0], is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    attention = ATTENTION if truth(config, "attention_bias", False) else ()
    mlp = MLP if truth(config, "mlp_bias", False) else ()
    return renamed(config, PARTS, (*attention, *mlp), is_tied(config))


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or outline.attentions[0].mask:
        return
    biases = {"attention_bias": outline.linears[0][2], "mlp_bias": outline.linears[4][2]}
    for more in constants(outline):
        yield {"model_type": "llama", **known, **biases, **more}


FAMILY = Family(
    "Llama", ("llama",), "LlamaForCausalLM", "Llama 1 to 3.x, SmolLM 1 and 2, and others of the same build",
    genome, moves, guesses, skipped,
)  # fmt: skip
