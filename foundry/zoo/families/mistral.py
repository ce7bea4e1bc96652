"""Mistral: the blocks of Llama with grouped queries, with a window or without. Jiang et al. 2023, arXiv:2310.06825."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import whole
from foundry.zoo.gated import (
    HEAD,
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

WINDOW = 4096  # of a configuration that does not say; null says that there is none


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    window = whole({"sliding_window": config.get("sliding_window", WINDOW)}, "sliding_window", None)
    config = {"num_key_value_heads": 8, **config}
    pos = rotary(config, head_dim=heads(config)[2])
    return (
        f"{HEAD}{norm(config)}{pos.definitions}block(x) = {{\n"
        f"  x = x + attention(norm(x), {arguments(config, pos, window=window)});\n"
        f"  x + glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')})\n}};\n\n"
        f"{model(config, prefixes(config)[0], is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    return renamed(config, PARTS, (), is_tied(config))


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or outline.linears[0][2]:
        return
    windows: list[int | None] = [int(n) for n in outline.attentions[0].mask if n >= 1]
    for more in constants(outline):
        for window in windows or [None]:
            yield {"model_type": "mistral", **known, "sliding_window": window, **more}


FAMILY = Family(
    "Mistral", ("mistral",), "MistralForCausalLM", "Mistral 7B v0.1 to v0.3, Nemo, Small (text)",
    genome, moves, guesses, skipped,
)  # fmt: skip
