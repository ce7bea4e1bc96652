"""Phi 3, 3.5 and 4: the blocks of Llama with a window, on fewer channels in later ones. Abdin et al. 2024,
arXiv:2404.14219. Queries, keys and values are one matrix in files, as are both halves of the MLP."""

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
from foundry.zoo.moves import Move, split
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import rotary

WHOLE = ("input_layernorm", "self_attn.o_proj", "post_attention_layernorm", "mlp.down_proj")
EPS = 1e-5  # of a configuration that does not say


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    pos = rotary(config, head_dim=heads(config)[2])
    window = whole(config, "sliding_window", None)
    return (
        f"{HEAD}{norm(config, EPS)}{pos.definitions}block(x) = {{\n"
        f"  x = x + attention(norm(x), {arguments(config, pos, window=window)});\n"
        f"  x + glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_act', 'silu')})\n}};\n\n"
        f"{model(config, prefixes(config)[0], is_tied(config))}"
    )


def moves(config: Config) -> list[Move]:
    """Two matrices of each layer are cut apart."""
    count, kv_heads, head_dim = heads(config)
    thirds = split([count * head_dim, kv_heads * head_dim, kv_heads * head_dim])
    halves = split(2 * [whole(config, "intermediate_size")])
    found = renamed(config, {name: PARTS[name] for name in WHOLE}, (), is_tied(config))
    for n, ours in enumerate(prefixes(config)[1]):
        theirs = f"model.layers.{n}"
        qkv = tuple(f"{ours}.attention.{part}.weight" for part in "qkv")
        found.append(Move((f"{theirs}.self_attn.qkv_proj.weight",), qkv, thirds))
        both = (f"{ours}.glu.gate.weight", f"{ours}.glu.up.weight")
        found.append(Move((f"{theirs}.mlp.gate_up_proj.weight",), both, halves))
    return found


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    known = sizes(outline)
    if known is None or outline.linears[0][2]:
        return
    del known["head_dim"]
    if known["hidden_size"] != outline.attentions[0].head_dim * known["num_attention_heads"]:
        return
    window = next((int(n) for n in outline.attentions[0].mask if n >= 1), None)
    for more in constants(outline):
        yield {"model_type": "phi3", **known, "sliding_window": window, **more}


FAMILY = Family(
    "Phi 3", ("phi3",), "Phi3ForCausalLM", "Phi 3, 3.5 and 4, mini to medium; LongRoPE up to its original length",
    genome, moves, guesses, skipped,
)  # fmt: skip
