"""Found cases as files: a failing genome, or a text, that is tried again by every campaign and by the test suite.

`PROPERTY-DIGEST.genome` begins with comments that name the property and the seed. `survives-DIGEST.text` is the bytes
of an arbitrary text as they are.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from foundry.dsl.source import MAX_BYTES
from foundry.testing.failures import Content, Failure

TEXT_PROPERTY = "survives"
_HEADER = re.compile(r"# (property|seed|found): (.*)")


class CorpusError(ValueError):
    """A stored case that cannot be read. The message is one line that names the file."""


@dataclass(frozen=True)
class Stored:
    """A case of a corpus: what to try, and the property that it broke."""

    path: Path
    property: str
    content: Content
    seed: int


def read_corpus(folder: Path) -> tuple[Stored, ...]:
    """The cases of a folder, by name; none where there is no folder.

    Raises:
        CorpusError: a file in it is no case.
        OSError: a file cannot be read.
    """
    paths = [*folder.glob("*.genome"), *folder.glob(f"{TEXT_PROPERTY}-*.text")]
    return tuple(map(read_case, sorted(paths)))


def read_case(path: Path) -> Stored:
    """The case in a file.

    Raises:
        CorpusError: it is no case. OSError: it cannot be read.
    """
    data = path.read_bytes()
    if path.suffix == ".text":
        return Stored(path, TEXT_PROPERTY, data, 0)
    if len(data) > MAX_BYTES:
        raise CorpusError(f"{path}: larger than any genome")
    try:
        lines = data.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        raise CorpusError(f"{path}: not UTF-8 text") from None
    told: dict[str, str] = {}
    while lines and (match := _HEADER.fullmatch(lines[0].rstrip("\n"))):
        told[match[1]] = match[2]
        del lines[0]
    seed = told.get("seed", "0")
    if "property" not in told:
        raise CorpusError(f"{path}: its first lines name no property, as in  # property: meaning")
    if not seed.isascii() or not seed.isdigit():
        raise CorpusError(f"{path}: the seed {seed[:20]!r} is no number")
    return Stored(path, told["property"], "".join(lines), int(seed))


def write_case(folder: Path, failure: Failure) -> Path:
    """Store a failure; the path of its file.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    content, data = failure.content, encoded(failure.content)
    digest = hashlib.sha256(data).hexdigest()[:8]
    if failure.name == TEXT_PROPERTY:
        path = folder / f"{TEXT_PROPERTY}-{digest}.text"
    else:
        path = folder / f"{failure.name}-{digest}.genome"
        message = " ".join(f"{failure.kind} at {failure.place}: {failure.message}".split())
        told = {"property": failure.name, "seed": str(failure.seed), "found": message[:200]}
        header = "".join(f"# {name}: {value}\n" for name, value in told.items())
        data = header.encode("utf-8", "replace") + encoded(content)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
    return path


def encoded(content: Content) -> bytes:
    """The bytes of a text, lone surrogates included."""
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
