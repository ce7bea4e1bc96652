"""Files that commands write."""

from __future__ import annotations

import sys
from pathlib import Path

from foundry.cli.failures import Misuse


def refuse_missing(names: list[str]) -> None:
    """Raise where a file that is to be written does not exist: shipped genomes are for reading.

    Raises:
        Misuse: there is no such file.
    """
    for name in names:
        if name != "-" and not Path(name).exists():
            raise Misuse(f"no file {name}")


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all; its permissions stay, and a link stays a link."""
    path = path.resolve()
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8", newline="")
        partial.chmod(path.stat().st_mode)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_or_print(text: str, output: str, what: str) -> None:
    """Write a text to the file `output` and say so on standard error, with `what` behind; print it where output is "".

    Raises:
        Misuse: the file cannot be written.
    """
    if not output:
        sys.stdout.write(text)
        return
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misuse(f"cannot write {output}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {output}{what}", file=sys.stderr)
