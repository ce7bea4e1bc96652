"""Did you mean: the known names that are closest to a mistyped one."""

from __future__ import annotations

from collections.abc import Iterable

MOST_CANDIDATES = 1000  # among more of them, likeness says nothing and takes long to find


def distance(a: str, b: str, limit: int = 99) -> int:
    """Edits that turn `a` into `b`: insert, delete, replace a letter, or swap two neighbours.

    Optimal string alignment (Damerau-Levenshtein with every letter edited at most once); anything
    beyond `limit` counts as `limit + 1`.
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return row[-1]


def closest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates that `name` may have meant, best first; at most `count`, often none.

    A candidate counts if it differs by at most a third of its letters, by case or underscores
    only, or if one of the two begins with the other (`embedding` and `embed`).
    """
    candidates = set(candidates) - {name}
    if len(name) > 60 or len(candidates) > MOST_CANDIDATES:
        return []
    plain = _plain(name)
    found = []
    for candidate in sorted(candidates):
        other = _plain(candidate)
        limit = max(1, (max(len(plain), len(other)) + 1) // 3) if len(plain) > 1 else 0
        edits = distance(plain, other, limit)
        if edits <= limit:
            found.append((edits, candidate))
        elif min(len(plain), len(other)) >= 4 and (plain.startswith(other) or other.startswith(plain)):
            found.append((limit + 1, candidate))
    return [candidate for _, candidate in sorted(found)[:count]]


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
