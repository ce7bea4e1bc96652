"""A tokenizer as the keys of a GGUF file: its tokens, their types, merges or scores, and how words are cut apart.

The inverse of foundry/data/gguf_vocabulary.py.
"""

from __future__ import annotations

import json
from typing import Any

from foundry.data.gguf_vocabulary import BYTE, COMPOSED, CONTROL, GPT2, PATTERNS, UNKNOWN, USER_DEFINED, WHOLE_WORDS
from foundry.data.pieces import BYTE as SPELLED_BYTE
from foundry.data.pieces import SIGN_OF
from foundry.data.tokenizer import Tokenizer
from foundry.zoo.failure import ZooError

NORMAL, UNUSED = 1, 5
DIGIT = r"\p{N}"
LOWEST = -1e6  # the score of what no merge makes


def token_keys(tokenizer: Tokenizer, vocab: int) -> dict[str, Any]:
    """The keys `tokenizer.ggml.*` for a model of `vocab` ids; those without a token get one that is never used.

    Raises:
        ZooError: llama.cpp has no tokenizer that cuts text like this one.
    """
    if not tokenizer.source:
        said = _bytes()
    else:
        content = json.loads(tokenizer.source)
        model = content["model"]
        if model.get("type") != "BPE":
            raise ZooError(f"gguf: the tokenizer is {model.get('type')}; there is a way for BPE alone")
        said = _sentencepiece(content) if model.get("byte_fallback") else _byte_level(content)
    texts, types = said.pop("table")
    tokens = [texts.get(n, f"[unused {n}]") for n in range(vocab)]
    ids = {"bos_token_id": tokenizer.begin, "eos_token_id": tokenizer.end}
    said |= {
        "tokens": tokens,
        "token_type": [types.get(n, NORMAL) if n in texts else UNUSED for n in range(vocab)],
        **{name: value for name, value in ids.items() if value is not None},
        "add_bos_token": tokenizer.begin is not None,
    }
    if "scores" in said:
        said["scores"] = [said["scores"].get(token, LOWEST) for token in tokens]
    return {f"tokenizer.ggml.{name}": value for name, value in said.items()}


def _bytes() -> dict[str, Any]:
    """Each byte is a token, and nothing is ever merged; the byte 0 ends a document."""
    return {"model": "gpt2", "pre": "gpt-2", "merges": [], "table": (dict(SIGN_OF), {0: CONTROL})}


def _table(content: dict[str, Any]) -> tuple[dict[int, str], dict[int, int]]:
    """The text of every id, and the types of those that are not normal."""
    texts = {number: text for text, number in content["model"]["vocab"].items()}
    types = {}
    for added in content.get("added_tokens") or []:
        texts[added["id"]] = added["content"]
        types[added["id"]] = CONTROL if added["special"] else USER_DEFINED
    return texts, types


def _byte_level(content: dict[str, Any]) -> dict[str, Any]:
    model = content["model"]
    cuts, whole = _cuts(content.get("pre_tokenizer")), bool(model.get("ignore_merges"))
    composed = content.get("normalizer")
    if composed not in (None, {"type": "NFC"}):
        raise ZooError("gguf: the tokenizer changes text before it cuts it; llama.cpp's byte-level ones do not")
    fits = [name for name in PATTERNS if PATTERNS[name] == cuts and (name in WHOLE_WORDS) == whole]
    names = [name for name in fits if (name in COMPOSED) == (composed is not None)]
    if not names:
        raise ZooError("gguf: the tokenizer cuts words apart in a way that llama.cpp has no name for")
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    return {"model": "gpt2", "pre": names[0], "merges": merges, "table": _table(content)}


def _cuts(cutter: Any) -> tuple[str, ...]:
    """The patterns that cut words apart, one after another."""
    steps = cutter.get("pretokenizers", [cutter]) if isinstance(cutter, dict) else []
    found: list[str] = []
    for step in steps:
        pattern = step.get("pattern", {})
        if step["type"] == "Split" and step["behavior"] == "Isolated" and not step.get("invert"):
            found.append(pattern.get("Regex", ""))
        elif step["type"] == "Digits" and step.get("individual_digits"):
            found.append(DIGIT)
        elif step["type"] == "ByteLevel" and not step.get("add_prefix_space"):
            found += [GPT2] if step.get("use_regex", True) else []
        else:
            raise ZooError(f"gguf: the tokenizer cuts words apart by {step['type']}, which llama.cpp does not")
    return tuple(found)


def _sentencepiece(content: dict[str, Any]) -> dict[str, Any]:
    """Pieces that come of earlier merges have higher scores."""
    texts, types = _table(content)
    model = content["model"]
    steps = content.get("normalizer") or {}
    steps = steps.get("normalizers", [steps])
    scores: dict[str, float] = {}
    for pair in model["merges"]:
        left, right = pair.split(" ", 1) if isinstance(pair, str) else pair
        scores.setdefault(left + right, -float(len(scores)))
    types |= {number: BYTE for number, text in texts.items() if SPELLED_BYTE.fullmatch(text)}
    if (unknown := model["vocab"].get(model.get("unk_token"))) is not None:
        types[unknown] = UNKNOWN
    prefix = any(step.get("type") == "Prepend" for step in steps)
    said = {"model": "llama", "scores": scores, "add_space_prefix": prefix, "table": (texts, types)}
    return said | ({} if unknown is None else {"unknown_token_id": unknown})
