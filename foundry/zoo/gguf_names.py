"""Tensors of GGUF files by the names that transformers has for them, and what llama.cpp's converter does to them.

The names and the changes are those of llama.cpp's `convert_hf_to_gguf.py`: Llama's queries and keys have their rows in
another order, since ggml turns neighbours there; Gemma's norms have their 1 added; GPT-2's matrices are transposed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from torch import Tensor

from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config
from foundry.zoo.gated import heads
from foundry.zoo.moves import SAME, TRANSPOSED, Move, Tensors, Way

LAYER = re.compile(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.+)\.(weight|bias)")
TOP = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "transformer.wte": "token_embd",
    "transformer.wpe": "position_embd",
    "transformer.ln_f": "output_norm",
}
LLAMA = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
QWEN3 = LLAMA | {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}
NORMS_BEHIND = QWEN3 | {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}
PARTS = {  # by general.architecture
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": QWEN3,
    "gemma2": NORMS_BEHIND,
    "gemma3": NORMS_BEHIND,
    "olmo2": NORMS_BEHIND,
    "phi3": LLAMA | {"self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up"},
    "gpt2": {
        "ln_1": "attn_norm",
        "attn.c_attn": "attn_qkv",
        "attn.c_proj": "attn_output",
        "ln_2": "ffn_norm",
        "mlp.c_fc": "ffn_up",
        "mlp.c_proj": "ffn_down",
    },
}
# Tensors that a file may hold beside the weights: what they say is part of the configuration.
BESIDE = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def gguf_moves(architecture: str, config: Config, names: Iterable[str]) -> list[Move]:
    """What brings the tensors of a GGUF file (theirs) to those of transformers (ours); `names` are the latter.

    Raises:
        ZooError: a tensor has no place in such a file.
    """
    return [_move(architecture, config, name) for name in names]


def _move(architecture: str, config: Config, name: str) -> Move:
    if found := LAYER.fullmatch(name):
        number, part, kind = found.groups()
        if part in PARTS[architecture]:
            theirs = f"blk.{number}.{PARTS[architecture][part]}.{kind}"
            return Move((theirs,), (name,), _way(architecture, config, part, kind))
    else:
        part, _, kind = name.rpartition(".")
        if part in TOP:
            return Move((f"{TOP[part]}.{kind}",), (name,), _way(architecture, config, part, kind))
    raise ZooError(f"{name}: a GGUF file of the architecture {architecture} has no place for this tensor")


def _way(architecture: str, config: Config, part: str, kind: str) -> Way:
    if architecture == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
        count, kv_heads, _ = heads(config)
        return neighbours(count if part == "self_attn.q_proj" else kv_heads)
    if architecture.startswith("gemma") and "norm" in part:
        return PLUS_ONE
    if architecture == "gpt2" and kind == "weight" and part.startswith(("attn.", "mlp.")):
        return TRANSPOSED
    return SAME


def neighbours(count: int) -> Way:
    """Rows of each of `count` heads: pairs of neighbours there, the first half with the second here."""

    def there(t: Tensors) -> list[Tensor]:
        return [x.unflatten(0, (count, -1, 2)).transpose(1, 2).flatten(0, 2) for x in t]

    def back(t: Tensors) -> list[Tensor]:
        return [x.unflatten(0, (count, 2, -1)).transpose(1, 2).flatten(0, 2) for x in t]

    return Way(there, back)


PLUS_ONE = Way(lambda t: [x - 1 for x in t], lambda t: [x + 1 for x in t])
