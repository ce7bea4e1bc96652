"""What clients get: the objects of OpenAI's API, made from the events of a decoder.

platform.openai.com/docs/api-reference: text_completion, chat.completion and chat.completion.chunk. A `Reply` knows
both kinds; text and chat differ in what a choice looks like.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from foundry.decode.decoder import Event

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer


@dataclass(frozen=True)
class Usage:
    """Tokens that a request cost. Those of a prompt count once, however many choices go on from it."""

    prompt: int
    made: int

    def body(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.made,
            "total_tokens": self.prompt + self.made,
        }


@dataclass
class Reply:
    """The answer to one request. chat: which of the two APIs. likely: whether log-probabilities were asked for."""

    chat: bool
    model: str
    tokenizer: Tokenizer
    likely: bool
    id: str = field(default_factory=lambda: secrets.token_hex(12))
    created: int = field(default_factory=lambda: int(time.time()))
    offsets: dict[int, int] = field(default_factory=dict)  # characters of each choice that were told with its tokens

    def whole(self, events: Sequence[Sequence[Event]], usage: Usage) -> dict[str, Any]:
        """The answer in one piece; the events of each choice."""
        choices = []
        for index, made in enumerate(events):
            text = "".join(event.text for event in made)
            said = {"message": {"role": "assistant", "content": text, "refusal": None}} if self.chat else {"text": text}
            choices.append(self._choice(index, said, made, made[-1].finish))
        return {**self._head("chat.completion"), "choices": choices, "usage": usage.body()}

    def opening(self, index: int) -> dict[str, Any]:
        """The first piece of a choice of a chat: whose turn it is."""
        return self._chunk([self._choice(index, {"delta": {"role": "assistant", "content": ""}}, (), "")])

    def piece(self, index: int, event: Event) -> dict[str, Any]:
        """What one event adds to a choice."""
        delta = {"content": event.text} if event.text or not event.finish else {}
        said = {"delta": delta} if self.chat else {"text": event.text}
        return self._chunk([self._choice(index, said, (event,), event.finish)])

    def closing(self, usage: Usage) -> dict[str, Any]:
        """The last piece, where a client asked what it cost."""
        return {**self._chunk([]), "usage": usage.body()}

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": choices}

    def _head(self, kind: str) -> dict[str, Any]:
        prefix, kind = ("chatcmpl", kind) if self.chat else ("cmpl", "text_completion")
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _choice(self, index: int, said: dict[str, Any], events: Sequence[Event], finish: str) -> dict[str, Any]:
        told = self._logprobs(index, events) if self.likely and events else None
        return {"index": index, **said, "logprobs": told, "finish_reason": finish or None}

    def _logprobs(self, index: int, events: Sequence[Event]) -> dict[str, Any]:
        made = [event for event in events if event.id is not None and event.logprob is not None]
        if self.chat:
            return {"content": [self._told(event) for event in made], "refusal": None}
        tokens = [self._spelling(event.id) for event in made]
        top = [{self._spelling(token): p for token, p in (*event.likely, (event.id, event.logprob))} for event in made]
        offsets = []
        for token in tokens:
            offsets.append(self.offsets.setdefault(index, 0))
            self.offsets[index] += len(token)
        logprobs = [event.logprob for event in made]
        return {"tokens": tokens, "token_logprobs": logprobs, "top_logprobs": top, "text_offset": offsets}

    def _told(self, event: Event) -> dict[str, Any]:
        likely = [self._entry(token, logprob) for token, logprob in event.likely]
        return {**self._entry(event.id, event.logprob), "top_logprobs": likely}

    def _entry(self, token: int | None, logprob: float | None) -> dict[str, Any]:
        raw = None if token is None else self.tokenizer.token_bytes(token)
        return {"token": self._spelling(token), "logprob": logprob, "bytes": None if raw is None else list(raw)}

    def _spelling(self, token: int | None) -> str:
        """A token as text, a special one by its name; what is only part of a character is told in `bytes`."""
        if token is None:
            return ""
        raw = self.tokenizer.token_bytes(token)
        if raw is not None:
            return raw.decode(errors="replace")
        return next((name for name, number in self.tokenizer.special.items() if number == token), "")
