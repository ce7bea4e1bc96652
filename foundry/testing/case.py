"""A genome under test, with what the properties need of it, each made once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any

import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.dsl.program import Program
from foundry.testing.double import load_double

TOKENS = 19  # of a sequence under test: more than a chunk of a recurrence, no multiple of a window or a stride
BATCH = 3


class Broken(AssertionError):
    """A property does not hold of a genome: the message says what was expected and what came."""


class Skipped(Exception):
    """A case says nothing about a property: the message says why."""


@dataclass(frozen=True)
class Property:
    """A promise of the compiler.

    name: of letters and dashes, for the command line and for stored cases. statement: one sentence that is true of
    every genome. holds: returns if it is true of a case, and raises `Broken` (or whatever the compiler raised) if not.
    runs: whether it builds and runs the model.
    """

    name: str
    statement: str
    holds: Callable[[Case], None]
    runs: bool = True


class Case:
    """A genome that checks clean, and a seed for whatever else a property draws.

    A property may not change what a case holds: it copies the model, or asks `fresh` for another.
    """

    def __init__(self, text: str, seed: int = 0):
        self.text, self.seed = text, seed

    @cached_property
    def program(self) -> Program:
        return load_program(self.text)

    @cached_property
    def source(self) -> str:
        """The emitted file."""
        return emit(self.program)

    @cached_property
    def module(self) -> ModuleType:
        """The emitted file, loaded."""
        return load(self.source)

    @cached_property
    def double(self) -> ModuleType:
        """The emitted file, loaded so that decimals are float64 where it would make them float32."""
        return load_double(self.source)

    def fresh(self, dtype: torch.dtype = torch.float64, stir: float = 0.1) -> Any:
        """A new model in evaluation mode, initialised by the case's seed and moved away from neutral values.

        stir: the standard deviation of what is added to every weight.
        """
        model = (self.double if dtype == torch.float64 else self.module).Model()
        model.initialise(self.seed)
        model = model.to(dtype)
        generator = torch.Generator().manual_seed(self.seed + 1)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(stir * torch.randn(weight.shape, generator=generator, dtype=torch.float64).to(dtype))
        return model.eval()

    @cached_property
    def model(self) -> Any:
        """The model in float64, stirred; shared between properties."""
        return self.fresh()

    @cached_property
    def tokens(self) -> torch.Tensor:
        """A batch of token ids, (BATCH, TOKENS) or shorter where the positions do not reach so far."""
        longest = self.module.LONGEST or TOKENS
        generator = torch.Generator().manual_seed(self.seed + 2)
        return torch.randint(self.module.VOCAB, (BATCH, min(TOKENS, longest)), generator=generator)

    @cached_property
    def logits(self) -> torch.Tensor:
        """What the model makes of the tokens in one pass, in float64: (BATCH, T, VOCAB)."""
        with torch.no_grad():
            return self.model(self.tokens)
