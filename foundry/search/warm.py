"""What every evaluation needs, done once: the fork server imports this, and its children begin with it.

Nothing here computes with torch, since a process that has run a backward pass cannot be forked for another.
"""

from torch import _dynamo  # the first optimizer of a process imports it, which takes about a second

from foundry.compiler.emit import emit
from foundry.dsl.check import load_program
from foundry.evals import proxy
from foundry.search.candidates import shipped_baselines

for _text in shipped_baselines().values():
    emit(load_program(_text))  # reads the grammar, the prelude and the mechanisms into their caches

__all__ = ["_dynamo", "proxy"]
