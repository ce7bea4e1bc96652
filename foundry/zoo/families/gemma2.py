"""Gemma 2: a window in every other layer, soft caps on attention and logits. Gemma Team 2024, arXiv:2408.00118."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from foundry.zoo import gemma
from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import truth, whole
from foundry.zoo.gated import ATTENTION, HEAD, arguments, heads, is_tied, renamed, skipped
from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary
from foundry.zoo.windows import Windows, layer_types, windows

DEFAULTS = {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096, "tie_word_embeddings": True}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    pos, seen = rotary(config, head_dim=heads(config)[2]), _windows(config)
    said = arguments(config, replace(pos, scale=1.0), bias=truth(config, "attention_bias", False))
    score = gemma.score(config, pos, gemma.cap_of(config, "attn_logit_softcapping", 50.0))
    return (
        f"{HEAD}{gemma.norm(config)}{pos.definitions}block(x{seen.parameter}) = {{\n"
        f"  x = x + norm(attention(norm(x), {said}{score}{seen.argument}));\n"
        f"  x + norm(glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_activation', 'gelu_pytorch_tanh')}))\n}};\n\n"
        f"{seen.blocks}{gemma.model(config, seen.stack, gemma.cap_of(config, 'final_logit_softcapping', 30.0))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    biased = ATTENTION if truth(config, "attention_bias", False) else ()
    return renamed(config, gemma.NORMED, biased, is_tied(config), _windows(config).places)


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """None: such a model is recognised by the configuration that it came with."""
    return iter(())


def _windows(config: Config) -> Windows:
    return windows(config, layer_types(config, lambda n: n % 2 == 0))


def _skipped(config: Config) -> dict[str, str]:
    return skipped({**DEFAULTS, **config})


FAMILY = Family("Gemma 2", ("gemma2",), "Gemma2ForCausalLM", "Gemma 2 2B to 27B", genome, moves, guesses, _skipped)
