"""Softmax attention: the sink and the choice of logits that `attend` can have, and the prelude's calls leave out."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.syntax import Argument, Call, Expr, Genome, Name, Number, put
from foundry.generate.draw import Draw
from foundry.generate.genes import gene, step
from foundry.generate.mixers import sink
from foundry.generate.trees import expr
from foundry.search.variation.functions import expand
from foundry.search.variation.subject import Subject, argument_names


def sink_or_top(of: Subject, draw: Draw) -> Genome | None:
    """Give attention a sink or a choice of its largest logits, change it, or take it away."""
    if any(_is_attend(site.node) for site in of.sites) and draw.chance(0.7):
        return _changed(of, draw)
    return expand(of, draw, [(1.0, _changed)], effect="attend")


def _is_attend(node: Expr) -> bool:
    return isinstance(node, Call) and node.function == Name("attend")


def _changed(of: Subject, draw: Draw) -> Genome | None:
    """One call of `attend` with another sink, or another number of logits."""
    sites = [site for site in of.sites if _is_attend(site.node)]
    if not sites:
        return None
    site = draw.choice(sites)
    assert isinstance(site.node, Call)
    named = [
        replace(given, name=name)
        for given, name in zip(site.node.arguments, argument_names(of, site.node, site.path), strict=True)
    ]
    which = draw.choice(("sink", "top"))
    old = next((given.value for given in named if given.name == which), None)
    queries = next((given.value for given in named if given.name == "q"), None)
    rest = tuple(a for a, given in zip(site.node.arguments, named, strict=True) if given.name != which)
    new: Expr | None = None
    if old is None or draw.chance(0.5):
        if which == "top":
            new = _count(draw, old)
        elif isinstance(queries, Name):
            new = sink(draw, queries.id, next((name for name, kind in site.scope.items() if kind.is_seq), ""))
    if new is None and old is None:
        return None
    more = () if new is None else (Argument(which, new),)
    return put(of.genome, site.path, Call(site.node.function, rest + more))


def _count(draw: Draw, old: Expr | None) -> Expr | None:
    """How many logits count: near the old number where there is one."""
    ladder = gene("attend", "top")
    assert ladder is not None
    if not isinstance(old, Number):
        return expr(int(draw.choice(ladder.ladder)))
    value = step(draw, ladder, old.value)
    return None if value is None else expr(int(value))
