"""Expressions: replace one by another of its type, wrap and unwrap, and small steps of algebra."""

from __future__ import annotations

from collections.abc import Callable

from foundry.dsl.substitute import used_names
from foundry.dsl.syntax import Binary, Call, Expr, Genome, Name, Unary, put
from foundry.dsl.types import FLOAT
from foundry.generate.draw import Draw, shuffled, weighted
from foundry.generate.formulas import Formula
from foundry.generate.parts import small_part
from foundry.generate.trees import applied, call, fn, links, op, size
from foundry.generate.values import fits, random_value
from foundry.search.variation.subject import SEALED, Site, Subject

FORMULA_ROLES = ("activation", "norm", "score", "schedule", "loss")
RECIPE_ROLES = ("schedule", "context", "difficulty", "loss")  # formulas of the recipe, which stay what they are for


def values(of: Subject) -> list[Site]:
    """Sites of tensors: sequences, heads, and the values inside formulas; not whole numbers, conditions, or tables."""
    return [
        site
        for site in of.sites
        if site.type is not None
        and site.type.dtype == FLOAT
        and not site.is_called
        and not site.guarded
        and site.frame.role != "mask"
        and not _is_weight(site.node)
    ]


def _is_weight(node: Expr) -> bool:
    """A learned value or a table: what holds it may change, it may not go."""
    return isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in ("param", "embed")


def streams(of: Subject) -> list[Site]:
    """Sites of sequences and heads with more than one channel, outside the sealed formulas."""
    return [
        site
        for site in values(of)
        if site.type is not None
        and (site.type.is_seq or site.type.is_heads)
        and site.type.width > 1
        and site.frame.role not in SEALED
    ]


def replace_expression(of: Subject, draw: Draw) -> Genome | None:
    """Put another value of the same type, made of the names in sight, in an expression's place."""
    sites = [
        site
        for site in values(of)
        if site.type in site.scope.values() and site.frame.role not in RECIPE_ROLES and not _is_whole_body(site)
    ]
    for _ in range(min(6, len(sites))):
        # rather a detail than half of a layer
        site = weighted(draw, [(1 / size(s.node), s) for s in sites])
        new = _fresh(draw, site)
        if new != site.node:
            return put(of.genome, site.path, new)
    return None


def _fresh(draw: Draw, site: Site) -> Expr:
    """A new value for a site, of its type."""
    assert site.type is not None
    if site.frame.role in SEALED:
        same = [Name(name) for name, kind in site.scope.items() if kind == site.type]
        first = draw.choice(same)
        others = [Name(name) for name, kind in site.scope.items() if fits(kind, site.type) and Name(name) != first]
        return Formula(draw, (first, *others)).value(2, 1)
    return random_value(draw, site.type, site.scope, 2, learns=site.frame.leading == site.type)


def _is_whole_body(site: Site) -> bool:
    """Whether the expression is all of a definition."""
    return len(site.path) == 3


def wrap(of: Subject, draw: Draw) -> Genome | None:
    """Pass a value through one more function: a norm, a short filter, an activation, a learned gain or a gate."""
    sites = [site for site in streams(of) if not _is_whole_body(site)]
    if not sites:
        return None
    site = draw.choice(sites)
    return put(of.genome, site.path, wrapped(draw, site))


def wrapped(draw: Draw, site: Site) -> Expr:
    """The value at a site of sequences or heads, through one more function of the same type."""
    x = site.node
    options: list[tuple[float, Callable[[], Expr]]] = [
        (3, lambda: applied(small_part(draw, "norm"), x)),
        # an expert sees one token at a time
        (0 if site.frame.role == "expert" else 3, lambda: applied(small_part(draw, "filter"), x)),
        (1, lambda: op(draw.choice((0.5, 2, 0.7, 1.4)), "*", x)),
        (1, lambda: applied(small_part(draw, "activation"), x)),
    ]
    gain = call("param", draw.choice((1, 0.5, 0)), per="channel")
    factor = gain if draw.chance(0.7) else call("sigmoid", gain)
    if site.frame.leading == site.type:
        options.append((2, lambda: op(factor, "*", x)))
    else:  # a function of its own, whose argument says how many channels there are
        options.append((2, lambda: applied(fn(("x",), op(factor, "*", "x")), x)))
    same = [name for name, kind in site.scope.items() if kind == site.type and Name(name) != x]
    if same:
        options.append((1, lambda: op(x, "+", draw.choice(same))))
        options.append((1, lambda: op(x, "*", call("sigmoid", draw.choice(same)))))
    return weighted(draw, options)()


def unwrap(of: Subject, draw: Draw) -> Genome | None:
    """Leave a function out: `f(x)` becomes `x`, `a + b` one of the two, where the type stays."""
    typed = {site.path: site for site in of.sites}
    candidates: list[tuple[float, tuple[Site, Expr]]] = []
    for site in values(of):
        for step in _operands(site.node):
            below = typed.get((*site.path, *step))
            if below is not None and below.type == site.type and not _is_weight(below.node):
                # rather a norm or a gain than a whole mixer
                candidates.append((1 / size(site.node), (site, below.node)))
    for site in of.sites:
        parts = links(site.node)
        if site.is_function and len(parts) > 1 and site.argument and site.maps is not None:
            candidates += [(0.2, (site, _without(parts, index))) for index in range(len(parts))]
    if not candidates:
        return None
    site, new = weighted(draw, candidates)
    return put(of.genome, site.path, new)


def _without(parts: list[Expr], index: int) -> Expr:
    rest = parts[:index] + parts[index + 1 :]
    out = rest[0]
    for part in rest[1:]:
        out = Binary(">>", out, part)
    return out


def _operands(node: Expr) -> list[tuple[str | int, ...]]:
    """Paths from an expression to the operands that could stand in its place."""
    if isinstance(node, Binary) and node.operator in "+-*/":
        return [("left",)] if node.operator in "-/" else [("left",), ("right",)]
    if isinstance(node, Unary) and node.operator == "-":
        return [("operand",)]
    if isinstance(node, Call):
        return [("arguments", index, "value") for index in range(len(node.arguments))]
    return []


# Formulas -----------------------------------------------------------------------------------------------------------


def edit_formula(of: Subject, draw: Draw) -> Genome | None:
    """Take a small step of algebra inside an activation, a norm, a score, a schedule or a loss."""
    sites = [site for site in values(of) if site.frame.role in FORMULA_ROLES and not _is_positional(site)]
    for site in shuffled(draw, sites)[:8]:
        new = _algebra(of, draw, site)
        if new is not None and new != site.node:
            return put(of.genome, site.path, new)
    return None


def _is_positional(site: Site) -> bool:
    """Whether it is progress, a position or what a loss compares, which stay as they are."""
    return isinstance(site.node, Name) and site.node.id in ("t", "logits", "y", "teacher", "h", "i", "j")


_SIMILAR: dict[str, tuple[str, ...]] = {
    "tanh": ("erf", "sin"),
    "erf": ("tanh",),
    "sin": ("tanh", "cos"),
    "cos": ("sin",),
    "relu": ("softplus", "abs"),
    "softplus": ("relu",),
    "abs": ("relu", "softplus"),
    "silu": ("gelu", "relu2", "relu"),
    "gelu": ("silu", "relu2", "relu"),
    "gelu_tanh": ("silu", "relu2", "relu"),
    "max": ("min",),
    "min": ("max",),
}


def _algebra(of: Subject, draw: Draw, site: Site) -> Expr | None:
    """One step: another operator, a similar function, a square, a scale, a learned number, a bounded factor."""
    node = site.node
    assert site.type is not None
    options: list[tuple[float, Callable[[], Expr]]] = []
    if site.frame.role == "schedule":
        return _schedule_step(draw, node)
    formula = Formula(draw, (node,), taken=frozenset(used_names(of.genome)))
    if isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in _SIMILAR:
        name = node.function.id
        if name not in ("max", "min") or len(node.arguments) == 2:
            options.append((3, lambda: Call(Name(draw.choice(_SIMILAR[name])), node.arguments)))
        if name in ("relu", "softplus", "abs"):
            options.append((3, lambda: op(node, "**", 2)))
    if isinstance(node, Binary) and node.operator in ("+", "-"):
        swapped = "-" if node.operator == "+" else "+"
        options.append((1, lambda: Binary(swapped, node.left, node.right)))
    if site.frame.role == "loss":
        return None if not options else weighted(draw, options)()
    options += [
        (1, lambda: op(formula.constant(0.5, 2.0), "*", node)),
        (1, lambda: op(node, "*", call("sigmoid", node)) if isinstance(node, Name) else op(node, "*", 0.5)),
        (1, lambda: op(node, "+", op(0.1, "*", call("tanh", node)))),
        (0.7, lambda: call("tanh", node)),
        (0.7, lambda: op(op(node, "/", 5), "*", formula.unit(1)) if isinstance(node, Name) else formula.bounded(1)),
    ]
    if site.frame.axes:
        axis = draw.choice(site.frame.axes)
        options.append((2, lambda: op(call("param", 1, per=axis), "*", node)))
        options.append((1, lambda: op(node, "+", call("param", 0, per=axis))))
    return weighted(draw, options)()


def _schedule_step(draw: Draw, node: Expr) -> Expr:
    """A step that leaves a schedule's values between 0 and about 1."""
    options: list[tuple[float, Expr]] = [
        (1, call("min", node, 1)),
        (1, call("max", node, draw.choice((0.02, 0.05, 0.1)))),
        (1, op(node, "*", op(1, "-", op(0.5, "*", "t")))),
        (1, op(0.9, "*", node)),
        (1, op(node, "*", call("min", 1, op(op(1, "-", "t"), "/", draw.choice((0.2, 0.4)))))),
    ]
    return weighted(draw, options)
