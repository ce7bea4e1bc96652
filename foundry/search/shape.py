"""The shape of plain data that comes from a file, and the first thing that is wrong with some."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LARGEST = 1e300  # of an amount


@dataclass(frozen=True)
class Maybe:
    """None, or of a shape."""

    shape: Any


@dataclass(frozen=True)
class Optional:
    """The value of a key that may be absent, or None."""

    shape: Any


@dataclass(frozen=True)
class Either:
    """Of one shape or of another."""

    one: Any
    other: Any


@dataclass(frozen=True)
class Every:
    """A list of things of one shape."""

    shape: Any


@dataclass(frozen=True)
class Named:
    """An object with any names, whose values have one shape."""

    shape: Any


@dataclass(frozen=True)
class Exactly:
    """An object with these keys and no others."""

    keys: Mapping[str, Any]


@dataclass(frozen=True)
class Between:
    """A whole number, or with `whole` false any, from `low` to `high`."""

    low: float
    high: float
    whole: bool = True


HASH = re.compile(r"[0-9a-f]{16}")
NO_HASH = re.compile(r"(?:[0-9a-f]{16})?")
SEED = Between(-(2**63), 2**63 - 1)
RUNG = Between(0, 2**31 - 1)
COUNT = Between(0, 2**63 - 1)
AMOUNT = Between(1e-9, LARGEST, whole=False)
POSITIVE = Between(0, LARGEST, whole=False)
FINITE = Between(-LARGEST, LARGEST, whole=False)


def complaint(value: Any, shape: Any, place: str = "") -> str:
    """What is wrong with a value of plain data, first thing first; empty where it has the shape.

    A shape is one of the classes above; `str`; `float`, which is any number; a pattern that a whole text matches; a
    mapping of the keys that an object has at least; or a function that says whether the value fits.
    """
    match shape:
        case Maybe() | Optional():
            return "" if value is None else complaint(value, shape.shape, place)
        case Either():
            return complaint(value, shape.one, place) and complaint(value, shape.other, place)
        case Every():
            if not isinstance(value, (list, tuple)):
                return _not(place, "a list", value)
            return next(filter(None, (complaint(v, shape.shape, f"{place}[{i}]") for i, v in enumerate(value))), "")
        case Named():
            if not isinstance(value, dict):
                return _not(place, "an object", value)
            inside = (complaint(v, shape.shape, _at(place, key)) for key, v in value.items())
            return next(filter(None, inside), "")
        case Exactly():
            more = sorted(set(value) - set(shape.keys)) if isinstance(value, dict) else ()
            return f"{_at(place, more[0])} means nothing" if more else complaint(value, shape.keys, place)
        case Mapping():
            return _object(value, shape, place)
        case Between():
            fits = _is_number(value) and shape.low <= value <= shape.high
            fits = fits and (isinstance(value, int) or not shape.whole)
            return "" if fits else _not(place, f"a number from {shape.low:g} to {shape.high:g}", value)
        case re.Pattern():
            return "" if isinstance(value, str) and shape.fullmatch(value) else _not(place, "as expected", value)
    if shape is str:
        return "" if isinstance(value, str) else _not(place, "a text", value)
    if shape is float:
        return "" if _is_number(value) else _not(place, "a number", value)
    return "" if shape(value) else _not(place, "as expected", value)


def _object(value: Any, keys: Mapping[str, Any], place: str) -> str:
    if not isinstance(value, dict):
        return _not(place, "an object", value)
    for key, shape in keys.items():
        if key not in value and not isinstance(shape, Optional):
            return f"it lacks {_at(place, key)}"
        if wrong := complaint(value.get(key), shape, _at(place, key)):
            return wrong
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _at(place: str, key: str) -> str:
    shown = key if key.isidentifier() and key.isascii() else ascii(key[:40])
    return f"{place}.{shown}" if place else shown


def _not(place: str, what: str, value: Any) -> str:
    shown = ascii(value)
    return f"{place or 'it'} is {shown if len(shown) <= 40 else shown[:40] + '…'}, not {what}"
