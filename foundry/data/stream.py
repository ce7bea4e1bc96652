"""Training data straight from files, without a cache on disk: documents in the files' order through a shuffle buffer.

Where it stands is a few numbers and the buffer, so that a run goes on exactly where it stopped. Every worker reads the
whole stream and takes its rows: all stand at the same place, whatever their number.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch

from foundry.data.corpus import split_of
from foundry.data.documents import CorpusError, Source, documents_from, find_source
from foundry.data.order import IGNORED, Batch, Shape, in_vocabulary, rows_from
from foundry.data.tokenizer import Tokenizer
from foundry.data.tokens import encode_documents

BUFFER = 1 << 21  # tokens that are shuffled together
BATCH = 1 << 20  # bytes of documents that are encoded together
HELD_OUT = 1 << 20  # tokens for validation


def streamed(
    data: str | None,
    tokenizer: Tokenizer,
    steps: Sequence[Shape],
    seed: int,
    rank: int = 0,
    world: int = 1,
    state: Mapping[str, np.ndarray] | None = None,
    buffer: int = BUFFER,
) -> Stream:
    """Batches for each step from the files at `data` (see `find_source`), over and over, the training documents alone:
    their content says which these are, as in `load_corpus`.

    A document is drawn from `buffer` tokens' worth of them, and follows the one drawn before; rows are cut from that.
    state: what `Stream.state` gave; the batches that follow are those that would have followed then, with any number
    of workers.

    Raises:
        CorpusError: the files cannot be read, hold no text to train on, or are not those that the state comes from.
    """
    return Stream(find_source(data), tokenizer, steps, seed, rank, world, state, buffer)


def held_out(data: str | None, tokenizer: Tokenizer, split: str = "validation", tokens: int = HELD_OUT) -> np.ndarray:
    """The first documents of a split that is not trained on, in the files' order, until there are so many tokens.

    Raises:
        CorpusError: the files hold none.
    """
    source = find_source(data)
    found: list[np.ndarray] = []
    size = 0
    for _, _, document in documents_from(source, 0, 0):
        if document is not None and split_of(hashlib.sha256(document).digest()) == split:
            found += encode_documents([document], tokenizer)
            size += len(found[-1])
            if size >= tokens:
                break
    if not found:
        raise CorpusError(f"{source.name}: none of its documents falls to {split}; give more text")
    return np.concatenate(found)


class Stream:
    """The batches of `streamed`, each a list of one. name, hash: of the files, by their names and sizes."""

    def __init__(
        self,
        source: Source,
        tokenizer: Tokenizer,
        steps: Sequence[Shape],
        seed: int,
        rank: int,
        world: int,
        state: Mapping[str, np.ndarray] | None,
        buffer: int,
    ):
        self.source, self.tokenizer, self.steps, self.seed = source, tokenizer, steps, seed
        self.rank, self.world, self.buffer = rank, world, buffer
        self.name, self.hash = source.name, _fingerprint(source, tokenizer)
        self.step = self.file = self.place = self.drawn = 0
        self.waiting: list[np.ndarray] = []  # documents in the buffer
        self.begun = np.empty(0, np.int64)  # tokens that are drawn and not yet trained on
        if state is not None:
            self._restore(state)
        self.held = sum(map(len, self.waiting))
        self.draws = rows_from(seed, self.drawn)
        self.documents = documents_from(source, self.file, self.place)

    def state(self) -> dict[str, np.ndarray]:
        """Where the stream stands after the last batch: int64, and int32 for tokens. The same on every worker."""
        return {
            "cursor": np.array([self.step, self.file, self.place, self.drawn]),
            "lengths": np.array([len(document) for document in self.waiting], np.int64),
            "buffer": np.concatenate([*self.waiting, np.empty(0, np.int32)]).astype(np.int32),
            "begun": self.begun.astype(np.int32),
            "source": np.frombuffer(self.hash.encode(), np.uint8).astype(np.int64),
        }

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> list[Batch]:
        if self.step >= len(self.steps):
            raise StopIteration
        step = self.steps[self.step]
        ids = self._take(step.rows * step.context)
        mine = slice(self.rank, None, self.world)
        x, y = (torch.from_numpy(part.reshape(step.rows, step.context)[mine]) for part in (ids[:-1], ids[1:]))
        if missing := -(-step.rows // self.world) - len(x):
            x = torch.cat([x, torch.zeros(missing, step.context, dtype=torch.int64)])
            y = torch.cat([y, torch.full((missing, step.context), IGNORED)])
        self.step += 1
        return [Batch(x, y, step.rows * step.context)]

    def _take(self, count: int) -> np.ndarray:
        """So many tokens and the one after them, which comes first the next time."""
        parts, size = [self.begun], len(self.begun)
        while size < count + 1:
            parts.append(in_vocabulary(self._draw(), self.tokenizer.vocab))
            size += len(parts[-1])
        joined = np.concatenate(parts)
        self.begun = joined[count:]
        return joined[: count + 1]

    def _draw(self) -> np.ndarray:
        """A document at random out of the full buffer."""
        while self.held < self.buffer:
            self._fill()
        number = int(self.draws.random() * len(self.waiting))
        self.drawn += 1
        self.waiting[number], self.waiting[-1] = self.waiting[-1], self.waiting[number]
        document = self.waiting.pop()
        self.held -= len(document)
        return document

    def _fill(self) -> None:
        """Encode the next training documents, and begin the files again at their end."""
        found: list[bytes] = []
        size, ended = 0, 0
        while size < BATCH:
            following = next(self.documents, None)
            if following is None:
                self.file = self.place = 0
                self.documents = documents_from(self.source, 0, 0)
                ended += 1
                if found:
                    break
                if ended > 1:
                    raise CorpusError(f"{self.source.name}: it holds no text to train on")
                continue
            self.file, self.place, document = following
            if document is not None and split_of(hashlib.sha256(document).digest()) == "train":
                found.append(document)
                size += len(document)
        new = encode_documents(found, self.tokenizer)
        self.waiting += new
        self.held += sum(map(len, new))

    def _restore(self, state: Mapping[str, np.ndarray]) -> None:
        lacks = {"source", "cursor", "lengths", "buffer", "begun"} - state.keys()
        if lacks or state["source"].astype(np.uint8).tobytes() != self.hash.encode():
            raise CorpusError(f"{self.source.name}: not the files, or the tokenizer, that this run has read so far")
        names = ("cursor", "lengths", "buffer", "begun")
        cursor, lengths, buffer, begun = (state[name].ravel().astype(np.int64) for name in names)
        places = len(cursor) == 4 and min(cursor) >= 0 and cursor[1] < len(self.source.files)
        cut = (lengths >= 0).all() and lengths.sum() == len(buffer)
        known = all(((ids >= 0) & (ids < self.tokenizer.vocab)).all() for ids in (buffer, begun))
        if not (places and cut and known):
            raise CorpusError(f"{self.source.name}: the place where this run stands in it is damaged")
        self.step, self.file, self.place, self.drawn = cursor.tolist()
        self.waiting = np.split(buffer, np.cumsum(lengths)[:-1]) if len(lengths) else []
        self.begun = begun


def _fingerprint(source: Source, tokenizer: Tokenizer) -> str:
    """16 hex digits for what the stream reads: files by name and size, which is all that can be had at once."""
    lines = [tokenizer.hash, *(f"{file.path.name} {file.size}" for file in source.files)]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()[:16]
