"""A model as it is served: under a name, with its way of holding conversations, and what its clients may ask."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from foundry.decode.chat import Chat
from foundry.serve.batching import Batcher
from foundry.serve.limits import Limits
from foundry.train.checkpoint import Checkpoint


@dataclass(frozen=True)
class Served:
    """name: what clients call it. model: with the checkpoint's weights, in eval mode."""

    name: str
    checkpoint: Checkpoint
    model: nn.Module
    limits: Limits = Limits()

    @cached_property
    def created(self) -> int:
        """When the checkpoint was written, in seconds since 1970; asked once, for its folder may go."""
        return int((self.checkpoint.folder / "config.json").stat().st_mtime)

    @cached_property
    def batcher(self) -> Batcher:
        """What decodes for all requests."""
        return Batcher(self.checkpoint.module, self.model, self.checkpoint.tokenizer, self.limits.rows)

    @cached_property
    def chat(self) -> Chat:
        """How conversations look to the model.

        Raises:
            foundry.decode.chat.ChatError: the checkpoint's chat template is not one.
        """
        return Chat(self.checkpoint.template, self.checkpoint.tokenizer)
