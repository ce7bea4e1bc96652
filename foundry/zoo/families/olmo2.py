"""OLMo 2: norms on what each part gives, and on whole queries and keys. OLMo Team 2025, arXiv:2501.00656."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import truth, whole, written
from foundry.zoo.gated import (
    ATTENTION,
    HEAD,
    PARTS,
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

OWN = {
    "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm",
    "post_attention_layernorm": "post_attention_norm",
    "post_feedforward_layernorm": "post_glu_norm",
}
EPS = 1e-5  # of a configuration that does not say


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    count, kv_heads, head_dim = heads(config)
    pos = rotary(config, head_dim=head_dim)
    bias = ", bias = 1" if truth(config, "attention_bias", False) else ""
    score = f", score = fn(s) => {written(pos.scale)} * s" if pos.scale != 1 else ""
    q, kv = count * head_dim, kv_heads * head_dim
    return (
        f"{HEAD}{norm(config, EPS)}{pos.definitions}pos = {pos.call};\n\nattention(x) = {{\n"
        f"  q = pos(split_heads(norm(linear(x, {q}{bias})), {count}));\n"
        f"  k = pos(split_heads(norm(linear(x, {kv}{bias})), {kv_heads}));\n"
        f"  v = split_heads(linear(x, {kv}{bias}), {kv_heads});\n"
        f"  out = linear(merge_heads(attend(q, k, v{score})), width(x){bias});\n  out\n}};\n\n"
        f"block(x) = {{\n  x = x + norm(attention(x));\n"
        f"  x + norm(glu(x, hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')}))\n}};\n\n"
        f"{model(config, prefixes(config)[0], is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    biased = ATTENTION if truth(config, "attention_bias", False) else ()
    parts = {name: ours for name, ours in PARTS.items() if name != "input_layernorm"} | OWN
    return renamed(config, parts, biased, is_tied(config))


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or outline.attentions[0].mask:
        return
    for more in constants(outline):
        yield {"model_type": "olmo2", **known, "attention_bias": outline.linears[0][2], **more}


FAMILY = Family("OLMo 2", ("olmo2",), "Olmo2ForCausalLM", "OLMo 2 1B to 32B", genome, moves, guesses, skipped)
