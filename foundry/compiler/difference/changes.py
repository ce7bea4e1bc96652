"""A difference between two genomes, and the line that says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from itertools import pairwise

RUNS = 6  # runs of layers that are listed


@dataclass(frozen=True)
class Change:
    """One difference.

    kind: changed, replaced, rewritten, added or removed. place: what it lies in: a function of the genome, a part of
    the recipe, or "" for the model itself. what: the argument or the part; of something added or removed, where it
    stands. before, after: as text; "" for what was added or removed. layers: which layers of the second genome have it,
    counted from 1; () for all of them, and for what is no part of a layer.
    """

    kind: str
    place: str
    what: str
    before: str
    after: str
    layers: tuple[int, ...] = ()

    @property
    def text(self) -> str:
        """The line."""
        numbers = layer_numbers(self.layers) if self.layers else ""
        what = self.what if self.kind == "changed" else ""
        subject = " ".join(word for word in (numbers, self.place, what) if word)
        where = f" {self.what}" if self.what else ""
        said = {
            "added": f"added {self.after}{where}",
            "removed": f"removed {self.before}{where}",
            "replaced": f"{self.before} replaced by {self.after}",
            "rewritten": f"rewritten as {self.after}",
            "changed": f"{self.before} → {self.after}",
        }[self.kind]
        return f"{subject}: {said}" if subject else said


def layer_numbers(layers: Sequence[int]) -> str:
    """`layer 3`, `layers 1–4, 8`, `every 6th layer from 6 to 24`."""
    ordered = sorted(layers)
    steps = {b - a for a, b in pairwise(ordered)}
    if len(ordered) > 3 and len(steps) == 1 and steps != {1}:
        return f"every {_ordinal(steps.pop())} layer from {ordered[0]} to {ordered[-1]}"
    runs: list[list[int]] = []
    for layer in ordered:
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    parts = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}–{b}" for a, b in runs[:RUNS]]
    rest = sum(b - a + 1 for a, b in runs[RUNS:])
    more = f" and {rest} more" if rest else ""
    return f"{'layer' if len(ordered) == 1 else 'layers'} {', '.join(parts)}{more}"


def _ordinal(n: int) -> str:
    return f"{n}{'th' if 10 < n % 100 < 20 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def gathered(changes: Iterable[tuple[Change, Iterable[int]]], depth: int, titles: Set[str]) -> list[Change]:
    """Changes found in some layers of `depth`: equal ones once, with the numbers of their layers unless all have it.
    Numbers take the place of the names of layers, `titles`."""
    places: dict[Change, set[int]] = {}
    for change, layers in changes:
        places.setdefault(change, set()).update(layers)
    out = []
    for change, layers in places.items():
        if len(layers) < depth:
            place = "" if change.place in titles else change.place
            change = replace(change, place=place, layers=tuple(sorted(layers)))
        out.append(change)
    return sorted(out, key=lambda change: change.layers[:1])


def merged(changes: Iterable[Change]) -> list[Change]:
    """Changes without repetitions: what was added or removed in several places of a function is said once."""
    places: dict[Change, list[str]] = {}
    for change in changes:
        anywhere = replace(change, what="") if change.kind in ("added", "removed") else change
        places.setdefault(anywhere, []).append(change.what)
    return [
        replace(change, what=found[0] if len(set(found)) == 1 else f"in {len(found)} places")
        for change, found in places.items()
    ]
