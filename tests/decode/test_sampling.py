"""Tokens are drawn from the distribution that transformers' logits processors define."""

import numpy as np
import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from foundry.decode.sampling import Sampling, SamplingError, choose, log_probabilities, penalised, probabilities

LOGITS = 3 * np.random.default_rng(0).standard_normal(50)
SETTINGS = [
    {},
    {"temperature": 0.3},
    {"top_k": 7},
    {"top_p": 0.6},
    {"min_p": 0.2},
    {"repetition_penalty": 1.7},
    {"temperature": 2.0, "top_k": 20, "top_p": 0.8, "min_p": 0.05, "repetition_penalty": 1.2},
    {"temperature": 0.7, "top_k": 3, "top_p": 0.5},
]
SEEN = [3, 3, 17, 40]


def theirs(settings):
    """The distribution by transformers, in float64."""
    steps = LogitsProcessorList()
    if "repetition_penalty" in settings:
        steps.append(RepetitionPenaltyLogitsProcessor(settings["repetition_penalty"]))
    steps.append(TemperatureLogitsWarper(settings.get("temperature", 1.0)))
    for name, kind in (("top_k", TopKLogitsWarper), ("top_p", TopPLogitsWarper), ("min_p", MinPLogitsWarper)):
        if name in settings:
            steps.append(kind(settings[name]))
    return steps(torch.tensor([SEEN]), torch.tensor(LOGITS)[None]).softmax(-1)[0].numpy()


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_distribution_is_that_of_transformers(settings):
    sampling = Sampling(**settings)
    found = probabilities(penalised(LOGITS, sampling, SEEN[:2], SEEN[2:]), sampling)
    np.testing.assert_allclose(found, theirs(settings), atol=1e-12)


def test_draws_follow_the_distribution():
    sampling = Sampling(temperature=1.5, top_k=6)
    generator = np.random.default_rng(1)
    counts = np.bincount([choose(LOGITS, sampling, generator) for _ in range(4000)], minlength=50)
    expected = 4000 * probabilities(LOGITS, sampling)
    inside = expected > 0
    assert counts[~inside].sum() == 0
    chi_square = ((counts[inside] - expected[inside]) ** 2 / expected[inside]).sum()
    assert chi_square < 20.5  # 5 degrees of freedom: exceeded once in a thousand


def test_temperature_0_is_the_first_of_the_likeliest_and_draws_nothing():
    generator = np.random.default_rng(5)
    before = generator.bit_generator.state
    assert choose(np.array([0.0, 2.0, 1.0, 2.0]), Sampling(temperature=0), generator) == 1
    assert generator.bit_generator.state == before


def test_a_tiny_temperature_is_nearly_greedy_and_never_overflows():
    assert choose(1e3 * LOGITS, Sampling(temperature=1e-12), np.random.default_rng(0)) == LOGITS.argmax()


def test_presence_and_frequency_count_what_was_made_not_the_prompt():
    sampling = Sampling(presence_penalty=0.5, frequency_penalty=0.25)
    found = penalised(np.zeros(5), sampling, prompt=[0, 0, 4], made=[1, 2, 2])
    assert found.tolist() == [0, -0.75, -1.0, 0, 0]


def test_only_what_is_allowed_is_drawn():
    allowed = np.zeros(50, dtype=bool)
    allowed[[7, 9]] = True
    generator = np.random.default_rng(2)
    drawn = {choose(LOGITS, Sampling(temperature=3.0, top_p=0.999), generator, allowed=allowed) for _ in range(60)}
    assert drawn == {7, 9}


def test_log_probabilities_are_those_of_the_model_itself():
    expected = torch.tensor(LOGITS).log_softmax(-1).numpy()
    np.testing.assert_allclose(log_probabilities(LOGITS), expected, atol=1e-12)


@pytest.mark.parametrize(
    "field, value",
    [
        ("temperature", -0.1), ("temperature", float("nan")), ("temperature", float("inf")), ("temperature", "hot"),
        ("top_k", -1), ("top_k", 2.5), ("top_p", 0.0), ("top_p", 1.1), ("min_p", -0.5), ("min_p", True),
        ("repetition_penalty", 0), ("presence_penalty", float("inf")), ("max_tokens", 0), ("seed", -1),
        ("logprobs", 21), ("stop", ("",)),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_named(field, value):
    with pytest.raises(SamplingError, match=f"^{field} is ") as caught:
        Sampling(**{field: value})
    assert caught.value.field == field and "\n" not in str(caught.value)
