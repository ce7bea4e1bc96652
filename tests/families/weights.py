"""The weights of a transformers model under the names of the emitted one: every tensor has its place."""

import re

OUTSIDE = {
    "model.embed_tokens": "embed", "model.norm": "norm", "lm_head": "unembed", "transformer.wte": "embed",
    "transformer.wpe": "positions", "transformer.ln_f": "layernorm", "model.final_layernorm": "layernorm",
}  # fmt: skip
LLAMA = {
    "input_layernorm": "attention_norm", "self_attn.q_proj": "attention.q", "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v", "self_attn.o_proj": "attention.out", "self_attn.q_norm": "attention.q_norm",
    "self_attn.k_norm": "attention.k_norm", "post_attention_layernorm": "glu_norm", "mlp.gate_proj": "glu.gate",
    "mlp.up_proj": "glu.up", "mlp.down_proj": "glu.down",
}  # fmt: skip
GEMMA = LLAMA | {
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "glu_norm",
    "post_feedforward_layernorm": "post_glu_norm",
}  # fmt: skip
MOE = LLAMA | {
    "post_attention_layernorm": "moe_norm", "mlp.gate": "moe.router", "mlp.router": "moe.router",
    "mlp.gate.e_score_correction_bias": "moe.choose.bias", "mlp.shared_experts.gate_proj": "moe.shared.gate",
    "mlp.shared_experts.up_proj": "moe.shared.up", "mlp.shared_experts.down_proj": "moe.shared.down",
}  # fmt: skip
LATENT = {
    "self_attn.q_a_proj": "attention.q_down", "self_attn.q_a_layernorm": "attention.q_latent",
    "self_attn.q_b_proj": "attention.q", "self_attn.kv_a_layernorm": "attention.kv_latent",
    "self_attn.kv_b_proj": "attention.kv",
}  # fmt: skip
INSIDE = {
    "gpt2_124m": {"ln_1": "attention_norm", "ln_2": "mlp_norm"},
    "phi2": LLAMA | {"input_layernorm": "norm", "self_attn.dense": "attention.out", "mlp.fc1": "mlp.up",
                     "mlp.fc2": "mlp.down"},
    "gemma2_2b": GEMMA, "gemma3_1b": GEMMA, "olmo2_1b": GEMMA, "mixtral_8x7b": MOE, "qwen3_30b_a3b": MOE,
    "gpt_oss_20b": MOE, "deepseek_v2_lite": MOE | LATENT, "deepseek_v3": MOE | LATENT,
}  # fmt: skip
DENSE = LLAMA | LATENT  # the first layers of DeepSeek


def place(name, n, config):
    """Where the emitted model of a family keeps its layer n."""
    if name in ("gemma2_2b", "gpt_oss_20b"):
        return f"groups.{n // 2}.{'full' if n % 2 else 'local'}_block"
    if name == "gemma3_1b" and n < 6:
        return f"groups.{n // 3}." + ("full_block" if n % 3 == 2 else f"local_blocks.{n % 3}")
    if name == "gemma3_1b":
        return f"local_blocks.{n - 6}"
    if name.startswith("deepseek"):
        dense = config.first_k_dense_replace
        one = "dense_block" if dense == 1 else f"dense_blocks.{n}"
        return one if n < dense else f"sparse_blocks.{n - dense}"
    return f"blocks.{n}"


def cut(tensor, names, pieces):
    return dict(zip(names, pieces(tensor), strict=True))


def each(stack, names, pieces):
    """A stack of experts as tensors of each."""
    return {
        f"moe.experts.{e}.{n}": part for e, tensor in enumerate(stack) for n, part in cut(tensor, names, pieces).items()
    }


def interleaved(tensor):
    return tensor[::2], tensor[1::2]


def reshaped(name, key, tensor, config):
    """What a tensor of a layer is in ours where it is not the same tensor under another name; else None."""
    part = key.rsplit(".", 1)[-1]
    halves = interleaved if name == "gpt_oss_20b" else lambda t: t.chunk(2)
    match key.removesuffix(f".{part}") if part in ("weight", "bias") else key:
        case "attn.c_attn":  # GPT-2's matrices are transposed
            return cut(tensor.t(), [f"attention.{p}.{part}" for p in "qkv"], lambda t: t.chunk(3))
        case "attn.c_proj":
            return {f"attention.out.{part}": tensor.t()}
        case "mlp.c_fc":
            return {f"mlp.up.{part}": tensor.t()}
        case "mlp.c_proj":
            return {f"mlp.down.{part}": tensor.t()}
        case "self_attn.qkv_proj":
            return cut(tensor, [f"attention.{p}.{part}" for p in "qkv"], lambda t: t.chunk(3))
        case "mlp.gate_up_proj":
            return cut(tensor, [f"glu.{p}.{part}" for p in ("gate", "up")], lambda t: t.chunk(2))
        case "self_attn.kv_a_proj_with_mqa":
            sizes = (config.kv_lora_rank, config.qk_rope_head_dim)
            return cut(tensor, [f"attention.{p}.{part}" for p in ("kv_down", "k_rope")], lambda t: t.split(sizes))
        case "self_attn.sinks":
            return {"attention.sink": tensor[:, None, None]}
        case "mlp.experts.gate_up_proj":
            stack = tensor.mT if name == "gpt_oss_20b" else tensor
            return each(stack, ("gate.weight", "up.weight"), halves)
        case "mlp.experts.gate_up_proj_bias":
            return each(tensor, ("gate.bias", "up.bias"), halves)
        case "mlp.experts.down_proj":
            return each(tensor.mT if name == "gpt_oss_20b" else tensor, ("down.weight",), lambda t: (t,))
        case "mlp.experts.down_proj_bias":
            return each(tensor, ("down.bias",), lambda t: (t,))
    return None


def renamed(table, key):
    module, part = key.rsplit(".", 1)
    return table.get(key) or f"{table[module]}.{part}"


def translate(name, theirs, config):
    """The peer's state dictionary as the emitted model's.

    Raises:
        KeyError: a tensor of the peer has no place.
    """
    ours = {}
    for key, tensor in theirs.items():
        inside = re.fullmatch(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.*)", key)
        if inside:
            layer, rest = place(name, int(inside[1]), config), inside[2]
            table = DENSE if layer.startswith("dense") else INSIDE.get(name, LLAMA)
            found = reshaped(name, rest, tensor, config) or {renamed(table, rest): tensor}
            found = {f"{layer}.{k}": value for k, value in found.items()}
        elif key == "lm_head.weight" and config.tie_word_embeddings:
            assert tensor.data_ptr() == ours["embed.weight"].data_ptr()
            found = {}
        else:
            found = {renamed(OUTSIDE, key): tensor}
        assert not found.keys() & ours.keys()
        ours |= found
    return ours
