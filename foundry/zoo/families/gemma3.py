"""Gemma 3, its text models: five layers with a window to each one without, which turns its positions slower; norms on
each head's query and key. Gemma Team 2025, arXiv:2503.19786."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from foundry.zoo import gemma
from foundry.zoo.activations import activation
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.fields import number, truth, whole
from foundry.zoo.gated import ATTENTION, HEAD, arguments, heads, is_tied, renamed, skipped
from foundry.zoo.layers import arranged
from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import Rotary, rotary, settings
from foundry.zoo.windows import BLOCKS, FULL, LOCAL, layer_types

DEFAULTS = {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096, "tie_word_embeddings": True}
NORMS = {"self_attn.q_norm": "attention.q_norm", "self_attn.k_norm": "attention.k_norm"}
THETA = {LOCAL: 1e4, FULL: 1e6}


def genome(config: Config) -> str:
    """The genome of a configuration. Raises ZooError."""
    config = {**DEFAULTS, **config}
    if truth(config, "use_bidirectional_attention", False):
        raise ZooError("config.json: use_bidirectional_attention is true; only causal models are known here")
    turned = {kind: _rotary(config, kind) for kind in dict.fromkeys(_types(config))}
    cap = gemma.cap_of(config, "attn_logit_softcapping", None)
    said = arguments(config, Rotary("pos", "", 1.0, 0), bias=truth(config, "attention_bias", False))
    scores = {kind: gemma.score(config, pos, cap) for kind, pos in turned.items()}
    if len(set(scores.values())) > 1:
        raise ZooError("config.json: rope_parameters scale the attention of some layers alone, which is unknown here")
    masks = {LOCAL: f"window(size = {whole(config, 'sliding_window')})", FULL: "everything"}
    blocks = "".join(
        f"{BLOCKS[kind]} = block(pos = {pos.call}, mask = {masks[kind]});\n" for kind, pos in turned.items()
    )
    return (
        f"{HEAD}{gemma.norm(config)}{''.join(pos.definitions for pos in turned.values())}"
        f"block(x, pos, mask) = {{\n"
        f"  x = x + norm(attention(norm(x), {said}, norm = norm{next(iter(scores.values()))}, mask = mask));\n"
        f"  x + norm(glu(norm(x), hidden = {whole(config, 'intermediate_size')}, "
        f"act = {activation(config, 'hidden_activation', 'gelu_pytorch_tanh')}))\n}};\n\n{blocks}\n"
        f"{gemma.model(config, _stack(config)[0], gemma.cap_of(config, 'final_logit_softcapping', None))}"
    )


def moves(config: Config) -> list[Move]:
    """Every tensor under another name."""
    config = {**DEFAULTS, **config}
    biased = ATTENTION if truth(config, "attention_bias", False) else ()
    return renamed(config, gemma.NORMED | NORMS, biased, is_tied(config), _stack(config)[1])


def guesses(outline: Outline) -> Iterator[dict[str, Any]]:
    """None: such a model is recognised by the configuration that it came with."""
    return iter(())


def _types(config: Config) -> list[str]:
    period = whole(config, "sliding_window_pattern", 6)
    return layer_types(config, lambda n: (n + 1) % period != 0)


def _stack(config: Config) -> tuple[str, list[str]]:
    return arranged([BLOCKS[kind] for kind in _types(config)])


def _rotary(config: Config, kind: str) -> Rotary:
    """Of one kind of layer: newer files have a table for each, older ones stretch those without a window alone."""
    said = settings(config)
    if isinstance(said.get(kind), Mapping):
        rope = dict(said[kind])
    elif kind == LOCAL:
        rope = {"rope_theta": number(config, "rope_local_base_freq", THETA[LOCAL], 0)}
    else:
        rope = {"rope_theta": number(config, "rope_theta", THETA[FULL], 0), **said}
    rope.setdefault("rope_theta", THETA[kind])
    return rotary(config, head_dim=heads(config)[2], rope=rope, name=f"{kind.partition('_')[0]}_rotary")


def _skipped(config: Config) -> dict[str, str]:
    return skipped({**DEFAULTS, **config})


FAMILY = Family(
    "Gemma 3", ("gemma3_text",), "Gemma3ForCausalLM",
    "Gemma 3 270M and 1B, and the text part of larger ones, saved alone", genome, moves, guesses, _skipped,
)  # fmt: skip
