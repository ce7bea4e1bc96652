"""The fields of a configuration, of which none is believed before it is looked at."""

from __future__ import annotations

import math
from typing import Any

from foundry.dsl.render import visible
from foundry.zoo.failure import ZooError

MISSING = object()
LARGEST = 1 << 31  # of any size


def whole(config: Any, name: str, default: Any = MISSING, least: int = 1) -> int:
    """A size. A default of None is given where the field is absent or null.

    Raises:
        ZooError: it is missing without a default, no whole number, or out of bounds.
    """
    value = _value(config, name, default)
    if value is None and default is None:
        return value  # type: ignore[return-value]
    if type(value) is not int or not least <= value < LARGEST:
        raise ZooError(f"config.json: {name} is {_shown(value)}; it must be a whole number from {least}")
    return value


def number(config: Any, name: str, default: Any = MISSING, above: float = -math.inf) -> float:
    """A finite number larger than `above`. Raises as `whole` does."""
    value = _value(config, name, default)
    if value is None and default is None:
        return value  # type: ignore[return-value]
    if type(value) not in (int, float) or not math.isfinite(value) or value <= above:
        more = "" if above == -math.inf else f" above {above:g}"
        raise ZooError(f"config.json: {name} is {_shown(value)}; it must be a number{more}")
    return float(value)


def truth(config: Any, name: str, default: Any = MISSING) -> bool:
    """True or false. Raises as `whole` does."""
    value = _value(config, name, default)
    if type(value) is not bool:
        raise ZooError(f"config.json: {name} is {_shown(value)}; it must be true or false")
    return value


def word(config: Any, name: str, allowed: tuple[str, ...], default: Any = MISSING) -> str:
    """One of the words that are known here. Raises as `whole` does."""
    value = _value(config, name, default)
    if value not in allowed or not isinstance(value, str):
        raise ZooError(f"config.json: {name} is {_shown(value)}; known here: {', '.join(allowed)}")
    return value


def _value(config: Any, name: str, default: Any) -> Any:
    value = config.get(name)
    if value is None:
        if default is MISSING:
            raise ZooError(f"config.json: {name} is missing")
        return default
    return value


def _shown(value: Any) -> str:
    return visible(repr(value)[:60])


def written(value: float) -> str:
    """A number as a genome has it, without a loss: 4, 0.5, 1e-06."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
