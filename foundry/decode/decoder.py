"""Decoding many sequences in lock-step, each token computed once: exact for every genome.

All rows of a cohort stand at one position, so that no row needs padding or a mask of its own, whatever the genome
remembers. A row whose prompt is longer than its neighbour's is fed its own prompt while the neighbour is fed what was
chosen. A row that ends leaves the batch.

What is promised: a row's draws depend on its seed alone, and its logits are those of the row alone but for rounding,
since a batch of another size may add up in another order. So a row gets the same tokens in any company, but for draws
and ties within that rounding (about 1e-6 of a logit in float32).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from foundry.decode.sampling import Floats, Sampling, choose, log_probabilities
from foundry.decode.stop import Stop

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer

CHUNK = 1024  # tokens of every prompt in one pass: what a step may keep others waiting for
ROWS = 64  # sequences that `decode` continues at a time, each with a cache of its own; others wait
UNLIKE = 2.0  # how much longer than the shortest a prompt of the same cohort may be


class DecodeError(ValueError):
    """What cannot be decoded. One line."""


@dataclass(frozen=True)
class Request:
    """A sequence to be continued: `row` is what its events are called, prompt the ids of its tokens."""

    row: int
    prompt: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Event:
    """One new token of a row, or its end.

    id: None only where a sequence ends without one. text: what has become certain since the row's last event, ""
    while a character or a stop string may be incomplete; all texts of a row, joined, are its continuation.
    finish: "" | "stop" (an end token, a stop string, or the end of the grammar) | "length" (max_tokens, or the model
    has no more positions) | "error" (`error` says why; other rows go on). logprob: of this token, natural logarithm;
    None where not asked for. likely: the likeliest tokens with theirs, the best first.
    """

    row: int
    id: int | None
    text: str
    finish: str = ""
    logprob: float | None = None
    likely: tuple[tuple[int, float], ...] = ()
    error: Exception | None = None


def check_request(module: ModuleType, prompt: Sequence[int], sampling: Sampling, tokenizer: Tokenizer) -> None:
    """What can be known before decoding.

    Raises:
        DecodeError: an empty prompt, an id that the model or the tokenizer does not have, a prompt longer than the
            model's positions.
        foundry.decode.grammar.GrammarError: a grammar that is none.
    """
    known = min(module.VOCAB, tokenizer.vocab)
    if not prompt:
        raise DecodeError("the prompt has no tokens")
    wrong = next((token for token in prompt if not 0 <= token < known), None)
    if wrong is not None:
        raise DecodeError(f"the prompt has the token {wrong}, and the tokens are 0 to {known - 1}")
    if module.LONGEST is not None and len(prompt) > module.LONGEST:
        raise DecodeError(f"the prompt has {len(prompt)} tokens, and the model {module.LONGEST} positions")
    if sampling.grammar is not None:
        from foundry.decode.grammar import Matcher

        Matcher(sampling.grammar, tokenizer).allowed(known)  # some grammars fail at their first token


def decode(
    module: ModuleType,
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    samplings: Sequence[Sampling],
    tokenizer: Tokenizer,
) -> Iterator[Event]:
    """Continue every prompt; an event for each new token as soon as it is known. Closing the iterator stops it.

    module: what the genome was emitted to. model: its `Model`, in eval mode. Event.row: the prompt's number. Nothing
    is computed before the first event is asked for, but everything is checked.

    Raises:
        DecodeError: see `check_request`; after the last event: the logits of a row were not finite.
        foundry.decode.grammar.GrammarError: a grammar that is none; after the last event: one that gave up.
    """
    requests = [Request(n, tuple(p), s) for n, (p, s) in enumerate(zip(prompts, samplings, strict=True))]
    groups = alike([len(request.prompt) for request in requests])
    groups = [group[n : n + ROWS] for group in groups for n in range(0, len(group), ROWS)]
    return _in_turn(deque(Cohort(module, model, [requests[n] for n in group], tokenizer) for group in groups))


def _in_turn(waiting: deque[Cohort]) -> Iterator[Event]:
    """A token for each cohort in turn; the first error of a row once all others have ended."""
    cohorts: list[Cohort] = []
    failed: Exception | None = None
    while waiting or cohorts:
        while waiting and sum(len(cohort.rows) for cohort in [*cohorts, waiting[0]]) <= ROWS:
            cohorts.append(waiting.popleft())
        for cohort in cohorts:
            for event in cohort.step():
                failed = failed or event.error
                yield event
        cohorts = [cohort for cohort in cohorts if cohort.rows]
    if failed is not None:
        raise failed


class Memory:
    """What a model has read of a conversation, from one answer to the next."""

    def __init__(self) -> None:
        self.tokens: tuple[int, ...] = ()
        self.past: Any = None

    def keep(self, tokens: Sequence[int], past: Any) -> None:
        self.tokens, self.past = tuple(tokens), past

    def take(self, prompt: Sequence[int]) -> Any:
        """The `Past` to go on from, where the prompt begins with what was read and goes on; else None.

        It is forgotten here: who goes on from it changes it.
        """
        tokens, past = self.tokens, self.past
        self.keep((), None)
        return past if len(tokens) < len(prompt) and tuple(prompt[: len(tokens)]) == tokens else None


def answer(
    module: ModuleType,
    model: nn.Module,
    prompt: Sequence[int],
    sampling: Sampling,
    tokenizer: Tokenizer,
    memory: Memory,
) -> Iterator[Event]:
    """As `decode` for one prompt, of which nothing is read again that the memory holds.

    Afterwards the memory holds what was read of prompt and answer; nothing where the iterator was closed or raised.
    """
    cohort = Cohort(module, model, [Request(0, tuple(prompt), sampling)], tokenizer, memory.take(prompt))
    return _remembered(cohort, memory)


def _remembered(cohort: Cohort, memory: Memory) -> Iterator[Event]:
    (row,) = cohort.rows
    yield from _in_turn(deque([cohort]))
    memory.keep(row.tokens[: cohort.past.position], cohort.past)


def alike(lengths: Sequence[int]) -> list[list[int]]:
    """Which prompts to decode together: of like length, so that nobody reads a long prompt token by token."""
    groups: list[list[int]] = []
    for n in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not groups or lengths[n] > UNLIKE * lengths[groups[-1][0]]:
            groups.append([])
        groups[-1].append(n)
    return groups


class Cohort:
    """Sequences that are decoded in lock-step. `rows`: those that have not ended."""

    def __init__(
        self, module: ModuleType, model: nn.Module, requests: Sequence[Request], tokenizer: Tokenizer, past: Any = None
    ):
        """Nothing is computed yet. past: a `Past` that has read the beginning of every prompt, and less than all of it.

        Raises:
            DecodeError, GrammarError: see `check_request`.
        """
        for request in requests:
            check_request(module, request.prompt, request.sampling, tokenizer)
        self.model, self.longest = model, module.LONGEST
        self.known = min(module.VOCAB, tokenizer.vocab)
        self.rows = [Row(request, tokenizer) for request in requests]
        self.past = module.Past(last=True) if past is None else past
        self.device = next(model.parameters()).device

    @torch.inference_mode()
    def step(self) -> list[Event]:
        """One pass of the model for all rows, and the events of those that got a token. [] when no row is left.

        What goes wrong with one row is an event of that row.
        """
        if not self.rows:
            return []
        start = self.past.position
        end = min(start + CHUNK, *(len(row.tokens) for row in self.rows))
        tokens = torch.tensor([row.tokens[start:end] for row in self.rows], device=self.device)
        logits = self.model(tokens, self.past)[:, -1, : self.known]  # (rows, known)
        due = [n for n, row in enumerate(self.rows) if len(row.tokens) == end]
        full = self.longest is not None and end >= self.longest
        events = self.events(logits[due], [self.rows[n] for n in due], full) if due else []
        self.leave({event.row for event in events if event.finish})
        return events

    def events(self, logits: Tensor, rows: list[Row], full: bool) -> list[Event]:
        """What each of these rows makes of its logits (rows, known)."""
        likeliest = logits.argmax(-1)  # the first of equals, and a NaN before everything else
        finite = logits.gather(-1, likeliest[:, None]).isfinite()[:, 0]
        events = []
        for row, scores, token, good in zip(rows, logits, likeliest.tolist(), finite.tolist(), strict=True):
            try:
                if not good:
                    raise DecodeError(f"the logits are not finite after {self.past.position} tokens")
                plain = row.sampling.plain
                events.append(row.take(token, full) if plain else row.choose(scores.double().cpu().numpy(), full))
            except Exception as error:  # such as a grammar that gives up
                events.append(row.fail(error))
        return events

    def drop(self, row: int) -> None:
        """Take a row out; it gets no more events."""
        self.leave({row})

    def leave(self, gone: set[int]) -> None:
        """Take several rows out, at the price of one."""
        stay = [n for n, row in enumerate(self.rows) if row.request.row not in gone]
        fewer = len(stay) < len(self.rows)
        self.rows = [self.rows[n] for n in stay]
        if fewer and stay:
            self.past.keep_rows(torch.tensor(stay, dtype=torch.long, device=self.device))


class Row:
    """One sequence while it is decoded. tokens: the prompt, and what was made."""

    def __init__(self, request: Request, tokenizer: Tokenizer):
        self.request, self.sampling = request, request.sampling
        self.tokens, self.prompt = list(request.prompt), len(request.prompt)
        self.ends = {*self.sampling.ends} | ({tokenizer.end} if tokenizer.end is not None else set())
        self.stream, self.stop = tokenizer.stream(), Stop(self.sampling.stop)
        seed = secrets.randbits(64) if self.sampling.seed is None else self.sampling.seed
        self.generator = np.random.default_rng(seed)
        self.matcher: Any = None
        if self.sampling.grammar is not None:
            from foundry.decode.grammar import Matcher

            self.matcher = Matcher(self.sampling.grammar, tokenizer)

    def fail(self, error: Exception) -> Event:
        """The event of a row that cannot go on."""
        return replace(self.event(None, "", "error"), finish="error", error=error)

    def choose(self, logits: Floats, full: bool) -> Event:
        """Choose the next token from the model's logits."""
        allowed = self.matcher.allowed(len(logits)) if self.matcher else None
        if allowed is not None and not allowed.any():  # the text is complete, and nothing may follow
            return self.event(None, "", "stop")
        made = self.tokens[self.prompt :]
        token = choose(logits, self.sampling, self.generator, self.tokens[: self.prompt], made, allowed)
        count = self.sampling.logprobs
        if count is None:
            return self.take(token, full)
        known = log_probabilities(logits)
        best = np.argsort(-known, kind="stable")[:count].tolist()
        likely = tuple((n, float(known[n])) for n in best)
        return self.take(token, full, float(known[token]), likely)

    def take(
        self, token: int, full: bool, logprob: float | None = None, likely: tuple[tuple[int, float], ...] = ()
    ) -> Event:
        """The event of a token. `full`: the model has no position for another one."""
        self.tokens.append(token)
        if token in self.ends:
            return self.event(token, "", "stop", logprob, likely)
        text, stopped = self.stop.feed(self.stream.feed(token))
        if stopped:
            return Event(self.request.row, token, text, "stop", logprob, likely)
        if self.matcher and self.matcher.take(token):
            return self.event(token, text, "stop", logprob, likely)
        long = full or len(self.tokens) - self.prompt >= self.sampling.max_tokens
        return self.event(token, text, "length" if long else "", logprob, likely)

    def event(
        self,
        token: int | None,
        text: str,
        finish: str,
        logprob: float | None = None,
        likely: tuple[tuple[int, float], ...] = (),
    ) -> Event:
        """An event; one that ends the sequence has all text that was held back."""
        if finish:
            rest, stopped = self.stop.feed(self.stream.rest())
            text += rest if stopped else rest + self.stop.rest()
            finish = "stop" if stopped else finish
        return Event(self.request.row, token, text, finish, logprob, likely)
