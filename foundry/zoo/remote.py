"""What transformers runs a model with that it has no class for: files that stand beside the emitted one."""

from __future__ import annotations

from typing import Any

from foundry.train.checkpoint import Checkpoint

CONFIGURATION = '''"""The configuration of a model whose code comes along."""

from transformers import PretrainedConfig


class FoundryConfig(PretrainedConfig):
    model_type = "foundry"
'''

MODELING = '''"""A model of Foundry for transformers: foundry_model.py has what it computes."""

import torch
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_foundry import FoundryConfig
from .foundry_model import Model


class FoundryForCausalLM(PreTrainedModel, GenerationMixin):
    """tokens (B, T) to logits (B, T, vocabulary). Every call reads the whole text: there is no cache."""

    config_class = FoundryConfig
    base_model_prefix = "model"

    def __init__(self, config):
        super().__init__(config)
        self.model = Model()
        self.post_init()

    def _init_weights(self, module):
        """Every weight is in the file."""

    def forward(self, input_ids, attention_mask=None, labels=None, **kwargs):
        """labels (B, T): the tokens themselves; those of -100 do not count."""
        if attention_mask is not None and not attention_mask[:, 0].all():
            raise ValueError("pad on the right: this model has no mask for what stands before a text")
        logits = self.model(input_ids)
        loss = None
        if labels is not None:
            flat = logits[:, :-1].flatten(0, 1).float()
            loss = torch.nn.functional.cross_entropy(flat, labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(self, input_ids, attention_mask=None, **kwargs):
        return {"input_ids": input_ids, "attention_mask": attention_mask}
'''

FILES = {"configuration_foundry.py": CONFIGURATION, "modeling_foundry.py": MODELING}


def remote_config(checkpoint: Checkpoint) -> dict[str, Any]:
    """The config.json of such a folder."""
    longest = checkpoint.module.LONGEST
    return {
        "model_type": "foundry",
        "architectures": ["FoundryForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_foundry.FoundryConfig",
            "AutoModelForCausalLM": "modeling_foundry.FoundryForCausalLM",
        },
        "vocab_size": checkpoint.program.vocab,
        "use_cache": False,
        "tie_word_embeddings": False,
        **({"max_position_embeddings": longest} if longest else {}),
    }
