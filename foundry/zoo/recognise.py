"""Which public model a program is, told from its graph alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import architecture_hash
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.program import Program
from foundry.train.checkpoint import Checkpoint, weights
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.known import known
from foundry.zoo.outline import outline

MOST_GUESSES = 400  # of one family; each takes some milliseconds
TRIED = 12  # tokens that two spellings of one model are compared on
CLOSE = 1e-3


def recognised(program: Program, source: Mapping[str, Any] | None = None) -> tuple[Family, dict[str, Any]] | None:
    """The family that a program is a member of and its configuration, or None.

    source: the configuration that it came with, if any, which is believed only where the graph is the same.
    """
    wanted = architecture_hash(program)
    if source is not None:
        for family in known():
            if source.get("model_type") in family.types and _is(family, source, wanted):
                return family, dict(source)
    seen = outline(program)
    for family in known():
        for number, guess in enumerate(family.guesses(seen)):
            if number == MOST_GUESSES:
                break
            if _is(family, guess, wanted):
                return family, guess
    return None


def member(checkpoint: Checkpoint) -> tuple[Family, dict[str, Any], dict[str, str]] | None:
    """The family and the configuration of a checkpoint's model, and for each name of the family's weights the one in
    the checkpoint; None where it is of no family, or is spelled so differently that its weights cannot be matched."""
    source = checkpoint.config.get("source")
    found = recognised(checkpoint.program, source if isinstance(source, dict) else None)
    if found is None:
        return None
    family, config = found
    names = _names(checkpoint, family.genome(config))
    return None if names is None else (family, config, names)


def _is(family: Family, config: Config, wanted: str) -> bool:
    try:
        return architecture_hash(load_program(family.genome(config))) == wanted
    except (ZooError, GenomeError):
        return False


def _names(checkpoint: Checkpoint, text: str) -> dict[str, str] | None:
    """Weights of a family's genome to those of a checkpoint with the same graph: by name, else in the order in which
    they are made; that they mean the same is then tried with the weights themselves."""
    module = load(emit(load_program(text)))
    with torch.device("meta"):
        theirs, ours = weights(module.Model()), weights(checkpoint.module.Model())
    if _shapes(theirs.values()) == _shapes(ours.values()) and list(theirs) == list(ours):
        return {name: name for name in theirs}
    if sorted(_shapes(theirs.values())) != sorted(_shapes(ours.values())):
        return None
    names = dict(zip(_by_shape(theirs), _by_shape(ours), strict=True))
    return names if _agree(checkpoint, module.Model(), names) else None


def _by_shape(held: Mapping[str, torch.Tensor]) -> list[str]:
    """Names by shape, those of one shape as they come."""
    return sorted(held, key=lambda name: tuple(held[name].shape))


def _shapes(tensors: Iterable[torch.Tensor]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors]


@torch.no_grad()
def _agree(checkpoint: Checkpoint, model: nn.Module, names: Mapping[str, str]) -> bool:
    """Whether a model with a checkpoint's weights under its own names gives what the checkpoint does."""
    own = checkpoint.build()
    held = weights(own)
    for name, tensor in weights(model).items():
        tensor.copy_(held[names[name]])
    count = min(TRIED, checkpoint.module.LONGEST or TRIED)
    tokens = torch.randint(checkpoint.program.vocab, (2, count), generator=torch.Generator().manual_seed(0))
    there, here = model.eval()(tokens), own(tokens)
    return bool((there - here).abs().max() <= CLOSE * here.abs().max().clamp(min=1.0))
