"""How hard text is to learn, by how little it compresses: the order of a curriculum over difficulty.

Text that a general compressor shrinks well repeats itself; a small model learns it first. (Compressibility as a measure
of a text's complexity: Cilibrasi and Vitányi 2005, arXiv:cs/0312044.)
"""

from __future__ import annotations

import zlib

import numpy as np

CHUNK = 1024  # bytes that are ranked together


def easiest_first(data: np.ndarray, chunk: int = CHUNK) -> np.ndarray:
    """The chunks of `data` (uint8) by number, the most compressible first, without a shorter last part.

    Raises:
        ValueError: data is shorter than one chunk.
    """
    count = len(data) // chunk
    if not count:
        raise ValueError(f"{len(data)} bytes are less than one chunk of {chunk}")
    sizes = [len(zlib.compress(data[n * chunk : (n + 1) * chunk].tobytes(), 6)) for n in range(count)]
    return np.argsort(np.array(sizes), kind="stable")


def places(order: np.ndarray, draws: np.ndarray, share: float, last: int, chunk: int = CHUNK) -> np.ndarray:
    """Where windows begin, within the easiest `share` of the chunks.

    order: from `easiest_first`. draws: numbers in [0, 1), one per window. last: the last place where one may begin.
    """
    spots = draws * max(1.0, share * len(order))
    inside = order[np.minimum(spots.astype(np.int64), len(order) - 1)] * chunk
    return np.minimum(inside + ((spots % 1.0) * chunk).astype(np.int64), last)
