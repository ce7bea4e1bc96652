"""The keys and values at the head of a GGUF file: what it says of itself, without its tensors.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md (versions 2 and 3). The `gguf` package reads the
same with a NumPy array for every string of the vocabulary, which takes five seconds where this takes a tenth of one.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
VERSIONS = (2, 3)
MOST_KEYS = 1 << 16
MOST_VALUES = 1 << 23  # in a list; the largest vocabularies in use have 2¹⁸ tokens, and twice as many merges
LONGEST = 1 << 24  # bytes of a string


class GGUFError(ValueError):
    """A file that is not GGUF, or cut short. The message is one line without the file's name."""


def read_gguf_header(path: str | Path) -> dict[str, Any]:
    """All keys with their values: numbers, truth values, strings, and lists of these.

    Raises:
        GGUFError: it is malformed. OSError: it cannot be read.
    """
    with gguf_reader(path) as (_, keys, _):
        return keys


@contextmanager
def gguf_reader(path: str | Path) -> Iterator[tuple[Reader, dict[str, Any], int]]:
    """A reader that stands behind the keys, the keys with their values, and how many tensors the file claims.

    Raises:
        GGUFError: it is malformed, as far as it is read. OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        if file.read(4) != b"GGUF":
            raise GGUFError("not a GGUF file")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                reader = Reader(data)
                tensors, keys = _header(reader)
                yield reader, keys, tensors
            except struct.error:
                raise GGUFError("the file is cut short") from None


def _header(reader: Reader) -> tuple[int, dict[str, Any]]:
    version, tensors, keys = reader.numbers("IQQ", 1)
    if version not in VERSIONS:
        raise GGUFError(f"GGUF of version {version}; versions 2 and 3 are known")
    if keys > MOST_KEYS:
        raise GGUFError(f"its header claims {keys:,} keys")
    return tensors, {reader.string(): reader.value(*reader.numbers("I", 1)) for _ in range(keys)}


class Reader:
    """Values one after another. Every length is held against what is left of the file before it is believed."""

    def __init__(self, data: mmap.mmap):
        self.data, self.place = data, 4  # after the magic number

    def numbers(self, kinds: str, count: int) -> tuple[Any, ...]:
        form = f"<{count}{kinds}" if len(kinds) == 1 else f"<{kinds}"
        found = struct.unpack_from(form, self.data, self.place)
        self.place += struct.calcsize(form)
        return found

    def string(self) -> str:
        (length,) = self.numbers("Q", 1)
        self._must_have(length)
        if length > LONGEST:
            raise GGUFError(f"a string of {length:,} bytes; {LONGEST:,} are allowed")
        text = self.data[self.place : self.place + length]
        self.place += length
        return text.decode("utf-8", "replace")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            of, count = self.numbers("IQ", 1)
            if of != STRING and of not in NUMBERS:
                raise GGUFError(f"a list of kind {of}, which is not known")
            self._must_have(8 * count if of == STRING else count)
            if count > MOST_VALUES:
                raise GGUFError(f"a list of {count:,} values; {MOST_VALUES:,} are allowed")
            return [self.string() for _ in range(count)] if of == STRING else list(self.numbers(NUMBERS[of], count))
        if kind not in NUMBERS:
            raise GGUFError(f"a value of kind {kind}, which is not known")
        return self.numbers(NUMBERS[kind], 1)[0]

    def _must_have(self, size: int) -> None:
        if size > len(self.data) - self.place:
            raise GGUFError("the file is cut short, or a length in it is wrong")
