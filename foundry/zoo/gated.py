"""What Llama and its kin share: pre-norm blocks of attention with rotary positions and a gated MLP."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from foundry.zoo.activations import likely
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config
from foundry.zoo.fields import number, truth, whole, written
from foundry.zoo.layers import arranged
from foundry.zoo.moves import Move, same
from foundry.zoo.outline import Outline
from foundry.zoo.rotary import Rotary

HEAD = "@foundry(1);\n\n"
PARTS = {
    "input_layernorm": "attention_norm",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.o_proj": "attention.out",
    "post_attention_layernorm": "glu_norm",
    "mlp.gate_proj": "glu.gate",
    "mlp.up_proj": "glu.up",
    "mlp.down_proj": "glu.down",
}
ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


def heads(config: Config) -> tuple[int, int, int]:
    """Heads, heads of keys and values, channels of each.

    Raises:
        ZooError: one is missing, or they contradict each other.
    """
    width, count = whole(config, "hidden_size"), whole(config, "num_attention_heads")
    kv_heads = whole(config, "num_key_value_heads", count)
    if count % kv_heads:
        raise ZooError(
            f"config.json: num_attention_heads is {count}, which num_key_value_heads, {kv_heads}, does not divide"
        )
    head_dim = whole(config, "head_dim", None)
    if head_dim is None and width % count:
        raise ZooError(f"config.json: hidden_size is {width}, which num_attention_heads, {count}, does not divide")
    return count, kv_heads, head_dim or width // count


def arguments(config: Config, pos: Rotary, bias: bool = False, window: int | None = None) -> str:
    """What the prelude's attention is called with, behind its input."""
    count, kv_heads, head_dim = heads(config)
    said = [f"heads = {count}"]
    if kv_heads != count:
        said.append(f"kv_heads = {kv_heads}")
    if head_dim * count != whole(config, "hidden_size"):
        said.append(f"head_dim = {head_dim}")
    said.append(f"pos = {pos.call}")
    if pos.scale != 1:
        said.append(f"score = fn(s) => {written(pos.scale)} * s")
    if window is not None:
        said.append(f"mask = window(size = {window})")
    return ", ".join([*said, "bias = 1"] if bias else said)


def model(config: Config, stack: str, tied: bool) -> str:
    """The last definition of a genome: the embedding, the layers, a norm, the logits."""
    sizes = f"vocab = {whole(config, 'vocab_size')}, width = {whole(config, 'hidden_size')}"
    return f"model = embed({sizes}) >> {stack} >> norm >> unembed{'(tied = 1)' if tied else ''};\n"


def norm(config: Config, default: float = 1e-6) -> str:
    """The definition of the norm."""
    return f"norm = rmsnorm(eps = {written(number(config, 'rms_norm_eps', default, above=0))});\n\n"


def prefixes(config: Config) -> tuple[str, list[str]]:
    """The stack of equal layers, and where each is; see `arranged`."""
    return arranged(whole(config, "num_hidden_layers") * ["block"])


def renamed(
    config: Config, parts: dict[str, str], biased: Iterable[str], tied: bool, places: Sequence[str] | None = None
) -> list[Move]:
    """Every tensor of a model under another name. parts: of a layer. biased: those of them that have a bias. places:
    where each layer is, if they are not all equal."""
    biased = set(biased)
    moves = [same("model.embed_tokens.weight", "embed.weight")]
    for n, ours in enumerate(prefixes(config)[1] if places is None else places):
        for theirs, part in parts.items():
            for kind in ("weight", "bias") if theirs in biased else ("weight",):
                moves.append(same(f"model.layers.{n}.{theirs}.{kind}", f"{ours}.{part}.{kind}"))
    moves.append(same("model.norm.weight", "norm.weight"))
    return moves if tied else [*moves, same("lm_head.weight", "unembed.weight")]


def is_tied(config: Config, default: bool = False) -> bool:
    return truth(config, "tie_word_embeddings", default)


def skipped(config: Config) -> dict[str, str]:
    """Tensors of older files that follow from the configuration."""
    found = {"*.rotary_emb.inv_freq": "the speeds of rotary positions follow from the configuration"}
    return found | ({"lm_head.weight": "the same as the embedding, to which it is tied"} if is_tied(config) else {})


def sizes(outline: Outline) -> dict[str, Any] | None:
    """The fields of a configuration that an outline tells, or None where its layers are not these."""
    layers = len(outline.attentions)
    if not layers or len(outline.linears) < 7 * layers or outline.head_bias:
        return None
    first = outline.attentions[0]
    alike = {(a.heads, a.kv_heads, a.head_dim, a.v_dim, a.mask) for a in outline.attentions}
    if len(alike) > 1 or first.head_dim != first.v_dim or first.kv_heads < 1:
        return None
    return {
        "vocab_size": outline.vocab,
        "hidden_size": outline.width,
        "intermediate_size": outline.linears[4][1],
        "num_hidden_layers": layers,
        "num_attention_heads": first.heads,
        "num_key_value_heads": first.kv_heads,
        "head_dim": first.head_dim,
        "tie_word_embeddings": outline.tied,
    }


def constants(outline: Outline, field: str = "hidden_act") -> Iterator[dict[str, Any]]:
    """Fields that only constants tell: the activation, the eps of norms, rotary positions. Likely ones first."""
    epsilons = [n for n in outline.numbers if 0 < n <= 0.02] or [1e-6]
    bases = [n for n in outline.numbers if n >= 100]
    for rope in ropes(outline, bases):
        for eps in epsilons:
            for act in likely(outline):
                longest = int(rope.get("original_max_position_embeddings", 2048) * max(rope.get("factor", 1), 1))
                yield {field: act, "rms_norm_eps": eps, "rope_parameters": rope, "max_position_embeddings": longest}


def ropes(outline: Outline, bases: list[float]) -> Iterator[dict[str, Any]]:
    """Rotary positions that a program with these constants may have."""
    for theta in bases:
        yield {"rope_type": "default", "rope_theta": theta}
    small = [n for n in outline.numbers if 1 < n <= 128]
    for theta in bases:
        for factor in small:
            yield {"rope_type": "linear", "rope_theta": theta, "factor": factor}
    originals = [n for n in outline.numbers if n >= 16 and float(n).is_integer()]
    for theta in bases:
        for original in originals:
            for factor in small:
                if original in (theta, factor) and len(originals) > 1:
                    continue
                known = {"rope_theta": theta, "factor": factor, "original_max_position_embeddings": int(original)}
                yield known | {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
                yield known | {"rope_type": "yarn"}
