"""Small versions of the families: the published genome with other numbers, and the same for its configuration."""

import re
from dataclasses import dataclass
from pathlib import Path

from published import PUBLISHED, peer_config

FOLDER = Path(__file__).parents[2] / "genomes" / "families"


@dataclass(frozen=True)
class Small:
    """fields: of the configuration. numbers: what the genome says and what the small one says, each said once but
    for those in `twice`."""

    fields: dict
    numbers: tuple[tuple[str, str], ...]
    twice: tuple[str, ...] = ()


def sizes(kv_heads=4, **others):
    return {
        "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": kv_heads, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
    } | others  # fmt: skip


def stretched(name, original):
    rope = PUBLISHED[name]["rope_parameters"] | {"original_max_position_embeddings": original}
    return {"rope_parameters": rope, "max_position_embeddings": int(original * rope["factor"])}


LOCAL, FULL = "sliding_attention", "full_attention"

SMALL = {
    "gpt2_124m": Small(
        {
            "vocab_size": 97, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 64,
            "bos_token_id": None, "eos_token_id": None,
        },
        (
            ("vocab = 50257", "vocab = 97"), ("vocab = 1024", "vocab = 48"), ("width = 768", "width = 32"),
            ("heads = 12", "heads = 4"), ("hidden = 3072", "hidden = 64"), ("12 * block", "3 * block"),
        ),
        twice=("width = 768",),
    ),
    "llama2_7b": Small(
        sizes(),
        (
            ("vocab = 32000", "vocab = 97"), ("width = 4096", "width = 32"), ("heads = 32", "heads = 4"),
            ("hidden = 11008", "hidden = 48"), ("32 * block", "3 * block"),
        ),
    ),
    "llama3_2_1b": Small(
        sizes(kv_heads=2, head_dim=8, **stretched("llama3_2_1b", 16)),
        (
            ("vocab = 128256", "vocab = 97"), ("width = 2048", "width = 32"), ("heads = 32", "heads = 4"),
            ("kv_heads = 8", "kv_heads = 2"), ("hidden = 8192", "hidden = 48"), ("16 * block", "3 * block"),
            ("original = 8192", "original = 16"),
        ),
    ),
    "mistral_7b_v01": Small(
        sizes(kv_heads=2, sliding_window=6),
        (
            ("vocab = 32000", "vocab = 97"), ("width = 4096", "width = 32"), ("heads = 32", "heads = 4"),
            ("kv_heads = 8", "kv_heads = 2"), ("hidden = 14336", "hidden = 48"), ("32 * block", "3 * block"),
            ("size = 4096", "size = 6"),
        ),
    ),
    "mixtral_8x7b": Small(
        sizes(kv_heads=2, num_local_experts=6),
        (
            ("vocab = 32000", "vocab = 97"), ("width = 4096", "width = 32"), ("heads = 32", "heads = 4"),
            ("kv_heads = 8", "kv_heads = 2"), ("hidden = 14336", "hidden = 48"), ("32 * block", "3 * block"),
            ("linear(x, 8", "linear(x, 6"),
        ),
    ),
    "qwen2_5_0_5b": Small(
        sizes(kv_heads=2),
        (
            ("vocab = 151936", "vocab = 97"), ("width = 896", "width = 32"), ("heads = 14", "heads = 4"),
            ("hidden = 4864", "hidden = 48"), ("24 * block", "3 * block"),
        ),
    ),
    "qwen3_0_6b": Small(
        sizes(kv_heads=2, head_dim=12),
        (
            ("vocab = 151936", "vocab = 97"), ("width = 1024", "width = 32"), ("heads = 16", "heads = 4"),
            ("kv_heads = 8", "kv_heads = 2"), ("head_dim = 128", "head_dim = 12"), ("hidden = 3072", "hidden = 48"),
            ("28 * block", "3 * block"),
        ),
    ),
    "qwen3_30b_a3b": Small(
        sizes(kv_heads=2, head_dim=12, moe_intermediate_size=18, num_experts=12, num_experts_per_tok=3),
        (
            ("vocab = 151936", "vocab = 97"), ("width = 2048", "width = 32"), ("heads = 32", "heads = 4"),
            ("kv_heads = 4", "kv_heads = 2"), ("head_dim = 128", "head_dim = 12"), ("hidden = 768", "hidden = 18"),
            ("48 * block", "3 * block"), ("linear(x, 128", "linear(x, 12"), ("top(shares, 8", "top(shares, 3"),
        ),
    ),
    "phi2": Small(
        sizes(hidden_size=80),  # twenty channels a head, of which eight are turned
        (
            ("vocab = 51200", "vocab = 97"), ("width = 2560", "width = 80"), ("heads = 32", "heads = 4"),
            ("hidden = 10240", "hidden = 48"), ("32 * block", "3 * block"), ("rotary = 32", "rotary = 8"),
        ),
    ),
    "phi3_mini": Small(
        sizes(sliding_window=6),
        (
            ("vocab = 32064", "vocab = 97"), ("width = 3072", "width = 32"), ("heads = 32", "heads = 4"),
            ("hidden = 8192", "hidden = 48"), ("32 * block", "3 * block"), ("size = 2047", "size = 6"),
        ),
    ),
    "gemma2_2b": Small(
        sizes(
            kv_heads=2, head_dim=12, num_hidden_layers=4, query_pre_attn_scalar=12, sliding_window=6,
            layer_types=2 * [LOCAL, FULL],
        ),
        (
            ("vocab = 256000", "vocab = 97"), ("width = 2304", "width = 32"), ("heads = 8", "heads = 4"),
            ("kv_heads = 4", "kv_heads = 2"), ("head_dim = 256", "head_dim = 12"), ("hidden = 9216", "hidden = 48"),
            ("13 * (local_block", "2 * (local_block"), ("size = 4096", "size = 6"), ("sqrt(2304", "sqrt(32"),
        ),
    ),
    "gemma3_1b": Small(
        sizes(
            kv_heads=2, head_dim=12, num_hidden_layers=8, query_pre_attn_scalar=12, sliding_window=6,
            layer_types=2 * [LOCAL, LOCAL, FULL] + 2 * [LOCAL],
        ),
        (
            ("vocab = 262144", "vocab = 97"), ("width = 1152", "width = 32"), ("kv_heads = 1", "kv_heads = 2"),
            ("head_dim = 256", "head_dim = 12"), ("hidden = 6912", "hidden = 48"),
            ("4 * (5 * local_block", "2 * (2 * local_block"), ("size = 512", "size = 6"), ("sqrt(1152", "sqrt(32"),
        ),
    ),
    "deepseek_v2_lite": Small(
        sizes(
            kv_lora_rank=16, qk_nope_head_dim=12, qk_rope_head_dim=16, head_dim=16, v_head_dim=10,
            moe_intermediate_size=18, n_routed_experts=12, num_experts_per_tok=3, **stretched("deepseek_v2_lite", 64),
        ),
        (
            ("vocab = 102400", "vocab = 97"), ("width = 2048", "width = 32"), ("heads = 16", "heads = 4"),
            ("kv_rank = 512", "kv_rank = 16"), ("head_dim = 128", "head_dim = 12"), ("rope_dim = 64", "rope_dim = 16"),
            ("v_dim = 128", "v_dim = 10"), ("hidden = 10944", "hidden = 48"), ("2 * 1408", "2 * 18"),
            ("hidden = 1408", "hidden = 18"), ("linear(x, 64", "linear(x, 12"), ("top(shares, 6", "top(shares, 3"),
            ("26 * sparse_block", "2 * sparse_block"), ("original = 4096", "original = 64"),
        ),
    ),
    "deepseek_v3": Small(
        sizes(
            num_hidden_layers=4, first_k_dense_replace=2, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=12,
            qk_rope_head_dim=16, head_dim=16, v_head_dim=10, moe_intermediate_size=18, n_routed_experts=16,
            num_experts_per_tok=3, n_group=4, topk_group=2, **stretched("deepseek_v3", 64),
        ),
        (
            ("vocab = 129280", "vocab = 97"), ("width = 7168", "width = 32"), ("heads = 128", "heads = 4"),
            ("q_rank = 1536", "q_rank = 24"), ("kv_rank = 512", "kv_rank = 16"), ("head_dim = 128", "head_dim = 12"),
            ("rope_dim = 64", "rope_dim = 16"), ("v_dim = 128", "v_dim = 10"), ("hidden = 18432", "hidden = 48"),
            ("hidden = 2048", "hidden = 18"), ("linear(x, 256", "linear(x, 16"), ("count = 8", "count = 3"),
            ("groups = 8", "groups = 4"), ("best = 4", "best = 2"), ("3 * dense_block", "2 * dense_block"),
            ("58 * sparse_block", "2 * sparse_block"), ("original = 4096", "original = 64"),
        ),
        twice=("hidden = 2048",),
    ),
    "gpt_oss_20b": Small(
        sizes(
            kv_heads=2, head_dim=12, num_hidden_layers=4, layer_types=2 * [LOCAL, FULL], sliding_window=6,
            num_local_experts=8, num_experts_per_tok=3, swiglu_limit=1.0, **stretched("gpt_oss_20b", 64),
        ),
        (
            ("vocab = 201088", "vocab = 97"), ("width = 2880", "width = 32"), ("heads = 64", "heads = 4"),
            ("kv_heads = 8", "kv_heads = 2"), ("head_dim = 64", "head_dim = 12"), ("hidden = 2880", "hidden = 48"),
            ("12 * (local_block", "2 * (local_block"), ("size = 128", "size = 6"), ("linear(x, 32", "linear(x, 8"),
            ("top(shares, 4", "top(shares, 3"), ("limit = 7", "limit = 1"), ("original = 4096", "original = 64"),
        ),
    ),
    "olmo2_1b": Small(
        sizes(),
        (
            ("vocab = 100352", "vocab = 97"), ("width = 2048", "width = 32"), ("heads = 16", "heads = 4"),
            ("hidden = 8192", "hidden = 48"), ("16 * block", "3 * block"),
        ),
    ),
}  # fmt: skip


def small_genome(name):
    """The text of the published genome with the numbers of the small one."""
    text = (FOLDER / f"{name}.genome").read_text()
    for old, new in SMALL[name].numbers:
        text, found = re.subn(rf"(?<!\w){re.escape(old)}(?!\w)", new, text)
        assert found == (2 if old in SMALL[name].twice else 1), f"{name} says {old} {found} times"
    return text


def small_config(name):
    """The published configuration with the numbers of the small one."""
    return peer_config(name, **SMALL[name].fields)
