"""Safetensors files: written whole or not at all, and read with a distrust of every number in them.

The format: eight bytes with the length of a JSON header (little-endian), the header, then the bytes of the tensors
without gaps (https://github.com/huggingface/safetensors#format). Nothing in it can be executed.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path

import torch
from torch import Tensor

from foundry.dsl.render import visible

LONGEST_HEADER = 100_000_000  # bytes, as the format's own reader has it
MOST_AXES = 64  # of a tensor, as torch has it
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "U16": torch.uint16,
    "U32": torch.uint32,
    "U64": torch.uint64,
    "BOOL": torch.bool,
}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


class TensorsError(ValueError):
    """A file that does not hold the tensors that it claims to hold. One line, without the file's name."""


@dataclass(frozen=True)
class Header:
    """What a file says of itself. tensors: (dtype, shape) by name. metadata: text by name."""

    tensors: dict[str, tuple[torch.dtype, tuple[int, ...]]]
    metadata: dict[str, str]


def write_whole(path: Path, parts: Iterable[bytes | memoryview]) -> None:
    """Write a file beside its place, force it to disk, and rename it. A reader sees the old file or the new one.

    Raises:
        OSError: the disk is full, or the place is not to be written to; the old file is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what some that lie across a network say
            raise
    finally:
        os.close(descriptor)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors, from whatever device, as one file.

    Raises:
        OSError: see `write_whole`.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, tensor in tensors.items():
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned
    write_whole(path, chain((len(text).to_bytes(8, "little"), text), map(_bytes, tensors.values())))


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.as_strided((len(flat),), (1,)).view(torch.uint8).numpy().data  # one element may have any stride


def read_header(path: Path) -> Header:
    """The header of a file, once it is sure that the file's length, shapes and places agree with each other.

    Reads no more than the header, and none that is longer than LONGEST_HEADER or than the file.

    Raises:
        TensorsError: they do not.
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > size - 8:
            raise TensorsError(
                f"its header claims {length:,} bytes, and the file has {size:,}: it is cut off or damaged"
            )
        if length > LONGEST_HEADER:
            raise TensorsError(f"its header claims {length:,} bytes; {LONGEST_HEADER:,} are allowed")
        try:
            header = json.loads(file.read(length))
            metadata = header.pop("__metadata__", {})
            entries = [(name, _entry(name, said)) for name, said in header.items()]
        except (ValueError, RecursionError, AttributeError) as error:
            reason = str(error) if isinstance(error, TensorsError) else "its header is damaged"
            raise TensorsError(reason) from None
    if not isinstance(metadata, dict) or not all(isinstance(text, str) for text in metadata.values()):
        raise TensorsError("its metadata are not text")
    end = 0
    for name, (_, _, (begin, stop)) in sorted(entries, key=lambda entry: entry[1][2]):
        if begin != end:
            raise TensorsError(f"{visible(name[:80])} begins at byte {begin:,} of the data, where {end:,} is due")
        end = stop
    if end != size - 8 - length:
        raise TensorsError(
            f"its tensors take {end:,} bytes, and the file has {size - 8 - length:,}: it is cut off or damaged"
        )
    return Header({name: (dtype, shape) for name, (dtype, shape, _) in entries}, metadata)


def _entry(name: str, said: object) -> tuple[torch.dtype, tuple[int, ...], tuple[int, int]]:
    """Dtype, shape and place of a tensor, as the header says."""
    if not isinstance(said, dict) or set(said) != {"dtype", "shape", "data_offsets"}:
        raise TensorsError(f"its header is damaged at {name[:80]!r}")
    kind, shape, place = said["dtype"], said["shape"], said["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise TensorsError(f"{visible(name[:80])}: no such kind of number as {str(kind)[:40]!r}")
    whole = all(isinstance(part, list) and all(type(n) is int and n >= 0 for n in part) for part in (shape, place))
    whole = whole and len(shape) <= MOST_AXES and len(place) == 2
    if not whole or place[1] - place[0] != prod(shape) * DTYPES[kind].itemsize:
        raise TensorsError(f"{visible(name[:80])}: shape {str(shape)[:60]} does not take the bytes {str(place)[:60]}")
    return DTYPES[kind], tuple(shape), (place[0], place[1])


def read_tensors(path: Path, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The tensors of a file by name.

    Raises:
        TensorsError, OSError: see `read_header`.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    read_header(path)
    try:
        return load_file(path, str(device))
    except SafetensorError as error:
        raise TensorsError(str(error).splitlines()[0]) from None
