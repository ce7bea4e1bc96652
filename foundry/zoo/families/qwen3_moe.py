"""Qwen 3 with experts: the blocks of Qwen 3, many small experts in place of the MLP. Qwen Team 2025,
arXiv:2505.09388."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import truth, whole
from foundry.zoo.gated import ATTENTION, HEAD, MLP, PARTS, arguments, heads, is_tied, model, norm, renamed, skipped
from foundry.zoo.layers import arranged
from foundry.zoo.mixtures import moe, routed
from foundry.zoo.moves import Move, same
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary

DEFAULTS = {
    "num_key_value_heads": 4, "num_experts_per_tok": 8, "moe_intermediate_size": 768,
    "intermediate_size": 6144,
}  # fmt: skip
NORMS = {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}
OURS = {name: part for name, part in PARTS.items() if name not in (*MLP, "post_attention_layernorm")} | NORMS
EXPERT = {"gate_proj": "gate", "up_proj": "up", "down_proj": "down"}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    if truth(config, "use_sliding_window", False) and config.get("sliding_window") is not None:
        raise ZooError("config.json: use_sliding_window is true; no known model of this family has a window")
    pos, kinds = rotary(config, head_dim=heads(config)[2]), _kinds(config)
    said = arguments(config, pos, bias=truth(config, "attention_bias", False))
    act = activation(config, "hidden_act", "silu")
    count, active = _count(config), whole(config, "num_experts_per_tok")
    mixture = moe(count, active, whole(config, "moe_intermediate_size"), act, truth(config, "norm_topk_prob", False))
    channels = {
        "sparse_block": "moe(norm(x))",
        "dense_block": f"glu(norm(x), hidden = {whole(config, 'intermediate_size')}, act = {act})",
    }
    blocks = "".join(
        f"{kind}(x) = {{\n  x = x + attention(norm(x), {said}, norm = norm);\n  x + {channels[kind]}\n}};\n\n"
        for kind in dict.fromkeys(kinds)
    )
    mixture = mixture if "sparse_block" in kinds else ""
    stack = arranged(kinds)[0]
    return f"{HEAD}{norm(config)}{pos.definitions}{mixture}{blocks}{model(config, stack, is_tied(config))}"


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    kinds, count = _kinds(config), _count(config)
    places = arranged(kinds)[1]
    biased = ATTENTION if truth(config, "attention_bias", False) else ()
    found = renamed(config, OURS, biased, is_tied(config), places)
    for n, (kind, ours) in enumerate(zip(kinds, places, strict=True)):
        layer, sparse = f"model.layers.{n}", kind == "sparse_block"
        second = "moe_norm" if sparse else "glu_norm"
        found.append(same(f"{layer}.post_attention_layernorm.weight", f"{ours}.{second}.weight"))
        if sparse:
            found += routed(f"{layer}.mlp", ours, count, EXPERT)
        else:
            found += [same(f"{layer}.{name}.weight", f"{ours}.{PARTS[name]}.weight") for name in MLP]
    return found


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """None: such a model is recognised by the configuration that it came with."""
    return iter(())


def _count(config: Config) -> int:
    """How many experts there are, by either of the names that files have for it."""
    return whole(config, "num_experts", None) or whole(config, "num_local_experts", 128)


def _kinds(config: Config) -> list[str]:
    """Which layers have experts."""
    dense = config.get("mlp_only_layers") or []
    if not isinstance(dense, list):
        raise ZooError("config.json: mlp_only_layers is no list; it must have numbers of layers")
    step = whole(config, "decoder_sparse_step", 1)
    layers = range(whole(config, "num_hidden_layers"))
    return ["sparse_block" if n not in dense and (n + 1) % step == 0 else "dense_block" for n in layers]


FAMILY = Family(
    "Qwen 3 MoE", ("qwen3_moe",), "Qwen3MoeForCausalLM", "Qwen 3 30B-A3B and 235B-A22B", genome, moves, guesses, skipped
)
