"""Emitted source to a Python module. What runs is the text that `foundry emit` prints."""

from __future__ import annotations

import itertools
import linecache
import sys
from types import ModuleType

_count = itertools.count(1)


def load(source: str, name: str = "model") -> ModuleType:
    """Execute emitted source as a module of its own. Only for text that `emit` made: it is run as it is.

    The lines are registered, so that tracebacks and `inspect.getsource` show them.
    """
    unique = f"foundry_emitted_{name}_{next(_count)}"
    file = f"<{unique}>"
    module = ModuleType(unique)
    module.__file__ = file
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    sys.modules[unique] = module
    exec(compile(source, file, "exec"), module.__dict__)
    return module
