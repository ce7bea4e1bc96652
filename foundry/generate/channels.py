"""Channel mixers: dense ones, and mixtures of experts."""

from __future__ import annotations

from collections.abc import Callable

from foundry.dsl.syntax import Expr, Function, Name
from foundry.generate.draw import Draw, weighted
from foundry.generate.parts import ready, setting, small_part
from foundry.generate.trees import Value, applied, block, call, fn, op, rounded
from foundry.generate.vocabulary import Callee, callees, shipped, unless_withheld, withheld


def random_channels(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """A channel mixer from seq[width] to itself."""
    hidden = setting(draw, "mlp", "hidden", width)
    assert isinstance(hidden, int)
    options: list[tuple[float, Callable[[], Expr]]] = [
        (6, lambda: dense(draw, hidden)),
        (1.5, lambda: written(draw, width)),
        (2, lambda: mixture(draw, hidden)),
    ]
    return unless_withheld(weighted(draw, options))


def _named(mixtures: bool) -> list[Callee]:
    """The channel mixers of the prelude, which either have experts or have not."""
    named = [c for c in callees(shipped(), "channels", "prelude") if ready(c)]
    return [c for c in named if ("experts" in c.effects) == mixtures]


def dense(draw: Draw, hidden: int, act: Expr | None = None) -> Expr:
    """A call of one of the prelude's channel mixers, with about so many hidden channels; one written out where none
    is to be had."""
    named = _named(mixtures=False)
    if not named:
        return written(draw, max(8, hidden // 3), tokenwise=True)
    callee = draw.choice(named)
    given: dict[str, Value] = {"hidden": 8 * max(1, round(hidden / 8))}
    if act is None and draw.chance(0.7):
        act = small_part(draw, "activation", depth=1)
    if act is not None:
        given["act"] = act
    if draw.chance(0.1):
        given["bias"] = 1
    return call(callee.name, **{name: value for name, value in given.items() if name in callee.parameters})


def written(draw: Draw, width: int, tokenwise: bool = False) -> Function:
    """A channel mixer as a function in place: up, one or two branches, down.

    tokenwise: it does not look at earlier positions.
    """
    inner = 8 * max(1, round(width * draw.choice((2, 3, 4)) / 8))
    up = applied(small_part(draw, "activation", depth=2), call("linear", "x", inner))
    bindings: list[tuple[str, Expr]] = [("up", up)]
    result: Expr = Name("up")
    if draw.chance(0.4) and not withheld("glu"):
        bindings.append(("gate", call("linear", "x", inner)))
        result = op("up", "*", call("sigmoid", "gate") if draw.chance(0.5) else "gate")
    if draw.chance(0.25):
        looks_back = draw.chance(0.5) and not tokenwise
        result = call(draw.choice(("shift", "conv")), result) if looks_back else call("unitnorm", result)
    return fn(("x",), block(bindings, call("linear", result, call("width", "x"))))


# Mixtures of experts ------------------------------------------------------------------------------------------------


def random_expert(draw: Draw, width: int = 64, depth: int = 1) -> Expr:
    """What one expert of some is: a small channel mixer of one token alone."""
    if draw.chance(0.9):
        return dense(draw, round(width * draw.choice((0.5, 0.25, 1))))
    return written(draw, round(width / 2), tokenwise=True)


def mixture(draw: Draw, hidden: int, expert: Expr | None = None, act: Expr | None = None) -> Expr:
    """A mixture of experts with about `hidden` hidden channels in all of them together, or somewhat more.

    expert: what each of them is, hidden channels included. act: the activation of the experts that are drawn.
    """
    count = draw.choice((4, 8, 2, 6, 3))
    active = draw.choice([n for n in (2, 1, 3) if n < count])
    share = round(hidden * draw.choice((1, 1.5)) / count)
    named = _named(mixtures=True) if active > 1 else []
    if expert is None and named and draw.chance(0.35):
        given: dict[str, Value] = {"count": count, "active": active, "hidden": 8 * max(1, round(share / 8))}
        if act is not None:
            given["act"] = act
        callee = draw.choice(named)
        return call(callee.name, **{name: value for name, value in given.items() if name in callee.parameters})
    if expert is None:
        expert = dense(draw, share, act)
    common = dense(draw, share, act) if draw.chance(0.25) else None
    return written_mixture(draw, count, active, expert, common)


def written_mixture(draw: Draw, count: int, active: int, expert: Expr, common: Expr | None = None) -> Function:
    """`fn(x) => …` with the routing in sight, so that every part of it can change.

    The gates are shares of a softmax or sigmoids of their own, renormalised or not, or those of one of the prelude's
    routers; now and then with a penalty on uneven load, or with an expert that every token uses. A single gate is not
    renormalised: it would always be 1, and the router would learn nothing from it.
    """
    routers = [c for c in callees(shipped(), "router", "prelude") if ready(c) and active > 1]
    bindings: list[tuple[str, Expr]]
    if routers and draw.chance(0.4):
        router = draw.choice(routers)
        sizes = {"count": count, "active": active}
        given = {name: value for name, value in sizes.items() if name in router.parameters}
        bindings = [("gates", call(router.name, "x", **given))]
        weight = "gates"
    else:
        logits = call("linear", "x", count)
        bindings = [("p", call("softmax", logits) if draw.chance(0.6) else call("sigmoid", logits))]
        bindings.append(("gates", op("p", "*", call("top", "p", active))))
        weight = "p"
        if active > 1 and draw.chance(0.6):
            bindings.append(("gates", op("gates", "/", op(call("sum", "gates"), "+", 1e-6))))
    out: Expr = call("experts", "x", "gates", expert)
    if draw.chance(0.5):
        out = balanced(draw, out, weight, "gates", count)
    if common is not None:
        out = op(out, "+", applied(common, "x"))
    return fn(("x",), block(bindings, out))


def balanced(draw: Draw, value: Expr, weight: Value, gates: Value, count: int) -> Expr:
    """A value with a penalty on the mean of each gate times the share of tokens that use it, least where all are even.

    Fedus et al. 2021, arXiv:2101.03961, whose weight is 0.01 times the number of experts.
    """
    strength = rounded(count * draw.choice((0.01, 0.003, 0.03)))
    return call("penalty", value, op(strength, "*", weight), call("stop", op(gates, ">", 0)))
