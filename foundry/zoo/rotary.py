"""Rotary positions of a public model as a genome's: every kind that transformers knows and a genome can say exactly.

The formulas are those of transformers' `modeling_rope_utils`, whose fields are `rope_parameters` in files of version 5,
and `rope_theta` with `rope_scaling` in older ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from foundry.zoo.failure import ZooError
from foundry.zoo.fields import number, truth, whole, word, written

ALIASES = {"su": "longrope", "none": "default"}


@dataclass(frozen=True)
class Rotary:
    """call: an expression for `pos`. definitions: lines that it needs before, or "". scale: a factor on the attention
    logits (the square of what transformers multiplies cosines and sines with); who turns no more than a slice of what
    is attended to multiplies what `call` gives by its root instead. dim: channels of a head that are turned. context:
    how many positions it is exact for, or None where it is for all."""

    call: str
    definitions: str
    scale: float
    dim: int
    context: int | None = None


def rotary(
    config: Mapping[str, Any],
    *,
    head_dim: int,
    rope: Mapping[str, Any] | None = None,
    interleaved: bool = False,
    partial: float | None = None,
    name: str = "rotary",
) -> Rotary:
    """The rotary positions that a configuration asks for.

    head_dim: channels of a head. rope: the fields, where they are not those at the top (`settings` finds them).
    interleaved: neighbours are turned together, instead of the first half with the second. partial: the part of a head
    that is turned, where the fields do not say. name: what a definition is called.

    Raises:
        ZooError: a field is missing or out of bounds, or the kind is unknown or cannot be said in a genome.
    """
    rope = settings(config) if rope is None else {**rope}
    said = rope.get("rope_type") or rope.get("type") or "default"
    kind = word({"rope_type": ALIASES.get(said, said) if isinstance(said, str) else said}, "rope_type", tuple(KINDS))
    part = number(rope, "partial_rotary_factor", number(config, "partial_rotary_factor", partial or 1.0, 0), 0)
    dim = int(head_dim * part)
    if part > 1 or dim < 2 or dim % 2:
        raise ZooError(f"config.json: {dim} of {head_dim} channels of a head are to be turned; it must be an even part")
    theta = written(number(rope, "rope_theta", number(config, "rope_theta", 1e4, 0), 0))
    found = KINDS[kind](_Asked(config, rope, theta, dim, interleaved, name))
    return found if dim == head_dim else _on_a_part(found, name)


@dataclass(frozen=True)
class _Asked:
    """What every kind is made from. theta: as a genome has it. name: for a definition."""

    config: Mapping[str, Any]
    rope: Mapping[str, Any]
    theta: str
    dim: int
    interleaved: bool
    name: str


def _default(asked: _Asked) -> Rotary:
    return Rotary(_call("rope_pairs" if asked.interleaved else "rope", f"theta = {asked.theta}"), "", 1.0, asked.dim)


def _linear(asked: _Asked) -> Rotary:
    factor = written(number(asked.rope, "factor", above=0))
    if not asked.interleaved:
        return Rotary(_call("rope_linear", f"theta = {asked.theta}", f"factor = {factor}"), "", 1.0, asked.dim)
    name = f"{asked.name}_turn"
    lines = (
        f"{name}(x) = rotate(\n  x,\n  position(x) / {factor} * {asked.theta} ** (-2 * channel_index(x, width(x) / 2) "
        "/ width(x)),\n  interleaved = 1,\n);\n\n"
    )
    return Rotary(name, lines, 1.0, asked.dim)


def _dynamic(asked: _Asked) -> Rotary:
    """Plain positions; past the longest length every further token would change what came before."""
    context = whole(asked.config, "max_position_embeddings")
    return replace(_default(asked), definitions=_limit(context), context=context)


def _llama3(asked: _Asked) -> Rotary:
    _no_pairs("llama3", asked)
    rope = asked.rope
    low, high = number(rope, "low_freq_factor", above=0), number(rope, "high_freq_factor", above=0)
    if high <= low:
        raise ZooError(f"config.json: high_freq_factor is {high:g}; it must be above low_freq_factor, {low:g}")
    factor, original = written(number(rope, "factor", above=0)), _original(asked)
    speeds = (f"low = {written(low)}", f"high = {written(high)}", f"original = {original}")
    return Rotary(_call("rope_llama3", f"theta = {asked.theta}", f"factor = {factor}", *speeds), "", 1.0, asked.dim)


def _yarn(asked: _Asked) -> Rotary:
    rope, original = asked.rope, _original(asked)
    factor = number(rope, "factor", None, 0) or whole(asked.config, "max_position_embeddings") / original
    said = [f"theta = {asked.theta}", f"factor = {written(factor)}", f"original = {original}"]
    for field, argument, usual in (("beta_fast", "fast", 32.0), ("beta_slow", "slow", 1.0)):
        turns = number(rope, field, usual, 0)
        said += [f"{argument} = {written(turns)}"] if turns != usual else []
    said += [] if truth(rope, "truncate", True) else ["whole = 0"]
    said += ["interleaved = 1"] if asked.interleaved else []
    return Rotary(_call("rope_yarn", *said), "", _yarn_factor(rope, factor) ** 2, asked.dim)


def _longrope(asked: _Asked) -> Rotary:
    """The short factors, which hold up to the original length; past it transformers turns every token otherwise."""
    _no_pairs("longrope", asked)
    original, pairs = _original(asked), asked.dim // 2
    short, long = _factors(asked.rope, "short_factor", pairs), _factors(asked.rope, "long_factor", pairs)
    context = None if short == long else original
    name = f"{asked.name}_turn"
    lines = (_limit(context) if context else "") + _divided(name, asked.theta, short)
    return Rotary(name, lines, longrope_factor(asked.config, asked.rope, original) ** 2, asked.dim, context)


KINDS: dict[str, Callable[[_Asked], Rotary]] = {
    "default": _default,
    "linear": _linear,
    "dynamic": _dynamic,
    "llama3": _llama3,
    "yarn": _yarn,
    "longrope": _longrope,
}


def _on_a_part(found: Rotary, name: str) -> Rotary:
    """The same on the first channels of a head alone, the factor included."""
    if found.call.startswith("rope("):
        return replace(found, call=found.call.replace("rope(", f"partial_rope(rotary = {found.dim}, "))
    part = f"slice(x, 0, {found.dim})"
    turned = found.call.replace("(", f"({part}, ", 1) if found.call.endswith(")") else f"{found.call}({part})"
    if found.scale != 1:
        turned = f"{written(math.sqrt(found.scale))} * {turned}"
    lines = f"{found.definitions}{name}(x) = concat({turned}, slice(x, {found.dim}, width(x)));\n\n"
    return replace(found, call=name, definitions=lines, scale=1.0)


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary fields at the top of a configuration, of either spelling, as one mapping.

    Raises:
        ZooError: they are no mapping.
    """
    for field in ("rope_parameters", "rope_scaling"):
        said = config.get(field)
        if said is not None:
            if not isinstance(said, Mapping):
                raise ZooError(f"config.json: {field} is no table; it must be one with rope_type")
            return dict(said)
    return {}


def _call(function: str, *arguments: str) -> str:
    return f"{function}({', '.join(arguments)})"


def _no_pairs(kind: str, asked: _Asked) -> None:
    if asked.interleaved:
        raise ZooError(f"config.json: rope_type {kind} with interleaved pairs is unknown here; no known model has it")


def _original(asked: _Asked) -> int:
    """The length that a stretched model had before. Where the configuration has it too, that counts."""
    field = "original_max_position_embeddings"
    found = whole(asked.config, field, None) or whole(asked.rope, field, None)
    return found or whole(asked.config, "max_position_embeddings", None) or whole(asked.rope, field)


def _mscale(factor: float, mscale: float = 1.0) -> float:
    return 1.0 if factor <= 1 else 0.1 * mscale * math.log(factor) + 1.0


def _yarn_factor(rope: Mapping[str, Any], factor: float) -> float:
    """What cosines and sines are multiplied with."""
    said = number(rope, "attention_factor", None, 0)
    if said is not None:
        return said
    above, below = number(rope, "mscale", None), number(rope, "mscale_all_dim", None)
    return _mscale(factor, above) / _mscale(factor, below) if above and below else _mscale(factor)


def longrope_factor(config: Mapping[str, Any], rope: Mapping[str, Any], original: int) -> float:
    """What cosines and sines are multiplied with. Raises as `rotary` does."""
    said = number(rope, "attention_factor", None, 0)
    if said is not None:
        return said
    factor = number(rope, "factor", None, 0) or whole(config, "max_position_embeddings") / original
    return 1.0 if factor <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))


def _factors(rope: Mapping[str, Any], field: str, pairs: int) -> list[float]:
    """How much slower each pair of channels turns."""
    said = rope.get(field)
    if not isinstance(said, list) or len(said) != pairs:
        held = f"{len(said)} numbers" if isinstance(said, list) else "no list"
        raise ZooError(f"config.json: {field} is {held}; it must have one for each of the {pairs} pairs of channels")
    return [number({field: value}, field, above=0) for value in said]


def _divided(name: str, theta: str, factors: list[float]) -> str:
    """A function that turns each pair of channels slower by a factor of its own."""
    return (
        "# Each pair of channels turns slower by a factor of its own: LongRoPE, Ding et al. 2024, arXiv:2402.13753.\n"
        f"{name}(x) = {{\n  index = channel_index(x, width(x) / 2);\n  slower = {_chosen(factors, 0)};\n"
        f"  rotate(x, position(x) / slower * {theta} ** (-2 * index / width(x)))\n}};\n\n"
    )


def _chosen(values: list[float], first: int) -> str:
    """The value that belongs to an index, by halving."""
    if all(value == values[0] for value in values):
        return written(values[0])
    half = len(values) // 2
    return f"where(index < {first + half}, {_chosen(values[:half], first)}, {_chosen(values[half:], first + half)})"


def _limit(context: int) -> str:
    return f"# The public model changes its rotary positions past {context} tokens; this is what it does up to there.\n"
