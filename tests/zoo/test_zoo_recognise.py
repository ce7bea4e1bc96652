"""A program's family is told from its graph."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from zoo_folders import folder_of

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES
from foundry.dsl.canonical import architecture_hash
from foundry.dsl.check import load_program
from foundry.train.checkpoint import read_checkpoint, weights, write_model
from foundry.zoo.arrive import arrive
from foundry.zoo.depart import to_hf
from foundry.zoo.families import gpt2, llama, mistral, olmo2
from foundry.zoo.outline import outline
from foundry.zoo.recognise import recognised

SIZES = {
    "vocab_size": 97, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2,
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16}
SMALL_GPT2 = {"vocab_size": 97, "n_positions": 48, "n_embd": 32, "n_layer": 3, "n_head": 4}
CASES = [
    (gpt2, SMALL_GPT2), (gpt2, SMALL_GPT2 | {"n_inner": 40, "tie_word_embeddings": False, "n_layer": 1}),
    (gpt2, SMALL_GPT2 | {"activation_function": "relu", "layer_norm_epsilon": 1e-2}),
    (llama, SIZES), (llama, SIZES | {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True}),
    (llama, SIZES | {"rope_parameters": LLAMA3, "head_dim": 12}), (llama, SIZES | {"rope_parameters": YARN}),
    (llama, SIZES | {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5}}),
    (mistral, SIZES | {"sliding_window": 6}), (olmo2, SIZES), (olmo2, SIZES | {"attention_bias": True}),
]  # fmt: skip


@pytest.mark.parametrize(("family", "config"), CASES)
def test_members(family, config):
    program = load_program(family.genome(config))
    found = recognised(program)
    assert found is not None
    assert found[0] is family.FAMILY
    assert architecture_hash(load_program(family.genome(found[1]))) == architecture_hash(program)


def test_a_wrong_source_is_not_believed():
    program = load_program(llama.genome(SIZES))
    found = recognised(program, SIZES | {"model_type": "llama", "intermediate_size": 50})
    assert found is not None and found[1]["intermediate_size"] == 48


@pytest.mark.parametrize("name", ["hybrid", "primer"])
def test_no_member(name):
    assert recognised(load_program(Path(f"genomes/{name}.genome").read_text())) is None


def test_outline():
    """Sizes by hand of a model with a window and experts."""
    text = (
        "@foundry(1);\nblock(x) = {\n"
        "  x = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, mask = window(size = 6));\n"
        "  x + moe(rmsnorm(x), count = 6, active = 2, hidden = 20)\n};\n"
        "model = embed(vocab = 50, width = 32) >> 3 * block >> rmsnorm >> unembed(tied = 1);\n"
    )
    seen = outline(load_program(text))
    assert (seen.vocab, seen.width, seen.tied, seen.head_bias) == (50, 32, True, False)
    assert len(seen.attentions) == 3
    first = seen.attentions[0]
    assert (first.heads, first.kv_heads, first.head_dim, first.v_dim, first.mask) == (4, 2, 8, 8, (6.0,))
    assert seen.experts == ((6, 2),) * 3
    assert seen.linears[:5] == ((32, 32, False), (32, 16, False), (32, 16, False), (32, 32, False), (32, 6, False))
    assert seen.embeddings == ((50, 32),)


SPELLED = """@foundry(1);

normal(x) = { gain = param(1, per = channel); gain * x * rsqrt(mean(x * x) + 1e-6) };

model = embed(vocab = 300, width = 32) >> 2 * part >> normal >> unembed;

part(x) = {
  y = normal(x);
  queries = rope(split_heads(linear(y, 32), 4));
  keys = rope(split_heads(linear(y, 16), 2));
  seen = merge_heads(attend(queries, keys, split_heads(linear(y, 16), 2)));
  z = x + linear(seen, 32);
  u = normal(z);
  first = silu(linear(u, 48));
  z + linear(first * linear(u, 48), 32)
};
"""


def test_another_spelling(tmp_path):
    """A Llama in other words leaves as a Llama, and says the same."""
    torch.manual_seed(0)
    model = load(emit(load_program(SPELLED))).Model()
    write_model(tmp_path / "ckpt", text=SPELLED, weights=weights(model), tokenizer=BYTES, config={})
    to_hf(read_checkpoint(tmp_path / "ckpt"), tmp_path / "out")
    assert json.loads((tmp_path / "out/config.json").read_text())["model_type"] == "llama"
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = torch.arange(20)[None] * 7
    with torch.no_grad():
        assert (peer(tokens).logits - model(tokens)).abs().max() < 1e-4


def test_trained_further(tmp_path):
    """A checkpoint that lost its configuration is known all the same."""
    peer = folder_of("llama", tmp_path / "hf")
    checkpoint = read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt"))
    checkpoint.config.pop("source")
    to_hf(checkpoint, tmp_path / "out")
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert (peer(tokens).logits - again(tokens).logits).abs().max() < 1e-4
