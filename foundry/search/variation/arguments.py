"""Optional arguments of calls: give one, take one away, or compose the function that one is with another."""

from __future__ import annotations

from foundry.dsl.registry import SLOTS
from foundry.dsl.syntax import Argument, Call, Expr, Function, Genome, Name, Number, put
from foundry.generate.draw import Draw, weighted
from foundry.generate.formulas import distance_bias
from foundry.generate.genomes import argument, random_expr
from foundry.generate.trees import applied, block, chain, expr, fn, op, with_argument, without_argument
from foundry.generate.vocabulary import SLOT_ROLES, Callee
from foundry.search.variation.subject import Site, Subject, parent


def _calls(of: Subject) -> list[tuple[Site, Callee]]:
    """Calls of functions with optional arguments, by name."""
    return [
        (site, of.known[site.node.function.id])
        for site in of.sites
        if isinstance(site.node, Call)
        and isinstance(site.node.function, Name)
        and site.node.function.id in of.known
        and of.known[site.node.function.id].optional
    ]


_EAGERNESS = {
    "short": 4.0,
    "norm": 3.0,
    "act": 3.0,
    "score": 2.0,
    "pos": 2.0,
    "mask": 1.0,
    "kv_heads": 1.0,
    "sink": 1.0,
    "top": 1.0,
    "compress": 1.0,
    "learn": 0.05,  # every learned value has it, and few are better fixed
}


def set_argument(of: Subject, draw: Draw) -> Genome | None:
    """Give a call an optional argument that it leaves at its default: a score, a mask, a norm, a short filter."""
    options: list[tuple[float, tuple[Site, Callee, str]]] = []
    for site, callee in _calls(of):
        assert isinstance(site.node, Call)
        given = {a.name for a in site.node.arguments}
        positional = sum(not a.name for a in site.node.arguments)
        for name in callee.optional:
            if name not in given and callee.parameters.index(name) >= positional and name not in _FIXED:
                options.append((_EAGERNESS.get(name, 0.5), (site, callee, name)))
    for _ in range(min(6, len(options))):
        site, callee, name = weighted(draw, options)
        assert isinstance(site.node, Call)
        beside = {a.name: a.value.value for a in site.node.arguments if a.name and isinstance(a.value, Number)}
        value = argument(draw, callee.name, name, of.width, beside)
        if value is None or expr(value) == callee.optional[name]:
            continue
        if name != "kv_heads" or value != beside["heads"]:
            return put(of.genome, site.path, with_argument(site.node, name, value))
    return None


_FIXED = frozenset({"scale", "vocab", "per", "head_dim", "eps"})


def unset_argument(of: Subject, draw: Draw) -> Genome | None:
    """Take an optional argument away, so that its default holds."""
    options = [
        (site, a.name)
        for site, callee in _calls(of)
        if isinstance(site.node, Call)
        for a in site.node.arguments
        if a.name in callee.optional and a.name not in _FIXED
    ]
    if not options:
        return None
    site, name = draw.choice(options)
    assert isinstance(site.node, Call)
    return put(of.genome, site.path, without_argument(site.node, name))


_EXTENSIBLE = ("norm", "filter", "position", "mixer")


def extend_argument(of: Subject, draw: Draw) -> Genome | None:
    """Compose a function given to a call with one more: a norm or a filter before a position, a bias before a score."""
    sites = [
        site
        for site in of.sites
        if site.is_function
        and (site.argument == "score" or (site.maps is not None and SLOT_ROLES.get(site.argument) in _EXTENSIBLE))
        and isinstance(parent(of, site.path)[1], Argument)
    ]
    if not sites:
        return None
    site = draw.choice(sites)
    if site.argument == "score":
        biased = _biased(of, draw, site.node)
        return None if biased is None else put(of.genome, site.path, biased)
    more = random_expr(draw, draw.choice(("norm", "filter")), depth=1)
    parts = (site.node, more) if draw.chance(0.3) else (more, site.node)
    return put(of.genome, site.path, chain(*parts))


def _biased(of: Subject, draw: Draw, score: Expr) -> Function | None:
    """A score function of the logits with a bias by distance."""
    logit = op("s", "+", distance_bias(draw))
    if isinstance(score, Function):
        names = {p.name for p in score.parameters} | {"s", "i", "j"}
        return fn(tuple(name for name in SLOTS["score"] if name in names), block([("s", logit)], score.body))
    head = score.function if isinstance(score, Call) else score
    if not (isinstance(head, Name) and head.id in of.known):
        return None
    leading = of.known[head.id].leading
    if not leading or not set(leading) <= set(SLOTS["score"]):  # `identity` has an argument of another name
        return fn(("s", "i", "j"), applied(score, logit)) if len(leading) == 1 else None
    values = tuple(Argument(name, logit if name == "s" else Name(name)) for name in leading)
    more = score.arguments if isinstance(score, Call) else ()
    names = {*leading, "s", "i", "j"}
    return fn(tuple(name for name in SLOTS["score"] if name in names), Call(head, values + more))
