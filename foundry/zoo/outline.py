"""What a program looks like from far away: the sizes and constants by which a family guesses its configuration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Attention:
    """One attend, in the order in which a pass through the model meets them. Heads, channels of a query and of a
    value. constants: the numbers in its mask and score, with those of the whole body that it stands in."""

    heads: int
    kv_heads: int
    head_dim: int
    v_dim: int
    mask: tuple[float, ...]  # numbers in the mask; () where there is none
    score: tuple[float, ...]  # numbers in the score; () where there is none


@dataclass(frozen=True)
class Outline:
    """vocab, width. attentions: one for each layer. linears: (channels in, out, with a bias) of every linear map as a
    pass meets them, and of an expert's once. embeddings: (ids, channels) of each table. experts: (how many, used by a
    token) of each mixture. numbers: every constant that stands in the model, each once, in ascending order.
    operations: the names of all primitives that occur. tied: whether the logits come from the embedding. head_bias:
    whether they have one."""

    vocab: int
    width: int
    attentions: tuple[Attention, ...]
    linears: tuple[tuple[int, int, bool], ...]
    embeddings: tuple[tuple[int, int], ...]
    experts: tuple[tuple[int, int], ...]
    numbers: tuple[float, ...]
    operations: frozenset[str]
    tied: bool
    head_bias: bool
