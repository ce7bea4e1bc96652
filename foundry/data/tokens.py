"""A corpus as token ids: one memory-mapped array for each split, and where its documents begin."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundry.data.cache import build_folder, cache_folder, checksum
from foundry.data.corpus import ATTEMPTS, DAMAGED, SPLITS, Corpus, CorpusError, load_corpus
from foundry.data.tokenizer import Tokenizer

__all__ = ["Tokens", "documents_of", "load_tokens", "token_type"]

RULE = "foundry tokens 1: begin, the document, end; documents over 4 MiB are cut at a line end for the tokenizer"
LONGEST = 1 << 22  # bytes that a tokenizer gets at once: it needs a hundred times as much memory
BATCH = 1 << 20  # bytes of documents that are encoded together, on all cores
QUIET = 2.0  # seconds before progress is told
BLOCK = 1 << 24  # bytes that are searched at once for the ends of documents

Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Tokens:
    """Text as token ids.

    train, validation, test: `(tokens,)` uint8, uint16 or uint32, whichever holds the vocabulary; memory-mapped and
    read-only. Each document stands between the tokenizer's `begin` and `end`, where it has such.
    hash: 16 hex digits for all ids. documents: how many each split has. places: where each document begins, None where
    zero bytes tell. Documents are those of `load_corpus`, in its order and its splits.
    """

    name: str
    tokenizer: Tokenizer
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hash: str
    documents: dict[str, int]
    places: dict[str, np.ndarray] | None = None

    def split(self, name: str) -> np.ndarray:
        """The array of `train`, `validation` or `test`."""
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def starts(self, split: str) -> np.ndarray:
        """Where each document of a split begins: `(documents,)` int64."""
        return _after_zeros(self.split(split)) if self.places is None else self.places[split]


def load_tokens(
    data: str | None, tokenizer: Tokenizer, cache_dir: str | Path | None = None, tell: Tell | None = None
) -> Tokens:
    """The corpus at `data` (see `load_corpus`; None for the standard library) as ids of `tokenizer`.

    Bytes are the corpus's own arrays. Others are built once and opened from the cache, under the hashes of the corpus's
    content and of the tokenizer. A damaged cache is built again, and processes do not disturb each other; of many
    workers let one come first, since each of them would encode all of it.

    tell: called with bytes done and bytes in all, once building has taken two seconds.

    Raises:
        CorpusError: see `load_corpus`.
    """
    corpus = load_corpus(data, cache_dir)
    if tokenizer.kind == "bytes":
        arrays = corpus.train, corpus.validation, corpus.test
        return Tokens(corpus.name, tokenizer, *arrays, corpus.hash, corpus.documents)
    folder = cache_folder(cache_dir) / "tokens" / f"{corpus.hash}-{tokenizer.hash}"
    for _ in range(ATTEMPTS):
        try:
            return _open(folder, corpus, tokenizer)
        except DAMAGED:
            _build(folder, corpus, tokenizer, tell)
    raise CorpusError(f"{folder}: damaged as soon as it is written; set FOUNDRY_CACHE to another place")


def token_type(vocab: int) -> type[np.unsignedinteger[Any]]:
    """The smallest type of array that holds the ids below `vocab`."""
    return np.uint8 if vocab <= 1 << 8 else np.uint16 if vocab <= 1 << 16 else np.uint32


def documents_of(data: np.ndarray) -> Iterator[bytes]:
    """The documents of a split of a corpus of bytes, in order, without the zero byte that ends each."""
    ends = np.append(_after_zeros(data)[1:], len(data))
    start = 0
    for end in ends.tolist():
        yield data[start : end - 1].tobytes()
        start = end


def _after_zeros(data: np.ndarray) -> np.ndarray:
    blocks = (np.flatnonzero(data[at : at + BLOCK] == 0) + at for at in range(0, len(data), BLOCK))
    ends = np.concatenate([np.empty(0, np.int64), *blocks]) + 1
    return np.concatenate([[0], ends[:-1]]) if len(ends) else ends


def _open(folder: Path, corpus: Corpus, tokenizer: Tokenizer) -> Tokens:
    """Open a finished cache.

    Raises:
        DAMAGED: it is absent or not what was written.
    """
    about = json.loads((folder / "tokens.json").read_bytes())
    kinds = {"bin": token_type(tokenizer.vocab), "starts": np.int64}
    found: dict[str, dict[str, np.ndarray]] = {kind: {} for kind in kinds}
    for split in SPLITS:
        for kind, dtype in kinds.items():
            path = folder / f"{split}.{kind}"
            found[kind][split] = np.memmap(path, dtype, "r")
            if about["checksums"][path.name] != checksum(found[kind][split]):
                raise ValueError(f"{path} is damaged")
    return Tokens(
        name=corpus.name,
        tokenizer=tokenizer,
        hash=about["hash"],
        documents=corpus.documents,
        places=found["starts"],
        **found["bin"],
    )


def _build(folder: Path, corpus: Corpus, tokenizer: Tokenizer, tell: Tell | None) -> None:
    total = sum(len(corpus.split(split)) for split in SPLITS)
    began, done = time.monotonic(), 0

    def passed(size: int) -> None:
        nonlocal done
        done += size
        if tell and time.monotonic() - began > QUIET:
            tell(done, total)

    def write(building: Path) -> None:
        for split in SPLITS:
            _write_split(building, split, corpus, tokenizer, passed)
        sums = {path.name: checksum(np.memmap(path, np.uint8, "r")) for path in sorted(building.iterdir())}
        digest = hashlib.sha256(f"{RULE} {corpus.hash} {tokenizer.hash}".encode()).hexdigest()[:16]
        (building / "tokens.json").write_text(json.dumps({"rule": RULE, "hash": digest, "checksums": sums}, indent=1))

    try:
        build_folder(folder, write)
    except OSError as error:
        place, why = folder.parent, error.strerror
        raise CorpusError(f"{place}: cannot keep the tokens there ({why}); set FOUNDRY_CACHE") from None


def _write_split(folder: Path, split: str, corpus: Corpus, tokenizer: Tokenizer, passed: Callable[[int], None]) -> None:
    place = 0
    with (folder / f"{split}.bin").open("wb") as ids, (folder / f"{split}.starts").open("wb") as starts:
        for documents in in_batches(documents_of(corpus.split(split))):
            for document in encode_documents(documents, tokenizer):
                ids.write(document.tobytes())
                starts.write(np.int64(place).tobytes())
                place += len(document)
            passed(sum(len(document) + 1 for document in documents))


def encode_documents(documents: list[bytes], tokenizer: Tokenizer) -> list[np.ndarray]:
    """The ids of whole documents, between `begin` and `end`; in the type that holds the vocabulary."""
    if tokenizer.kind == "bytes":
        return [np.frombuffer(document + b"\0", np.uint8) for document in documents]
    cut = [[piece.decode("utf-8", "replace") for piece in _pieces(document)] for document in documents]
    encoded = iter(tokenizer.encode_all([piece for pieces in cut for piece in pieces]))
    before = [] if tokenizer.begin in (None, tokenizer.end) else [tokenizer.begin]
    after = [] if tokenizer.end is None else [tokenizer.end]
    dtype = token_type(tokenizer.vocab)
    return [np.array([*before, *(n for _ in pieces for n in next(encoded)), *after], dtype) for pieces in cut]


def in_batches(documents: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Documents that are worth encoding together."""
    batch: list[bytes] = []
    size = 0
    for document in documents:
        batch.append(document)
        size += len(document)
        if size >= BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _pieces(document: bytes) -> Iterator[bytes]:
    """A document in parts of at most LONGEST bytes, cut after a line end, or else between two characters."""
    start = 0
    while len(document) - start > LONGEST:
        end = document.rfind(b"\n", start, start + LONGEST) + 1
        if end <= start:
            end = start + LONGEST
            while document[end] & 0xC0 == 0x80:  # inside a character of UTF-8
                end -= 1
        yield document[start:end]
        start = end
    yield document[start:]
