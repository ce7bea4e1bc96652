"""The keys of a GGUF file as the configuration that transformers has for the same model, and back.

The keys are those of https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; what no key says (Gemma's windows by
turns, the scale of its attention) is as llama.cpp's own models have it. A key that is not known here is refused, since
it may change what a model computes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foundry.dsl.render import visible
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config
from foundry.zoo.fields import number, truth, whole
from foundry.zoo.gated import heads
from foundry.zoo.gguf_file import GGUF
from foundry.zoo.gguf_names import PARTS
from foundry.zoo.gguf_rotary import rope_keys, rope_parameters

MODEL_TYPES = {name: name for name in PARTS} | {"gemma3": "gemma3_text"}
OF_FAMILIES = {model_type: name for name, model_type in MODEL_TYPES.items()} | {"mistral": "llama", "gemma3": "gemma3"}
KNOWN = {
    "context_length", "embedding_length", "feed_forward_length", "block_count", "vocab_size",
    "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
    "attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon", "rope.dimension_count", "rope.freq_base",
    "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length", "rope.scaling.attn_factor",
    "rope.scaling.finetuned",
}  # fmt: skip
ALSO = {  # what some architectures have beside these
    "gemma2": {"attention.sliding_window", "attn_logit_softcapping", "final_logit_softcapping"},
    "gemma3": {"attention.sliding_window", "rope.freq_base_swa", "attention.sliding_window_pattern"},
    "phi3": {"attention.sliding_window"},
}
IDS = {"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "padding_token_id": "pad_token_id"}
LARGEST_GEMMAS = {"gemma2": 46, "gemma3": 62}  # layers of the 27B models, whose attention has another scale
GEMMA3_PERIOD = 6  # every sixth layer attends to everything
GEMMA3_LOCAL_BASE = 10000.0


def config_of(file: GGUF) -> dict[str, Any]:
    """What config.json of the same model says.

    Raises:
        ZooError: the architecture or a key of it is not known here, or a key is missing or contradicts the tensors.
    """
    keys = _Keys(file)
    if file.architecture == "gpt2":
        return _gpt2(keys) | _ids(file)
    width, count = keys.whole("embedding_length"), keys.same_whole("attention.head_count")
    head_dim = keys.whole("attention.key_length", width // max(count, 1))
    if keys.whole("attention.value_length", head_dim) != head_dim:
        raise keys.wrong("attention.value_length", f"is not attention.key_length, {head_dim}")
    config = {
        "model_type": MODEL_TYPES[file.architecture],
        "hidden_size": width,
        "intermediate_size": keys.same_whole("feed_forward_length"),
        "num_hidden_layers": keys.whole("block_count"),
        "num_attention_heads": count,
        "num_key_value_heads": keys.same_whole("attention.head_count_kv", count),
        "head_dim": head_dim,
        "max_position_embeddings": keys.whole("context_length"),
        "rms_norm_eps": keys.number("attention.layer_norm_rms_epsilon"),
        "vocab_size": keys.rows("token_embd.weight"),
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "rope_parameters": rope_parameters(file, head_dim),
    }
    return config | MORE.get(file.architecture, lambda keys, config: {})(keys, config) | _ids(file)


def keys_of(config: Config) -> dict[str, Any]:
    """The keys for a configuration, `general.architecture` first.

    Raises:
        ZooError: llama.cpp has no architecture that computes this.
    """
    kind = config.get("model_type")
    name = OF_FAMILIES.get(kind) if isinstance(kind, str) else None
    if name is None:
        raise ZooError(f"gguf: no way to write a model of the type {kind!r}; there is one for {', '.join(OF_FAMILIES)}")
    if name == "gpt2":
        return {"general.architecture": name} | {f"gpt2.{key}": value for key, value in _to_gpt2(config).items()}
    count, kv_heads, head_dim = heads(config)
    said = {
        "context_length": whole(config, "max_position_embeddings", 2048),
        "embedding_length": whole(config, "hidden_size"),
        "feed_forward_length": whole(config, "intermediate_size"),
        "block_count": whole(config, "num_hidden_layers"),
        "attention.head_count": count,
        "attention.head_count_kv": kv_heads,
        "attention.key_length": head_dim,
        "attention.value_length": head_dim,
        "attention.layer_norm_rms_epsilon": number(config, "rms_norm_eps", 1e-6, above=0),
        "vocab_size": whole(config, "vocab_size"),
    }
    said |= rope_keys(config, head_dim) | BACK.get(name, _nothing)(config, name)
    act = "gelu_pytorch_tanh" if name.startswith("gemma") else "silu"
    found = config.get("hidden_activation" if name.startswith("gemma") else "hidden_act") or act
    if found != act:
        raise ZooError(f"gguf: the activation is {found!r}; llama.cpp computes {act!r} in models of the type {kind}")
    return {"general.architecture": name} | {f"{name}.{key}": value for key, value in said.items()}


class _Keys:
    """The keys of an architecture, none of which is believed before it is looked at."""

    def __init__(self, file: GGUF):
        self.file, self.prefix = file, f"{file.architecture}."
        if file.architecture not in PARTS:
            raise ZooError(
                f"{file.path}: its architecture is {visible(file.architecture[:40])!r}; known here: {', '.join(PARTS)}"
            )
        known = KNOWN | ALSO.get(file.architecture, set())
        for key, value in file.keys.items():
            if key.startswith(self.prefix) and key.removeprefix(self.prefix) not in known and value not in (0, "", []):
                raise ZooError(
                    f"{file.path}: {visible(key[:80])} is not known here and may change what the model computes; "
                    "take its Hugging Face folder"
                )

    def wrong(self, key: str, why: str) -> ZooError:
        return ZooError(f"{self.file.path}: {self.prefix}{key} {why}")

    def whole(self, key: str, default: int | None = None) -> int:
        value = self.file.keys.get(self.prefix + key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        if type(value) is not int or not 0 < value < 1 << 31:
            raise self.wrong(key, f"is {str(value)[:40]}; it must be a whole number from 1")
        return value

    def same_whole(self, key: str, default: int | None = None) -> int:
        """A size that may be given for each layer, and is the same for all."""
        value = self.file.keys.get(self.prefix + key)
        if isinstance(value, list):
            if len(set(value)) != 1:
                raise self.wrong(key, "differs from layer to layer, which is not known here")
            self.file.keys[self.prefix + key] = value[0]
        return self.whole(key, default)

    def number(self, key: str, default: float | None = None) -> float:
        value = self.file.keys.get(self.prefix + key, default)
        if value is None:
            raise self.wrong(key, "is missing")
        return shortest(value)

    def rows(self, name: str) -> int:
        held = self.file.tensors.get(name)
        if held is None or not held.shape:
            raise ZooError(f"{self.file.path}: the tensor {name} is missing")
        return held.shape[0]


def shortest(value: float) -> float:
    """The shortest number that is the same in 32 bits: 1e-05 for 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def _ids(file: GGUF) -> dict[str, int]:
    found = {ours: file.keys.get(f"tokenizer.ggml.{theirs}") for theirs, ours in IDS.items()}
    return {name: value for name, value in found.items() if type(value) is int}


def _gpt2(keys: _Keys) -> dict[str, Any]:
    return {
        "model_type": "gpt2",
        "vocab_size": keys.rows("token_embd.weight"),
        "n_positions": keys.rows("position_embd.weight"),
        "n_embd": keys.whole("embedding_length"),
        "n_layer": keys.whole("block_count"),
        "n_head": keys.whole("attention.head_count"),
        "n_inner": keys.whole("feed_forward_length"),
        "activation_function": "gelu_new",
        "layer_norm_epsilon": keys.number("attention.layer_norm_epsilon"),
        "tie_word_embeddings": "output.weight" not in keys.file.tensors,
    }


def _to_gpt2(config: Config) -> dict[str, Any]:
    if (act := config.get("activation_function") or "gelu_new") not in ("gelu_new", "gelu_pytorch_tanh"):
        raise ZooError(f"gguf: activation_function is {act!r}; llama.cpp computes 'gelu_new' in GPT-2")
    width = whole(config, "n_embd")
    return {
        "context_length": whole(config, "n_positions", 1024),
        "embedding_length": width,
        "feed_forward_length": whole(config, "n_inner", 4 * width),
        "block_count": whole(config, "n_layer", 12),
        "attention.head_count": whole(config, "n_head"),
        "attention.layer_norm_epsilon": number(config, "layer_norm_epsilon", 1e-5, above=0),
    }


def _llama(keys: _Keys, config: Config) -> dict[str, Any]:
    tensors = keys.file.tensors
    return {
        "hidden_act": "silu",
        "attention_bias": "blk.0.attn_q.bias" in tensors,
        "mlp_bias": "blk.0.ffn_gate.bias" in tensors,
    }


def _gemma2(keys: _Keys, config: Config) -> dict[str, Any]:
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _gemma_scalar(config, "gemma2"),
        "attn_logit_softcapping": keys.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": keys.number("final_logit_softcapping", 30.0),
        "sliding_window": keys.whole("attention.sliding_window", 4096),
        "layer_types": _turns(config, 2),
    }


def _gemma3(keys: _Keys, config: Config) -> dict[str, Any]:
    if keys.whole("attention.sliding_window_pattern", GEMMA3_PERIOD) != GEMMA3_PERIOD:
        raise keys.wrong("attention.sliding_window_pattern", f"is not {GEMMA3_PERIOD}, as in all Gemma 3")
    local = {"rope_type": "default", "rope_theta": keys.number("rope.freq_base_swa", GEMMA3_LOCAL_BASE)}
    return {
        "hidden_activation": "gelu_pytorch_tanh",
        "query_pre_attn_scalar": _gemma_scalar(config, "gemma3"),
        "attn_logit_softcapping": None,
        "final_logit_softcapping": None,
        "sliding_window": keys.whole("attention.sliding_window"),
        "layer_types": _turns(config, GEMMA3_PERIOD),
        "rope_parameters": {"full_attention": config["rope_parameters"], "sliding_attention": local},
    }


def _phi3(keys: _Keys, config: Config) -> dict[str, Any]:
    said = {"hidden_act": "silu", "sliding_window": keys.file.keys.get("phi3.attention.sliding_window") or None}
    part = keys.whole("rope.dimension_count", config["head_dim"]) / config["head_dim"]
    said["rope_parameters"] = config["rope_parameters"] | {"partial_rotary_factor": part}
    original = keys.file.keys.get("phi3.rope.scaling.original_context_length")
    return said | ({} if original is None else {"original_max_position_embeddings": original})


MORE = {
    "llama": _llama,
    "gemma2": _gemma2,
    "gemma3": _gemma3,
    "phi3": _phi3,
    "qwen2": lambda keys, config: {"hidden_act": "silu", "use_sliding_window": False},
    "qwen3": lambda keys, config: {"hidden_act": "silu", "use_sliding_window": False, "attention_bias": False},
    "olmo2": lambda keys, config: {"hidden_act": "silu", "attention_bias": False},
}


def _gemma_scalar(config: Config, name: str) -> float:
    if config["num_hidden_layers"] == LARGEST_GEMMAS[name]:
        return config["hidden_size"] // config["num_attention_heads"]
    return config["head_dim"]


def _turns(config: Config, period: int) -> list[str]:
    layers = range(1, config["num_hidden_layers"] + 1)
    return ["sliding_attention" if n % period else "full_attention" for n in layers]


# ---- back -------------------------------------------------------------------------------------------------------


def _nothing(config: Config, name: str) -> dict[str, Any]:
    return {}


def _no_window(config: Config, name: str) -> dict[str, Any]:
    """llama.cpp gives these no window: they can have one only where nothing is longer."""
    used = name not in ("qwen2", "qwen3") or truth(config, "use_sliding_window", False)
    window = whole(config, "sliding_window", None) if used else None
    if window is not None and window < whole(config, "max_position_embeddings", 2048):
        raise ZooError(f"gguf: sliding_window is {window}; llama.cpp has no window in models of the type {name}")
    return {}


def _to_gemma2(config: Config, name: str) -> dict[str, Any]:
    return _to_gemma(config, name, 2) | {
        "attn_logit_softcapping": number(config, "attn_logit_softcapping", 50.0, above=0),
        "final_logit_softcapping": number(config, "final_logit_softcapping", 30.0, above=0),
    }


def _to_gemma3(config: Config, name: str) -> dict[str, Any]:
    for field in ("attn_logit_softcapping", "final_logit_softcapping"):
        if config.get(field):
            raise ZooError(f"gguf: {field} is {config[field]}; llama.cpp has none in Gemma 3")
    ropes: Any = config.get("rope_parameters") or {}
    local = ropes.get("sliding_attention", {}).get("rope_theta", config.get("rope_local_base_freq", GEMMA3_LOCAL_BASE))
    return _to_gemma(config, name, GEMMA3_PERIOD) | {"rope.freq_base_swa": float(local)}


def _to_gemma(config: Config, name: str, period: int) -> dict[str, Any]:
    scalar = _gemma_scalar(dict(config) | {"head_dim": heads(config)[2]}, name)
    if (said := number(config, "query_pre_attn_scalar", 256)) != scalar:
        raise ZooError(f"gguf: query_pre_attn_scalar is {said:g}; llama.cpp computes with {scalar:g}")
    types: Any = config.get("layer_types") or _turns(config, period)
    if list(types) != _turns(config, period):
        raise ZooError(f"gguf: layer_types; in llama.cpp every {period}th layer attends to everything, and no other")
    return {"attention.sliding_window": whole(config, "sliding_window", 4096)}


def _to_phi3(config: Config, name: str) -> dict[str, Any]:
    window = whole(config, "sliding_window", None)
    _no_window(config, name)
    return {} if window is None else {"attention.sliding_window": window}


BACK: Mapping[str, Any] = {
    "llama": _no_window,
    "qwen2": _no_window,
    "qwen3": _no_window,
    "phi3": _to_phi3,
    "gemma2": _to_gemma2,
    "gemma3": _to_gemma3,
}
