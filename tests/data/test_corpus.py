"""The corpus: documents, the split, the cache, and what unusable text gets."""

import hashlib
import json
import os
import pickle
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from foundry.data.corpus import SPLITS, CorpusError, load_corpus

WORDS = ["the", "a", "cat", "dog", "sees", "hears", "Zoë", "and", "runs", "home", "at", "night"]


def story(number: int, length: int = 1000) -> str:
    """A text that depends on `number` alone."""
    words = random.Random(number).choices(WORDS, k=length // 4)
    return f"Story {number}. " + " ".join(words)


STORIES = [story(n) for n in range(300)]


def documents_of(corpus):
    """split → the set of its documents, as bytes."""
    return {split: set(corpus.split(split).tobytes().split(b"\0")[:-1]) for split in SPLITS}


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "texts"
    for n, text in enumerate(STORIES):
        path = root / f"part{n % 3}" / f"{n}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


def load(path, tmp_path):
    return load_corpus(str(path), cache_dir=tmp_path / "cache")


def test_every_document_of_a_folder_is_in_exactly_one_split(folder, tmp_path):
    corpus = load(folder, tmp_path)
    splits = documents_of(corpus)
    assert set.union(*splits.values()) == {text.encode() for text in STORIES}
    assert sum(len(documents) for documents in splits.values()) == len(STORIES)
    assert corpus.documents == {split: len(splits[split]) for split in SPLITS}
    assert corpus.documents["train"] > 0.8 * len(STORIES)


def test_the_split_is_read_off_the_documents_hash(folder, tmp_path):
    for split, documents in documents_of(load(folder, tmp_path)).items():
        for document in documents:
            share = int(hashlib.sha256(document).hexdigest()[:16], 16) / 16**16
            assert split == ("train" if share < 0.9 else "validation" if share < 0.95 else "test")


def test_a_document_added_moves_no_other(folder, tmp_path):
    before = load(folder, tmp_path)
    (folder / "another.txt").write_text("one more")
    after = load(folder, tmp_path)
    assert all(documents_of(before)[split] <= documents_of(after)[split] for split in SPLITS)
    assert before.hash != after.hash


def test_equal_documents_share_a_split(folder, tmp_path):
    for n in range(20):
        (folder / f"copy{n}.txt").write_text("the same text " * 10)
    found = [
        split
        for split, documents in documents_of(load(folder, tmp_path)).items()
        if ("the same text " * 10).encode() in documents
    ]
    assert len(found) == 1


def test_json_lines_parquet_and_a_folder_of_the_same_documents_agree(folder, tmp_path):
    lines = tmp_path / "stories.jsonl"
    lines.write_text("\n\n".join(json.dumps({"text": text, "id": n}) for n, text in enumerate(STORIES)))
    table = tmp_path / "stories.parquet"
    parquet.write_table(pyarrow.table({"id": range(300), "text": STORIES}), table)
    from_lines, from_table = load(lines, tmp_path), load(table, tmp_path)
    assert from_lines.hash == from_table.hash
    assert np.array_equal(from_lines.train, from_table.train)
    assert documents_of(from_lines) == documents_of(load(folder, tmp_path))


def test_a_single_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path):
    text = "\n\n".join(STORIES)
    path = tmp_path / "book.txt"
    path.write_text(text, encoding="utf-8")
    splits = documents_of(load(path, tmp_path))
    pieces = set.union(*splits.values())
    assert sum(map(len, pieces)) == len(text.encode())
    assert all(piece.startswith(b"Story ") for piece in pieces)


def test_a_single_text_without_line_ends_is_cut_too(tmp_path):
    path = tmp_path / "line.txt"
    path.write_text(" ".join(STORIES), encoding="utf-8")
    assert sum(load(path, tmp_path).documents.values()) > 100


def test_files_that_are_not_text_and_hidden_ones_are_left_out(folder, tmp_path):
    before = load(folder, tmp_path)
    (folder / "image.png").write_bytes(b"\x89PNG\xff\xfe" * 100)
    (folder / "zeros").write_bytes(b"\0" * 100)
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("hidden")
    (folder / "nowhere").symlink_to("missing")
    after = load(folder, tmp_path)
    assert after.skipped == 2
    assert after.hash == before.hash


def test_the_default_is_the_standard_library_without_its_tests(tmp_path):
    corpus = load_corpus(None, cache_dir=tmp_path)
    assert sum(corpus.documents.values()) > 500
    assert sum(len(corpus.split(split)) for split in SPLITS) > 8e6
    everything = b"".join(corpus.split(split).tobytes() for split in SPLITS)
    assert Path(json.__file__).read_bytes() in everything
    assert b"import pytest" not in corpus.validation.tobytes()
    began = time.perf_counter()
    again = load_corpus(None, cache_dir=tmp_path)
    assert time.perf_counter() - began < 0.5
    assert again.hash == corpus.hash and again.folder == corpus.folder


def test_no_torch_is_imported_and_no_pyarrow_without_parquet(tmp_path):
    code = f"""
import sys
from foundry.data.corpus import load_corpus
load_corpus(None, {str(tmp_path)!r})
assert not {{"torch", "pyarrow"}} & set(sys.modules), "imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_cache_folder_comes_from_the_environment(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("FOUNDRY_CACHE", raising=False)
    assert load_corpus(str(folder)).folder.is_relative_to(tmp_path / "xdg" / "foundry")
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "own"))
    assert load_corpus(str(folder)).folder.is_relative_to(tmp_path / "own")


def test_an_edited_file_of_the_same_size_is_seen(folder, tmp_path):
    before = load(folder, tmp_path)
    path = folder / "part0" / "0.txt"
    path.write_bytes(path.read_bytes().swapcase())
    assert load(folder, tmp_path).hash != before.hash


def test_a_corpus_is_pickled_as_its_cache(folder, tmp_path):
    corpus = load(folder, tmp_path)
    pickled = pickle.dumps(corpus)
    assert len(pickled) < 1000
    assert np.array_equal(pickle.loads(pickled).train, corpus.train)


def shorten(path):
    os.truncate(path, path.stat().st_size - 1)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["train.bin", "test.bin", "corpus.json"])
@pytest.mark.parametrize("damage", [shorten, flip, os.remove, lambda path: path.write_bytes(b"")])
def test_a_damaged_cache_is_built_again(folder, tmp_path, damage, name):
    before = load(folder, tmp_path)
    train, hash = before.train.tobytes(), before.hash
    if (name, damage) != ("corpus.json", flip):  # one flipped digit of a count would still be JSON
        damage(before.folder / name)
    after = load(folder, tmp_path)
    assert (after.train.tobytes(), after.hash) == (train, hash)


def test_processes_that_build_at_once_all_get_the_whole_corpus(folder, tmp_path):
    code = f"""
import sys
from foundry.data.corpus import load_corpus
sys.stdin.readline()
corpus = load_corpus({str(folder)!r}, {str(tmp_path / "cache")!r})
print(corpus.hash, sum(len(corpus.split(s)) for s in ("train", "validation", "test")))
"""
    command = [sys.executable, "-c", code]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = {process.communicate(timeout=60)[0] for process in processes}
    expected = load(folder, tmp_path)
    size = sum(len(text.encode()) + 1 for text in STORIES)
    assert answers == {f"{expected.hash} {size}\n"}
    assert len(list(expected.folder.parent.iterdir())) == 1


def test_what_a_killed_build_left_is_cleared_later(folder, tmp_path):
    leftover, building = (tmp_path / "cache" / "corpora" / name for name in (".building-old", ".building-long"))
    for place in (leftover, building):
        (place / "new").mkdir(parents=True)
        (place / "new" / "train.bin").touch()
        for path in (place, place / "new"):
            os.utime(path, (0, 0))  # begun long ago
    os.utime(leftover / "new" / "train.bin", (0, 0))  # and the other is written to now
    load(folder, tmp_path)
    assert not leftover.exists() and building.exists()


def bad(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def parquet_of(tmp_path, **columns):
    parquet.write_table(pyarrow.table(columns), tmp_path / "bad.parquet")
    return tmp_path / "bad.parquet"


def empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def folder_of_images(tmp_path):
    bad(empty_folder(tmp_path), "a.png", b"\x89PNG\xff")
    return tmp_path / "empty"


GOOD_LINE = json.dumps({"text": STORIES[0]}) + "\n"


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda t: t / "nothing.txt", "nothing.txt: no such file or folder"),
        (lambda t: "a\0b", "cannot be read"),
        (lambda t: "/dev/null", "neither a file nor a folder"),
        (lambda t: bad(t, "empty.txt", ""), "the file is empty"),
        (lambda t: bad(t, "empty.jsonl", "\n\n"), "holds no text"),
        (empty_folder, "the folder holds no files"),
        (folder_of_images, "none of its 1 files is UTF-8 text"),
        (lambda t: bad(t, "photo.txt", b"\xff\xd8" * 5000), "not UTF-8 text (near byte 0)"),
        (lambda t: bad(t, "late.txt", b"fine\n" * 5000 + b"\xff"), "not UTF-8 text (near byte 25,000)"),
        (lambda t: bad(t, "cut.txt", b"fine\n" * 5000 + "é".encode()[:1]), "not UTF-8 text"),
        (lambda t: bad(t, "zero.txt", b"a" * 50 + b"\0"), "not text (a zero byte at 50)"),
        (
            lambda t: bad(t, "short.txt", "a few words\n\n" * 50),
            "too small to split: 651 bytes in 1 document leave 0 bytes",
        ),
        (lambda t: bad(t, "one.jsonl", json.dumps({"text": "x" * 10**6})), "bytes in 1 document leave"),
        (lambda t: bad(t, "bad.jsonl", GOOD_LINE + '{"text": }'), "bad.jsonl, line 2: not valid JSON"),
        (lambda t: bad(t, "deep.jsonl", GOOD_LINE + "[" * 100_000), "deep.jsonl, line 2: not valid JSON"),
        (lambda t: bad(t, "bytes.jsonl", b'{"text": "\xff"}'), "line 1: not valid JSON"),
        (lambda t: bad(t, "other.jsonl", GOOD_LINE + '\n{"content": "x"}'), "line 3: no field `text`"),
        (lambda t: bad(t, "number.jsonl", '{"text": 3}'), "line 1: no field `text` that holds a string"),
        (lambda t: bad(t, "list.jsonl", "[1]"), "line 1: no field `text`"),
        (lambda t: parquet_of(t, content=["x"], id=[1]), "no column `text`; it has content, id"),
        (lambda t: parquet_of(t, text=[1, 2]), "the column `text` holds int64"),
        (lambda t: bad(t, "junk.parquet", b"PAR1 junk" * 100), "not a readable Parquet file"),
    ],
)
def test_text_that_cannot_be_used_gets_one_clear_line(tmp_path, make, message):
    path = make(tmp_path)
    with pytest.raises(CorpusError) as caught:
        load(path, tmp_path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("reason", ["file in the way", "read-only"])
def test_a_cache_that_cannot_be_written_names_the_remedy(folder, tmp_path, reason):
    cache = tmp_path / "cache"
    if reason == "file in the way":
        cache.write_text("")
    else:
        cache = Path("/proc/foundry")
    with pytest.raises(CorpusError, match="set FOUNDRY_CACHE"):
        load_corpus(str(folder), cache_dir=cache)
