"""Conversations as a model reads them: a checkpoint's own template in Jinja, or plain lines where it has none.

A template comes with a checkpoint and is not to be trusted: it runs in Jinja's sandbox, and what it writes is limited.
What people write never means a special token, even where it spells one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer

Messages = Sequence[Mapping[str, Any]]

MOST = 1 << 22  # characters that a template may write
NAMES = {"system": "System", "developer": "System", "user": "User", "assistant": "Assistant"}
PLAIN_END = "\n\nUser:"
MARK = "\ue0005f0c{}\ue001"  # stands for what somebody wrote; private characters and digits, as nobody writes them
ROLE = re.compile("[a-z_]{1,32}")
MARKED = re.compile(MARK.format(r"(\d+)"))


class ChatError(ValueError):
    """A conversation that cannot be put into tokens. One line."""


class Chat:
    """How conversations look to one model.

    template: in Jinja, or None for plain lines. ends: the ids that end an answer, beside the tokenizer's own end;
    stop: the strings that do. Both are for `Sampling`.

    Raises:
        ChatError: the template is not valid Jinja, or Jinja is not installed.
    """

    def __init__(self, template: str | None, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.template: Any = None if template is None else _compiled(template)

    def tokens(self, messages: Messages) -> list[int]:
        """The ids of a conversation, up to where the answer begins.

        messages: {"role": "system" | "user" | "assistant" | ..., "content": text}; nothing else of them is used.

        Raises:
            ChatError: no messages, a message without role or text, or the template refuses them.
        """
        checked = [_checked(message) for message in messages]
        if not checked:
            raise ChatError("a conversation has at least one message")
        written = [message["content"] for message in checked]
        if not any(special in text for special in self.tokenizer.special for text in written):
            return self._begun(self.tokenizer.encode(self.text(checked), special=True))
        marked = [message | {"content": MARK.format(n)} for n, message in enumerate(checked)]
        parts = MARKED.split(self.text(marked))  # what the template writes, and the numbers of messages, in turn
        tokens: list[int] = []
        for place, part in enumerate(parts):
            tokens += self.tokenizer.encode(written[int(part)]) if place % 2 else self.tokenizer.encode(part, True)
        return self._begun(tokens)

    def text(self, messages: Messages, answer: bool = True) -> str:
        """The conversation as text. answer: up to where the next answer begins."""
        if self.template is None:
            lines = [f"{NAMES.get(m['role'], m['role'].capitalize())}: {m['content']}" for m in messages]
            return "\n\n".join(lines + ["Assistant:"] * answer)
        return self._rendered(messages, answer)

    @cached_property
    def ends(self) -> tuple[int, ...]:
        """The special token that the template puts behind an answer."""
        behind = self.tokenizer.encode(self._behind_an_answer, special=True)
        return tuple(behind[:1]) if behind and behind[0] in self.tokenizer.special.values() else ()

    @cached_property
    def stop(self) -> tuple[str, ...]:
        """What comes behind an answer, where that is no token of its own."""
        if self.template is None:
            return (PLAIN_END,)
        behind = self._behind_an_answer.split("\n")[0].strip()
        return (behind,) if behind and not self.ends else ()

    @cached_property
    def _behind_an_answer(self) -> str:
        mark = MARK.format(0)
        talk = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
        try:
            return self.text(talk, answer=False).partition(mark)[2].lstrip()
        except ChatError:
            return ""

    def _begun(self, tokens: list[int]) -> list[int]:
        if not tokens:
            raise ChatError("the chat template makes nothing of this conversation")
        return tokens

    def _rendered(self, messages: Messages, answer: bool) -> str:
        texts = {number: text for text, number in self.tokenizer.special.items()}
        values = {
            "messages": messages,
            "add_generation_prompt": answer,
            "bos_token": texts.get(-1 if self.tokenizer.begin is None else self.tokenizer.begin, ""),
            "eos_token": texts.get(-1 if self.tokenizer.end is None else self.tokenizer.end, ""),
        }
        pieces, size = [], 0
        try:
            for piece in self.template.generate(**values):
                pieces.append(piece)
                size += len(piece)
                if size > MOST:
                    raise ChatError(f"the chat template writes more than {MOST:,} characters")
        except ChatError:
            raise
        except Exception as error:  # a template can raise anything
            raise ChatError(f"the chat template: {_line(error)}") from None
        return "".join(pieces)


def fitting(chat: Chat, messages: Messages, room: int) -> list[int]:
    """The ids of a conversation that has grown long, at most `room`: the oldest turns are left out, a system's never.

    Raises:
        ChatError: even the last message alone does not fit; and what `Chat.tokens` raises it for.
    """
    first = [m for m in messages[:1] if m["role"] in ("system", "developer")]
    turns = list(messages[len(first) :])
    while True:
        tokens = chat.tokens([*first, *turns])
        if len(tokens) <= room:
            return tokens
        later = next((n for n, m in enumerate(turns) if n and m["role"] == "user"), None)
        if later is None:
            raise ChatError(f"the message has {len(tokens)} tokens with all around it, and there is room for {room}")
        turns = turns[later:]


def _checked(message: Mapping[str, Any]) -> dict[str, str]:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str) or not ROLE.fullmatch(role):  # which the template writes as it is
        raise ChatError("a message needs a role: system, user, assistant or another short word")
    if not isinstance(message.get("content"), str):
        raise ChatError(f"the {role}'s message needs a text as its content")
    return {"role": role, "content": message["content"]}


def _compiled(template: str) -> Any:
    try:
        from jinja2 import TemplateError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ChatError("a chat template needs the extra `text`: pip install 'foundry[text]'") from None

    class Sandbox(ImmutableSandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            numbers = isinstance(left, int | float) and isinstance(right, int | float)
            if operator == "**" or (operator == "*" and not numbers) or (operator == "%" and not numbers):
                raise ChatError(f"the chat template uses {operator} on more than plain numbers")
            return super().call_binop(context, operator, left, right)

    def refuse(message: str) -> None:
        raise ChatError(f"the chat template refuses this: {_line(message)}")

    # What transformers gives to templates: https://huggingface.co/docs/transformers/chat_templating_writing
    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.filters["tojson"] = lambda x, indent=None: json.dumps(x, ensure_ascii=False, indent=indent)
    environment.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    try:
        return environment.from_string(template)
    except TemplateError as error:
        raise ChatError(f"the chat template: {_line(error)}") from None


def _line(error: object) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:200]
