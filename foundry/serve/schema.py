"""What clients may ask for: the requests of OpenAI's completions and chat completions, and what is refused of them.

platform.openai.com/docs/api-reference. Nothing that changes an answer is passed over in silence: a field is honoured,
or known to change nothing here, or refused by its name.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

# Fields that say something of the client or of OpenAI's own machines, and nothing of the answer.
IGNORED = {
    "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "service_tier", "store", "user",
}  # fmt: skip
# Fields that are not supported, and may be there as long as they ask for nothing.
UNSUPPORTED = {
    "audio", "best_of", "echo", "function_call", "functions", "logit_bias", "modalities", "moderation", "prediction",
    "reasoning_effort", "suffix", "tool_choice", "tools", "verbosity", "web_search_options",
}  # fmt: skip
NOTHING: tuple[Any, ...] = (False, 0, "", [], {}, "none", ["text"])
MOST_STOPS = 16  # stop strings
LONGEST_STOP = 1000  # characters


def _stops(value: Any) -> Any:
    strings = [value] if isinstance(value, str) else value
    if not isinstance(strings, list) or not all(isinstance(text, str) and text for text in strings):
        raise ValueError("a string or a list of strings that are not empty")
    if len(strings) > MOST_STOPS or any(len(text) > LONGEST_STOP for text in strings):
        raise ValueError(f"at most {MOST_STOPS} strings of at most {LONGEST_STOP} characters")
    return strings


def _prompts(value: Any) -> Any:
    """Every kind of prompt as a list of prompts, each a text or a list of token ids."""
    several = value if isinstance(value, list) and value and not _ids(value) else [value]
    if not all(isinstance(prompt, str) or _ids(prompt) for prompt in several):
        raise ValueError("a text, a list of token ids, or a list of either, and none of the lists empty")
    return several


def _ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _content(value: Any) -> Any:
    """The text of a message, which may come in parts."""
    if not isinstance(value, list):
        return value
    if not all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in value):
        raise ValueError("this server takes text only")
    return "".join(part["text"] for part in value)


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")
    include_usage: bool = False


class JsonSchema(BaseModel):
    model_config = ConfigDict(extra="ignore")
    definition: dict[str, Any] = Field(alias="schema")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def complete(self) -> ResponseFormat:
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("the type json_schema needs the field json_schema")
        return self


class Wish(BaseModel):
    """What both kinds of request may ask for. top_k, min_p and repetition_penalty are not OpenAI's."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, protected_namespaces=())

    model: str
    max_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    n: int = Field(1, ge=1)
    seed: int | None = Field(None, ge=-(1 << 63), lt=1 << 63)
    stop: Annotated[list[str], BeforeValidator(_stops)] = []
    stream: bool = False
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None

    @model_validator(mode="before")
    @classmethod
    def honest(cls, fields: Any) -> Any:
        """Without fields that are null or change nothing; null is what some clients send for an absent one."""
        if not isinstance(fields, dict):
            return fields
        for name in UNSUPPORTED & fields.keys():
            if fields[name] is not None and fields[name] not in NOTHING and (name, fields[name]) != ("best_of", 1):
                raise PydanticCustomError("unsupported", "is not supported", {"name": name})
        skipped = IGNORED | UNSUPPORTED
        return {name: value for name, value in fields.items() if value is not None and name not in skipped}


class Completion(Wish):
    """POST /v1/completions. prompt: texts or lists of token ids. logprobs: how many of the likeliest to tell."""

    prompt: Annotated[list[str | list[int]], BeforeValidator(_prompts)] = [""]
    max_tokens: int = Field(16, ge=1)
    logprobs: int | None = Field(None, ge=0, le=20)

    @property
    def likely(self) -> int | None:
        """What `Sampling.logprobs` wants."""
        return self.logprobs


class Message(BaseModel):
    """A turn of a conversation. An answer may be sent back as it came: with fields that are null or empty."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["system", "developer", "user", "assistant"]
    content: Annotated[str, BeforeValidator(_content)]
    name: str | None = None

    @model_validator(mode="before")
    @classmethod
    def told(cls, fields: Any) -> Any:
        return {k: v for k, v in fields.items() if v is not None and v != []} if isinstance(fields, dict) else fields


class Chat(Wish):
    """POST /v1/chat/completions."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool = False
    top_logprobs: int = Field(0, ge=0, le=20)

    @model_validator(mode="after")
    def asked(self) -> Chat:
        if self.top_logprobs and not self.logprobs:
            raise PydanticCustomError("alone", "needs logprobs to be true", {"name": "top_logprobs"})
        return self

    @property
    def likely(self) -> int | None:
        return self.top_logprobs if self.logprobs else None
