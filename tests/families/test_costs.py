"""What the cost model says of the published models is what their authors say."""

import pytest
from small import FOLDER

from foundry.compiler.cost import cost
from foundry.dsl.check import load_program


def costs(name):
    return cost(load_program((FOLDER / f"{name}.genome").read_text()), context=1)


@pytest.mark.parametrize(
    ("name", "active"),  # in billions, from the reports named in the genomes
    [
        ("mixtral_8x7b", 12.9),
        ("qwen3_30b_a3b", 3.3),
        ("deepseek_v2_lite", 2.4),
        ("deepseek_v3", 37),
        ("gpt_oss_20b", 3.6),
    ],
)
def test_a_token_takes_two_operations_for_each_parameter_that_it_uses(name, active):
    assert costs(name).flops_per_token / 2 == pytest.approx(active * 1e9, rel=0.1)


@pytest.mark.parametrize(("name", "layers"), [("deepseek_v2_lite", 27), ("deepseek_v3", 61)])
def test_latent_attention_needs_to_keep_a_latent_of_512_and_a_key_of_64_channels(name, layers):
    assert costs(name).cache_bytes_lower_bound == layers * (512 + 64) * 4  # arXiv:2405.04434, table 1; in float32


@pytest.mark.parametrize(
    ("name", "layers", "kv_heads", "head_dim"),
    [("llama3_2_1b", 16, 8, 64), ("qwen3_0_6b", 28, 8, 128), ("gemma3_1b", 26, 1, 256), ("mixtral_8x7b", 32, 8, 128)],
)
def test_others_keep_keys_and_values(name, layers, kv_heads, head_dim):
    assert costs(name).cache_bytes_per_token == layers * 2 * kv_heads * head_dim * 4
