"""Functions: find them by what they are for, swap one for another with the same purpose, or write one out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from foundry.dsl.check import examine
from foundry.dsl.format import format_genome
from foundry.dsl.inline import Copies
from foundry.dsl.substitute import fresh_name, used_names
from foundry.dsl.syntax import Binary, Block, Call, Definition, Expr, Function, Genome, Name, at, put
from foundry.generate.draw import Draw, weighted
from foundry.generate.genomes import random_expr
from foundry.generate.mixers import random_attention
from foundry.generate.naming import STEMS
from foundry.generate.trees import applied, put_definition
from foundry.generate.vocabulary import SLOT_ROLES, function_role
from foundry.search.variation.subject import NEEDY, SEALED, Site, Subject, parent

Inner = Callable[[Subject, Draw], Genome | None]


def role(of: Subject, site: Site) -> str:
    """What the function at a site is for: by its slot, else by what it is."""
    if not site.is_called and site.argument in SLOT_ROLES:
        return SLOT_ROLES[site.argument]
    return function_role(site.node, of.known)


def functions(of: Subject, roles: tuple[str, ...]) -> list[tuple[Site, str]]:
    """Sites of whole functions with one of these roles: a name, a call that waits, or one written in place."""
    out = []
    for site in of.sites:
        if not site.is_function or not isinstance(site.node, (Name, Call, Function)):
            continue
        if site.guarded or site.frame.role in SEALED:
            continue
        if isinstance(site.node, Name) and site.node.id in NEEDY:
            continue  # it is there for the range of its result
        _, above = parent(of, site.path)
        if isinstance(above, Call) and site.is_called and site.applied is None:
            continue  # the `rope` of `rope(theta = 1e4)`: the whole call is the site
        found = role(of, site)
        if found in roles:
            out.append((site, found))
    return out


def swap_function(of: Subject, draw: Draw) -> Genome | None:
    """Swap an activation, a norm, a filter, a position function, a score, a mask or a router's shares for another."""
    return _swap(of, draw, ("activation", "norm", "filter", "position", "score", "mask", "shares"))


def swap_activation(of: Subject, draw: Draw) -> Genome | None:
    """Swap an activation for another of the prelude, or a fresh one."""
    return _swap(of, draw, ("activation",))


def swap_norm(of: Subject, draw: Draw) -> Genome | None:
    """Swap a norm for another, at one place or everywhere."""
    return _swap(of, draw, ("norm",))


def _swap(of: Subject, draw: Draw, roles: tuple[str, ...]) -> Genome | None:
    found = [(site, kind) for site, kind in functions(of, roles) if _swappable(of, site, kind)]
    for _ in range(6 if found else 0):
        site, kind = draw.choice(found)
        width = site.maps.width if site.maps else of.width
        new = random_expr(draw, kind, depth=2, width=width)
        if new == site.node:
            continue
        everywhere = draw.chance(0.6)
        places = [site]
        if everywhere:
            alike = [s for s, other in found if (s.node, other, s.argument) == (site.node, kind, site.argument)]
            places = [s for s in alike if s.path[:2] == site.path[:2]]
        if isinstance(new, Function) and (len(places) > 1 or site.is_called):
            return put_named(of, places, kind, new)
        genome = of.genome
        for place in places:
            genome = put_function(genome, place, new)
        return genome
    return None


def _swappable(of: Subject, site: Site, kind: str) -> bool:
    """Whether another function of the kind fits: it keeps the type, and its call has no arguments of its own."""
    if kind in SEALED:
        return not site.is_called
    if site.maps is None:
        return False
    if site.is_called:
        _, above = parent(of, site.path)
        assert isinstance(above, Call)
        if len(above.arguments) != 1 and not all(a.name for a in above.arguments[1:]):
            return False
        if isinstance(site.node, Name) and site.node.id in of.known:
            return of.known[site.node.id].origin != "genome" or kind in ("activation", "norm")
    return True


def put_function(genome: Genome, site: Site, new: Expr) -> Genome:
    """The genome with another function at a site; where it is called, the arguments of the old one go."""
    if not site.is_called:
        return put(genome, site.path, new)
    path = site.path[:-1]
    above = at(genome, path)
    assert isinstance(above, Call)
    value = next((a.value for a in above.arguments if not a.name), above.arguments[0].value)
    return put(genome, path, applied(new, value))


def whole(of: Subject, site: Site) -> Expr:
    """The function at a site with the arguments that its call gives it, its leading one apart."""
    if not site.is_called:
        return site.node
    above = at(of.genome, site.path[:-1])
    assert isinstance(above, Call)
    named = tuple(a for a in above.arguments if a.name)
    return Call(site.node, named) if named else site.node


def put_named(of: Subject, places: list[Site], kind: str, new: Function) -> Genome:
    """The genome with a new function defined above its first use, and used at the places."""
    name = fresh_name(STEMS.get(kind, kind), used_names(of.genome) | set(of.known))
    genome = of.genome
    # deeper places first, so that a change above does not move a place below
    for place in sorted(places, key=lambda site: -len(site.path)):
        genome = put_function(genome, place, Name(name))
    first = of.genome.definitions[int(min(site.path[1] for site in places))].name
    return put_definition(genome, Definition(name, new.parameters, new.body), before=first)


# Mixers -------------------------------------------------------------------------------------------------------------


def swap_mixer(of: Subject, draw: Draw) -> Genome | None:
    """Swap a sequence mixer for another: attention, a memory, a gated convolution, a recurrence, or one in place."""
    return _swap_call(of, draw, "mixer")


def swap_channels(of: Subject, draw: Draw) -> Genome | None:
    """Swap a channel mixer for another, with or without a gate, dense or a mixture; or what the experts of one are."""
    return _swap_call(of, draw, "channels", "expert")


def _swap_call(of: Subject, draw: Draw, *kinds: str) -> Genome | None:
    sites = [(site, found) for site, found in functions(of, kinds) if site.maps is not None and is_part(of, site)]
    if not sites:
        return None
    site, kind = draw.choice(sites)
    assert site.maps is not None
    width = site.maps.width
    new = random_expr(draw, kind, depth=1, width=width)
    if kind == "mixer" and isinstance(new, Call) and draw.chance(0.3):
        new = random_attention(draw, width)
    if isinstance(new, Function):
        return put_named(of, [site], kind, new)
    return put_function(of.genome, site, new)


def is_part(of: Subject, site: Site) -> bool:
    """Whether a function is a part of a layer, rather than a layer of the genome's own, which adds to a name."""
    head = site.node.function if isinstance(site.node, Call) else site.node
    if not isinstance(head, Name):
        return True
    definition = of.genome.definition(head.id)
    if definition is None:
        return head.id in of.known
    value = definition.value
    while isinstance(value, Block):
        value = value.result
    if not (isinstance(value, Binary) and value.operator in ("+", ">>")):
        return True
    return value.operator == "+" and not any(isinstance(term, Name) for term in _terms(value))


def _terms(value: Expr) -> list[Expr]:
    """The terms of a sum."""
    if isinstance(value, Binary) and value.operator == "+":
        return _terms(value.left) + _terms(value.right)
    return [value]


# Writing out --------------------------------------------------------------------------------------------------------


def expand(of: Subject, draw: Draw, inner: list[tuple[float, Inner]], effect: str = "") -> Genome | None:
    """Copy a function of the prelude into the genome, call the copy, and change something inside it."""
    sites = [
        site
        for site in of.sites
        if isinstance(site.node, Name)
        and site.is_function
        and site.node.id in of.known
        and of.known[site.node.id].origin == "prelude"
        and site.node.id not in ("identity", "everything")
        and (not effect or effect in of.known[site.node.id].effects)
    ]
    if not sites:
        return None
    site = draw.choice(sites)
    assert isinstance(site.node, Name)
    copies = Copies(of.genome)
    name = copies.copy(site.node.id, fresh_name(f"{site.node.id}_b", used_names(of.genome) | set(of.known)))
    genome = put(of.genome, site.path, Name(name))
    for copy in copies.definitions():
        copy = replace(copy, comments=())
        genome = put_definition(genome, copy, before=of.genome.definitions[int(site.path[1])].name)
    return changed_inside(genome, name, draw, inner)


def changed_inside(genome: Genome, name: str, draw: Draw, inner: list[tuple[float, Inner]]) -> Genome | None:
    """The genome with one of the changes made inside the definition `name`, or None where none applies."""
    text = format_genome(genome)
    checked = examine(text)
    if not checked.ok:
        return None
    focused = Subject(text, checked, name)
    for _ in range(6):
        new = weighted(draw, inner)(focused, draw)
        if new is not None:
            return new
    return None
