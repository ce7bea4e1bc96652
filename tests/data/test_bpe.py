"""Training a tokenizer: any text can be spelled, equal text gives an equal one, and frequent words become short."""

import random
from collections import Counter
from itertools import pairwise

import pytest

from foundry.data.bpe import END, train_tokenizer
from foundry.data.tokenizer import TokenizerError


def test_it_has_as_many_ids_as_asked_for_with_the_end_last(words):
    assert (words.vocab, words.end, words.begin) == (330, 329, None)
    assert words.special == {END: 329}


def test_the_order_of_the_documents_does_not_matter(stories, words):
    shuffled = random.Random(0).sample(stories, len(stories))
    assert train_tokenizer(iter(shuffled), 330).hash == words.hash
    assert train_tokenizer(stories[:200], 330).hash != words.hash


def test_the_first_merge_is_the_commonest_pair_within_a_word():
    text = "abab abab cdcd abx " * 50
    counts = Counter(pair for word in text.split() for pair in pairwise(word))
    assert train_tokenizer([text], 258).table[256] == "".join(max(counts, key=counts.__getitem__)).encode()


def test_frequent_words_become_one_token_with_their_space(words, stories):
    assert all(len(words.encode(f" {word}")) == 1 for word in ("the", "cat", "sees", "night"))
    text = "".join(stories)
    assert len(words.encode(text)) < 0.35 * len(text.encode())


def test_no_token_crosses_from_one_kind_of_sign_to_another(words):
    pieces = [words.token_bytes(n).decode("utf-8", "replace") for n in words.encode("cat1234cat the\n\n  dog")]
    assert "".join(pieces) == "cat1234cat the\n\n  dog"
    assert not any(any(map(str.isdigit, piece)) and any(map(str.isalpha, piece)) for piece in pieces)


@pytest.mark.parametrize("vocab, said", [(256, "give from 257"), (2 << 20, "give from 257"), (5000, "give more text")])
def test_a_vocabulary_that_cannot_be_is_refused(vocab, said):
    with pytest.raises(TokenizerError, match=said):
        train_tokenizer(["the cat sees the dog"], vocab)
