"""Qwen, Phi, Gemma and the mixtures come in, say what transformers says, and go back unchanged."""

import pytest
import transformers
from parity import parity

from foundry.zoo.failure import ZooError
from foundry.zoo.known import named

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 4, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
LOCAL, FULL = "sliding_attention", "full_attention"
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LONG = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.0, 2.0, 4.0],
}  # fmt: skip
GEMMA = {"head_dim": 12, "sliding_window": 6, "num_key_value_heads": 2}
BASES = {LOCAL: {"rope_type": "default", "rope_theta": 1e4}, FULL: {"rope_type": "default", "rope_theta": 1e6}}
MIXED = {"num_local_experts": 6, "num_experts_per_tok": 2}
SMALL_EXPERTS = {"num_experts": 12, "num_experts_per_tok": 3, "moe_intermediate_size": 18, "head_dim": 12}
CASES = {
    "qwen2": ("qwen2", {"num_key_value_heads": 2}),
    "qwen2-tied-all-windows": (
        "qwen2",
        {"tie_word_embeddings": True, "use_sliding_window": True, "sliding_window": 6, "max_window_layers": 0},
    ),
    "qwen2-windows-above": (
        "qwen2",
        {"num_hidden_layers": 5, "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2,
         "num_key_value_heads": 1, "rope_parameters": YARN},
    ),
    "qwen3": ("qwen3", {"head_dim": 12, "num_key_value_heads": 2, "tie_word_embeddings": True}),
    "qwen3-bias": ("qwen3", {"head_dim": 8, "attention_bias": True, "rms_norm_eps": 1e-3, "num_hidden_layers": 1}),
    "qwen3-windows-yarn": (
        "qwen3",
        {"head_dim": 12, "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1,
         "rope_parameters": YARN},
    ),
    "phi": ("phi", {"hidden_size": 48}),
    "phi-2": (
        "phi", {"hidden_size": 80, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4,
                                                      "partial_rotary_factor": 0.4}},
    ),
    "phi-odd": (
        "phi", {"num_hidden_layers": 1, "qk_layernorm": True, "num_key_value_heads": 2, "hidden_act": "relu",
                "layer_norm_eps": 1e-3},
    ),
    "phi3": ("phi3", {"sliding_window": 6}),
    "phi3-grouped": ("phi3", {"num_key_value_heads": 2, "sliding_window": None, "num_hidden_layers": 1}),
    "phi4-mini": (
        "phi3",
        {"tie_word_embeddings": True, "num_key_value_heads": 2,
         "rope_parameters": LONG | {"partial_rotary_factor": 0.75},
         "original_max_position_embeddings": 64, "max_position_embeddings": 256},
    ),
    "gemma2": (
        "gemma2", GEMMA | {"num_hidden_layers": 4, "query_pre_attn_scalar": 12, "layer_types": 2 * [LOCAL, FULL]},
    ),
    "gemma2-scale-no-caps": (
        "gemma2",
        GEMMA | {"num_hidden_layers": 3, "query_pre_attn_scalar": 20, "attn_logit_softcapping": None,
                 "final_logit_softcapping": None, "layer_types": [LOCAL, FULL, LOCAL], "attention_bias": True},
    ),
    "gemma2-untied": (
        "gemma2",
        GEMMA | {"num_hidden_layers": 2, "query_pre_attn_scalar": 7, "attn_logit_softcapping": 5.0,
                 "layer_types": [LOCAL, LOCAL], "tie_word_embeddings": False, "hidden_activation": "gelu"},
    ),
    "gemma3": (
        "gemma3_text",
        GEMMA | {"num_hidden_layers": 8, "query_pre_attn_scalar": 12, "rope_parameters": BASES,
                 "layer_types": 2 * [LOCAL, LOCAL, FULL] + 2 * [LOCAL]},
    ),
    "gemma3-linear": (
        "gemma3_text",
        GEMMA | {"num_hidden_layers": 3, "query_pre_attn_scalar": 9, "layer_types": [LOCAL, FULL, LOCAL],
                 "rope_parameters": BASES | {FULL: {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0}}},
    ),
    "gemma3-full-caps": (
        "gemma3_text",
        GEMMA | {"num_hidden_layers": 2, "query_pre_attn_scalar": 12, "layer_types": [FULL, FULL],
                 "rope_parameters": BASES, "final_logit_softcapping": 30.0, "attention_bias": True},
    ),
    "mixtral": ("mixtral", MIXED | {"num_key_value_heads": 2}),
    "mixtral-window": ("mixtral", MIXED | {"sliding_window": 5, "tie_word_embeddings": True, "num_hidden_layers": 1}),
    "mixtral-three": (
        "mixtral",
        {"head_dim": 8, "num_local_experts": 5, "num_experts_per_tok": 3, "rope_parameters": YARN,
         "rms_norm_eps": 1e-3},
    ),
    "qwen3-moe": ("qwen3_moe", SMALL_EXPERTS | {"norm_topk_prob": True, "num_key_value_heads": 2}),
    "qwen3-moe-dense-first": (
        "qwen3_moe", SMALL_EXPERTS | {"mlp_only_layers": [0], "attention_bias": True, "tie_word_embeddings": True},
    ),
    "qwen3-moe-every-other": ("qwen3_moe", SMALL_EXPERTS | {"decoder_sparse_step": 2, "num_hidden_layers": 4}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parity(name, tmp_path):
    kind, fields = CASES[name]
    parity(named(kind), transformers.AutoConfig.for_model(kind, **SIZES | fields), tmp_path)


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("qwen2", {"layer_types": ["x"], "use_sliding_window": True}, "layer_types must have one word"),
        ("qwen3", {"layer_types": 3 * ["x"], "use_sliding_window": True}, "layer_types has 'x'"),
        ("phi", {"qk_layernorm": 1}, "qk_layernorm is 1"),
        ("phi3", {"rope_parameters": LONG | {"short_factor": 3}}, "short_factor is no list"),
        ("gemma2", {"attn_logit_softcapping": -1}, "attn_logit_softcapping is -1"),
        ("gemma3_text", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
        ("mixtral", {"num_local_experts": 2, "num_experts_per_tok": 3}, "num_experts_per_tok is 3"),
        ("qwen3_moe", {"mlp_only_layers": 3}, "mlp_only_layers is no list"),
    ],
)
def test_refused(kind, fields, said):
    with pytest.raises(ZooError, match=said) as error:
        named(kind).genome(SIZES | {"max_position_embeddings": 64} | fields)
    assert "\n" not in str(error.value)
