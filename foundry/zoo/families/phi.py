"""Phi 1, 1.5 and 2: attention and MLP side by side on one layer norm, rotary positions on a part of each head, biases
everywhere. Li et al. 2023, arXiv:2309.05463."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import number, truth, whole, written
from foundry.zoo.gated import HEAD, arguments, heads, is_tied, prefixes, renamed, skipped
from foundry.zoo.moves import Move, same
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary

PARTS = {
    "input_layernorm": "norm",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.dense": "attention.out",
    "mlp.fc1": "mlp.up",
    "mlp.fc2": "mlp.down",
}
NORMS = {"self_attn.q_layernorm": "attention.q_norm", "self_attn.k_layernorm": "attention.k_norm"}
PARTIAL = 0.5  # of a configuration that does not say


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    pos = rotary(config, head_dim=heads(config)[2], partial=PARTIAL)
    norms = ", norm = layer_norm" if truth(config, "qk_layernorm", False) else ""
    return (
        f"{HEAD}layer_norm = layernorm(eps = {written(number(config, 'layer_norm_eps', 1e-5, above=0))});\n\n"
        f"{pos.definitions}block(x) = {{\n  norm = layer_norm(x);\n"
        f"  x\n    + attention(norm, {arguments(config, pos)}, bias = 1{norms})\n"
        f"    + mlp(norm, hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'gelu_new')}, bias = 1)\n}};\n\n"
        f"model(tokens) = {{\n  x = embed(tokens, vocab = {whole(config, 'vocab_size')}, "
        f"width = {whole(config, 'hidden_size')});\n  norm = layer_norm(x >> {prefixes(config)[0]});\n"
        f"  unembed(norm, {'tied = 1, ' if is_tied(config) else ''}bias = 1)\n}};\n"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    parts = PARTS | (NORMS if truth(config, "qk_layernorm", False) else {})
    found = renamed(config, parts, parts, True)[:-1]
    found += [same(f"model.final_layernorm.{kind}", f"norm.{kind}") for kind in ("weight", "bias")]
    found += [same("lm_head.bias", "unembed.bias")]
    return found if is_tied(config) else [*found, same("lm_head.weight", "unembed.weight")]


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """None: such a model is recognised by the configuration that it came with."""
    return iter(())


FAMILY = Family("Phi", ("phi",), "PhiForCausalLM", "Phi 1, 1.5 and 2", genome, moves, guesses, skipped)
