"""The corpus: bytes split by document into train, validation and test, cached as memory-mapped arrays."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foundry.data.cache import build_folder, cache_folder, checksum
from foundry.data.documents import CorpusError, Source, find_source, read_documents

__all__ = ["SPLITS", "Corpus", "CorpusError", "load_corpus"]

SPLITS = ("train", "validation", "test")
RULE = "foundry corpus 1: split 90/5/5 by the SHA-256 of the document, a zero byte after each document"
SMALLEST_SPLIT = 4096  # bytes: 32 windows of 128
ATTEMPTS = 3  # at opening a cache that another process may be replacing
NO_BYTES = np.empty(0, np.uint8)
DAMAGED = (OSError, ValueError, KeyError, TypeError)


@dataclass(frozen=True)
class Corpus:
    """Text as bytes, one array per split.

    train, validation, test: `(bytes,)` uint8, memory-mapped and read-only; a zero byte ends each document.
    hash: 16 hex digits for the content of all documents in order, and the rule that splits them.
    documents: how many each split has. skipped: files left out because they are not UTF-8 text.
    shown: the splits that are there; the array of another is empty.
    """

    name: str
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    hash: str
    documents: dict[str, int]
    skipped: int
    folder: Path
    shown: tuple[str, ...] = SPLITS

    def split(self, name: str) -> np.ndarray:
        """The array of `train`, `validation` or `test`.

        Raises:
            CorpusError: this corpus does not show it.
        """
        if name not in self.shown:
            raise CorpusError(f"{self.name}: its {name} text is not shown here")
        return {"train": self.train, "validation": self.validation, "test": self.test}[name]

    def showing(self, *splits: str) -> Corpus:
        """This corpus with some of its splits and without the bytes of the others."""
        hidden: dict[str, Any] = {split: NO_BYTES for split in SPLITS if split not in splits}
        return replace(self, shown=tuple(split for split in SPLITS if split in splits), **hidden)

    def __reduce__(self) -> tuple[Any, ...]:
        """A corpus travels to another process as the name of its cache, not as its bytes."""
        return _open, (self.folder, self.shown)


def load_corpus(path: str | None = None, cache_dir: str | Path | None = None) -> Corpus:
    """The corpus at `path` (see `read_documents`), or the standard library of the running interpreter.

    A document belongs to the split that the hash of its content says, whatever else the corpus
    holds: equal documents share a split, and a corpus that grows keeps its test documents apart.

    The arrays are built once and opened from `cache_dir` (default: `$FOUNDRY_CACHE`, else
    `$XDG_CACHE_HOME/foundry`, else `~/.cache/foundry`) while the files' sizes and times stay the same. A
    damaged cache is built again. Processes that build at the same time do not disturb each other.

    Raises:
        CorpusError: missing, empty, unreadable or malformed text, too little of it, or an unwritable cache.
    """
    source = find_source(path)
    folder = cache_folder(cache_dir) / "corpora" / _fingerprint(source)
    for _ in range(ATTEMPTS):
        try:
            return _open(folder)
        except DAMAGED:
            _build(source, folder)
    raise CorpusError(f"{folder}: the cache is damaged as soon as it is written; set FOUNDRY_CACHE to another place")


def _fingerprint(source: Source) -> str:
    """A key for the source as it is now: it changes with the rule and with any file's path, size or times."""
    lines = [RULE, source.name, str(source.single)]
    lines += [f"{os.path.abspath(f.path)} {f.size} {f.modified} {f.changed}" for f in source.files]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _open(folder: Path, shown: tuple[str, ...] = SPLITS) -> Corpus:
    """Open a finished cache; the files of splits that are not to be shown stay closed.

    Raises:
        DAMAGED: it is absent or not what was written.
    """
    about = json.loads((folder / "corpus.json").read_bytes())
    arrays = dict.fromkeys(SPLITS, NO_BYTES)
    for split in shown:
        arrays[split] = np.memmap(folder / f"{split}.bin", dtype=np.uint8, mode="r")
        if about["checksums"][split] != checksum(arrays[split]):
            raise ValueError(f"{folder / split}.bin is damaged")
    return Corpus(
        name=about["name"],
        hash=about["hash"],
        documents=about["documents"],
        skipped=about["skipped"],
        folder=folder,
        shown=shown,
        **arrays,
    )


def _build(source: Source, folder: Path) -> None:
    try:
        build_folder(folder, lambda building: _write(source, building))
    except OSError as error:
        place, why = folder.parent, error.strerror
        raise CorpusError(f"{place}: cannot keep the corpus there ({why}); set FOUNDRY_CACHE") from None


def _write(source: Source, folder: Path) -> None:
    total = hashlib.sha256(RULE.encode())
    documents = dict.fromkeys(SPLITS, 0)
    sizes = dict.fromkeys(SPLITS, 0)
    skipped = 0
    files = {split: (folder / f"{split}.bin").open("wb") for split in SPLITS}
    try:
        for document in read_documents(source):
            if document is None:
                skipped += 1
                continue
            digest = hashlib.sha256(document).digest()
            total.update(digest)
            split = split_of(digest)
            files[split].write(document + b"\0")
            documents[split] += 1
            sizes[split] += len(document) + 1
    finally:
        for file in files.values():
            file.close()
    _refuse_small(source.name, sizes, documents, skipped)
    about = {
        "name": source.name,
        "rule": RULE,
        "hash": total.hexdigest()[:16],
        "documents": documents,
        "skipped": skipped,
        "checksums": {split: checksum(np.memmap(folder / f"{split}.bin", np.uint8, "r")) for split in SPLITS},
    }
    (folder / "corpus.json").write_text(json.dumps(about, indent=1))


def split_of(digest: bytes) -> str:
    """The split of a document with this SHA-256."""
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "test"


def _refuse_small(name: str, sizes: dict[str, int], documents: dict[str, int], skipped: int) -> None:
    total, count = sum(sizes.values()), sum(documents.values())
    if count == 0:
        why = f"none of its {skipped} files is UTF-8 text" if skipped else "it holds no text"
        raise CorpusError(f"{name}: {why}")
    smallest = min(SPLITS, key=lambda split: sizes[split])
    if sizes[smallest] < SMALLEST_SPLIT:
        noun = "document" if count == 1 else "documents"
        raise CorpusError(
            f"{name}: too small to split: {total:,} bytes in {count:,} {noun} leave {sizes[smallest]:,} bytes for "
            f"{smallest}, which needs {SMALLEST_SPLIT:,}; give some 200 kB in a hundred documents or more"
        )
