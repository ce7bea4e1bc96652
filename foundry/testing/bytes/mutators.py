"""Changes that keep a format, where bytes changed at random would hardly ever get past its first reader."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from typing import Any

from foundry.testing.texts import arbitrary

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**70, 0.5, -1e308, float("nan"), float("inf"),
    "", "a", "\ud800", "../x", "\x00", "x" * 300, [], {}, [[]], [None], {"": None},
)  # fmt: skip


def change_genome(data: bytes, rng: random.Random) -> bytes:
    """A genome gone wrong, or a text of another kind."""
    text = arbitrary(rng, (data.decode("utf-8", "replace"),))
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def change_json(data: bytes, rng: random.Random) -> bytes:
    """JSON with values replaced by odd ones or by others of its own, or with some left out."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return json.dumps(changed(document, rng)).encode()


def change_lines(data: bytes, rng: random.Random) -> bytes:
    """JSON lines of which one is changed."""
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    lines[at] = change_json(lines[at], rng)
    return b"\n".join(lines)


def changed(document: Any, rng: random.Random) -> Any:
    """A document of plain data, changed in place, in one to three places."""
    for _ in range(rng.randint(1, 3)):
        places = list(_places(document))
        if not places:
            break
        holder, key = rng.choice(places)
        match rng.randrange(4):
            case 0:
                del holder[key]
            case 1:
                other, its = rng.choice(places)
                holder[key] = copy.deepcopy(other[its])
            case _:
                holder[key] = copy.deepcopy(rng.choice(ODD))
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each of its keys."""
    keys: Any = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
