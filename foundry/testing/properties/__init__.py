"""What holds of every genome that checks clean. Each module has the promises about one thing, in a tuple PROPERTIES."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from foundry.testing.case import Property

_MODULES = sorted(module.name for module in iter_modules(__path__))

PROPERTIES: tuple[Property, ...] = tuple(
    found for name in _MODULES for found in getattr(import_module(f"{__name__}.{name}"), "PROPERTIES", ())
)
BY_NAME = {found.name: found for found in PROPERTIES}
