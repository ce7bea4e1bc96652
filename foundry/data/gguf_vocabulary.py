"""The tokenizer in a GGUF file, as a `tokenizer.json`: byte-level BPE ("gpt2") and sentencepiece's BPE ("llama").

What the keys `tokenizer.ggml.*` mean, and the patterns that cut words apart, are those of llama.cpp's llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foundry.data.gguf_header import GGUFError, read_gguf_header
from foundry.data.tokenizer import Tokenizer, TokenizerError, tokenizer_from_json

UNKNOWN, CONTROL, USER_DEFINED, BYTE = 2, 3, 4, 6  # types of tokens; 1 is a normal one, 5 an unused one
SPACE = "▁"  # how sentencepiece writes a space
LONGEST = 1024  # characters of a piece: it is cut in two in every way

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
CASED = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {  # tokenizer.ggml.pre: the patterns that are applied one after another
    **dict.fromkeys(("gpt-2", "gpt2", "phi-2", "mpt", "olmo", "jais", "roberta-bpe", "exaone4"), (GPT2,)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), (r"\p{N}", GPT2)),
    **dict.fromkeys(
        ("llama3", "llama-v3", "llama-bpe", "falcon3", "smaug-bpe", "dbrx", "glm4", "chatglm-bpe"), (GPT4,)
    ),
    **dict.fromkeys(("qwen2", "stablelm2", "deepseek-r1-qwen", "hunyuan"), (GPT4.replace("{1,3}", ""),)),
    "tekken": (CASED,),
}
WHOLE_WORDS = {
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "tekken",
}  # a word in the vocabulary is not merged together
COMPOSED = {"qwen2", "deepseek-r1-qwen"}  # text is brought to Unicode's form NFC first


def read_gguf_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer of the model in a GGUF file.

    Raises:
        TokenizerError: the file is malformed, or its tokenizer is of a kind that is not known here.
    """
    try:
        header = read_gguf_header(path)
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read ({error.strerror})") from None
    except GGUFError as error:
        raise TokenizerError(f"{path}: {error}") from None
    keys = {key.removeprefix("tokenizer.ggml."): value for key, value in header.items()}
    tokens, types = _strings(keys.get("tokens")), keys.get("token_type")
    if not tokens:
        raise TokenizerError(f"{path}: the file holds no tokenizer")
    if not isinstance(types, list) or len(types) != len(tokens):
        types = [1] * len(tokens)
    kind = keys.get("model")
    if kind == "gpt2":
        content = _byte_level(tokens, types, keys, path)
    elif kind == "llama":
        content = _sentencepiece(tokens, types, keys, path)
    else:
        raise TokenizerError(f"{path}: a tokenizer of the kind {str(kind)[:40]!r}; known are 'gpt2' and 'llama'")
    if keys.get("add_bos_token", kind == "llama") and (begin := _token(tokens, keys.get("bos_token_id"))):
        content["post_processor"] = _begins_with(begin, keys["bos_token_id"])
    text = json.dumps(content, ensure_ascii=False)
    return tokenizer_from_json(text, str(path), end=_token(tokens, keys.get("eos_token_id")))


def _byte_level(tokens: list[str], types: list[int], keys: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """As GPT-2 and most of what came after it."""
    name, merges = keys.get("pre"), _strings(keys.get("merges"))
    if name not in PATTERNS:
        raise TokenizerError(
            f"{path}: cuts words apart as {str(name)[:40]!r}, which is not known here; take the model's tokenizer.json"
        )
    if not merges and keys.get("merges") != []:  # a vocabulary of bytes alone has an empty list
        raise TokenizerError(f"{path}: its tokenizer has no merges")
    cuts = [_split(pattern) for pattern in PATTERNS[name]]
    model = {
        "type": "BPE",
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": [merge.split(" ", 1) for merge in merges],
        "ignore_merges": name in WHOLE_WORDS,
    }
    by_bytes = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0",
        "added_tokens": _added(tokens, types),
        "normalizer": {"type": "NFC"} if name in COMPOSED else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*cuts, by_bytes]},
        "post_processor": None,
        "decoder": by_bytes,
        "model": model,
    }


def _sentencepiece(tokens: list[str], types: list[int], keys: Mapping[str, Any], path: str | Path) -> dict[str, Any]:
    """As Llama 1 and 2, and Gemma: spaces are signs of their own, and what no piece spells falls back to bytes."""
    scores = keys.get("scores")
    if not isinstance(scores, list) or len(scores) != len(tokens):
        raise TokenizerError(f"{path}: its tokenizer has no scores")
    if (longest := max(map(len, tokens))) > LONGEST:
        raise TokenizerError(f"{path}: its tokenizer has a piece of {longest:,} characters; {LONGEST:,} are allowed")
    prefix = bool(keys.get("add_space_prefix", True))
    to_signs = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    to_spaces = {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}
    first = [{"type": "Prepend", "prepend": SPACE}] if prefix else []
    last = [{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if prefix else []
    model = {
        "type": "BPE",
        "vocab": {token: number for number, token in enumerate(tokens)},
        "merges": _merges(tokens, types, scores),
        "unk_token": _token(tokens, keys.get("unknown_token_id")),
        "fuse_unk": True,
        "byte_fallback": True,
    }
    return {
        "version": "1.0",
        "added_tokens": _added(tokens, types),
        "normalizer": {"type": "Sequence", "normalizers": [*first, to_signs]},
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {"type": "Sequence", "decoders": [to_spaces, {"type": "ByteFallback"}, {"type": "Fuse"}, *last]},
        "model": model,
    }


def _merges(tokens: list[str], types: list[int], scores: list[float]) -> list[list[str]]:
    """Sentencepiece merges the neighbours whose whole has the highest score: every way to cut a piece in two pieces is
    a merge, and the pieces with the highest scores come first."""
    usable = {token: n for n, token in enumerate(tokens) if types[n] not in (UNKNOWN, CONTROL, BYTE)}
    found = []
    for token, number in usable.items():
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in usable and right in usable:
                found.append((-scores[number], number, usable[left], usable[right], [left, right]))
    return [pair for *_, pair in sorted(found)]


def _added(tokens: list[str], types: list[int]) -> list[dict[str, Any]]:
    """Control tokens, which are special, and those that somebody added as whole words."""
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": number, "content": token, "special": types[number] != USER_DEFINED, **plain}
        for number, token in enumerate(tokens)
        if types[number] in (UNKNOWN, CONTROL, USER_DEFINED)
    ]


def _begins_with(token: str, number: int) -> dict[str, Any]:
    return {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": token, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {token: {"id": token, "ids": [number], "tokens": [token]}},
    }


def _split(pattern: str) -> dict[str, Any]:
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}


def _strings(values: Any) -> list[str]:
    """The value where it is a list of strings, else none."""
    return values if isinstance(values, list) and all(isinstance(value, str) for value in values) else []


def _token(tokens: list[str], number: Any) -> str | None:
    return tokens[number] if isinstance(number, int) and 0 <= number < len(tokens) else None
