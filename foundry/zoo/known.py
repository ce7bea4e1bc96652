"""The families that are known here: one file each in `families/`."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import Any

from foundry.dsl.render import visible
from foundry.dsl.suggest import closest
from foundry.zoo import families
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family


@cache
def known() -> tuple[Family, ...]:
    """Every family, by name."""
    modules = [import_module(f"{families.__name__}.{found.name}") for found in pkgutil.iter_modules(families.__path__)]
    values: list[Any] = [value for module in modules for value in vars(module).values()]
    return tuple(sorted({v.name: v for v in values if isinstance(v, Family)}.values(), key=lambda f: f.name.lower()))


def of_config(config: Config) -> Family:
    """The family that a configuration's `model_type` means.

    Raises:
        ZooError: it says none, or one that is not known here.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str):
        raise ZooError("config.json: model_type is missing")
    types = {name: family for family in known() for name in family.types}
    if kind not in types:
        meant = closest(kind[:60], set(types))
        hint = f"; closest: {meant[0]}" if meant else ""
        raise ZooError(
            f"config.json: model_type {visible(repr(kind[:60]))} is not known; known: {', '.join(sorted(types))}{hint}"
        )
    return types[kind]


def named(name: str) -> Family:
    """The family of a name, or of a `model_type`, in any case.

    Raises:
        ZooError: there is none.
    """
    for family in known():
        if name.lower() in (family.name.lower(), *family.types, family.architecture.lower()):
            return family
    raise ZooError(f"no family {visible(name[:60])}; there are {', '.join(family.name for family in known())}")
