"""Recognise what PyTorch has one operation for: norms, activations, causal windows, affine scores.

Expressions are brought to a normal form, a polynomial over atoms, so that the spellings of a formula
look the same: `0.5 * x * (1 + erf(x / 2 ** 0.5))` and `x * (erf(0.7071067811865476 * x) / 2 + 1 / 2)`
are one polynomial. An atom is an input, a weight, or a function such as `rsqrt` of polynomials. A
polynomial maps monomials (products of atoms) to coefficients.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from foundry.compiler.reading import ANCHORED
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import PRIMITIVES

Monomial = tuple[int, ...]
Poly = tuple[tuple[Monomial, float], ...]  # sorted by monomial; no zero coefficients

LARGEST = 64  # monomials beyond which a product stays an atom, so that expansion stays cheap
TOLERANCE = 1e-7  # relative; float32 cannot tell such constants apart


@dataclass(frozen=True)
class Fused:
    """A unit of one input that is one PyTorch operation.

    kind: rmsnorm, layernorm, silu, gelu, gelu_tanh or softmax. eps: the norms' constant. weight, bias: nodes
    of the unit whose value scales and shifts a norm's channels, or None.
    """

    kind: str
    eps: float = 0.0
    weight: Node | None = None
    bias: Node | None = None


@dataclass(frozen=True)
class Affine:
    """The score `scale * s + B(h, i, j)` with a constant scale > 0; `biased` says whether B is not 0.

    B is the score function's value at s = 0.
    """

    scale: float
    biased: bool


@dataclass
class _Table:
    """Atoms by number. `depends[a]` are the atoms of inputs that atom a is computed from."""

    atoms: list[tuple] = field(default_factory=list)
    numbers: dict[tuple, int] = field(default_factory=dict)
    depends: list[frozenset[int]] = field(default_factory=list)

    def atom(self, key: tuple, of: tuple[Poly, ...] = ()) -> Poly:
        """The polynomial that is this one atom; `of` are the polynomials that it is a function of."""
        if key not in self.numbers:
            number = len(self.atoms)
            self.numbers[key] = number
            self.atoms.append(key)
            inputs = frozenset[int]().union(*(self.depends[a] for p in of for m, _ in p for a in m))
            self.depends.append(inputs if of else frozenset([number]))
        return (((self.numbers[key],), 1.0),)


def _constant(value: float) -> Poly:
    return (((), float(value)),) if value else ()


def _number(p: Poly) -> float | None:
    """The value of a constant polynomial, else None."""
    if not p:
        return 0.0
    return p[0][1] if len(p) == 1 and not p[0][0] else None


def _sum(*polys: Poly) -> Poly:
    total: dict[Monomial, float] = {}
    for p in polys:
        for monomial, coefficient in p:
            total[monomial] = total.get(monomial, 0.0) + coefficient
    return tuple(sorted((m, c) for m, c in total.items() if c))


def _scaled(p: Poly, by: float) -> Poly:
    return tuple((m, c * by) for m, c in p) if by else ()


def _product(table: _Table, p: Poly, q: Poly) -> Poly:
    if len(p) * len(q) > LARGEST:
        return table.atom(("multiply", *sorted((p, q))), (p, q))
    total: dict[Monomial, float] = {}
    for m, c in p:
        for n, d in q:
            monomial = tuple(sorted(m + n))
            total[monomial] = total.get(monomial, 0.0) + c * d
    return tuple(sorted((m, c) for m, c in total.items() if c))


def _power(table: _Table, p: Poly, exponent: float | None, q: Poly) -> Poly:
    if exponent is not None and exponent in (1, 2, 3, 4):
        result = p
        for _ in range(int(exponent) - 1):
            result = _product(table, result, p)
        return result
    named = {0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal"}.get(exponent) if exponent is not None else None
    return table.atom((named, p), (p,)) if named else table.atom(("power", p, q), (p, q))


def _reciprocal(table: _Table, p: Poly) -> Poly:
    value = _number(p)
    if value:
        return _constant(1 / value)
    if len(p) == 1 and len(p[0][0]) == 1:
        kind, *inner = table.atoms[p[0][0][0]]
        if kind in ("sqrt", "rsqrt"):
            return _scaled(table.atom(("rsqrt" if kind == "sqrt" else "sqrt", inner[0]), (inner[0],)), 1 / p[0][1])
    return table.atom(("reciprocal", p), (p,))


def _operation(table: _Table, node: Node, args: tuple[Poly, ...]) -> Poly:
    if node.op == "add":
        return _sum(*args)
    if node.op == "subtract":
        return _sum(args[0], _scaled(args[1], -1))
    if node.op == "negate":
        return _scaled(args[0], -1)
    if node.op == "multiply":
        return _product(table, *args)
    if node.op == "divide":
        return _product(table, args[0], _reciprocal(table, args[1]))
    if node.op == "power":
        return _power(table, args[0], _number(args[1]), args[1])
    if node.op == "sum":
        return _scaled(table.atom(("mean", args[0]), args), node.tensors[0].type.width)
    primitive = PRIMITIVES[node.op]
    values = [_number(a) for a in args]
    if primitive.fold and all(value is not None for value in values):
        try:
            return _constant(float(primitive.fold(*values)))
        except (ArithmeticError, ValueError):
            pass
    ordered = tuple(sorted(args)) if primitive.commutative else args
    return table.atom((node.op, *ordered), args)


def _normal(table: _Table, unit: Unit, inputs: tuple[Poly, ...]) -> dict[Node, Poly]:
    """The polynomial of every node of a unit, with the units that it calls inlined."""
    known = dict(zip(unit.inputs, inputs, strict=True))
    for node in unit.nodes:
        args = tuple(known[i] if isinstance(i, Node) else _constant(i) for i in node.inputs)
        if node.op == "call" and node.unit is not None and not node.attrs.get("through"):
            known[node] = _normal(table, node.unit, args)[node.unit.result]
        elif node.op in PRIMITIVES and PRIMITIVES[node.op].kind in ("pointwise", "reduce"):
            known[node] = _operation(table, node, args)
        else:  # a weight, or what no formula here contains: equal to itself alone
            made_of = () if node.op in ANCHORED else args
            known[node] = table.atom((node.op, id(node), len(table.atoms)), made_of)
    return known


def _of(unit: Unit) -> tuple[_Table, list[Poly], dict[Node, Poly]]:
    table = _Table()
    inputs = [table.atom(("input", i.attrs.get("name", index))) for index, i in enumerate(unit.inputs)]
    return table, inputs, _normal(table, unit, tuple(inputs))


def _close(p: Poly, q: Poly) -> bool:
    """Whether two polynomials over one table are equal but for rounding of their coefficients."""
    return len(p) == len(q) and all(
        m == n and math.isclose(c, d, rel_tol=TOLERANCE) for (m, c), (n, d) in zip(p, q, strict=True)
    )


def recognise(unit: Unit) -> Fused | None:
    """What PyTorch operation a unit is, if it is one."""
    if len(unit.inputs) != 1 or not unit.nodes:
        return None
    table, (x,), known = _of(unit)
    result = known[unit.result]
    return _activation(table, x, result) or _norm(table, x, known, unit)


def _activation(table: _Table, x: Poly, result: Poly) -> Fused | None:
    if _close(result, _product(table, x, table.atom(("sigmoid", x), (x,)))):
        return Fused("silu")
    total = table.atom(("logsumexp", x), (x,))
    if _close(result, table.atom(("exp", _sum(x, _scaled(total, -1))), (_sum(x, _scaled(total, -1)),))):
        return Fused("softmax")
    cube = _product(table, x, _product(table, x, x))
    inner = {
        "erf": ("gelu", _scaled(x, math.sqrt(0.5))),
        "tanh": (
            "gelu_tanh",
            _sum(_scaled(x, math.sqrt(2 / math.pi)), _scaled(cube, math.sqrt(2 / math.pi) * 0.044715)),
        ),
    }
    for key in list(table.atoms):
        if key[0] in inner and _close(key[1], inner[key[0]][1]):
            smooth = _sum(_constant(1), table.atom(key))
            if _close(result, _scaled(_product(table, x, smooth), 0.5)):
                return Fused(inner[key[0]][0])
    return None


def _norm(table: _Table, x: Poly, known: dict[Node, Poly], unit: Unit) -> Fused | None:
    width = unit.inputs[0].type.width
    nodes = [n for n in unit.nodes if n.type.axes == ("channel",) and n.type.width == width]
    mean = table.atom(("mean", x), (x,))
    centred = _sum(x, _scaled(mean, -1))
    for number, key in enumerate(list(table.atoms)):
        if key[0] != "rsqrt":
            continue
        inverse: Poly = (((number,), 1.0),)
        eps = next((c for m, c in key[1] if not m), 0.0)
        variance = tuple((m, c) for m, c in key[1] if m)
        for kind, value in (("rmsnorm", x), ("layernorm", centred)):
            square = _product(table, value, value)
            if eps < 0 or not _close(variance, table.atom(("mean", square), (square,))):
                continue
            plain = _product(table, value, inverse)
            scaled = tuple((m, c) for m, c in known[unit.result] if number in m)
            shift = tuple((m, c) for m, c in known[unit.result] if number not in m)
            weight = next((n for n in nodes if _close(scaled, _product(table, plain, known[n]))), None)
            bias = next((n for n in nodes if _close(shift, known[n])), None)
            unscaled, unshifted = weight is None, bias is None
            if (unscaled and not _close(scaled, plain)) or (unshifted and shift) or (kind == "rmsnorm" and bias):
                continue
            return Fused(kind, eps, weight, bias)
    return None


def affine_of(score: Unit | None) -> Affine | None:
    """The score as `scale * s + B(h, i, j)`, or None where it is anything else (a soft cap, say)."""
    if score is None:
        return Affine(1.0, False)
    table, inputs, known = _of(score)
    s = next((p[0][0][0] for p, i in zip(inputs, score.inputs, strict=True) if i.attrs.get("name") == "s"), None)
    result = known[score.result]
    if s is None:
        return None
    slope = [(m, c) for m, c in result if any(s in table.depends[a] for a in m)]
    if len(slope) != 1 or slope[0][0] != (s,) or slope[0][1] <= 0:
        return None
    return Affine(slope[0][1], len(result) > 1)


def _reach(table: _Table, known: dict[Node, Poly], node: Node) -> float | None:
    """How many positions back, itself included, a condition on i and j allows: inf for all of them,
    None for what is no causal window. Uses j <= i."""
    if node.op == "call" and node.unit is not None:
        inside = _normal(table, node.unit, tuple(known[i] for i in node.tensors))
        return _reach(table, inside, node.unit.result)
    if node.op == "both":
        sides = [_reach(table, known, side) for side in node.tensors]
        return None if None in sides or len(sides) < 2 else min(side for side in sides if side is not None)
    if node.op not in ("less", "less_equal", "greater", "greater_equal"):
        return None
    left, right = (known[i] if isinstance(i, Node) else _constant(i) for i in node.inputs)
    difference = _sum(left, _scaled(right, -1)) if node.op.startswith("less") else _sum(right, _scaled(left, -1))
    terms = {table.atoms[m[0]][1] if m else "": c for m, c in difference if len(m) <= 1}
    slope, start = terms.pop("i", 0.0), terms.pop("", 0.0)
    if len(difference) != (slope != 0) + (start != 0) + len(terms) or terms != ({"j": -slope} if slope else {}):
        return None
    # the condition is slope * (i - j) + start < 0, or <= 0
    strict = not node.op.endswith("equal")
    if slope <= 0:
        return math.inf if start < 0 or (start == 0 and not strict) else None
    bound = -start / slope
    return float(math.ceil(bound) if strict else math.floor(bound) + 1)


def _mask_reach(mask: Unit) -> float | None:
    table, _, known = _of(mask)
    return _reach(table, known, mask.result)


def window_of(mask: Unit | None) -> int | None:
    """The n >= 1 of a mask that says `i - j < n` in any spelling; None for any other mask."""
    reach = _mask_reach(mask) if mask is not None else None
    return int(reach) if reach is not None and 1 <= reach < math.inf else None


def allows_everything(mask: Unit | None) -> bool:
    """Whether a mask removes nothing beyond what causality removes: no mask, or `i >= j`."""
    return mask is None or _mask_reach(mask) == math.inf


def by_distance(score: Unit) -> bool:
    """Whether a score has a term that depends on the distance i - j, and on no other position.

    What is the same for every key of a query does not count: a softmax does not see it, so `s + j` is `s - (i - j)`.
    """
    table = _Table()
    distance, query = table.atom(("input", "i - j")), table.atom(("input", "i"))
    known = {"i": query, "j": _sum(query, _scaled(distance, -1))}
    inputs = tuple(
        known.get(str(node.attrs.get("name")), table.atom(("input", node.attrs.get("name"), index)))
        for index, node in enumerate(score.inputs)
    )
    far, at = distance[0][0][0], query[0][0][0]
    depends = [
        frozenset().union(*(table.depends[a] for a in m)) for m, _ in _normal(table, score, inputs)[score.result]
    ]
    return any(far in found for found in depends) and not any({far, at} <= found for found in depends)
