"""From a request to the sequences that it asks for: tokens of each prompt, and how to sample."""

from __future__ import annotations

from dataclasses import dataclass, replace

from foundry.data.tokenizer import TokenizerError
from foundry.decode.chat import ChatError
from foundry.decode.decoder import DecodeError, check_request
from foundry.decode.grammar import GrammarError, Missing, any_json, from_json_schema
from foundry.decode.prompt import prompt_tokens
from foundry.decode.sampling import Sampling
from foundry.serve.errors import Refused
from foundry.serve.schema import Chat, Completion, ResponseFormat
from foundry.serve.served import Served


@dataclass(frozen=True)
class Continuation:
    """A prompt, as ids, and how it is to be continued."""

    prompt: tuple[int, ...]
    sampling: Sampling


def wanted(request: Chat | Completion, served: Served) -> list[Continuation]:
    """The sequences of a request: `n` for each prompt, in OpenAI's order of choices.

    The k-th continuation of a prompt draws with the seed plus k.

    Raises:
        Refused: a prompt that has no tokens, unknown ones, or too many; a grammar that is none; too many sequences.
    """
    prompts, limits, checkpoint = prompts_of(request, served), served.limits, served.checkpoint
    if len(prompts) * request.n > limits.sequences:
        asked = f"{len(prompts)} prompts times n = {request.n}" if len(prompts) > 1 else f"n = {request.n}"
        raise Refused(400, f"{asked}: a request may have {limits.sequences} sequences", param="n")
    found = []
    for prompt in prompts:
        sampling = sampling_of(request, len(prompt), served)
        try:
            check_request(checkpoint.module, prompt, sampling, checkpoint.tokenizer)
        except DecodeError as error:
            raise Refused(400, str(error), param=source_of(request)) from None
        except GrammarError as error:
            raise Refused(400, f"response_format: {error}", param="response_format") from None
        seeds = [None if sampling.seed is None else (sampling.seed + k) % (1 << 64) for k in range(request.n)]
        found += [Continuation(tuple(prompt), replace(sampling, seed=seed)) for seed in seeds]
    return found


def prompts_of(request: Chat | Completion, served: Served) -> list[list[int]]:
    """The ids of every prompt.

    Raises:
        Refused: the chat template or the tokenizer can do nothing with it.
    """
    tokenizer = served.checkpoint.tokenizer
    try:
        if isinstance(request, Completion):
            return [prompt_tokens(tokenizer, p) if isinstance(p, str) else p for p in request.prompt]
        return [served.chat.tokens([message.model_dump(exclude_none=True) for message in request.messages])]
    except (ChatError, TokenizerError) as error:
        raise Refused(400, str(error), param=source_of(request)) from None


def sampling_of(request: Chat | Completion, length: int, served: Served) -> Sampling:
    """How to sample behind a prompt of `length` tokens."""
    context, stop = served.limits.context, tuple(request.stop)
    ends: tuple[int, ...] = ()
    most = request.max_tokens or max(1, context - length)
    if isinstance(request, Chat):
        most = request.max_completion_tokens or most
        stop, ends = stop + served.chat.stop, served.chat.ends
    if length + most > context:
        message = f"the prompt has {length} tokens and its answer up to {most}; together they may have {context}"
        raise Refused(400, message, param=source_of(request), code="context_length_exceeded")
    return Sampling(
        temperature=request.temperature,
        top_k=request.top_k,
        top_p=request.top_p,
        min_p=request.min_p,
        repetition_penalty=request.repetition_penalty,
        presence_penalty=request.presence_penalty,
        frequency_penalty=request.frequency_penalty,
        seed=None if request.seed is None else request.seed % (1 << 64),
        max_tokens=most,
        stop=stop,
        ends=ends,
        grammar=grammar_of(request.response_format),
        logprobs=request.likely,
    )


def grammar_of(wish: ResponseFormat | None) -> str | None:
    """What the answer is held to."""
    if wish is None or wish.type == "text":
        return None
    try:
        return from_json_schema(wish.json_schema.definition) if wish.json_schema else any_json()
    except GrammarError as error:
        raise Refused(400, f"response_format: {error}", param="response_format") from None
    except Missing as error:
        raise Refused(501, str(error), param="response_format") from None


def source_of(request: Chat | Completion) -> str:
    return "messages" if isinstance(request, Chat) else "prompt"
