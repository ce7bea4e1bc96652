"""The published configurations of the families: every field of their `config.json` that shapes the model.

Context lengths shape a model only where positions are learned; with stretched ones the peer wants to know them.
"""

import transformers

PLAIN = {"rope_type": "default"}


def rope(theta, **scaling):
    return (scaling or PLAIN) | {"rope_theta": theta}


PUBLISHED = {
    "gpt2_124m": {
        "model_type": "gpt2", "vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12,
        "n_inner": 3072, "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    },
    "llama2_7b": {
        "model_type": "llama", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_parameters": rope(1e4), "attention_bias": False, "mlp_bias": False,
        "tie_word_embeddings": False,
    },
    "llama3_2_1b": {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
        "hidden_act": "silu", "rms_norm_eps": 1e-5, "attention_bias": False, "mlp_bias": False,
        "rope_parameters": rope(
            5e5, rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=8192,
        ),
        "max_position_embeddings": 131072, "tie_word_embeddings": True,
    },
    "mistral_7b_v01": {
        "model_type": "mistral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_parameters": rope(1e4), "sliding_window": 4096, "tie_word_embeddings": False,
    },
    "mixtral_8x7b": {
        "model_type": "mixtral", "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 14336,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_parameters": rope(1e6), "sliding_window": None, "num_local_experts": 8,
        "num_experts_per_tok": 2, "tie_word_embeddings": False,
    },
    "qwen2_5_0_5b": {
        "model_type": "qwen2", "vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864,
        "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_parameters": rope(1e6), "use_sliding_window": False, "tie_word_embeddings": True,
    },
    "qwen3_0_6b": {
        "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 1024, "intermediate_size": 3072,
        "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_parameters": rope(1e6), "attention_bias": False,
        "use_sliding_window": False, "tie_word_embeddings": True,
    },
    "qwen3_30b_a3b": {
        "model_type": "qwen3_moe", "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 6144,
        "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128,
        "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_parameters": rope(1e6), "attention_bias": False,
        "use_sliding_window": False, "decoder_sparse_step": 1, "mlp_only_layers": [], "moe_intermediate_size": 768,
        "num_experts": 128, "num_experts_per_tok": 8, "norm_topk_prob": True, "tie_word_embeddings": False,
    },
    "phi2": {
        "model_type": "phi", "vocab_size": 51200, "hidden_size": 2560, "intermediate_size": 10240,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "gelu_new",
        "layer_norm_eps": 1e-5, "rope_parameters": rope(1e4, rope_type="default", partial_rotary_factor=0.4),
        "qk_layernorm": False, "tie_word_embeddings": False,
    },
    "phi3_mini": {
        "model_type": "phi3", "vocab_size": 32064, "hidden_size": 3072, "intermediate_size": 8192,
        "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32, "hidden_act": "silu",
        "rms_norm_eps": 1e-5, "rope_parameters": rope(1e4), "sliding_window": 2047, "tie_word_embeddings": False,
    },
    "gemma2_2b": {
        "model_type": "gemma2", "vocab_size": 256000, "hidden_size": 2304, "intermediate_size": 9216,
        "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "rope_parameters": rope(1e4),
        "attention_bias": False, "query_pre_attn_scalar": 256, "sliding_window": 4096,
        "layer_types": 13 * ["sliding_attention", "full_attention"], "attn_logit_softcapping": 50.0,
        "final_logit_softcapping": 30.0, "tie_word_embeddings": True,
    },
    "gemma3_1b": {
        "model_type": "gemma3_text", "vocab_size": 262144, "hidden_size": 1152, "intermediate_size": 6912,
        "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
        "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6, "attention_bias": False,
        "rope_parameters": {"sliding_attention": rope(1e4), "full_attention": rope(1e6)},
        "query_pre_attn_scalar": 256, "sliding_window": 512,
        "layer_types": 4 * [*5 * ["sliding_attention"], "full_attention"] + 2 * ["sliding_attention"],
        "attn_logit_softcapping": None, "final_logit_softcapping": None, "tie_word_embeddings": True,
    },
    "deepseek_v2_lite": {
        "model_type": "deepseek_v2", "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 10944,
        "num_hidden_layers": 27, "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "attention_bias": False, "mlp_bias": False, "q_lora_rank": None, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "moe_intermediate_size": 1408,
        "first_k_dense_replace": 1, "n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": 6,
        "n_group": 1, "topk_group": 1, "topk_method": "greedy", "norm_topk_prob": False, "routed_scaling_factor": 1.0,
        "rope_parameters": rope(
            1e4, rope_type="yarn", factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=0.707, mscale_all_dim=0.707,
            original_max_position_embeddings=4096,
        ),
        "max_position_embeddings": 163840, "tie_word_embeddings": False,
    },
    "deepseek_v3": {
        "model_type": "deepseek_v3", "vocab_size": 129280, "hidden_size": 7168, "intermediate_size": 18432,
        "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "attention_bias": False, "q_lora_rank": 1536, "kv_lora_rank": 512,
        "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128, "rope_interleave": True,
        "moe_intermediate_size": 2048, "first_k_dense_replace": 3, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "n_group": 8, "topk_group": 4, "norm_topk_prob": True, "routed_scaling_factor": 2.5,
        "rope_parameters": rope(
            1e4, rope_type="yarn", factor=40.0, beta_fast=32.0, beta_slow=1.0, mscale=1.0, mscale_all_dim=1.0,
            original_max_position_embeddings=4096,
        ),
        "max_position_embeddings": 163840, "tie_word_embeddings": False,
    },
    "gpt_oss_20b": {
        "model_type": "gpt_oss", "vocab_size": 201088, "hidden_size": 2880, "intermediate_size": 2880,
        "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64,
        "rms_norm_eps": 1e-5, "attention_bias": True, "num_local_experts": 32, "num_experts_per_tok": 4,
        "swiglu_alpha": 1.702, "swiglu_limit": 7.0, "sliding_window": 128,
        "layer_types": 12 * ["sliding_attention", "full_attention"],
        "rope_parameters": rope(
            150000.0, rope_type="yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
            original_max_position_embeddings=4096,
        ),
        "max_position_embeddings": 131072, "tie_word_embeddings": False,
    },
    "olmo2_1b": {
        "model_type": "olmo2", "vocab_size": 100352, "hidden_size": 2048, "intermediate_size": 8192,
        "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "hidden_act": "silu",
        "rms_norm_eps": 1e-6, "rope_parameters": rope(5e5), "attention_bias": False, "tie_word_embeddings": False,
    },
}  # fmt: skip


def peer_config(name, **changes):
    """The configuration of a family, with some of its fields changed."""
    values = PUBLISHED[name] | changes
    return transformers.AutoConfig.for_model(values.pop("model_type"), **values)
