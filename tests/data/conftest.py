"""Texts and a tokenizer for the tests of data: three hundred short stories, and a BPE of 330 ids fitted to them."""

import json
import os
import random

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tests fork

import pytest

WORDS = ["the", "a", "cat", "dog", "sees", "hears", "Zoë", "and", "runs", "home", "at", "night"]


def story(number):
    """A text of some 30 to 2500 characters that depends on `number` alone."""
    draw = random.Random(number)
    return f"Story {number}. " + " ".join(draw.choices(WORDS, k=draw.choice([4, 40, 250, 500])))


@pytest.fixture(scope="session")
def stories():
    return [story(number) for number in range(300)]


@pytest.fixture(scope="session")
def lines(stories, tmp_path_factory):
    """The stories as a `.jsonl` file."""
    path = tmp_path_factory.mktemp("texts") / "stories.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in stories))
    return path


@pytest.fixture(scope="session")
def words(stories):
    """A byte-level BPE tokenizer of 330 ids."""
    from foundry.data.bpe import train_tokenizer

    return train_tokenizer(stories, 330)
