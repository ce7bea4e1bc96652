"""Tokenizers out of GGUF files: as the libraries that made the vocabularies, and one line for every malformed file."""

import io
import json
import struct

import pytest

from foundry.data.gguf_header import read_gguf_header
from foundry.data.gguf_vocabulary import read_gguf_tokenizer
from foundry.data.tokenizer import TokenizerError, read_tokenizer

gguf = pytest.importorskip("gguf")

TEXTS = ["The cat sees the dog.", "  Zoë hears\n\n\tthe night  ", "猫 😀 12345", "x"]


def write(path, keys):
    writer = gguf.GGUFWriter(path, "llama")
    for key, value in keys.items():
        add = {bool: writer.add_bool, int: writer.add_uint32, str: writer.add_string, list: writer.add_array}
        add[type(value)](f"tokenizer.ggml.{key}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


@pytest.fixture
def byte_level(words):
    """The keys of a GGUF file with the vocabulary of `words`."""
    model = json.loads(words.source)["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__) + list(words.special)
    return {
        "model": "gpt2",
        "pre": "llama-bpe",
        "tokens": tokens,
        "token_type": [1] * (len(tokens) - 1) + [3],
        "merges": [" ".join(merge) for merge in model["merges"]],
        "eos_token_id": len(tokens) - 1,
    }


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_bpe_is_that_of_the_tokenizers_library(words, byte_level, tmp_path, text):
    found = read_tokenizer(write(tmp_path / "model.gguf", byte_level))
    assert found.encode(text) == words.encode(text)
    assert (found.end, found.begin, found.table) == (words.end, None, words.table)


@pytest.fixture(scope="module")
def pieces(stories, tmp_path_factory):
    """A model that sentencepiece itself trained, and the GGUF file with its pieces."""
    sentencepiece = pytest.importorskip("sentencepiece")
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(stories), model_writer=trained, vocab_size=340, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2, num_threads=1,
    )  # fmt: skip
    peer = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())
    ids = range(peer.get_piece_size())
    types = [2 if peer.is_unknown(n) else 3 if peer.is_control(n) else 6 if peer.is_byte(n) else 1 for n in ids]
    keys = {
        "model": "llama",
        "tokens": [peer.id_to_piece(n) for n in ids],
        "scores": [peer.get_score(n) for n in ids],
        "token_type": types,
        "unknown_token_id": peer.unk_id(),
        "bos_token_id": peer.bos_id(),
        "eos_token_id": peer.eos_id(),
    }
    return peer, write(tmp_path_factory.mktemp("gguf") / "pieces.gguf", keys)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_those_of_sentencepiece(pieces, text):
    peer, path = pieces
    found = read_gguf_tokenizer(path)
    assert found.encode(text) == peer.encode(text)
    assert found.decode(found.encode(text)) == peer.decode(peer.encode(text)) == text
    assert (found.begin, found.end) == (peer.bos_id(), peer.eos_id())


def test_all_keys_are_those_that_the_gguf_package_reads(byte_level, tmp_path):
    path = write(tmp_path / "model.gguf", {**byte_level, "add_bos_token": True, "bos_token_id": 7})
    peer = gguf.GGUFReader(path)
    wanted = {key: field.contents() for key, field in peer.fields.items() if not key.startswith("GGUF.")}
    assert read_gguf_header(path) == wanted
    assert read_tokenizer(path).begin is None, "token 7 is an ordinary one"


# Bad input ----------------------------------------------------------------------------------------------------------


def one_line(path, said):
    with pytest.raises(TokenizerError) as caught:
        read_tokenizer(path)
    assert said in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"model": "rwkv"}, "a tokenizer of the kind 'rwkv'"),
        ({"pre": "something-new"}, "take the model's tokenizer.json"),
        ({"merges": []}, "has no merges"),
        ({"model": "llama"}, "has no scores"),
        ({"merges": ["zz yy"]}, "not a tokenizer that can be used"),
        ({"tokens": [1, 2, 3]}, "holds no tokenizer"),
    ],
)
def test_a_tokenizer_that_is_not_known_gets_one_line(byte_level, tmp_path, change, said):
    keys = {key: value for key, value in (byte_level | change).items() if value != []}
    one_line(write(tmp_path / "model.gguf", keys), said)


def test_a_file_that_is_cut_short_gets_one_line_wherever_it_ends(byte_level, tmp_path):
    data = write(tmp_path / "whole.gguf", byte_level).read_bytes()
    for end in [4, 5, 8, 20, 24, 30, 60, *range(100, len(data) - 50, len(data) // 40)]:
        (tmp_path / "cut.gguf").write_bytes(data[:end])
        one_line(tmp_path / "cut.gguf", "cut short")


@pytest.mark.parametrize("limit, what", [("MOST_VALUES", "values"), ("LONGEST", "bytes")])
def test_what_takes_more_memory_than_any_tokenizer_is_refused(byte_level, tmp_path, monkeypatch, limit, what):
    path = write(tmp_path / "large.gguf", byte_level)
    monkeypatch.setattr(f"foundry.data.gguf_header.{limit}", 20)
    one_line(path, f"{what}; 20 are allowed")


def test_a_piece_of_a_thousand_characters_is_not_cut_in_every_way(tmp_path):
    keys = {"model": "llama", "tokens": ["<unk>", "a" * 1025], "scores": [0.0, 1.0], "token_type": [2, 1]}
    one_line(write(tmp_path / "long.gguf", keys), "a piece of 1,025 characters; 1,024 are allowed")


@pytest.mark.parametrize(
    "data, said",
    [
        (struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), "version 1"),
        (struct.pack("<4sIQQ", b"GGUF", 3, 0, 1 << 60), "claims 1,152,921,504,606,846,976 keys"),
        (struct.pack("<4sIQQQ", b"GGUF", 3, 0, 1, 1 << 62), "a length in it is wrong"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 8, 1 << 50), "a length in it is wrong"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 4, 1 << 50), "a length in it is wrong"),
        (struct.pack("<4sIQQQ1sIIQ", b"GGUF", 3, 0, 1, 1, b"k", 9, 9, 1), "a list of kind 9"),
        (struct.pack("<4sIQQQ1sI", b"GGUF", 3, 0, 1, 1, b"k", 77), "a value of kind 77"),
    ],
)
def test_a_header_that_claims_too_much_gets_one_line(tmp_path, data, said):
    (tmp_path / "bad.gguf").write_bytes(data)
    one_line(tmp_path / "bad.gguf", said)
