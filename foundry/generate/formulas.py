"""A grammar of small formulas that stay finite, and what it writes in a layer: activations, norms, scores, masks.

Its nonterminals are ranges. Every rule says what it takes and what it gives: `bounded` lies in
[-1, 1], `unit` in [0, 1], `positive` is at least 0, and a `value` grows no faster than a power of its
input, the degree. So `log` meets only `1 + positive`, `exp` only a bounded or a negative value, and a
division only a denominator of at least 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from foundry.dsl.substitute import fresh_name, occurrences
from foundry.dsl.syntax import Call, Expr, Function, Name, Unary
from foundry.generate.draw import Draw, weighted
from foundry.generate.trees import Value, block, call, expr, fn, op, rounded
from foundry.generate.vocabulary import withheld

# What each elementwise function of the registry is for here: the range that it takes, the range that it gives.
RANGES: dict[str, tuple[str, str]] = {
    "tanh": ("value", "bounded"),
    "erf": ("value", "bounded"),
    "sin": ("value", "bounded"),
    "cos": ("value", "bounded"),
    "sigmoid": ("value", "unit"),
    "relu": ("value", "positive"),
    "abs": ("value", "positive"),
    "softplus": ("value", "positive"),
    "sqrt": ("shifted", "positive"),
    "log": ("above one", "positive"),
    "rsqrt": ("above one", "unit"),
    "exp": ("negative", "unit"),
}
# floor has no gradient and stop takes it away, and remainder and where are no functions of one value: scores, masks,
# schedules and straight-through steps use them where they know why.
UNRANGED = frozenset({"floor", "stop", "remainder", "where"})

NOTHING_LEARNED: tuple[str, ...] = ()


@dataclass
class Formula:
    """A formula being written.

    leaves: what it is a formula of, the first being the one that decides its type.
    axes: the axes over which it may learn parameters; none where nothing may be learned.
    taken: names that its parameters must not take. learned: the parameters so far.
    """

    draw: Draw
    leaves: tuple[Expr, ...]
    axes: tuple[str, ...] = NOTHING_LEARNED
    taken: frozenset[str] = frozenset()
    learned: list[tuple[str, Expr]] = field(default_factory=list)

    def constant(self, low: float, high: float) -> float:
        """A number with two digits."""
        return rounded(self.draw.number(low, high))

    def parameter(self, stem: str, init: float) -> Name:
        """A learned number per one of the axes."""
        name = fresh_name(stem, self.taken | {taken for taken, _ in self.learned})
        self.learned.append((name, call("param", init, per=self.draw.choice(self.axes))))
        return Name(name)

    def scale(self) -> Expr:
        """A factor: a constant, or learned where that is possible."""
        if self.axes and self.draw.chance(0.5):
            return self.parameter("scale", self.draw.choice((1.0, 0.5)))
        return expr(self.constant(0.2, 2.0))

    def leaf(self, primary: bool = True) -> Expr:
        """A leaf; `primary` where it must decide the type."""
        return self.leaves[0] if primary or len(self.leaves) == 1 else self.draw.choice(self.leaves)

    def value(self, depth: int, degree: int = 2, primary: bool = True) -> Expr:
        """Any finite value that grows no faster than its input to the power `degree`."""
        if depth <= 0:
            return self.leaf(primary)
        forms: list[tuple[float, Callable[[], Expr]]] = [
            (1.0, lambda: self.leaf(primary)),
            (2.0, lambda: self.positive(depth, degree, primary)),
            (1.5, lambda: self.bounded(depth, primary)),
            (2.0, lambda: op(self.value(depth - 1, degree, primary), "*", self.unit(depth - 1, False))),
            (1.0, lambda: op(self.value(depth - 1, degree, primary), "+", self.value(depth - 1, degree, False))),
            (0.7, lambda: op(self.value(depth - 1, degree, primary), "-", self.value(depth - 1, degree, False))),
            (1.0, lambda: op(self.scale(), "*", self.value(depth - 1, degree, primary))),
            (0.7, lambda: call("max", self.value(depth - 1, degree, primary), op(self.scale(), "*", self.leaf(False)))),
            (0.5, lambda: op(self.value(depth - 1, degree, primary), "*", self.bounded(depth - 1, False))),
        ]
        if degree > 1:
            forms.append((1.5, lambda: op(self.value(depth - 1, 1, primary), "**", 2)))
            forms.append((0.7, lambda: op(self.value(depth - 1, 1, primary), "*", self.value(depth - 1, 1, False))))
        return weighted(self.draw, forms)()

    def of(self, function: str, depth: int, degree: int, primary: bool) -> Expr:
        """An elementwise function of an argument that it takes."""
        takes = RANGES[function][0]
        if takes == "shifted":
            return call(function, op(self.positive(depth - 1, 1, primary), "+", 0.01))
        if takes == "above one":
            return call(function, op(1, "+", self.positive(depth - 1, 1, primary)))
        if takes == "negative":
            return call(function, Unary("-", self.positive(depth - 1, degree, primary)))
        return call(function, self.value(depth - 1, degree if RANGES[function][1] == "positive" else 1, primary))

    def _giving(self, result: str) -> list[str]:
        return [name for name, (_, gives) in RANGES.items() if gives == result]

    def positive(self, depth: int, degree: int = 1, primary: bool = True) -> Expr:
        """A value of at least 0."""
        if depth <= 1:
            return call(weighted(self.draw, [(3, "relu"), (1, "abs"), (1, "softplus")]), self.leaf(primary))
        if degree > 1 and self.draw.chance(0.3):
            return op(self.positive(depth - 1, 1, primary), "**", 2)
        if self.draw.chance(0.15):
            return self.unit(depth - 1, primary)
        return self.of(self.draw.choice(self._giving("positive")), depth, degree, primary)

    def bounded(self, depth: int, primary: bool = True) -> Expr:
        """A value in [-1, 1]."""
        if self.draw.chance(0.2):
            x = self.value(max(depth - 1, 0), 1, primary)
            return op(x, "/", op(1, "+", call("abs", x)))
        return self.of(self.draw.choice(self._giving("bounded")), depth, 1, primary)

    def unit(self, depth: int, primary: bool = True) -> Expr:
        """A value in [0, 1]."""
        if depth <= 0 or self.draw.chance(0.5):
            x = self.leaf(primary)
            return call("sigmoid", x if self.draw.chance(0.5) else op(self.scale(), "*", x))
        if self.draw.chance(0.25):
            return op(1, "/", op(1, "+", self.positive(depth - 1, 1, primary)))
        return self.of(self.draw.choice(self._giving("unit")), depth, 1, primary)

    def finish(self, parameters: tuple[str, ...], result: Expr) -> Function:
        """`fn(parameters) => { learned…; result }`."""
        return fn(parameters, block(self.learned, result))


def _formula(draw: Draw, *leaves: Value, axes: tuple[str, ...] = NOTHING_LEARNED) -> Formula:
    names = tuple(expr(leaf) for leaf in leaves)
    return Formula(draw, names, axes, frozenset(leaf.id for leaf in names if isinstance(leaf, Name)))


def random_activation(draw: Draw, depth: int = 2) -> Expr:
    """`fn(x) => …`: a function that is not linear, elementwise, with at most a square's growth."""
    f = _formula(draw, "x", axes=("channel",) if draw.chance(0.4) else NOTHING_LEARNED)
    x = expr("x")
    shapes: list[tuple[float, Callable[[], Expr]]] = [
        (4, lambda: op(f.positive(1), "**", 2)),
        (3, lambda: op(x, "*", f.unit(depth))),
        (2, lambda: f.positive(depth, 2)),
        (2, lambda: op(op(x, "*", f.unit(depth)), "+", op(f.scale(), "*", op(f.positive(1), "**", 2)))),
        (1, lambda: op(f.positive(depth), "-", op(f.scale(), "*", call("relu", Unary("-", x))))),
        (1, lambda: op(x, "+", op(f.scale(), "*", f.bounded(depth)))),
        (1, lambda: op(x, "*", f.positive(depth))),
        (1, lambda: f.bounded(depth)),
        # one value forward and another's gradient: straight through, Bengio et al. 2013, arXiv:1308.3432
        (0.2, lambda: op(x, "+", call("stop", op(f.positive(1), "-", x)))),
    ]
    if withheld("relu2"):  # the first, and the fourth, which adds it
        shapes = [shape for index, shape in enumerate(shapes) if index not in (0, 3)]
    body = weighted(draw, shapes)()
    if isinstance(body, Call) and body == call(body.function, "x"):
        return body.function
    return f.finish(("x",), body)


def random_norm(draw: Draw, depth: int = 1) -> Function:
    """`fn(x) => …`: the input over a statistic of its channels, with a gain or without."""
    bindings: list[tuple[str, Expr]] = []
    x: Expr = expr("x")
    if draw.chance(0.25):
        bindings.append(("centred", op("x", "-", call("mean", "x"))))
        x = expr("centred")
    statistics: list[tuple[float, Expr]] = [
        (3, call("rsqrt", op(call("mean", op(x, "*", x)), "+", 1e-6))),
        (2, op(1, "/", op(call("mean", call("abs", x)), "+", 1e-3))),
        (1, op(1, "/", op(1, "+", call("mean", call("abs", x))))),
        (1, op(1, "/", op(call("max", call("abs", x)), "+", 1e-3))),
        (0.5, call("rsqrt", op(1, "+", call("mean", op(x, "*", x))))),
    ]
    statistic = weighted(draw, statistics)
    scaled: Expr = op(x, "*", call("stop", statistic) if draw.chance(0.05) else statistic)
    if draw.chance(0.15):
        bindings.append(("slope", call("param", 0.5)))
        scaled = call("tanh", op("slope", "*", x))
    if draw.chance(0.75):
        bindings.append(("gain", call("param", 1, per="channel")))
        scaled = op("gain", "*", scaled)
    if draw.chance(0.2):
        bindings.append(("offset", call("param", 0, per="channel")))
        scaled = op(scaled, "+", "offset")
    return fn(("x",), block(bindings, scaled))


def random_score(draw: Draw, depth: int = 2) -> Function:
    """`fn(s, h, i, j) => …` with only what it uses: a cap, a bias by distance, a temperature, or a formula."""
    if withheld("alibi"):
        f = _formula(draw, "s", "i", "j", axes=("head",))
        written = f.value(depth, 1)
        return with_used_parameters(("s", "h", "i", "j"), block(f.learned, written))
    f = _formula(draw, "s", axes=("head",))
    distance = op("i", "-", "j")
    s: Expr = expr("s")
    if draw.chance(0.3):
        cap = draw.choice((5, 10, 20, 30, 50))
        s = op(cap, "*", call("tanh", op("s", "/", cap)))
    near: list[Expr] = [
        call("log", op(1, "+", distance)),
        op(0.1, "*", distance),
        call("sqrt", op(distance, "+", 0.01)),
        op(distance, "/", op(draw.choice((8, 16, 32)), "+", distance)),
    ]
    shapes: list[tuple[float, Callable[[], Expr]]] = [
        (2, lambda: op(s, "-", op(call("softplus", f.parameter("slope", 0.5)), "*", draw.choice(near)))),
        (1, lambda: op(s, "-", op(draw.choice((0.1, 0.3, 1.0)), "*", draw.choice(near)))),
        (1, lambda: op(f.parameter("temperature", 1), "*", s)),
        (1, lambda: op(s, "*", op(1, "+", op(0.1, "*", call("log", op(1, "+", "i")))))),
        (1, lambda: op(s, "+", op(f.parameter("slope", 0.5), "*", f.bounded(depth - 1)))),
        (1, lambda: op(s, "+", op(f.parameter("self", 0), "*", call("exp", Unary("-", draw.choice(near[:3])))))),
        (2, lambda: op(s, "+", distance_bias(draw))),
        (1, lambda: f.value(depth, 1)),
    ]
    body = weighted(draw, shapes)()
    return with_used_parameters(("s", "h", "i", "j"), block(f.learned, body))


def distance_bias(draw: Draw) -> Expr:
    """A learned number for each distance i - j, or for each of some ranges that widen with it, per head or for all.

    Relative positions: Raffel et al. 2019, arXiv:1910.10683.
    """
    distance: Expr = op("i", "-", "j")
    size = draw.choice((32, 16, 64, 128))
    if draw.chance(0.4):  # two, three or four to an octave
        size = draw.choice((16, 24, 32))
        distance = call("floor", op(draw.choice((3, 4, 5)), "*", call("log", op(1, "+", distance))))
    return call("lookup", distance, size=size, per="head") if draw.chance(0.8) else call("lookup", distance, size=size)


def with_used_parameters(names: tuple[str, ...], body: Expr) -> Function:
    """`fn(names) => body` with only the names that the body uses; the first where it uses none."""
    used = set(occurrences(body))
    return fn(tuple(name for name in names if name in used) or names[:1], body)


def random_mask(draw: Draw, depth: int = 1) -> Function:
    """`fn(h, i, j) => …` with only what it uses: which positions a query may look at, itself always among them."""
    distance = op("i", "-", "j")
    local = op(distance, "<", draw.choice((64, 32, 16, 8, 4)))
    step = draw.choice((2, 3, 4, 8))
    shapes: list[tuple[float, Expr]] = [
        (3, local),
        (1, op(local, "|", op(call("remainder", distance, step), "==", 0))),
        (1, op(local, "|", op("j", "<", draw.choice((1, 2, 4))))),
        (1, op(distance, "<", op(draw.choice((4, 8, 16)), "*", op("h", "+", 1)))),
        (1, op(local, "|", op("h", "<", 1))),
        (0.5, op(call("remainder", distance, step), "==", 0)),
    ]
    return with_used_parameters(("h", "i", "j"), weighted(draw, shapes))
