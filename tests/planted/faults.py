"""The planted faults: small known bugs, one row of the tables beside this file each.

A row names a file of the package, a text that stands in it exactly once, what stands there with the fault, what that
breaks, in half a sentence, and which tests are tried first, so that the verdict comes early.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLES = ("mechanisms", "compiler", "language", "search")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Fault:
    """A bug that the fuzzing suite has to find.

    file: its path below the repository. first: what selects the tests that are likely to find it, as `pytest -k`
    takes it; when they pass, all others are run as well.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str
    first: str

    @property
    def room(self) -> str:
        """The folder of the package that it sits in."""
        return Path(self.file).parent.as_posix().removeprefix("foundry/")


def faults() -> tuple[Fault, ...]:
    """Every fault, in the order of the tables."""
    return tuple(Fault(**row) for table in TABLES for row in _rows(table))


def _rows(table: str) -> list[dict[str, str]]:
    return tomllib.loads(Path(__file__).with_name(f"{table}.toml").read_text("utf-8"))["fault"]


def planted(fault: Fault, folder: Path = REPOSITORY) -> str:
    """The text of the fault's file with the fault in it.

    Raises:
        ValueError: what it replaces does not stand there exactly once, so the row is out of date.
    """
    text = (folder / fault.file).read_text("utf-8")
    found = text.count(fault.old)
    if found != 1:
        raise ValueError(f"{fault.name}: its old text stands in {fault.file} {found} times instead of once")
    return text.replace(fault.old, fault.new)
