"""Writes the tables of docs/mechanisms.md from the comments that the genomes of single mechanisms begin with.

python docs/mechanisms.py
"""

import re
from pathlib import Path

from foundry.dsl.parse import parse

ROOMS = ("attention", "positions", "norms", "channels", "residual", "heads", "recipes")
PAGE = Path(__file__).with_suffix(".md")
GENOMES = Path(__file__).parents[1] / "genomes"
SOURCE = re.compile(r'(?:[A-Z][\w-]+(?: [A-Z]\w+| et al\.)?|[A-Z]\w+ and [A-Z]\w+) \d{4}, (?:arXiv:[\d.]+\d|"[^"]+")')
PAPER = re.compile(r"(.*), arXiv:([\d.]+)")


def table(room: str) -> str:
    """A row for each genome of a room: its name, what it says, and where it comes from."""
    rows = [row(path) for path in sorted((GENOMES / room).glob("*.genome"))]
    return "\n".join(["| genome | what | from |", "|---|---|---|", *rows])


def row(path: Path) -> str:
    """The row of a genome, whose comment says what it is and ends with its sources."""
    comment = " ".join(parse(path.read_text("utf-8")).comments)
    sources = list(SOURCE.finditer(comment))
    what = comment[: sources[0].start()].strip() if sources else comment
    papers = "; ".join(PAPER.sub(r"[\1](https://arxiv.org/abs/\2)", source.group()) for source in sources)
    link = f"[`{path.stem}`](../genomes/{path.parent.name}/{path.name})"
    return f"| {link} | {what} | {papers or 'ours'} |"


def page(text: str) -> str:
    """The page with every table, which follows the heading of its room, written anew."""
    for room in ROOMS:
        text, found = re.subn(rf"(?m)(?<=^## {room}\n)\n*(\|.*\n)*\n*", f"\n{table(room)}\n\n", text, count=1)
        assert found, f"no heading for {room}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")
