"""A difference between two genomes, and the line that says it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Change:
    """One difference.

    kind: changed, replaced, added or removed. place: what it lies in: a function of the genome, a part of the recipe,
    or "" for the model itself. layers: which layers of the second genome have it, counted from 1; () for all of them,
    and for what is no part of a layer. what: the argument or the part; of something added or removed, where it stands.
    before, after: as text; "" for what was added or removed.
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
        head = f"{layer_numbers(self.layers)}: " if self.layers else ""
        subject = " ".join(word for word in (self.place, self.what) if word)
        match self.kind:
            case "added":
                return f"{head}added: {self.after}{self._where}"
            case "removed":
                return f"{head}removed: {self.before}{self._where}"
            case "replaced":
                return f"{head}{self.before} replaced by {self.after}"
        return f"{head}{subject}: {self.before} → {self.after}"

    @property
    def _where(self) -> str:
        return f" {self.what}" if self.what else ""


def layer_numbers(layers: Sequence[int]) -> str:
    """`layer 3`, `layers 1–4, 8`."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][1] + 1:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer])
    parts = [str(a) if a == b else f"{a}, {b}" if b == a + 1 else f"{a}–{b}" for a, b in runs]
    return f"{'layer' if len(layers) == 1 else 'layers'} {', '.join(parts)}"


def gathered(changes: Iterable[tuple[Change, Iterable[int]]], depth: int) -> list[Change]:
    """Changes found in some layers of `depth`: equal ones once, with the numbers of their layers unless all have it."""
    places: dict[Change, set[int]] = {}
    for change, layers in changes:
        places.setdefault(change, set()).update(layers)
    return [
        replace(change, layers=() if len(layers) == depth else tuple(sorted(layers)))
        for change, layers in places.items()
    ]
