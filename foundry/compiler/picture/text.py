"""How much room text takes: widths of the letters of Helvetica, whose relatives every system has."""

from __future__ import annotations

# Widths in thousandths of the size, from the metrics that Adobe published for the font; the rest count as wide.
NARROW = {**dict.fromkeys("ijl'|", 222), **dict.fromkeys(" !,./:;ft[]\\I", 278), **dict.fromkeys("()r-`", 333)}
MIDDLE = {**dict.fromkeys("ckstvxyzJ", 500), **dict.fromkeys("0123456789abdeghnopqu_?$#L", 556)}
BROAD = {**dict.fromkeys("+=<>~*^", 584), **dict.fromkeys("ABEKPSVXY&F", 667), **dict.fromkeys("CDHNRUwT", 722)}
WIDTHS = {**NARROW, **MIDDLE, **BROAD, **dict.fromkeys("GOQM", 800), "m": 833, "W": 944, "@": 1015, "%": 889}
WIDEST = 1000
BOLD = 1.08
SLACK = 1.06  # for fonts that are wider
MONO = 0.62  # of the size, for any letter of a monospaced font


def width(text: str, size: float, bold: bool = False) -> float:
    """The width of a line of proportional text, in pixels."""
    return SLACK * (BOLD if bold else 1) * size * sum(WIDTHS.get(letter, WIDEST if ord(letter) > 0x2FFF else 640)
                                                      for letter in text) / 1000  # fmt: skip


def mono(text: str, size: float) -> float:
    """The width of a line of monospaced text, in pixels."""
    return MONO * size * sum(2 if ord(letter) > 0x2FFF else 1 for letter in text)


def compact(count: int) -> str:
    """A number by three digits: 4.1K, 2.36M, 671B."""
    for size, letter in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if count >= size:
            value = count / size
            digits = 0 if value >= 100 else 1 if value >= 10 else 2
            return f"{value:.{digits}f}".rstrip("0").rstrip(".") + letter if digits else f"{value:.0f}{letter}"
    return str(count)
