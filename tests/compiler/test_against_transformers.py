"""The emitted baselines compute what the models they are named after compute, with the same weights."""

from pathlib import Path

import torch
import transformers

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

torch.set_num_threads(1)

GENOMES = Path(__file__).parents[2] / "genomes"


def emitted(name):
    module = load(emit(load_program((GENOMES / f"{name}.genome").read_text())))
    model = module.Model()
    return model, model.state_dict()


def randomise(peer):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in peer.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=generator))
    return peer.eval()


def agree(model, peer, vocab):
    tokens = torch.randint(vocab, (2, 100), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        ours, theirs = model(tokens), peer(tokens).logits
    assert theirs.abs().max() > 1  # a comparison of zeros would show nothing
    assert (ours - theirs).abs().max() < 1e-5


def copy(state, weights):
    """Fill a state dictionary: our key → the tensor. Every key of ours must be there, once."""
    assert set(weights) == set(state)
    for key, value in weights.items():
        assert state[key].shape == value.shape, key
        state[key].copy_(value)


def test_gpt2():
    model, state = emitted("gpt2")
    width, hidden = state["embed.weight"].size(1), state["layers.0.mlp.up.weight"].size(0)
    layers = len(model.layers)
    config = transformers.GPT2Config(
        vocab_size=256, n_positions=128, n_embd=width, n_layer=layers, n_head=4, n_inner=hidden,
        activation_function="gelu_new",
    )  # fmt: skip
    peer = randomise(transformers.GPT2LMHeadModel(config))
    theirs = peer.state_dict()
    weights = {"embed.weight": theirs["transformer.wte.weight"], "positions.weight": theirs["transformer.wpe.weight"]}
    for part in ("weight", "bias"):
        weights[f"layernorm.{part}"] = theirs[f"transformer.ln_f.{part}"]
        for n in range(layers):
            ours, block = f"layers.{n}", f"transformer.h.{n}"
            fused = theirs[f"{block}.attn.c_attn.{part}"].split(width, -1)  # [q; k; v], and transposed
            for name, value in zip("qkv", fused, strict=True):
                weights[f"{ours}.attention.{name}.{part}"] = value.t()
            for name, peer_name in (
                ("attention.out", "attn.c_proj"),
                ("mlp.up", "mlp.c_fc"),
                ("mlp.down", "mlp.c_proj"),
            ):
                weights[f"{ours}.{name}.{part}"] = theirs[f"{block}.{peer_name}.{part}"].t()
            for name, peer_name in (("attention_norm", "ln_1"), ("mlp_norm", "ln_2")):
                weights[f"{ours}.{name}.{part}"] = theirs[f"{block}.{peer_name}.{part}"]
    copy(state, weights)
    agree(model, peer, 256)


def test_llama():
    model, state = emitted("llama")
    width, hidden = state["embed.weight"].size(1), state["layers.0.glu.up.weight"].size(0)
    layers = len(model.layers)
    config = transformers.LlamaConfig(
        vocab_size=256, hidden_size=width, intermediate_size=hidden, num_hidden_layers=layers, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-6, rope_theta=1e4, tie_word_embeddings=True,
    )  # fmt: skip
    peer = randomise(transformers.LlamaForCausalLM(config))
    theirs = peer.state_dict()
    weights = {"embed.weight": theirs["model.embed_tokens.weight"], "rmsnorm.weight": theirs["model.norm.weight"]}
    for n in range(layers):
        names = {f"attention.{p}": f"self_attn.{p}_proj" for p in "qkv"} | {"attention.out": "self_attn.o_proj"}
        names |= {f"glu.{p}": f"mlp.{p}_proj" for p in ("gate", "up", "down")}
        names |= {"attention_norm": "input_layernorm", "glu_norm": "post_attention_layernorm"}
        for ours, peer_name in names.items():
            weights[f"layers.{n}.{ours}.weight"] = theirs[f"model.layers.{n}.{peer_name}.weight"]
    copy(state, weights)
    agree(model, peer, 256)
