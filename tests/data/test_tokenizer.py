"""Tokenizers: text comes back, a character is never broken, and a user's text is never a special token."""

import errno
import json
import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Peer
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from foundry.data.bpe import END
from foundry.data.tokenizer import BYTES, TokenizerError, read_tokenizer, tokenizer_from_json

TEXTS = [
    "",
    "The cat sees a dog.",
    "  two\n\n\tlines\r\n",
    "Zoë 猫が好き 😀👍🏽",
    "a\0b",
    "<|endoftext|> </s> <0x41> ▁",
]


def like_llama():
    """A small BPE as sentencepiece makes them: spaces as ▁, bytes for what has no piece, a prefix space."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        "▁",
        *"abcdehlorst",
        "▁a",
        "he",
        "▁t",
    ]
    merges = [("▁", "a"), ("h", "e"), ("▁", "t")]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    peer = Peer(models.BPE(vocab, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    peer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    peer.decoder = decoders.Sequence(steps)
    peer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    peer.add_special_tokens(["<unk>", "<s>", "</s>"])
    return peer


def unigram():
    """A unigram model, as T5's; its special tokens stand among its pieces."""
    scores = [("<unk>", 0.0), ("</s>", 0.0), ("▁", -2.0), *((sign, -3.0) for sign in "abcs</>tZ."), ("cat", -4.0)]
    scores += [(f"<0x{byte:02X}>", -10.0) for byte in range(256)]
    peer = Peer(models.Unigram(scores, 0, True))
    peer.pre_tokenizer = pre_tokenizers.Metaspace()
    peer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Metaspace()])
    peer.add_special_tokens(["<unk>", "</s>"])
    return peer


def word_piece():
    """As BERT's."""
    pieces = ["[UNK]", "[CLS]", "[SEP]", "cat", "##s", "a", "##b", "see", ".", "[", "]", "SEP"]
    peer = Peer(models.WordPiece({piece: n for n, piece in enumerate(pieces)}, unk_token="[UNK]"))
    peer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    peer.decoder = decoders.WordPiece(cleanup=False)
    peer.add_special_tokens(["[UNK]", "[CLS]", "[SEP]"])
    return peer


def ours(peer):
    return tokenizer_from_json(peer.to_str(), "peer")


# Bytes --------------------------------------------------------------------------------------------------------------


def test_bytes_are_their_own_ids():
    assert BYTES is read_tokenizer("bytes")
    assert (BYTES.kind, BYTES.vocab, BYTES.end, BYTES.begin) == ("bytes", 256, 0, None)
    assert BYTES.encode("Zoë") == list("Zoë".encode())
    assert BYTES.decode([90, 111, 195]) == "Zo\ufffd"
    assert BYTES.token_bytes(65) == b"A"
    assert (BYTES.byte_lengths() == np.ones(256)).all()


# Any tokenizer.json -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("make", [like_llama, unigram, word_piece])
def test_ids_and_text_are_those_of_the_library(make, text):
    peer, tokenizer = make(), ours(make())
    peer.encode_special_tokens = make is not unigram  # with a unigram that is not enough, see below
    ids = tokenizer.encode(text)
    if make is not unigram or "</s>" not in text:
        assert ids == peer.encode(text, add_special_tokens=False).ids
    assert tokenizer.encode(text, special=True) == make().encode(text, add_special_tokens=False).ids
    if make is not word_piece or text.startswith("The"):
        assert tokenizer.decode(ids) == peer.decode(ids)


@given(st.text())
def test_byte_level_text_comes_back(words, text):
    ids = words.encode(text)
    assert words.decode(ids) == text.encode("utf-8", "replace").decode()
    assert words.byte_lengths()[ids].sum() == len(text.encode("utf-8", "replace"))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_text_with_bytes_to_fall_back_on_comes_back(text):
    assert LLAMA.decode(LLAMA.encode(text)) == text


LLAMA = ours(like_llama())


def test_what_each_id_stands_for(words):
    pieces = LLAMA.table
    assert pieces[1] is None and pieces[3 + 0xC3] == b"\xc3" and pieces[259] == b" " and b" a" in pieces
    assert words.token_bytes(words.end) is None and words.byte_lengths()[words.end] == 0
    assert {words.token_bytes(n) for n in range(256)} == {bytes([byte]) for byte in range(256)}
    assert ours(word_piece()).table[3:5] == (b" cat", b"s")


def test_a_vocabulary_with_holes_has_room_for_its_highest_id():
    tokenizer = ours(Peer(models.WordLevel({"cat": 0, "dog": 9}, unk_token="cat")))
    assert tokenizer.vocab == 10 and tokenizer.token_bytes(5) is None
    assert tokenizer.byte_lengths().shape == (10,)


@pytest.mark.parametrize("text", ["Zoë 猫 😀!", "no more"])
def test_a_stream_gives_whole_characters_and_in_all_the_text(words, text):
    for tokenizer in (BYTES, words, LLAMA):
        ids = tokenizer.encode(text)
        stream = tokenizer.stream()
        parts = [stream.feed(number) for number in ids]
        assert "\ufffd" not in "".join(parts) and stream.rest() == ""
        assert "".join(parts).removeprefix(" ") == text


def test_a_stream_says_what_was_cut_off_and_keeps_the_space_that_joins_it():
    stream = BYTES.stream()
    assert [stream.feed(byte) for byte in "é".encode()[:1]] == [""] and stream.rest() == "\ufffd"
    (number,) = [n for n, piece in enumerate(LLAMA.table) if piece == b" a"]
    assert LLAMA.stream().feed(number) == " a" and LLAMA.decode([number]) == "a"


@pytest.mark.parametrize("make", [like_llama, unigram, word_piece])
def test_text_that_somebody_wrote_is_never_a_special_token(make, words):
    for tokenizer in (ours(make()), words):
        text = "".join(f"cat {name} a" for name in tokenizer.special)
        control = {number for name, number in tokenizer.special.items() if name not in ("<unk>", "[UNK]")}
        assert control and not control & set(tokenizer.encode(text))
        assert control <= set(tokenizer.encode(text, special=True))
    assert words.decode(words.encode(text := f"a {END} b")) == text


def test_nor_where_merges_would_spell_it():
    pieces = ["<unk>", "</s>", "</", "<", "/", "s>", "s", ">", "!"]
    peer = Peer(models.BPE({piece: n for n, piece in enumerate(pieces)}, [("<", "/"), ("s", ">"), ("</", "s>")]))
    peer.add_special_tokens(["</s>", "!"])
    tokenizer = ours(peer)
    assert tokenizer.encode("</s>") == [2, 5] and tokenizer.encode("</s>", special=True) == [1]
    assert tokenizer.encode("s!s") == [6, 8, 6], "an exclamation mark that is special is still one"


def test_what_would_cut_pad_or_roll_dice_is_left_out(words):
    content = json.loads(words.source)
    content["truncation"] = {"max_length": 4, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    content["padding"] = {
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0,
        "pad_token": "!",
    }  # fmt: skip
    content["model"]["dropout"] = 0.9
    text = "the cat sees the dog at night"
    assert tokenizer_from_json(json.dumps(content), "odd").encode(text) == words.encode(text)


def test_lone_surrogates_become_question_marks(words):
    assert words.decode(words.encode("a\ud800b")) == BYTES.decode(BYTES.encode("a\ud800b")) == "a?b"


# Begin and end ------------------------------------------------------------------------------------------------------


def test_documents_begin_and_end_with_what_the_tokenizer_says(tmp_path):
    assert (LLAMA.begin, LLAMA.end) == (1, 2)
    assert (ours(unigram()).begin, ours(unigram()).end) == (None, 1)
    peer = like_llama()
    peer.add_special_tokens(["<|im_end|>"])
    (tmp_path / "tokenizer.json").write_text(peer.to_str())
    for named in ("<|im_end|>", {"content": "<|im_end|>", "lstrip": False}):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": named}))
        assert read_tokenizer(tmp_path).end == peer.token_to_id("<|im_end|>")


# Files --------------------------------------------------------------------------------------------------------------


def test_a_tokenizer_is_the_same_after_writing_reading_and_travelling(words, tmp_path):
    words.write(tmp_path)
    for again in (
        read_tokenizer(tmp_path),
        read_tokenizer(tmp_path / "tokenizer.json"),
        pickle.loads(pickle.dumps(words)),
    ):
        assert (again.hash, again.end, again.table) == (words.hash, words.end, words.table)
    assert LLAMA.hash != words.hash
    assert pickle.loads(pickle.dumps(BYTES)) is BYTES


def test_transformers_reads_what_is_written(words, tmp_path):
    from transformers import AutoTokenizer

    words.write(tmp_path)
    peer = AutoTokenizer.from_pretrained(tmp_path)
    text = "The cat hears Zoë, 1234 times.\n\n  And 猫."
    assert peer.encode(text, add_special_tokens=False) == words.encode(text)
    assert peer.eos_token_id == words.end


def test_a_checkpoint_of_bytes_needs_no_file(tmp_path):
    BYTES.write(tmp_path)
    (tmp_path / "config.json").write_text('{"tokenizer": {"kind": "bytes"}}')
    assert read_tokenizer(tmp_path) is BYTES


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, said",
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "not a tokenizer.json of the `tokenizers` library"),
        ('{"model": "bpe"}', "not a tokenizer.json of the `tokenizers` library"),
        ('{"model": {}}', "not a tokenizer that can be used"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}', "`b` out of vocabulary"),
        ('{"model": {"type": "BPE", "vocab": {}, "merges": []}}', "0 ids"),
        ('{"model": {"type": "BPE", "vocab": {"a": 4294967295}, "merges": []}}', "4,294,967,296 ids"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "Nope"}}', "can be used"),
        (
            '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}, "decoder": {"type": "Replace", '
            f'"pattern": {{"String": "a"}}, "content": "{"b" * 65}"}}}}',
            "replaces a sign by more than 64 characters",
        ),
    ],
)
def test_what_is_no_tokenizer_gets_one_line(tmp_path, content, said):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError) as caught:
        read_tokenizer(tmp_path)
    message = str(caught.value)
    assert said in message and str(tmp_path) in message and "\n" not in message


def test_other_files_and_places_get_one_line(tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(b"\x80\x02\xff\xfe" * 100)
    with pytest.raises(TokenizerError, match="no UTF-8 text"):
        read_tokenizer(tmp_path / "weights.bin")
    with pytest.raises(TokenizerError, match="folder holds no"):
        read_tokenizer(tmp_path)
    with pytest.raises(TokenizerError, match="No such file"):
        read_tokenizer(tmp_path / "nowhere")
    monkeypatch.setattr("foundry.data.tokenizer.LARGEST_FILE", 10)
    with pytest.raises(TokenizerError, match="too large for a tokenizer, which has 10 bytes at most"):
        read_tokenizer(tmp_path / "weights.bin")


def test_a_link_to_what_never_ends_is_not_read(words, tmp_path):
    os.mkfifo(tmp_path / "endless")
    (tmp_path / "config.json").symlink_to(tmp_path / "endless")
    with pytest.raises(TokenizerError, match="folder holds no"):
        read_tokenizer(tmp_path)
    words.write(tmp_path)
    (tmp_path / "tokenizer_config.json").unlink()
    (tmp_path / "tokenizer_config.json").symlink_to(tmp_path / "endless")
    assert read_tokenizer(tmp_path).vocab == words.vocab


def test_a_full_disk_leaves_no_half_of_a_tokenizer(words, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    words.write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("foundry.data.tokenizer.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        words.write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_text_that_a_vocabulary_cannot_spell_gets_one_line():
    lacking = ours(Peer(models.Unigram([("a", -1.0)], None, False)))
    assert lacking.encode("aa") == [0, 0]
    with pytest.raises(TokenizerError, match="cannot encode this text"):
        lacking.encode("b")
