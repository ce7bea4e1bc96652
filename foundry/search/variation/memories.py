"""Memories: how linear attention and the delta rule forget."""

from __future__ import annotations

from foundry.dsl.syntax import Call, Genome, Name, put
from foundry.generate.draw import Draw
from foundry.generate.mixers import random_decay
from foundry.generate.trees import with_argument
from foundry.search.variation.subject import Subject, argument_names

MEMORIES = (Name("linear_attend"), Name("delta_attend"))


def swap_decay(of: Subject, draw: Draw) -> Genome | None:
    """Let a memory forget in another way: by a constant, a learned number per head, a gate per head or per channel."""
    sites = [site for site in of.sites if isinstance(site.node, Call) and site.node.function in MEMORIES]
    if not sites:
        return None
    site = draw.choice(sites)
    assert isinstance(site.node, Call) and isinstance(site.node.function, Name)
    places = argument_names(of, site.node, site.path)
    keys = next((a.value for a, name in zip(site.node.arguments, places, strict=True) if name == "k"), None)
    sequences = [name for name, kind in site.scope.items() if kind.is_seq]
    if not isinstance(keys, Name) or not sequences:
        return None
    decay = random_decay(draw, site.node.function.id == "linear_attend", keys.id, sequences[0])
    rest = tuple(a for a, name in zip(site.node.arguments, places, strict=True) if name != "decay")
    kept = Call(site.node.function, rest)
    return put(of.genome, site.path, kept if decay is None else with_argument(kept, "decay", decay))
