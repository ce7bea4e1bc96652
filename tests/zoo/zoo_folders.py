"""Small Hugging Face folders for tests."""

import torch
import transformers
from parity import randomise
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

SMALL = {
    "vocab_size": 300, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip
GPT2 = {"vocab_size": 300, "n_positions": 48, "n_embd": 32, "n_layer": 2, "n_head": 4, "bos_token_id": None,
        "eos_token_id": None}  # fmt: skip
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def folder_of(kind, folder, fields=None, **more):
    """A random model of transformers, saved to a folder."""
    torch.manual_seed(0)
    sizes = fields or (GPT2 if kind == "gpt2" else SMALL)
    config = transformers.AutoConfig.for_model(kind, **sizes)
    peer = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    randomise(peer)
    peer.save_pretrained(folder, **more)
    return peer


def tokenizer_into(folder):
    """A byte-level tokenizer with two special tokens and a chat template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: n for n, letter in enumerate(letters)} | {"ho": 256}
    inner = Tokenizer(models.BPE(vocab, [("h", "o")]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
