"""Mixtral: the blocks of Mistral with experts in place of the MLP. Jiang et al. 2024, arXiv:2401.04088."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import whole
from foundry.zoo.gated import HEAD, PARTS, arguments, heads, is_tied, model, norm, prefixes, renamed, skipped
from foundry.zoo.mixtures import moe, routed
from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary

DEFAULTS = {"num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2, "rms_norm_eps": 1e-5}
OURS = {name: part for name, part in PARTS.items() if not name.startswith("mlp.")}
OURS |= {"post_attention_layernorm": "moe_norm"}
EXPERT = {"w1": "gate", "w3": "up", "w2": "down"}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    pos, window = rotary(config, head_dim=heads(config)[2]), whole(config, "sliding_window", None)
    count, active = whole(config, "num_local_experts"), whole(config, "num_experts_per_tok")
    act = activation(config, "hidden_act", "silu")
    return (
        f"{HEAD}{norm(config)}{pos.definitions}{moe(count, active, whole(config, 'intermediate_size'), act, True)}"
        f"block(x) = {{\n  x = x + attention(norm(x), {arguments(config, pos, window=window)});\n"
        f"  x + moe(norm(x))\n}};\n\n{model(config, prefixes(config)[0], is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    found = renamed(config, OURS, (), is_tied(config))
    for n, ours in enumerate(prefixes(config)[1]):
        found += routed(f"model.layers.{n}.block_sparse_moe", ours, whole(config, "num_local_experts"), EXPERT)
    return found


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """None: such a model is recognised by the configuration that it came with."""
    return iter(())


FAMILY = Family(
    "Mixtral", ("mixtral",), "MixtralForCausalLM", "Mixtral 8x7B and 8x22B", genome, moves, guesses, skipped
)
