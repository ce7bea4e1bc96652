"""What a family of public models is: a configuration to a genome, one map of weights for both directions, and the way
from a genome's graph back to a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from foundry.zoo.moves import Move
from foundry.zoo.outline import Outline

Config = Mapping[str, Any]  # what a Hugging Face config.json says


@dataclass(frozen=True)
class Family:
    """name: as people say it. types: values of `model_type` that mean it. architecture: the class in transformers.
    covers: a line on which models it is.

    genome: the text for a configuration. moves: the map of weights; their names are those in the files that
    transformers writes, ours those of the emitted model; every tensor of both stands in exactly one move. guesses:
    configurations that a program with this outline may have, likely ones first; a wrong guess costs time, and is found
    out by its hash. skipped: patterns (of `fnmatch`) of their tensors that are left out on purpose, and why.

    Raises (`genome`, `moves`):
        ZooError: the configuration lacks something, contradicts itself, or asks for what cannot be represented.
    """

    name: str
    types: tuple[str, ...]
    architecture: str
    covers: str
    genome: Callable[[Config], str]
    moves: Callable[[Config], list[Move]]
    guesses: Callable[[Outline], Iterable[dict[str, Any]]]
    skipped: Callable[[Config], dict[str, str]] = lambda config: {}
