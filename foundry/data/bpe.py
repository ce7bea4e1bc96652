"""Training a tokenizer: byte-level BPE, which can spell any text and leaves nothing out.

Sennrich et al. 2016 (arXiv:1508.07909), on bytes as in GPT-2 (Radford et al. 2019); words are cut apart first by the
pattern of GPT-4's tokenizer, with numbers in groups of at most three digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from foundry.data.tokenizer import Tokenizer, TokenizerError, tokenizer_from_json

END = "<|endoftext|>"
FEWEST = 257  # ids: every byte, and the end of a document
MOST = 1 << 20
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"  # what English appends
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"  # letters, with the space or the sign before them
    r"|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"  # signs, with the end of the line
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"  # indentation, without the space that belongs to the next word
)


def train_tokenizer(documents: Iterable[str], vocab: int) -> Tokenizer:
    """A tokenizer of `vocab` ids, fitted to documents that are read once and one at a time.

    Ids 0 … 255 are the bytes in the order of GPT-2's alphabet, then come merges, and last END. Equal documents in any
    order give the same tokenizer.

    Raises:
        TokenizerError: `vocab` is out of range, the documents are too few for so many ids, or the library is missing.
    """
    if not FEWEST <= vocab <= MOST:
        raise TokenizerError(f"a vocabulary of {vocab:,}: give from {FEWEST} (the bytes and an end) to {MOST:,}")
    try:
        from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as Inner
    except ImportError:
        raise TokenizerError("a tokenizer is trained with the extra `text`: pip install 'foundry[text]'") from None

    inner = Inner(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab - 1, initial_alphabet=alphabet, show_progress=False)
    inner.train_from_iterator(documents, trainer)
    inner.add_special_tokens([END])
    if (reached := inner.get_vocab_size()) < vocab:
        raise TokenizerError(
            f"the text gives {reached:,} tokens and not {vocab:,}: give more text, or --vocab {reached}"
        )
    return tokenizer_from_json(json.dumps(json.loads(inner.to_str()), ensure_ascii=False), END, end=END)
