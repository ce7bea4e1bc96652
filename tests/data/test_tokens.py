"""Token arrays: the corpus's documents in its splits, built once, sound whatever happens to the cache."""

import json
import threading
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from foundry.data import tokens as tokens_module
from foundry.data.bpe import END
from foundry.data.corpus import SPLITS, load_corpus
from foundry.data.tokenizer import BYTES, Tokenizer, tokenizer_from_json
from foundry.data.tokens import documents_of, load_tokens, token_type


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def texts_of(tokens, split):
    bounds = [*tokens.starts(split), len(tokens.split(split))]
    return [tokens.split(split)[a:b] for a, b in pairwise(bounds)]


def test_every_document_is_there_in_its_split_and_order_with_an_end(lines, words, cache):
    corpus, tokens = load_corpus(str(lines), cache), load_tokens(str(lines), words, cache)
    for split in SPLITS:
        wanted = [document.decode() for document in documents_of(corpus.split(split))]
        found = texts_of(tokens, split)
        assert [words.decode(ids) for ids in found] == wanted
        assert all(ids[-1] == words.end and words.end not in ids[:-1] for ids in found)
        assert tokens.documents[split] == len(found)
        assert tokens.split(split).dtype == np.uint16 and not tokens.split(split).flags.writeable


def test_bytes_are_the_arrays_of_the_corpus(lines, cache):
    corpus, tokens = load_corpus(str(lines), cache), load_tokens(str(lines), BYTES, cache)
    assert tokens.hash == corpus.hash and not (cache / "tokens").exists()
    for split in SPLITS:
        assert np.array_equal(tokens.split(split), corpus.split(split))
        documents = corpus.split(split).tobytes().split(b"\0")[:-1]
        assert [ids.tobytes() for ids in texts_of(tokens, split)] == [document + b"\0" for document in documents]


def test_a_tokenizer_that_begins_documents_does_so_here(lines, words, cache):
    content = json.loads(words.source)
    content["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": END, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {END: {"id": END, "ids": [words.end], "tokens": [END]}},
    }
    one_sign = tokenizer_from_json(json.dumps(content), "one sign for both")
    assert one_sign.begin == one_sign.end == words.end
    same = load_tokens(str(lines), one_sign, cache)
    assert np.array_equal(same.train, load_tokens(str(lines), words, cache).train), (
        "then one between documents is enough"
    )
    other = replace(words, begin=65, hash="other")
    assert all(ids[0] == 65 for ids in texts_of(load_tokens(str(lines), other, cache), "test"))


def test_the_second_time_nothing_is_encoded(lines, words, cache, monkeypatch):
    first = load_tokens(str(lines), words, cache)
    monkeypatch.setattr(Tokenizer, "encode_all", None)
    again = load_tokens(str(lines), words, cache)
    assert again.hash == first.hash and np.array_equal(again.train, first.train)


def test_another_tokenizer_has_arrays_of_its_own(lines, words, stories, cache):
    from foundry.data.bpe import train_tokenizer

    one, other = (load_tokens(str(lines), kind, cache) for kind in (words, train_tokenizer(stories, 300)))
    assert one.hash != other.hash and len(one.train) < len(other.train)


@pytest.mark.parametrize("name", ["train.bin", "test.starts", "tokens.json"])
@pytest.mark.parametrize("harm", ["cut", "changed", "gone"])
def test_a_damaged_cache_is_built_again(lines, words, cache, name, harm):
    whole = load_tokens(str(lines), words, cache)
    train, starts = whole.train.copy(), whole.starts("test").copy()
    (path,) = cache.glob(f"tokens/*/{name}")
    data = path.read_bytes()
    path.unlink()
    if harm != "gone":
        path.write_bytes(data[:-8] if harm == "cut" else data[:16] + bytes([data[16] ^ 1]) + data[17:])
    again = load_tokens(str(lines), words, cache)
    assert np.array_equal(again.train, train) and np.array_equal(again.starts("test"), starts)


def test_many_may_build_at_once(lines, words, cache):
    found = []
    threads = [threading.Thread(target=lambda: found.append(load_tokens(str(lines), words, cache))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and all(np.array_equal(found[0].train, tokens.train) for tokens in found)
    assert [path.name for path in (cache / "tokens").iterdir() if path.name.startswith(".")] == []


def test_a_long_document_is_encoded_in_pieces_that_are_whole_characters(words, monkeypatch):
    monkeypatch.setattr(tokens_module, "LONGEST", 100)
    for text in ("Zoë sees the cat.\n" * 40, "猫" * 333, "x"):
        assert max(map(len, tokens_module._pieces(text.encode()))) <= 100
        (ids,) = tokens_module.encode_documents([text.encode()], words)
        assert words.decode(ids) == text


def test_progress_is_told_in_bytes(lines, words, cache, monkeypatch):
    monkeypatch.setattr(tokens_module, "QUIET", -1.0)
    told = []
    load_tokens(str(lines), words, cache, tell=lambda done, total: told.append((done, total)))
    corpus = load_corpus(str(lines), cache)
    size = sum(len(corpus.split(split)) for split in SPLITS)
    assert told[-1] == (size, size) and [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize("vocab, dtype", [(256, np.uint8), (257, np.uint16), (1 << 16, np.uint16), (65_537, np.uint32)])
def test_ids_take_as_few_bytes_as_the_vocabulary_allows(vocab, dtype):
    assert token_type(vocab) is dtype and np.iinfo(dtype).max >= vocab - 1
