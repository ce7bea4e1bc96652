"""Where text comes from: limits, genome files, and the files that ship with the package."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, GenomeError
from foundry.dsl.syntax import Span

MAX_BYTES = 256 * 1024  # of a text
MAX_WORDS = 20_000  # of a text: six times the prelude, and read in half a second
MAX_DEPTH = 100  # of brackets, and of expressions in expressions
MAX_DIGITS = 40  # of a number

_PACKAGE = Path(__file__).resolve().parent.parent
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16", b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip"}


def resource(kind: str, name: str) -> str:
    """The text of a file that ships with foundry; `kind` is `grammars` or `genomes`.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return (resource_folder(kind) / name).read_text("utf-8")


def resource_folder(kind: str) -> Path:
    """The folder of shipped files: inside an installed package, or at the top of a checkout."""
    installed = _PACKAGE / "_resources" / kind
    return installed if installed.is_dir() else _PACKAGE.parent / kind


def shipped_genomes() -> dict[str, Path]:
    """The genomes that ship with foundry, by their names below the folder: `llama`, `families/llama2_7b`."""
    folder = resource_folder("genomes")
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.genome"))}


def read_genome(path: str) -> str:
    """The text of a genome file, or of standard input where `path` is `-`.

    Reads no more than a genome may hold, however long the file is.

    Raises:
        GenomeError: the bytes are no genome (F001, F002, F003).
        OSError: the file cannot be read.
    """
    if path == "-":
        return decode(sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>")
    with open(path, "rb") as file:
        return decode(file.read(MAX_BYTES + 1), path)


def decode(data: bytes, file: str = "") -> str:
    """The text that some bytes hold.

    Raises:
        GenomeError: they are not UTF-8 text (F001), too many (F002), or blank (F003).
    """
    if len(data) > MAX_BYTES:
        raise GenomeError((_too_large(file),))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise GenomeError((_not_utf8(data, error.start, file),), data.decode("utf-8", "replace")) from None
    refuse(text, file)
    return text


def byte_length(text: str) -> int:
    """How many bytes a text takes in UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def refuse(text: str, file: str = "") -> None:
    """Raise for text that cannot hold a genome, before anything looks at its words.

    Raises:
        GenomeError: control characters (F001), too many bytes (F002), or nothing but blanks (F003).
    """
    if len(text) > MAX_BYTES or byte_length(text) > MAX_BYTES:
        raise GenomeError((_too_large(file),))
    if control := _CONTROL.search(text):
        span = _place(text, control.start(), file)
        message = f"the text holds the control character U+{ord(control.group()):04X}"
        help = "a genome is plain text; this looks like another kind of file"
        raise GenomeError((Diagnostic("F001", message, span, help=help),), text)
    if not text or text.isspace():
        raise GenomeError((blank(text, file),), text)


def blank(text: str, file: str = "") -> Diagnostic:
    """The error for a text without a single word."""
    example = "@foundry(1);\n\nmodel = embed(vocab = 256, width = 64) >> rmsnorm >> unembed(tied = 1);\n"
    end = byte_length(text)
    separator = "\n" if text and not text.endswith("\n") else ""
    fix = Fix("begin with the smallest genome", (Edit(end, end, separator + example),))
    comments = " but comments" if text and not text.isspace() else ""
    return Diagnostic(
        "F003",
        f"the text holds nothing{comments}",
        Span(file=file),
        expected=("`@foundry(1);`", "definitions"),
        help="a genome begins with `@foundry(1);` and defines `model`",
        fixes=(fix,),
    )


def _too_large(file: str) -> Diagnostic:
    help = "a genome is a short program; a corpus is given with --data"
    return Diagnostic("F002", f"the text is larger than {MAX_BYTES // 1024} KiB", Span(file=file), help=help)


def _not_utf8(data: bytes, start: int, file: str) -> Diagnostic:
    kind = next((name for mark, name in _MARKS.items() if data.startswith(mark)), "")
    help = f"this looks like {kind}; " if kind else ""
    span = _place(data[:start].decode("utf-8"), start, file)
    message = f"the byte 0x{data[start]:02X} at offset {start} is not UTF-8"
    return Diagnostic("F001", message, span, help=help + "save the genome as UTF-8 text")


def _place(text: str, index: int, file: str) -> Span:
    """The span of one byte at a character's index."""
    start = byte_length(text[:index])
    line_start = text.rfind("\n", 0, index) + 1
    return Span(start, start + 1, text.count("\n", 0, index) + 1, min(index, len(text)) - line_start + 1, file)
