"""From logits to a token: temperature, top-k, top-p, min-p, penalties; in float64, on the processor.

The order is that of transformers, each filter on what the one before it left: repetition, presence and frequency
penalties, what a grammar allows, temperature, top-k, top-p, min-p; then one draw.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LARGEST = 1e300  # a score, so that the difference of two is finite as well


class SamplingError(ValueError):
    """A setting that means nothing. One line; `field` is its name."""

    def __init__(self, field: str, message: str):
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Sampling:
    """How to choose the tokens of one sequence.

    temperature: divides the logits; 0 takes the likeliest, the first of equals. top_k: only that many of the
    likeliest, 0 for all. top_p: only the likeliest that together reach this probability (Holtzman et al. 2019,
    arXiv:1904.09751). min_p: only what has this share of the likeliest one's probability (Nguyen et al. 2024,
    arXiv:2407.01082). repetition_penalty: divides the positive logits of tokens that were there, prompt included, and
    multiplies the negative ones (CTRL, Keskar et al. 2019, arXiv:1909.05858). presence_penalty, frequency_penalty:
    taken from the logits of tokens that were made, once, and for each time (OpenAI's definition).
    seed: of the draws; None for one that nobody knows. max_tokens: at most so many new ones. stop: strings before
    which the text ends. ends: ids that end it, beside the tokenizer's own. grammar: what
    `foundry.decode.grammar` made of a grammar: the text is in its language. logprobs: how many of the likeliest
    tokens to tell with each one; 0 tells of the one alone, None of nothing.

    Raises:
        SamplingError: a value out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    max_tokens: int = 128
    stop: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()
    grammar: str | None = None
    logprobs: int | None = None

    def __post_init__(self) -> None:
        number = (int, float)
        self._require("temperature", number, lambda x: 0 <= x < math.inf, "a number from 0 on")
        self._require("top_k", int, lambda x: x >= 0, "a whole number from 0 on")
        self._require("top_p", number, lambda x: 0 < x <= 1, "above 0 and at most 1")
        self._require("min_p", number, lambda x: 0 <= x <= 1, "from 0 to 1")
        self._require("repetition_penalty", number, lambda x: 0 < x < math.inf, "a number above 0")
        for field in ("presence_penalty", "frequency_penalty"):
            self._require(field, number, lambda x: -math.inf < x < math.inf, "a number")
        self._require("max_tokens", int, lambda x: x >= 1, "a whole number from 1 on")
        self._require("seed", (int, type(None)), lambda x: x is None or x >= 0, "a whole number from 0 on")
        self._require("logprobs", (int, type(None)), lambda x: x is None or 0 <= x <= 20, "from 0 to 20")
        self._require("stop", tuple, lambda x: all(isinstance(s, str) and s for s in x), "strings that are not empty")

    def _require(self, field: str, kind: type | tuple, good, wanted: str) -> None:
        value = getattr(self, field)
        if isinstance(value, bool) or not isinstance(value, kind) or not good(value):
            raise SamplingError(field, f"{field} is {value!r}, and must be {wanted}")

    @property
    def plain(self) -> bool:
        """Whether the token is the likeliest one of the model's own logits, and nothing else is asked."""
        penalised = self.repetition_penalty != 1 or self.presence_penalty or self.frequency_penalty
        return self.temperature == 0 and not penalised and self.grammar is None and self.logprobs is None


def choose(
    logits: Floats,
    sampling: Sampling,
    generator: np.random.Generator,
    prompt: Sequence[int] = (),
    made: Sequence[int] = (),
    allowed: NDArray[np.bool_] | None = None,
) -> int:
    """The next token, from the model's logits (V,) in float64. `allowed` (V,): the tokens that may be, or None for any.

    Takes one number from the generator, or none at temperature 0.
    """
    scores = penalised(logits, sampling, prompt, made)
    if allowed is not None:
        scores = np.where(allowed, scores, -np.inf)
    if sampling.temperature == 0:
        return int(scores.argmax())
    weights = probabilities(scores, sampling)
    sums = weights.cumsum()
    found = int(np.searchsorted(sums, generator.random() * sums[-1], side="right"))
    return min(found, int(weights.nonzero()[0][-1]))


def penalised(logits: Floats, sampling: Sampling, prompt: Sequence[int], made: Sequence[int]) -> Floats:
    """The logits after the penalties on tokens that were there before."""
    theta, presence, frequency = sampling.repetition_penalty, sampling.presence_penalty, sampling.frequency_penalty
    if theta == 1 and presence == 0 and frequency == 0:
        return logits
    scores = logits.copy()
    if theta != 1:
        seen = np.unique(np.asarray([*prompt, *made], dtype=np.int64))
        with np.errstate(over="ignore"):
            changed = np.where(scores[seen] > 0, scores[seen] / theta, scores[seen] * theta)
        scores[seen] = changed.clip(-LARGEST, LARGEST)  # finite, whatever the penalty
    for token, count in Counter(made).items() if presence or frequency else ():
        scores[token] -= presence + frequency * count
    return scores


def probabilities(scores: Floats, sampling: Sampling) -> Floats:
    """The distribution (V,) that is drawn from: after temperature, top-k, top-p and min-p, at a temperature above 0."""
    # The best is subtracted first: divided by a tiny temperature, logits would overflow.
    with np.errstate(over="ignore"):  # and far below it they may: a weight of 0
        weights = np.exp((scores - scores.max()) / sampling.temperature)
    if 0 < sampling.top_k < len(weights):
        weights[weights < np.partition(weights, -sampling.top_k)[-sampling.top_k]] = 0
    if sampling.top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = weights[order].cumsum() - weights[order]  # of everything likelier
        weights[order[before >= sampling.top_p * weights.sum()]] = 0
    if sampling.min_p > 0:
        weights[weights < sampling.min_p * weights.max()] = 0
    return weights / weights.sum()


def log_probabilities(logits: Floats) -> Floats:
    """log softmax of the model's own logits (V,): before temperature, penalties and grammar. Finite, as JSON wants."""
    shifted = (logits - logits.max()).clip(-LARGEST)
    return shifted - np.log(np.exp(shifted).sum())
