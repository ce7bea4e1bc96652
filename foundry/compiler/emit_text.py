"""Python expressions with the parentheses they need; elementwise operations in PyTorch and in `math`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from foundry.compiler.names import number
from foundry.dsl.types import BOOLEAN, FLOAT, INTEGER, TensorType

# How tightly Python binds, loosest first.
LAMBDA, CHOICE, COMPARISON, OR, AND, SUM, PRODUCT, SIGN, POWER, ATOM = range(10)


@dataclass(frozen=True)
class Text:
    """An expression and how tightly it binds."""

    code: str
    level: int = ATOM

    def at(self, level: int) -> str:
        """The expression where something that binds at least this tightly is needed."""
        return self.code if self.level >= level else f"({self.code})"


def literal(value: int | float | None) -> Text:
    return Text(number(value), SIGN if value is not None and value < 0 else ATOM)


BINARY = {
    "add": ("+", SUM), "subtract": ("-", SUM), "multiply": ("*", PRODUCT), "divide": ("/", PRODUCT),
    "remainder": ("%", PRODUCT), "less": ("<", COMPARISON), "less_equal": ("<=", COMPARISON),
    "greater": (">", COMPARISON), "greater_equal": (">=", COMPARISON), "equal": ("==", COMPARISON),
    "unequal": ("!=", COMPARISON), "both": ("&", AND), "either": ("|", OR), "power": ("**", POWER),
}  # fmt: skip
ARITHMETIC = frozenset({"add", "subtract", "multiply", "divide", "remainder", "power", "negate", "minimum", "maximum"})
TORCH = {"softplus": "F.softplus", "relu": "F.relu"} | {
    name: f"torch.{name}"
    for name in ("exp", "log", "sqrt", "rsqrt", "abs", "floor", "sin", "cos", "tanh", "sigmoid", "erf")
}
KEEPS_DTYPE = frozenset({"abs", "floor", "softplus", "relu"})  # the others turn whole numbers into decimals
REDUCTIONS = {"mean": "mean", "sum": "sum", "largest": "amax", "smallest": "amin", "logsumexp": "logsumexp"}
SCALAR_FUNCTIONS = {
    "exp": "math.exp({})", "log": "math.log({})", "sqrt": "math.sqrt({})", "rsqrt": "(1 / math.sqrt({}))",
    "abs": "abs({})", "floor": "math.floor({})", "sin": "math.sin({})", "cos": "math.cos({})", "tanh": "math.tanh({})",
    "sigmoid": "(0.5 + 0.5 * math.tanh(0.5 * ({})))", "relu": "max({}, 0.0)", "erf": "math.erf({})",
    "minimum": "min({}, {})", "maximum": "max({}, {})",
}  # fmt: skip


def binary(op: str, a: Text, b: Text) -> Text:
    """An infix operation; its tree is kept, since rounding depends on it."""
    sign, level = BINARY[op]
    if op == "power":
        return Text(f"{a.at(ATOM)} ** {b.at(SIGN)}", POWER)
    left = level + 1 if level == COMPARISON else level
    return Text(f"{a.at(left)} {sign} {b.at(level + 1)}", level)


def method(x: Text, call: str) -> Text:
    """`x.call`."""
    return Text(f"{x.at(ATOM)}.{call}")


def indexed(x: Text, have: tuple[str, ...], want: tuple[str, ...]) -> Text:
    """`x` over the axes `have`, with new axes of size 1 so that it broadcasts with one over `want`."""
    if not have:
        return x
    entries = ["None" if axis not in have else ":" for axis in want[want.index(have[0]) :]]
    if "None" not in entries:
        return x
    if "None" not in entries[:-1]:
        return Text(f"{x.at(ATOM)}[..., None]" if len(entries) > 2 else f"{x.at(ATOM)}[:, None]")
    while entries[-1] == ":":
        entries.pop()
    return Text(f"{x.at(ATOM)}[{', '.join(entries)}]")


def in_memory(t: TensorType) -> tuple[str, ...]:
    """The axes that a tensor has in memory: values per head carry the token and channel axes, of size 1 perhaps."""
    if not t.has("head"):
        return t.axes
    return (("batch",) if t.has("batch") else ()) + ("head", "token", "channel")


def elementwise(op: str, args: list[Text], types: list[TensorType | None], out: TensorType) -> Text:
    """An elementwise operation on tensors that broadcast, or on tensors and numbers (type None)."""
    if op in ARITHMETIC:  # PyTorch refuses some arithmetic on booleans, which are 0 and 1 here
        dtype = "float()" if out.dtype == FLOAT else "long()"
        skip = op == "multiply" and any(t is not None and t.dtype == FLOAT for t in types)
        args = [
            method(a, dtype) if t is not None and t.dtype == BOOLEAN and not skip else a
            for a, t in zip(args, types, strict=True)
        ]
    if op in ("both", "either", "invert"):
        args = [
            Text(f"{a.at(COMPARISON + 1)} != 0", COMPARISON) if t is None or t.dtype != BOOLEAN else a
            for a, t in zip(args, types, strict=True)
        ]
    if op == "power" and types[1] is not None and types[1].dtype == INTEGER:
        args[1] = method(args[1], "float()")  # whole numbers to a negative power
    if op == "power" and types[0] is not None and types[0].dtype == INTEGER:
        args[0] = method(args[0], "float()")
    if op == "remainder" and out.dtype == FLOAT:  # whole numbers modulo 0 would be an error
        args = [a if t is None or t.dtype == FLOAT else method(a, "float()") for a, t in zip(args, types, strict=True)]
    if op == "remainder" and types[0] is None and types[1] is not None and types[1].dtype == FLOAT:
        return Text(f"torch.remainder(torch.tensor({args[0].code}), {args[1].code})")  # `%` would have no gradient
    if op in BINARY:
        return binary(op, args[0], args[1])
    if op == "stop":
        return method(args[0], "detach()")
    if op == "negate":
        return Text(f"-{args[0].at(SIGN)}", SIGN)
    if op == "invert":
        return Text(f"~{args[0].at(SIGN)}", SIGN)
    if op in ("minimum", "maximum"):
        if None in types:
            tensor, bound = (0, 1) if types[0] is not None else (1, 0)
            side, other = ("max", "min") if op == "minimum" else ("min", "max")
            inner = re.fullmatch(rf"(.*)\.clamp\({other}=([^()=]*)\)", args[tensor].at(ATOM))
            if inner is not None and (op == "minimum" or _ascending(args[bound].code, inner[2])):  # two bounds in one
                ends = {side: args[bound].code, other: inner[2]}
                return Text(f"{inner[1]}.clamp({ends['min']}, {ends['max']})")
            return method(args[tensor], f"clamp({side}={args[bound].code})")
        return Text(f"torch.{op}({args[0].code}, {args[1].code})")
    if op == "where":
        condition = args[0]
        if types[0] is not None and types[0].dtype != BOOLEAN:
            condition = Text(f"{condition.at(COMPARISON + 1)} != 0", COMPARISON)
        return Text(f"torch.where({condition.code}, {args[1].code}, {args[2].code})")
    x = args[0]
    if op in KEEPS_DTYPE and types[0] is not None and types[0].dtype != FLOAT:
        x = method(x, "float()")
    return Text(f"{TORCH[op]}({x.code})")


def _ascending(low: str, high: str) -> bool:
    """Whether two bounds are numbers in order: of others, clamp takes the upper one."""
    try:
        return float(low) <= float(high)
    except ValueError:
        return False


def scalar(op: str, args: list[Text]) -> Text:
    """The same operation on Python numbers."""
    if op in BINARY:
        if op in ("both", "either"):
            args = [Text(f"bool({a.code})") for a in args]
        return binary(op, args[0], args[1])
    if op == "stop":
        return args[0]
    if op == "negate":
        return Text(f"-{args[0].at(SIGN)}", SIGN)
    if op == "invert":
        return Text(f"(not {args[0].at(SIGN)})")
    if op == "where":
        return Text(f"{args[1].at(OR)} if {args[0].at(OR)} else {args[2].at(CHOICE)}", CHOICE)
    if op == "softplus":
        x = args[0].code
        return Text(f"max({x}, 0.0) + math.log1p(math.exp(-abs({x})))", SUM)
    return Text(SCALAR_FUNCTIONS[op].format(*(a.code for a in args)))
