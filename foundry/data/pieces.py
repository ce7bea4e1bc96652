"""What bytes each token of a `tokenizer.json` stands for, read off its decoder."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tokenizers import Tokenizer

LONGEST = 64  # characters that one sign in a token may stand for
BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")


def pieces(inner: Tokenizer, decoder: Any, vocab: int) -> tuple[tuple[bytes | None, ...], bool]:
    """The bytes of every id below `vocab`, None for special tokens and ids without a token; and whether the first
    space of a text is the tokenizer's own, which decoding drops.

    decoder: that part of the JSON. An added token stands for its text as written, whatever the decoder does to others.
    """
    steps = _steps(decoder)
    table: list[bytes | None] = [None] * vocab
    meaning = _meaning(steps)
    for token, number in inner.get_vocab(with_added_tokens=True).items():
        table[number] = meaning(token)
    for number, added in inner.get_added_tokens_decoder().items():
        table[number] = None if added.special else added.content.encode("utf-8", "replace")
    return tuple(table), any(_drops_first_space(kind, step) for kind, step in steps.items())


def _steps(decoder: Any) -> dict[str, Any]:
    """The decoder's steps by their kind; a decoder that is missing joins words by spaces."""
    if decoder is None:
        return {"Words": {}}
    found: dict[str, Any] = {}
    for step in decoder["decoders"] if decoder["type"] == "Sequence" else [decoder]:
        found.setdefault(step["type"], step)
    return found


def _drops_first_space(kind: str, step: Any) -> bool:
    if kind == "Strip":
        return step["content"] == " " and step["start"] > 0
    if kind == "Metaspace":
        return step.get("prepend_scheme", "always") != "never"
    return kind in ("WordPiece", "Words")


def _meaning(steps: Mapping[str, Any]) -> Callable[[str], bytes]:
    """From a token as the vocabulary spells it to the bytes that it adds to a text."""
    if "ByteLevel" in steps:
        return lambda token: b"".join(BYTE_OF.get(sign) or sign.encode("utf-8", "replace") for sign in token)
    if "WordPiece" in steps:
        prefix = steps["WordPiece"]["prefix"]
        return lambda token: (token.removeprefix(prefix) if token.startswith(prefix) else f" {token}").encode()
    if "Words" in steps:
        return lambda token: f" {token}".encode()
    replaced = _replacements(steps)
    falls_back = "ByteFallback" in steps

    def spelled(token: str) -> bytes:
        if falls_back and (byte := BYTE.fullmatch(token)):
            return bytes.fromhex(byte[1])
        for sign, text in replaced.items():
            token = token.replace(sign, text)
        return token.encode("utf-8", "replace")

    return spelled


def _replacements(steps: Mapping[str, Any]) -> dict[str, str]:
    """What stands for a space in sentencepiece's vocabularies and in the first BPE ones."""
    replaced = {}
    if "Metaspace" in steps:
        replaced[steps["Metaspace"]["replacement"]] = " "
    if "Replace" in steps and "String" in steps["Replace"]["pattern"]:
        replaced[steps["Replace"]["pattern"]["String"]] = steps["Replace"]["content"]
    if "BPEDecoder" in steps:
        replaced[steps["BPEDecoder"]["suffix"]] = " "
    if any(len(text) > LONGEST for text in replaced.values()):
        raise ValueError(f"its decoder replaces a sign by more than {LONGEST} characters")
    return replaced


def _byte_signs() -> dict[int, str]:
    """A printable character for every byte, as GPT-2's `bytes_to_unicode` chooses them (Radford et al. 2019): bytes
    that print stand for themselves, the others follow from U+0100 on."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(others)}


SIGN_OF = _byte_signs()
BYTE_OF = {sign: bytes([byte]) for byte, sign in SIGN_OF.items()}
