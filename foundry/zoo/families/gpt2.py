"""GPT-2: learned positions, layer norms, transposed weights, one matrix for queries, keys and values. Radford et al.
2019, "Language Models are Unsupervised Multitask Learners"."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from foundry.zoo.activations import activation, likely
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import number, truth, whole, written
from foundry.zoo.layers import arranged
from foundry.zoo.moves import TRANSPOSED, Move, chain, same, split
from foundry.zoo.outline import Outline

REFUSED = {"scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False, "add_cross_attention": False}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    width, heads = whole(config, "n_embd"), whole(config, "n_head")
    if width % heads:
        raise ZooError(f"config.json: n_embd is {width}, which n_head, {heads}, does not divide")
    for name, usual in REFUSED.items():
        if truth(config, name, usual) != usual:
            said, only = str(not usual).lower(), str(usual).lower()
            raise ZooError(f"config.json: {name} is {said}; only models with {only} can come in, as all GPT-2 are")
    tied = "(tied = 1)" if _tied(config) else ""
    return (
        f"@foundry(1);\n\nnorm = layernorm(eps = {written(number(config, 'layer_norm_epsilon', 1e-5, 0))});\n\n"
        f"block(x) = {{\n  x = x + attention(norm(x), heads = {heads}, bias = 1);\n"
        f"  x + mlp(norm(x), hidden = {whole(config, 'n_inner', 4 * width)}, "
        f"act = {activation(config, 'activation_function', 'gelu_new')}, bias = 1)\n}};\n\nmodel(tokens) = {{\n"
        f"  positions = embed(position(tokens), vocab = {whole(config, 'n_positions', 1024)}, width = {width});\n"
        f"  x = embed(tokens, vocab = {whole(config, 'vocab_size')}, width = {width}) + positions;\n"
        f"  x >> {_stack(config)[0]} >> norm >> unembed{tied}\n}};\n"
    )


def moves(config: Config) -> list[Move]:
    """The matrices are transposed, and the first of each attention is cut into three."""
    width, found = whole(config, "n_embd"), []
    found += [same("transformer.wte.weight", "embed.weight"), same("transformer.wpe.weight", "positions.weight")]
    for n, ours in enumerate(_stack(config)[1]):
        theirs = f"transformer.h.{n}"
        for kind in ("weight", "bias"):
            found += [
                same(f"{theirs}.ln_1.{kind}", f"{ours}.attention_norm.{kind}"),
                same(f"{theirs}.ln_2.{kind}", f"{ours}.mlp_norm.{kind}"),
            ]
        thirds = split(3 * [width])
        qkv = f"{theirs}.attn.c_attn"
        weights, biases = (tuple(f"{ours}.attention.{p}.{kind}" for p in "qkv") for kind in ("weight", "bias"))
        found += [Move((f"{qkv}.weight",), weights, chain(TRANSPOSED, thirds)), Move((f"{qkv}.bias",), biases, thirds)]
        for name, part in (("attn.c_proj", "attention.out"), ("mlp.c_fc", "mlp.up"), ("mlp.c_proj", "mlp.down")):
            found.append(Move((f"{theirs}.{name}.weight",), (f"{ours}.{part}.weight",), TRANSPOSED))
            found.append(same(f"{theirs}.{name}.bias", f"{ours}.{part}.bias"))
    found += [same(f"transformer.ln_f.{kind}", f"norm.{kind}") for kind in ("weight", "bias")]
    return found if _tied(config) else [*found, same("lm_head.weight", "unembed.weight")]


def skipped(config: Config) -> dict[str, str]:
    """Tensors of older files that are no weights."""
    masks = {"*.attn.bias": "the causal mask", "*.attn.masked_bias": "a constant of the causal mask"}
    return masks | ({"lm_head.weight": "the same as the embedding, to which it is tied"} if _tied(config) else {})


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """Configurations that a program with this outline may have."""
    layers = len(outline.attentions)
    if not layers or len(outline.embeddings) != 2 or len(outline.linears) < 6 * layers or outline.head_bias:
        return
    tables = [ids for ids, _ in outline.embeddings]
    places = next((ids for ids in tables if ids != outline.vocab), outline.vocab)
    for eps in [n for n in outline.numbers if 0 < n <= 0.02] or [1e-5]:
        for act in likely(outline, tanh="gelu_new"):
            yield {
                "model_type": "gpt2", "vocab_size": outline.vocab, "n_positions": places, "n_embd": outline.width,
                "n_layer": layers, "n_head": outline.attentions[0].heads, "n_inner": outline.linears[4][1],
                "activation_function": act, "layer_norm_epsilon": eps, "tie_word_embeddings": outline.tied,
            }  # fmt: skip


def _tied(config: Config) -> bool:
    return truth(config, "tie_word_embeddings", True)


def _stack(config: Config) -> tuple[str, list[str]]:
    return arranged(whole(config, "n_layer", 12) * ["block"])


FAMILY = Family(
    "GPT-2", ("gpt2",), "GPT2LMHeadModel", "GPT-2 124M to 1.5B, DistilGPT-2", genome, moves, guesses, skipped
)
