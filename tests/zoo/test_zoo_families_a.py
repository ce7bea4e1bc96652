"""GPT-2, Llama, Mistral and OLMo 2 come in, say what transformers says, and go back unchanged."""

import pytest
import transformers
from parity import parity

from foundry.zoo.failure import ZooError
from foundry.zoo.families import gpt2, llama, mistral, olmo2

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 4, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
SMALL_GPT2 = {
    "vocab_size": 97, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4, "bos_token_id": None,
    "eos_token_id": None,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
CASES = {
    "gpt2": (gpt2, "gpt2", {}),
    "gpt2-one-layer-untied": (gpt2, "gpt2", {"n_layer": 1, "n_inner": 40, "tie_word_embeddings": False}),
    "gpt2-relu": (gpt2, "gpt2", {"activation_function": "relu", "layer_norm_epsilon": 1e-2, "n_head": 2}),
    "gpt2-gelu": (gpt2, "gpt2", {"activation_function": "gelu", "n_layer": 2}),
    "llama": (llama, "llama", {}),
    "llama-tied-biases": (
        llama, "llama",
        {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "num_key_value_heads": 1},
    ),
    "llama-3.2": (
        llama, "llama",
        {"rope_parameters": LLAMA3, "head_dim": 12, "num_key_value_heads": 2, "tie_word_embeddings": True},
    ),
    "llama-linear": (
        llama, "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}, "num_hidden_layers": 1},
    ),
    "llama-yarn-gelu": (llama, "llama", {"rope_parameters": YARN, "hidden_act": "gelu", "rms_norm_eps": 1e-3}),
    "mistral-window": (mistral, "mistral", {"sliding_window": 6, "num_key_value_heads": 2}),
    "mistral-v0.3": (
        mistral, "mistral", {"sliding_window": None, "head_dim": 10, "rope_parameters": {"rope_theta": 1e6}},
    ),
    "mistral-tied": (
        mistral, "mistral",
        {"sliding_window": 3, "tie_word_embeddings": True, "num_hidden_layers": 1, "rope_parameters": YARN},
    ),
    "olmo2": (olmo2, "olmo2", {"num_hidden_layers": 2}),
    "olmo2-grouped-bias": (olmo2, "olmo2", {"num_key_value_heads": 2, "attention_bias": True, "rms_norm_eps": 1e-2}),
    "olmo2-tied-yarn": (olmo2, "olmo2", {"tie_word_embeddings": True, "rope_parameters": YARN}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parity(name, tmp_path):
    family, kind, fields = CASES[name]
    base = SMALL_GPT2 if kind == "gpt2" else SIZES
    parity(family.FAMILY, transformers.AutoConfig.for_model(kind, **base | fields), tmp_path)


def test_fields_of_older_files():
    """rope_theta and rope_scaling mean what rope_parameters means."""
    old = {**SIZES, "rope_theta": 5e5, "rope_scaling": {k: v for k, v in LLAMA3.items() if k != "rope_theta"}}
    assert llama.genome(old) == llama.genome({**SIZES, "rope_parameters": LLAMA3})


@pytest.mark.parametrize(
    ("family", "fields", "said"),
    [
        (llama, {"num_key_value_heads": 3}, "num_key_value_heads"),
        (llama, {"hidden_size": None}, "hidden_size is missing"),
        (llama, {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        (llama, {"hidden_act": "quick"}, "hidden_act is 'quick'; known here: silu"),
        (llama, {"hidden_size": 33}, "hidden_size is 33"),
        (mistral, {"sliding_window": "x"}, "sliding_window is 'x'"),
        (olmo2, {"attention_bias": 3}, "attention_bias is 3"),
        (gpt2, {"n_head": 5}, "n_head, 5"),
        (gpt2, {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx"),
    ],
)
def test_refused(family, fields, said):
    base = SMALL_GPT2 if family is gpt2 else SIZES
    with pytest.raises(ZooError, match=said) as error:
        family.FAMILY.genome(base | fields)
    assert "\n" not in str(error.value)
