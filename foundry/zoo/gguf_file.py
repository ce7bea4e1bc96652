"""GGUF files: their tensors, found without belief in any number and read one at a time; and whole files, in stream.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. What is quantised is read, and written, by the
`gguf` package; plain numbers need nothing but torch.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundry.data.gguf_header import GGUFError, Reader, gguf_reader
from foundry.dsl.render import visible
from foundry.train.tensors import write_whole
from foundry.zoo.failure import ZooError

MOST_TENSORS = 1 << 20
MOST_AXES = 4  # as ggml has it
ALIGNMENT = 32  # bytes, where a file does not say
AT_ONCE = 1 << 20  # numbers that are unpacked or packed together: what it takes beside the tensor itself
INSTALL = "pip install 'foundry[zoo]'"


@dataclass(frozen=True)
class Kind:
    """How numbers are stored: the name, its number in files, how many make a block, and a block's bytes."""

    name: str
    number: int
    block: int
    size: int

    def bytes(self, shape: tuple[int, ...]) -> int:
        return prod(shape) // self.block * self.size


KINDS = {
    kind.number: kind
    for kind in (
        Kind("F32", 0, 1, 4), Kind("F16", 1, 1, 2), Kind("BF16", 30, 1, 2),
        Kind("Q4_0", 2, 32, 18), Kind("Q4_1", 3, 32, 20), Kind("Q5_0", 6, 32, 22), Kind("Q5_1", 7, 32, 24),
        Kind("Q8_0", 8, 32, 34), Kind("Q2_K", 10, 256, 84), Kind("Q3_K", 11, 256, 110), Kind("Q4_K", 12, 256, 144),
        Kind("Q5_K", 13, 256, 176), Kind("Q6_K", 14, 256, 210), Kind("IQ4_NL", 20, 32, 18),
        Kind("IQ4_XS", 23, 256, 136),
    )
}  # fmt: skip
NAMED = {kind.name: kind for kind in KINDS.values()}
PLAIN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


@dataclass(frozen=True)
class Held:
    """A tensor in a file: how it is stored, its shape (rows first, as torch has it), and its first byte."""

    kind: Kind
    shape: tuple[int, ...]
    place: int

    @property
    def dtype(self) -> torch.dtype:
        """What it is read as: float32 where it is quantised."""
        return PLAIN.get(self.kind.name, torch.float32)


@dataclass(frozen=True)
class GGUF:
    """What a file says of itself, without the numbers of its tensors. keys: by name, with `general.architecture`."""

    path: Path
    keys: dict[str, Any]
    tensors: dict[str, Held]

    @property
    def architecture(self) -> str:
        return str(self.keys.get("general.architecture"))

    def read(self, name: str) -> Tensor:
        """One tensor, dequantised.

        Raises:
            ZooError: the `gguf` package is missing. OSError: the file cannot be read.
        """
        held = self.tensors[name]
        if not prod(held.shape):
            return torch.empty(held.shape, dtype=held.dtype)
        packed = np.memmap(self.path, np.uint8, "r", held.place, (held.kind.bytes(held.shape),))
        if held.kind.name in PLAIN:
            return torch.from_numpy(packed.copy()).view(held.dtype).reshape(held.shape)
        return _in_pieces(packed, held)


def read_gguf(path: str | Path) -> GGUF:
    """The keys and the list of tensors, once it is sure that every tensor lies in the file and on its own.

    Raises:
        ZooError: the file is malformed, cut short, one of several parts, or has a tensor that cannot be read.
        OSError: it cannot be read.
    """
    path = Path(path)
    try:
        with gguf_reader(path) as (reader, keys, count):
            return GGUF(path, keys, _tensors(reader, keys, count))
    except (GGUFError, ValueError) as error:
        raise ZooError(f"{path}: {error}") from None


def _tensors(reader: Reader, keys: Mapping[str, Any], count: int) -> dict[str, Held]:
    if count > MOST_TENSORS:
        raise GGUFError(f"its header claims {count:,} tensors; {MOST_TENSORS:,} are allowed")
    parts = keys.get("split.count", 1)
    if parts not in (0, 1):
        raise GGUFError(f"one of {parts} parts; put them together with `llama-gguf-split --merge`")
    alignment = keys.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
        raise GGUFError(f"general.alignment is {str(alignment)[:40]}; it must be a power of two")
    found: dict[str, Held] = {}
    for _ in range(count):
        name, held = _entry(reader, alignment)
        if name in found:
            raise GGUFError(f"the tensor {_shown(name)} stands twice in its header")
        found[name] = held
    start = -(-reader.place // alignment) * alignment
    found = {name: Held(held.kind, held.shape, held.place + start) for name, held in found.items()}
    _check_places(found, start, len(reader.data))
    return found


def _entry(reader: Reader, alignment: int) -> tuple[str, Held]:
    """One entry of the list of tensors; its place is counted from the beginning of the data."""
    name, (axes,) = reader.string(), reader.numbers("I", 1)
    if axes > MOST_AXES:
        raise GGUFError(f"{_shown(name)} has {axes} axes; {MOST_AXES} are allowed")
    shape = tuple(reversed(reader.numbers("Q", axes)))
    number, place = reader.numbers("IQ", 1)
    if number not in KINDS:
        raise GGUFError(
            f"{_shown(name)} is quantised as kind {number}{_known_elsewhere(number)}, which cannot be read here; "
            f"take a file with {', '.join(NAMED)}"
        )
    if place % alignment:
        raise GGUFError(f"{_shown(name)} begins at byte {place:,} of the data, which {alignment} does not divide")
    kind = KINDS[number]
    if (shape[-1] if shape else 1) % kind.block:
        raise GGUFError(
            f"{_shown(name)} has rows of {shape[-1]:,} numbers, and {kind.name} packs {kind.block} together"
        )
    return name, Held(kind, shape, place)


def _check_places(found: Mapping[str, Held], start: int, size: int) -> None:
    """Every tensor ends before the file does, and before the next one begins."""
    end, before = start, ""
    for name, held in sorted(found.items(), key=lambda item: (item[1].place, item[1].kind.bytes(item[1].shape))):
        stop = held.place + held.kind.bytes(held.shape)
        if stop > size:
            raise GGUFError(
                f"{_shown(name)} claims the bytes up to {stop:,}, and the file has {size:,}: it is cut off or damaged"
            )
        if held.place < end:
            raise GGUFError(f"{_shown(name)} overlaps {_shown(before)}: the file is damaged")
        end, before = stop, name


def _known_elsewhere(number: int) -> str:
    try:
        from gguf import GGMLQuantizationType

        return f" ({GGMLQuantizationType(number).name})"
    except (ImportError, ValueError):
        return ""


def _shown(name: str) -> str:
    return visible(name[:80])


def _in_pieces(packed: np.ndarray, held: Held) -> Tensor:
    """Unpack a few rows at a time, so that no more than the tensor itself is ever in memory."""
    unpack = _quants().dequantize
    kind, blocks = _number_of(held.kind), AT_ONCE // held.kind.block
    found = torch.empty(prod(held.shape))
    rows = packed.reshape(-1, held.kind.size)
    for first in range(0, len(rows), blocks):
        piece = torch.from_numpy(unpack(rows[first : first + blocks].reshape(1, -1), kind).reshape(-1))
        found[first * held.kind.block :][: len(piece)] = piece
    return found.reshape(held.shape)


def packed(tensor: Tensor, kind: Kind) -> Iterator[bytes]:
    """A tensor's bytes, as stored in a file: of rows that are made of whole blocks.

    Raises:
        ZooError: the `gguf` package is missing, or cannot pack this kind.
    """
    flat = tensor.detach().reshape(-1)
    for piece in flat.split(AT_ONCE):
        if kind.name in PLAIN:
            yield piece.to(PLAIN[kind.name]).contiguous().view(torch.uint8).numpy().tobytes()
        else:
            rows = piece.float().contiguous().numpy().reshape(1, -1)
            yield _quants().quantize(rows, _number_of(kind)).tobytes()


def _quants() -> Any:
    try:
        from gguf import quants
    except ImportError:
        raise ZooError(f"quantised weights need the package `gguf`: {INSTALL}") from None
    return quants


def _number_of(kind: Kind) -> Any:
    from gguf import GGMLQuantizationType

    return GGMLQuantizationType(kind.number)


def write_gguf(
    path: Path,
    keys: Mapping[str, Any],
    tensors: Mapping[str, tuple[Kind, tuple[int, ...]]],
    read: Callable[[str], Tensor],
) -> None:
    """Write a file; whole, or not at all. tensors: kind and shape of each. read: its numbers, asked for one at a time.

    Keys are written as unsigned 32-bit numbers, 32-bit floats, truth values, strings, and lists of one of these (with
    sign).

    Raises:
        OSError: the disk is full, or the place is not to be written to. ZooError: see `packed`.
    """
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(keys))
    head += b"".join(_string(key) + _value(value) for key, value in keys.items())
    place = 0
    for name, (kind, shape) in tensors.items():
        head += _string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind.number, place)
        place += _padded(kind.bytes(shape))

    def data() -> Iterator[bytes]:
        for name, (kind, shape) in tensors.items():
            yield from packed(read(name), kind)
            yield bytes(_padded(kind.bytes(shape)) - kind.bytes(shape))

    write_whole(path, chain((head, bytes(_padded(len(head)) - len(head))), data()))


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _string(text: str) -> bytes:
    data = text.encode("utf-8")
    return struct.pack("<Q", len(data)) + data


def _value(value: Any) -> bytes:
    """A value behind its kind."""
    if isinstance(value, list):
        first = value[0] if value else ""
        if isinstance(first, str):
            return struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(_string, value))
        kind, form = (7, "?") if isinstance(first, bool) else (5, "i") if isinstance(first, int) else (6, "f")
        return struct.pack(f"<IIQ{len(value)}{form}", 9, kind, len(value), *value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + _string(value)
    kind, form = (7, "?") if isinstance(value, bool) else (4, "I") if isinstance(value, int) else (6, "f")
    return struct.pack(f"<I{form}", kind, value)
