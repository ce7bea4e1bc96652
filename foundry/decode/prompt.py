"""A text to the tokens that a model continues."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer


def prompt_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a prompt: its text as nothing but text, behind the begin token of a tokenizer that has one.

    Nothing at all becomes that token alone, or else the one that ends the document before; [] where there is neither.
    """
    begin = [] if tokenizer.begin is None else [tokenizer.begin]
    end = [] if tokenizer.end is None else [tokenizer.end]
    return begin + tokenizer.encode(text) or end
