"""Documents from files: plain text, folders, JSON lines, Parquet, or the running Python's own library."""

from __future__ import annotations

import codecs
import json
import mmap
import os
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PIECES = 1000  # a single text file is cut into about this many documents ...
SMALLEST_PIECE = 1024  # ... of at least so many bytes
NAMED = 8  # columns in a message
NOT_LIBRARY = {"site-packages", "dist-packages", "test", "tests"}


class CorpusError(Exception):
    """Text that cannot be used. The message is one line: what, where, and what to do."""


@dataclass(frozen=True)
class File:
    """A file with what tells whether it changed: its size in bytes and its times in nanoseconds."""

    path: Path
    size: int
    modified: int
    changed: int


@dataclass(frozen=True)
class Source:
    """Files in the order in which they are read. `single`: the one file that the user named."""

    name: str
    files: tuple[File, ...]
    single: bool


def find_source(path: str | None) -> Source:
    """The files at `path`; None stands for the standard library of the running interpreter.

    A folder gives all its files, recursively, in the order of their paths; names that begin with
    a dot are passed over. Nothing is read yet.

    Raises:
        CorpusError: there is nothing at `path`, or nothing that can be read.
    """
    if path is None:
        return _standard_library()
    root = Path(path)
    try:
        status = root.stat()
        if stat.S_ISDIR(status.st_mode):
            files = tuple(_walk(root, lambda folder: not folder.startswith("."), ""))
        elif stat.S_ISREG(status.st_mode):
            files = (_file(root, status),)
        else:
            raise CorpusError(f"{path}: neither a file nor a folder")
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file or folder") from None
    except (OSError, ValueError) as error:
        raise CorpusError(f"{path}: cannot be read ({_reason(error)})") from None
    if not files:
        raise CorpusError(f"{path}: the folder holds no files")
    return Source(str(path), files, single=stat.S_ISREG(status.st_mode))


def _standard_library() -> Source:
    """The library's `*.py` files without its tests and what is installed beside it.

    799 files, 12.6 MB on Python 3.11.
    """
    version = f"Python {sys.version_info.major}.{sys.version_info.minor} standard library"
    root = Path(sysconfig.get_paths()["stdlib"])
    files = tuple(_walk(root, lambda folder: folder not in NOT_LIBRARY, ".py"))
    if not files:
        raise CorpusError(f"{version}: no source files at {root}; name a text with --data")
    return Source(version, files, single=False)


def _walk(root: Path, enter: Callable[[str], bool], suffix: str) -> Iterator[File]:
    """Regular files under `root` whose names end in `suffix`, sorted by path, links to folders not followed."""

    def fail(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=fail):
        folders[:] = sorted(name for name in folders if enter(name))
        for name in sorted(names):
            if not name.endswith(suffix) or name.startswith("."):
                continue
            try:
                status = os.stat(os.path.join(folder, name))
            except FileNotFoundError:  # a link to nowhere
                continue
            if stat.S_ISREG(status.st_mode):
                yield _file(Path(folder, name), status)


def _file(path: Path, status: os.stat_result) -> File:
    return File(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def read_documents(source: Source) -> Iterator[bytes | None]:
    """Every document that is not empty, as UTF-8 bytes; None for a file of a folder that is not text.

    `.jsonl` gives a document for each line and `.parquet` one for each row (field `text`). Any other
    file in a folder is one document; a single text file is cut into documents at blank lines, since
    one document could not be split.

    Raises:
        CorpusError: a file that cannot be read, or does not hold what its name says.
    """
    return (document for _, _, document in documents_from(source, 0, 0))


def documents_from(source: Source, first: int, place: int) -> Iterator[tuple[int, int, bytes | None]]:
    """As `read_documents`, from a place in the file of number `first` on; with each document, from where to go on after
    it. A place is a count of lines or rows, or of bytes in a text; 0 is the beginning."""
    for number, file in enumerate(source.files[first:], start=first):
        try:
            for after, document in _documents_in(file, source.single, place):
                yield number, after, document
        except OSError as error:
            raise CorpusError(f"{file.path}: cannot be read ({_reason(error)})") from None
        place = 0


def _documents_in(file: File, single: bool, place: int) -> Iterator[tuple[int, bytes | None]]:
    if file.path.suffix == ".jsonl":
        yield from _json_lines(file.path, place)
    elif file.path.suffix == ".parquet":
        yield from _parquet_rows(file.path, place)
    elif single:
        yield from _pieces_of(file.path, place)
    elif file.size > place:
        data = file.path.read_bytes()
        yield file.size, data if _is_text(data) else None


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return b"\0" not in data


def _pieces_of(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    size = path.stat().st_size
    if size == 0:
        raise CorpusError(f"{path}: the file is empty")
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        piece = max(SMALLEST_PIECE, size // PIECES)
        while start < len(data):
            end = _cut(data, start + piece, start + 2 * piece)
            text = data[start:end]
            try:
                decoder.decode(text, final=end == len(data))
            except UnicodeDecodeError as error:
                raise CorpusError(f"{path}: not UTF-8 text (near byte {start + error.start:,})") from None
            if b"\0" in text:
                raise CorpusError(f"{path}: not text (a zero byte at {start + text.index(0):,})")
            yield end, text
            start = end


def _cut(data: mmap.mmap, low: int, high: int) -> int:
    """Where a piece ends: after the first blank line in [low, high), else a line end, else at `high`."""
    for mark in (b"\n\n", b"\n"):
        found = data.find(mark, low, high)
        if found >= 0:
            return found + len(mark)
    return min(high, len(data))


def _json_lines(path: Path, passed: int) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if number <= passed or not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorpusError(f"{path}, line {number}: not valid JSON ({_reason(error)})") from None
            text = row.get("text") if isinstance(row, dict) else None
            if not isinstance(text, str):
                raise CorpusError(f"{path}, line {number}: no field `text` that holds a string")
            if text:
                yield number, text.encode("utf-8", errors="replace")


def _parquet_rows(path: Path, passed: int) -> Iterator[tuple[int, bytes]]:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.ParquetFile(path)
        fields = table.schema_arrow
        if "text" not in fields.names:
            raise CorpusError(f"{path}: no column `text`; it has {_listed(fields.names)}")
        kind = fields.field("text").type
        if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            raise CorpusError(f"{path}: the column `text` holds {_listed([str(kind)])}, not strings")
        number = 0
        for batch in table.iter_batches(columns=["text"]):
            texts = batch.column(0)[max(0, passed - number) :].to_pylist()
            number += len(batch) - len(texts)
            for text in texts:
                number += 1
                if text:
                    yield number, text.encode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path}: the column `text` holds what is not UTF-8 ({error.reason})") from None
    except pyarrow.ArrowException as error:
        raise CorpusError(f"{path}: not a readable Parquet file ({_reason(error)})") from None


def _listed(names: Sequence[str]) -> str:
    """The first few names of columns, whatever stands in them, on one line."""
    shown = [name[:40] if name.isprintable() else ascii(name[:40]) for name in names[:NAMED]]
    return ", ".join([*shown, "…"] if len(names) > NAMED else shown) or "none"


def _reason(error: Exception) -> str:
    """The first line of an error's message, or its kind."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.splitlines()[0][:120] if text else type(error).__name__
