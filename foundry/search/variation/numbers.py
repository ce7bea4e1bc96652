"""Numbers: one within its legal values, and with it those that depend on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from foundry.dsl.rules import divisors
from foundry.dsl.syntax import Argument, Binary, Call, Genome, ListOf, Number, Parameter, put
from foundry.dsl.types import TensorType
from foundry.dsl.values import Applied
from foundry.generate.draw import Draw, shuffled
from foundry.generate.genes import BETAS, FACTORS, gene, head_counts, like, limits, resized, step
from foundry.generate.trees import named_argument, rounded, with_argument
from foundry.search.variation.subject import Site, Subject, parent

RATES = ("lr", "adamw_lr")
Change = tuple[Site, int | float]


def number(of: Subject, draw: Draw) -> Genome | None:
    """Change a number within its legal values; numbers that depend on it follow."""
    sites = [site for site in of.sites if isinstance(site.node, Number) and not _is_rate(site)]
    return _first(of, draw, sites, changed)


def learning_rate(of: Subject, draw: Draw) -> Genome | None:
    """Multiply a learning rate of the optimizer."""
    return _first(of, draw, [site for site in of.sites if isinstance(site.node, Number) and _is_rate(site)], changed)


def formula_constant(of: Subject, draw: Draw) -> Genome | None:
    """Change a constant inside an activation, a norm, a score, a mask, a schedule or a loss."""
    sites = [
        site
        for site in of.sites
        if isinstance(site.node, Number) and (site.frame.role or site.callee == "param") and _in_arithmetic(of, site)
    ]
    return _first(of, draw, sites, changed)


def _is_rate(site: Site) -> bool:
    return site.argument in RATES


def _first(
    of: Subject, draw: Draw, sites: list[Site], change: Callable[[Subject, Draw, Site], Genome | None]
) -> Genome | None:
    for site in shuffled(draw, sites):
        new = change(of, draw, site)
        if new is not None:
            return new
    return None


def changed(of: Subject, draw: Draw, site: Site) -> Genome | None:
    """The genome with the number at a site changed, or None where it has no other legal value."""
    node = site.node
    assert isinstance(node, Number)
    _, above = parent(of, site.path)
    if isinstance(above, ListOf):
        if site.callee == "table":
            return _apply(of, [(site, rounded(node.value * draw.choice(FACTORS)))])
        return _beta(of, draw, site) if site.argument == "betas" else None
    if not isinstance(above, (Argument, Parameter)):
        return _constant(of, draw, site)
    if site.argument in _SIZES:
        changes = _SIZES[site.argument](of, draw, site)
        return _apply(of, changes) if changes else None
    if site.argument == "kv_heads":
        return _kv_heads(of, draw, site)
    if site.argument == "vocab":
        return None
    ladder = gene(site.callee, site.argument)
    if ladder is None:
        return _constant(of, draw, site) if site.argument == "init" or not site.callee else None
    value = step(draw, ladder, node.value)
    if value is None:
        return None
    legal = limits(site.callee, site.argument)
    if legal is not None:
        value = min(max(value, legal.low), legal.high)
    if site.argument in RATES and math.isclose(value, node.value):
        return None
    return _apply(of, [(site, like(value, node.value))])


def _apply(of: Subject, changes: Iterable[Change]) -> Genome:
    genome = of.genome
    for site, value in changes:
        genome = put(genome, site.path, Number(value))
    return genome


def _beta(of: Subject, draw: Draw, site: Site) -> Genome | None:
    index = int(site.path[-1])
    if index >= len(BETAS) or not isinstance(site.node, Number):
        return None
    value = step(draw, BETAS[index], site.node.value)
    return None if value is None else _apply(of, [(site, value)])


def _in_arithmetic(of: Subject, site: Site) -> bool:
    _, above = parent(of, site.path)
    return not isinstance(above, (Argument, ListOf)) or site.argument in ("init", "")


def _constant(of: Subject, draw: Draw, site: Site) -> Genome | None:
    """A constant of a formula: exponents stay whole where the base may be negative, comparisons stay whole."""
    node = site.node
    path, above = parent(of, site.path)
    assert isinstance(node, Number)
    sorts = of.checked.sorts.get(path, ())
    if isinstance(above, Binary) and not any(isinstance(sort, TensorType) for sort in sorts):
        return None  # arithmetic on sizes, or copies of a layer
    if isinstance(above, Binary) and above.operator == "**" and site.path[-1] == "right":
        return _exponent(of, draw, site, above)
    if isinstance(node.value, int) and node.value >= 4:
        value: float | None = resized(draw, node.value, multiple=1, low=1)
    elif node.value == 0:
        value = draw.choice((0.1, 0.5, 1.0))
    else:
        value = rounded(node.value * draw.choice(FACTORS))
        value = like(value, node.value) if value == round(value) else value
    if value is None or value == node.value:
        return None
    return _apply(of, [(site, value)])


def _exponent(of: Subject, draw: Draw, site: Site, power: Binary) -> Genome | None:
    assert isinstance(site.node, Number)
    base = power.left
    never_negative = site.frame.role in ("schedule", "context") or (
        isinstance(base, Call) and getattr(base.function, "id", "") in ("relu", "abs", "softplus", "sigmoid")
    )
    values = (2, 3, 1.5, 2.5) if never_negative else (2, 3, 4)
    return _apply(of, [(site, draw.choice([v for v in values if v != site.node.value]))])


# Sizes --------------------------------------------------------------------------------------------------------------


def _alike(of: Subject, site: Site, arguments: tuple[str, ...], within: bool) -> list[Site]:
    """Numbers equal to this one that are given to the same arguments, in the same definition or anywhere."""
    depth = 2 if within else 0
    return [
        other
        for other in of.all_sites
        if isinstance(other.node, Number)
        and other.node == site.node
        and other.argument in arguments
        and isinstance(parent(of, other.path)[1], Argument)
        and other.path[:depth] == site.path[:depth]
    ]


def _hidden(of: Subject, draw: Draw, site: Site) -> list[Change] | None:
    assert isinstance(site.node, Number)
    value = resized(draw, int(site.node.value))
    return None if value is None else [(site, value)]


def _out(of: Subject, draw: Draw, site: Site) -> list[Change] | None:
    """The width of a linear map inside a written mixer: those of its siblings follow. A few are a number of experts."""
    assert isinstance(site.node, Number)
    experts = gene("experts", "count")
    assert experts is not None
    if site.node.value in experts.ladder:
        count = step(draw, experts, site.node.value)
        return None if count is None else [(site, count)]
    if site.node.value == of.width or site.node.value < 8:
        return None
    value = resized(draw, int(site.node.value))
    return None if value is None else [(other, value) for other in _alike(of, site, ("out",), within=True)]


def _numbers(of: Subject, name: str) -> list[int]:
    return [int(s.node.value) for s in of.all_sites if isinstance(s.node, Number) and s.argument == name]


def _width(of: Subject, draw: Draw, site: Site) -> list[Change] | None:
    """The residual width: every embedding of that width follows, and heads keep dividing it evenly."""
    assert isinstance(site.node, Number)
    old = int(site.node.value)
    unit = math.lcm(8, *(2 * heads for heads in _numbers(of, "heads")))
    options = [width for width in range(unit, 2 * old, unit) if old / 2 <= width <= 1.6 * old and width != old]
    if not options:
        return None
    width = draw.choice(sorted(options, key=lambda w: abs(w - old))[:4])
    written = [
        other
        for other in of.all_sites
        if isinstance(other.node, Number) and other.node.value == old and other.argument == "out"
    ]
    return [(other, width) for other in _alike(of, site, ("width",), within=False) + written]


def _heads_of(of: Subject, site: Site) -> int:
    """The channels that a number of heads divides."""
    above, _ = parent(of, parent(of, site.path)[0])
    for kind in of.checked.sorts.get(above, ()):
        result = kind.result if isinstance(kind, Applied) else kind
        if not isinstance(result, TensorType):
            continue
        if result.is_seq:
            return int(result.width)
        if result.is_heads:
            return int(result.fixed_size)
    return of.width


def _heads(of: Subject, draw: Draw, site: Site) -> list[Change] | None:
    assert isinstance(site.node, Number)
    old = int(site.node.value)
    width = _heads_of(of, site)
    options = [count for count in head_counts(width) if count != old and old / 4 <= count <= old * 4]
    if not options:
        return None
    heads = draw.choice(sorted(options, key=lambda count: abs(math.log(count / old)))[:3])
    changes: list[Change] = [(site, heads)]
    call_path, _ = parent(of, parent(of, site.path)[0])
    for other in of.sites:
        if (
            isinstance(other.node, Number)
            and other.argument == "kv_heads"
            and other.path[: len(call_path)] == call_path
        ):
            count = int(other.node.value)
            changes.append((other, max(d for d in divisors(heads) if d <= count)))
    # an expanded attention splits heads more than once: counts that are equal in one definition stay equal
    if site.callee == "split_heads":
        changes += [(other, heads) for other in _alike(of, site, ("heads",), within=True) if other is not site]
    return changes


def _kv_heads(of: Subject, draw: Draw, site: Site) -> Genome | None:
    """Another divisor of the number of heads beside it."""
    assert isinstance(site.node, Number)
    path, call = parent(of, parent(of, site.path)[0])
    if not isinstance(call, Call):
        return None
    beside = named_argument(call, "heads")
    if beside is None or not isinstance(beside.value, Number):
        return None
    options = [d for d in divisors(int(beside.value.value)) if d != site.node.value]
    return put(of.genome, path, with_argument(call, "kv_heads", draw.choice(options))) if options else None


def _head_dim(of: Subject, draw: Draw, site: Site) -> list[Change] | None:
    assert isinstance(site.node, Number)
    return [(site, draw.choice([size for size in (8, 16, 24, 32, 48, 64) if size != site.node.value]))]


_SIZES: dict[str, Callable[[Subject, Draw, Site], list[Change] | None]] = {
    "hidden": _hidden,
    "out": _out,
    "width": _width,
    "heads": _heads,
    "head_dim": _head_dim,
}
