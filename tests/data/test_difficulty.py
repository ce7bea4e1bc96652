"""The order of a curriculum over difficulty."""

import numpy as np
import pytest

from foundry.data.difficulty import easiest_first, places


def test_repetitive_text_comes_before_prose_and_prose_before_noise():
    noise = np.random.default_rng(0).integers(0, 256, 1024, dtype=np.uint8)
    prose = (
        b"It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
        b"foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of Light. " * 8
    )
    data = np.concatenate([noise, np.frombuffer(prose[:1024], np.uint8), np.zeros(1024, np.uint8), noise[:100]])
    assert easiest_first(data).tolist() == [2, 1, 0]


def test_places_lie_in_the_easiest_share():
    order = np.array([3, 1, 0, 2])
    draws = np.random.default_rng(1).random(1000)
    half = places(order, draws, 0.5, last=4000, chunk=1024)
    assert set(half // 1024) == {3, 1} and half.max() <= 4000
    assert set(places(order, draws, 1.0, last=4000, chunk=1024) // 1024) == {0, 1, 2, 3}
    assert set(places(order, draws, 0.0, last=4000, chunk=1024) // 1024) == {3}, "never nothing at all"


def test_too_little_text_is_an_error():
    with pytest.raises(ValueError, match="100 bytes are less than one chunk of 1024"):
        easiest_first(np.zeros(100, np.uint8))
