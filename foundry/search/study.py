"""What a study is: a question that is answered by evaluations, and decides by their scores which come next.

A study is a generator. It yields what it wants to be evaluated, is sent the scores, and returns its result, so that it
knows nothing of workers, budgets or folders: a panel can drive it (`Panel.follow`), and so can a search.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True)
class Wanted:
    """An evaluation that somebody wants: train `text` for `compute` flop with this seed, and score it on `split`.

    data: the hash of the corpus; "" where the panel has but one.
    """

    text: str
    compute: float
    seed: int
    split: str = "validation"
    data: str = ""


@dataclass(frozen=True)
class Measured:
    """What came of one. bits_per_byte is None unless the status is ok; compute is what was spent, in flop; the other
    figures are as in `Outcome`."""

    status: str
    error_code: str = ""
    message: str = ""
    bits_per_byte: float | None = None
    compute: float = 0.0
    tokens: int = 0
    steps: int = 0
    parameters: int = 0
    flops_per_token: float | None = None
    bytes_per_token: float | None = None
    cache_bytes_per_token: float | None = None
    peak_rss: int = 0
    cpu_s: float = 0.0
    wall_s: float = 0.0


T = TypeVar("T")
Scores = Sequence[float | None]  # bits per byte in the order of what was wanted; None: there is no score
Study = Generator[
    Sequence[Wanted], Scores | None, T
]  # None is sent where the budget is spent: it ends with what it has
