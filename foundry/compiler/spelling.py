"""A step of a program as the expression that computes it."""

from __future__ import annotations

from collections.abc import Callable

from foundry.compiler.outline import Step
from foundry.dsl.format import format_expr
from foundry.dsl.quote import LONGEST, named, quote, shown
from foundry.dsl.registry import OPERATORS, PRIMITIVES, REQUIRED
from foundry.dsl.syntax import Argument, Binary, Binding, Call, Expr, Name, Number, Parameter, Unary, children

SIGNS = {name: sign for sign, name in OPERATORS.items()}
WRITTEN = {"largest": "max", "smallest": "min", "maximum": "max", "minimum": "min"}
DEEPEST = 8  # operations inside one another that are shown
ELLIPSIS = Name("…")


def described(step: Step, longest: int = LONGEST) -> str:
    """A step that stands alone: `attention(heads = 4)`, `conv(kernel = 4)`, `4 × layer`, `bump(x) = x * tanh(x)`."""
    if step.op == "repeat":
        return f"{step.node.attrs['times']} × {step.title or 'block'}"
    if (
        step.op == "call"
        and step.body is not None
        and not (step.is_block and step.explicit - {i.title for i in step.body.inputs})
    ):
        return named(step.function, longest)
    first = step.inputs[0] if step.inputs else None
    if step.op != "call" and isinstance(first, Step) and first.is_term and first.op != "input":
        return shown(formula(step, lambda s: s, lambda s: "" if s.is_term or s is step else title(s)), longest)
    return shown(head(step), longest)


def head(step: Step) -> Expr:
    """What a step applies, with the compile-time arguments that it is given."""
    if step.op == "repeat":
        return Name(title(step))
    if step.op == "call":
        if step.title == "fn":
            return quote(step.function)
        given = {n: v for n, v in step.arguments.items() if n in step.explicit and not hasattr(v, "op")}
        return _call(step.title, tuple(Argument(n, quote(v)) for n, v in given.items()))
    return _call(WRITTEN.get(step.op, step.op), _settings(step))


def formula(step: Step | float, resolve: Callable[[Step], Step], name_of: Callable[[Step], str]) -> Expr:
    """The expression of a step's value.

    resolve: the step that one stands for. name_of: the name that a step stands by, or "" to write it out.
    """

    def inner(value: Step | float, depth: int) -> Expr:
        if not isinstance(value, Step):
            return quote(int(value) if value == int(value) else value)
        step = resolve(value)
        if step.op == "input":
            return Name(step.label or step.title)
        if step.op == "number":
            return quote(step.node.attrs["value"])
        if name := name_of(step):
            return Name(name)
        if depth > DEEPEST:
            return ELLIPSIS
        operands = [inner(i, depth + 1) for i in step.inputs]
        if step.op in SIGNS:
            return Binary(SIGNS[step.op], operands[0], operands[1])
        if step.op in ("negate", "invert"):
            return Unary("-" if step.op == "negate" else "!", operands[0])
        function = head(step)
        settings = function.arguments if isinstance(function, Call) else ()
        called = function.function if isinstance(function, Call) else function
        return Call(called, (*(Argument("", o) for o in operands), *settings))

    return inner(step, 0)


def written_out(step: Step) -> str:
    """No name for any step."""
    return ""


def title(step: Step) -> str:
    """What a step is called in passing."""
    return "layers" if step.op == "repeat" and not step.title else step.title


def _call(name: str, arguments: tuple[Argument, ...]) -> Expr:
    return Call(Name(name), arguments) if arguments else Name(name)


def _settings(step: Step) -> tuple[Argument, ...]:
    """The compile-time arguments of a primitive that differ from their defaults."""
    if step.op not in PRIMITIVES:
        return ()
    out = []
    for arg in PRIMITIVES[step.op].args:
        value = step.arguments.get(arg.name, step.node.attrs.get(arg.name))
        if arg.is_tensor or value is None or value == arg.default or hasattr(value, "op"):
            continue
        if arg.name == "vocab" and step.node.attrs.get("tied"):
            continue
        if arg.sort == "axes":
            axes = tuple(Name(axis) for axis in step.node.attrs[arg.name])
            out.append(Argument(arg.name, axes[0]) if len(axes) == 1 else Argument(arg.name, quote(value)))
        else:
            by_place = arg.default is REQUIRED and not any(a.name for a in out)
            out.append(Argument("" if by_place else arg.name, quote(value)))
    return tuple(out)


def narrowed(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """The smallest parts of two long expressions that hold all of their difference."""
    while max(len(format_expr(a)), len(format_expr(b))) > LONGEST:
        inner_a, inner_b = [c for _, c in children(a)], [c for _, c in children(b)]
        apart = [(x, y) for x, y in zip(inner_a, inner_b, strict=False) if x != y]
        if type(a) is not type(b) or len(inner_a) != len(inner_b) or len(apart) != 1:
            break
        (x, y) = apart[0]
        if isinstance(x, (Argument, Binding)) and isinstance(y, (Argument, Binding)):
            x, y = x.value, y.value
        if isinstance(x, (Name, Number, Parameter)) or isinstance(y, (Name, Number, Parameter)):
            break
        a, b = x, y  # type: ignore[assignment]
    return a, b
