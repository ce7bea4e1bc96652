"""How much room text takes: widths of the letters of Helvetica, whose relatives every system has."""

from __future__ import annotations

# Widths in thousandths of the size, after the metrics that Adobe published for the font.
_CLASSES = {
    222: "ijl'`",
    278: " !,./:;ft[]\\I|",
    333: "()r-{}",
    389: '*"',
    500: "ckvxyzsJ",
    556: "0123456789abdeghnopqu_?$#L",
    584: "+=<>~^",
    667: "ABEKPSVXY&",
    722: "CDHNRUwTFZ",
    778: "GOQ",
    833: "mM",
    944: "W",
    1015: "@",
    889: "%",
}
WIDTHS = {letter: size for size, letters in _CLASSES.items() for letter in letters}
OTHER, BROAD = 640, 1000  # of other alphabets, and of ideographs
BOLDER = 65  # what a bold letter has more, at most
SLACK = 1.05  # for fonts that are a little wider
MONO = 0.62  # of the size, for any letter of a monospaced font


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of proportional text, in pixels."""
    letters = sum(WIDTHS.get(letter, BROAD if _is_broad(letter) else OTHER) for letter in text)
    return SLACK * size * (letters + BOLDER * bold * len(text)) / 1000


def mono(text: str, size: float) -> float:
    """The width of a line of monospaced text, in pixels."""
    return MONO * size * sum(2 if _is_broad(letter) else 1 for letter in text)


def _is_broad(letter: str) -> bool:
    return ord(letter) >= 0x2E80


def compact(count: int) -> str:
    """A number by three digits: 4.1K, 2.36M, 671B."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        value = float(f"{count / size:.3g}")
        if value >= 1:
            return f"{value:g}{letter}"
    return str(count)
