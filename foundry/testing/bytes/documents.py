"""Bytes as text to train on: JSON lines, Parquet, plain text, and the cache that is made of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from foundry.data.corpus import SPLITS, load_corpus
from foundry.data.documents import CorpusError, find_source, read_documents
from foundry.testing.case import Broken

DOCUMENTS = 300  # of the text that is cached


def reader(name: str) -> Callable[[Path], Callable[[bytes], None]]:
    """A file of this name, alone and in a folder."""

    def open_in(folder: Path) -> Callable[[bytes], None]:
        folder.mkdir(exist_ok=True)

        def read(data: bytes) -> None:
            (folder / name).write_bytes(data)
            for path in (folder / name, folder):
                _read(path)

        return read

    return open_in


def _read(path: Path) -> None:
    """Every document at a path.

    Raises:
        Broken: a document is no UTF-8 text, or the complaint is not one line that names the file.
    """
    try:
        for document in read_documents(find_source(str(path))):
            if document is not None:
                document.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Broken(f"a document is not UTF-8: {error}") from None
    except CorpusError as error:
        if len(str(error).splitlines()) != 1 or str(path) not in str(error):
            raise Broken(f"no clear error: {error}") from None


def cache(folder: Path) -> Callable[[bytes], None]:
    """The description of a cached corpus, `corpus.json`: whatever it holds, the corpus is what it was.

    The reader raises Broken where it is another.
    """
    folder.mkdir(exist_ok=True)
    text = folder / "text.jsonl"
    text.write_text("".join(json.dumps({"text": f"{number} " * 200}) + "\n" for number in range(DOCUMENTS)))
    good = load_corpus(str(text), folder / "cache")

    def read(data: bytes) -> None:
        (good.folder / "corpus.json").write_bytes(data)
        again = load_corpus(str(text), folder / "cache")
        for part in ("name", "hash", "documents", "skipped"):
            if getattr(again, part) != getattr(good, part):
                raise Broken(f"{part} is {getattr(again, part)!r}, was {getattr(good, part)!r}")
        if not all(np.array_equal(again.split(split), good.split(split)) for split in SPLITS):
            raise Broken("the text is another")

    return read


def line_seeds() -> list[bytes]:
    return [b'{"text": "some words"}\n{"text": "", "n": [1, 2.5, null, true, {"a": "\\u00e9\\ud83d\\ude00"}]}\n']


def text_seeds() -> list[bytes]:
    return [b"one\n\ntwo\n", "é€😀\n\n".encode() * 600]


def cache_seeds() -> list[bytes]:
    """Of the right form, for another text."""
    about = {
        "name": "a",
        "rule": "r",
        "hash": "0" * 16,
        "documents": dict.fromkeys(SPLITS, 1),
        "skipped": 0,
        "checksums": dict.fromkeys(SPLITS, "0" * 64),
    }
    return [json.dumps(about).encode()]


def parquet_seeds() -> list[bytes]:
    """Tables with a column `text` of several kinds and encodings, and one without."""
    plain = pa.table({"text": ["one", None, "", "é" * 50]})
    return [
        *(parquet(plain, compression=codec) for codec in ("none", "snappy", "gzip", "zstd")),
        parquet(plain, use_dictionary=False, data_page_version="2.0"),
        parquet(plain.cast(pa.schema([("text", pa.large_string())]))),
        parquet(pa.table({"text": [b"\xff\xfe"]})),
        parquet(pa.table({"text": [["a", None]], "b": [1.5]})),
        parquet(pa.table({"a": [1]})),
    ]


def parquet(table: pa.Table, **settings: object) -> bytes:
    """A table as the bytes of a Parquet file."""
    sink = io.BytesIO()
    pq.write_table(table, sink, **settings)
    return sink.getvalue()
