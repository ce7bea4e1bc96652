"""What holds of every genome that checks clean. Each module has the promises about one thing."""

from __future__ import annotations

from foundry.testing.case import Property

PROPERTIES: tuple[Property, ...] = ()
BY_NAME = {p.name: p for p in PROPERTIES}
