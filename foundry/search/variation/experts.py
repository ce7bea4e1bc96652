"""Experts: a dense channel mixer to a mixture of experts and back, and the penalty on their uneven load."""

from __future__ import annotations

from dataclasses import replace

from foundry.dsl.check import prelude
from foundry.dsl.substitute import substitute
from foundry.dsl.syntax import Argument, Block, Call, Definition, Expr, Function, Genome, Name, Number, put, walk
from foundry.generate.channels import balanced, mixture
from foundry.generate.draw import Draw
from foundry.generate.trees import block, named_argument, with_argument
from foundry.generate.vocabulary import effects
from foundry.search.variation.functions import functions, is_part, put_function, put_named, whole
from foundry.search.variation.subject import Site, Subject, argument_names, parent, uses_locals

LOOKS_BACK = frozenset({"conv", "shift", "scan", "position"})  # what an expert may not come down to


def upcycle(of: Subject, draw: Draw) -> Genome | None:
    """Make a dense channel mixer, smaller by some factor, the expert of a mixture; or such an expert dense again."""
    sites = [site for site, _ in functions(of, ("channels",)) if site.maps is not None and is_part(of, site)]
    if not sites:
        return None
    site = draw.choice(sites)
    assert site.maps is not None
    function = whole(of, site)
    found = effects(function, {name: callee.effects for name, callee in of.known.items()})
    if uses_locals(of, function) or found & LOOKS_BACK:
        return None
    if "experts" in found:
        expert = expert_of(of, function)
        return None if expert is None else put_function(of.genome, site, resized(draw, expert, (2, 1, 3)))
    new = mixture(draw, site.maps.width, expert=resized(draw, function, (0.5, 0.25, 1)))
    assert isinstance(new, Function)
    return put_named(of, [site], "channels", new)


def resized(draw: Draw, function: Expr, factors: tuple[float, ...]) -> Expr:
    """A call with its number of hidden channels times one of the factors; another function as it is."""
    given = named_argument(function, "hidden") if isinstance(function, Call) else None
    if given is None or not isinstance(given.value, Number):
        return function
    assert isinstance(function, Call)
    return with_argument(function, "hidden", 8 * max(1, round(given.value.value * draw.choice(factors) / 8)))


def expert_of(of: Subject, mixture: Expr) -> Expr | None:
    """What one expert of a mixture is, as a function that stands alone; None where it does not."""
    given: tuple[Argument, ...] = ()
    function = mixture
    if isinstance(mixture, Call):
        function, given = mixture.function, mixture.arguments
    definition: Definition | Function | None = None
    if isinstance(function, Name):
        definition = of.genome.definition(function.id) or prelude().definition(function.id)
    elif isinstance(function, Function):
        definition = function
    if definition is None:
        return None
    body = definition.value if isinstance(definition, Definition) else definition.body
    expert = next((found for _, node in walk(body) if (found := _expert(node)) is not None), None)
    if expert is None:
        return None
    named = {a.name: a.value for a in given}
    for parameter in definition.parameters or ():
        value = named.get(parameter.name, parameter.default)
        if value is not None:
            expert = substitute(expert, {parameter.name: value})
    if isinstance(expert, Call):  # what follows from the mixture's own input falls back to the expert's default
        expert = replace(expert, arguments=tuple(a for a in expert.arguments if not uses_locals(of, a.value)))
    return None if uses_locals(of, expert) else expert


def _expert(node: object) -> Expr | None:
    """The function that a call of `experts` is given."""
    if not (isinstance(node, Call) and node.function == Name("experts") and node.arguments):
        return None
    given = named_argument(node, "expert")
    return given.value if given is not None else node.arguments[-1].value


def balance(of: Subject, draw: Draw) -> Genome | None:
    """Penalise uneven load of the experts of a mixture, or leave that out."""
    sites = [site for site in of.sites if _expert(site.node) is not None and site.type is not None]
    if not sites:
        return None
    site = draw.choice(sites)
    path, above = parent(of, parent(of, site.path)[0])
    if isinstance(above, Call) and above.function == Name("penalty"):
        return put(of.genome, path, site.node)
    gates = _gates(of, site)
    if gates is None or gates.type is None:
        return None
    assert isinstance(site.node, Call)
    count = gates.type.width
    if isinstance(gates.node, Name):
        same = [name for name, kind in site.scope.items() if kind == gates.type]
        weight = draw.choice(same or [gates.node.id])
        return put(of.genome, site.path, balanced(draw, site.node, weight, gates.node, count))
    # written out a second time, the router would be a second one
    once = put(site.node, gates.path[len(site.path) :], Name("gates"))
    assert isinstance(once, Call)
    new = block([("gates", gates.node)], balanced(draw, once, "gates", "gates", count))
    assert isinstance(new, Block)
    return put(of.genome, site.path, new)


def _gates(of: Subject, site: Site) -> Site | None:
    """The gates that a call of `experts` is given."""
    assert isinstance(site.node, Call)
    places = argument_names(of, site.node, site.path)
    if "gates" not in places:
        return None
    path = (*site.path, "arguments", places.index("gates"), "value")
    return next(other for other in of.sites if other.path == path)
