"""Applying primitives: arguments checked against the registry, numbers folded, types inferred."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from foundry.dsl.canonical import INDICES
from foundry.dsl.diagnostics import Label
from foundry.dsl.format import format_number
from foundry.dsl.frames import Inline, Problem, describe
from foundry.dsl.program import Node
from foundry.dsl.registry import OPERATORS, SLOTS, Arg, Primitive
from foundry.dsl.rules import Mismatch
from foundry.dsl.slots import mask, score, seen_by
from foundry.dsl.syntax import Span
from foundry.dsl.types import SCALAR, Clash, TensorType
from foundry.dsl.units import experts
from foundry.dsl.values import Axis

if TYPE_CHECKING:
    from foundry.dsl.elaborate import Elaborator

NUMBER_LIMIT = 1e300


def run_primitive(e: Elaborator, function: Primitive, bound: dict[str, Any], span: Span, spans: dict) -> Any:
    inputs: list[Any] = []
    attrs: dict[str, Any] = {}
    for arg in function.args:
        value = bound.get(arg.name, arg.default)
        at = spans.get(arg.name, span)
        if arg.is_tensor and value is None:  # an optional one, which is the last
            continue
        if arg.is_tensor:
            if not isinstance(value, (Node, int, float)):
                raise e.problem(
                    "F303",
                    f"{function.name} takes a tensor as {arg.name}, but this is {describe(value)}",
                    at,
                    found=describe(value),
                )
            inputs.append(value)
        elif arg.sort == "like":
            if value is not None and not isinstance(value, Node):
                raise e.problem(
                    "F303",
                    f"{function.name} takes a tensor as {arg.name}, but this is {describe(value)}",
                    at,
                    found=describe(value),
                )
            attrs[arg.name] = value and value.type
        elif arg.sort in ("score", "mask", "function"):
            attrs[arg.name] = value
        else:
            attrs[arg.name] = argument(e, function.name, arg, value, at)
    return primitive(e, function, inputs, attrs, span, spans)


def argument(e: Elaborator, title: str, arg: Arg, value: Any, span: Span) -> Any:
    """A compile-time argument, checked against its sort and its legal values."""
    if value is None and arg.default is None:
        return None
    if arg.sort == "axes":
        axes = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(a, Axis) for a in axes):
            raise e.problem(
                "F303",
                f"{title} takes axes as {arg.name}, but this is {describe(value)}",
                span,
                expected=("head", "channel", "[head, channel]"),
            )
        return tuple(sorted({a.name for a in axes}, reverse=True))
    if arg.sort == "numbers":
        if not isinstance(value, tuple) or not value or not all(isinstance(v, (int, float)) for v in value):
            raise e.problem(
                "F303",
                f"{title} takes a list of numbers as {arg.name}, but this is {describe(value)}",
                span,
                expected=("a list of numbers",),
                found=describe(value),
                help="write [1.0, 1.5]",
            )
        return value
    if arg.sort == "list":
        if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(v, (int, float)) for v in value):
            raise e.problem(
                "F303",
                f"{title} takes two numbers as {arg.name}, but this is {describe(value)}",
                span,
                help="write [0.9, 0.95]",
            )
        for v in value:
            if not 0 <= v < 1:
                raise e.problem(
                    "F306", f"{arg.name} holds {v:g}", span, expected=("numbers from 0 up to below 1",), found=f"{v:g}"
                )
        return tuple(float(v) for v in value)
    if not isinstance(value, (int, float)):
        raise e.problem(
            "F303", f"{title} takes a number as {arg.name}, but this is {describe(value)}", span, found=describe(value)
        )
    if arg.sort == "flag":
        if value not in (0, 1):
            raise e.problem("F306", f"{arg.name} is {value:g}", span, expected=("0", "1"), found=f"{value:g}")
        return int(value)
    if arg.sort == "integer":
        if value != math.floor(value):
            raise e.problem(
                "F302",
                f"{arg.name} of {title} is {value:g}, which is no whole number",
                span,
                found=f"{value:g}",
                help="floor(x) is the whole part of x",
            )
        value = int(value)
    if not arg.low <= value <= arg.high:
        low, high, shown = (plain_number(n) for n in (arg.low, arg.high, value))
        raise e.problem(
            "F306",
            f"{arg.name} of {title} is {shown}, {'less than ' + low if value < arg.low else 'more than ' + high}",
            span,
            expected=(f"from {low} to {high}" if high else f"at least {low}",),
            found=shown,
        )
    return value


def primitive(
    e: Elaborator, function: Primitive, inputs: list[Any], attrs: dict[str, Any], span: Span, spans: dict | None = None
) -> Any:
    """One operation: folded where every input is a number, a node otherwise."""
    if function.fold is not None and not any(isinstance(i, Node) for i in inputs):
        return fold(e, function, inputs, span)
    if function.name == "where" and isinstance(inputs[0], (int, float)):
        return inputs[1] if inputs[0] else inputs[2]
    if not e.frames:
        raise e.problem(
            "F308",
            f"{function.name} stands outside any function of a sequence",
            span,
            help="write it inside a function",
        )
    for arg, value in zip([a for a in function.args if a.is_tensor], inputs, strict=False):
        if arg.sort != "factor" and not isinstance(value, Node):
            raise e.problem(
                "F303",
                f"{function.name} takes a tensor as {arg.name}, but this is {describe(value)}",
                (spans or {}).get(arg.name, span),
                found=describe(value),
            )
    if e.slot():  # a value from outside is the mistake, whether or not it would fit
        inputs = [e.here(i) for i in inputs]
    types = tuple(i.type if isinstance(i, Node) else i for i in inputs)
    attrs = dict(attrs)
    instance = 0
    if e.slot():
        fits_slot(e, function, span)
    if function.name == "param":
        attrs["type"] = param_type(e, attrs["per"], (spans or {}).get("per", span), attrs.pop("of"))
    if function.kind == "weights" or function.name == "conv":
        instance = e.instance()
    if function.name == "unembed":
        instance = unembed(e, attrs, inputs[0], span, instance)
    if function.name == "lookup":
        if e.slot() != "score":
            raise e.problem(
                "F308",
                "lookup outside a score function",
                span,
                help="embed looks up a vector for each token or position",
            )
        attrs["heads"] = param_type(e, attrs["per"], span).heads
    unit = None
    if function.name == "experts":
        unit, attrs = experts(e, attrs["expert"], inputs, span, spans or {})
    try:
        type = function.shape(types, attrs)
    except Mismatch as m:
        raise mismatch_problem(e, function, m, inputs, span, spans or {}) from None
    except Clash as clash:
        raise clash_problem(e, function, clash, inputs, span) from None
    if function.name == "attend":
        attrs["sink"], e.seen = int(len(inputs) > 3), []
        attrs["score"] = score(e, attrs["score"], inputs[0].type.heads, span)
        attrs["mask"] = mask(e, attrs["mask"], inputs[0].type.heads, span)
        seen = seen_by(e, (attrs["score"], attrs["mask"]))
        attrs["seen"], inputs = len(seen), [*inputs, *seen]
    nested = len(e.frames) > 1 and not any(frame.kind == "repeat" for frame in e.frames)
    if function.name == "embed" and inputs[0].type.is_tokens and nested:
        raise Inline
    if function.name in INDICES:
        inputs = at_hand(e, function, inputs)
    node = e.add(function.name, inputs, attrs, type, span, instance=instance, unit=unit)
    if function.name == "embed" and inputs[0].type.is_tokens:
        e.embeddings.append(node)
    return node


def at_hand(e: Elaborator, function: Primitive, inputs: list[Any]) -> list[Any]:
    """What stands for the input of an index, which is no more than its shape: an input of the function around, which
    needs no computing and no weights. A position needs one with as many tokens."""
    near = e.frames[-1].inputs
    if function.name != "position" and inputs[0] in near:
        return inputs
    return [i for i in near if function.name != "position" or i.type.has("token")][:1] or inputs


def fits_slot(e: Elaborator, function: Primitive, span: Span) -> None:
    """Raise for a primitive that the function of the slot under construction may not use."""
    slot = e.slot()
    if function.kind == "weights" and slot != "score":
        help = f"a {slot} function may not hold weights"
        raise e.problem("F308", f"a {slot} function learns {function.name}", span, help=help)
    if function.kind in ("sequence", "structure"):
        help = f"a {slot} function is elementwise over {', '.join(SLOTS[slot])}"
        raise e.problem("F308", f"{function.name} inside a {slot} function", span, help=help)


def unembed(e: Elaborator, attrs: dict[str, Any], x: Any, span: Span, instance: int) -> int:
    source = next((node for node in e.embeddings if e.homes[id(node)] is e.frames[0]), None)
    if attrs["tied"]:
        if len(e.frames) > 1:
            raise Inline
        if source is None:
            raise e.problem(
                "F308", "there is no token embedding to tie to", span, help="embed the tokens first, or write tied = 0"
            )
        if isinstance(x, Node) and x.type.is_seq and x.type.width != source.type.width:
            raise e.problem(
                "F301",
                f"the embedding has {source.type.width} channels and x has {x.type.width}",
                span,
                expected=(str(source.type.width),),
                found=str(x.type.width),
                labels=(Label(source.span, f"embeds in {source.type.width} channels"),),
            )
        if attrs["vocab"] not in (0, source.attrs["vocab"]):
            raise e.problem(
                "F306",
                f"vocab is {attrs['vocab']}, but the tied embedding has {source.attrs['vocab']}",
                span,
                expected=(str(source.attrs["vocab"]),),
            )
        if attrs["bias"]:
            raise e.problem(
                "F308",
                "tied logits with a bias",
                span,
                help="add it afterwards: >> (fn(z) => z + param(0, per = channel))",
            )
        instance = source.instance
    if not attrs["vocab"]:
        source = source or next(iter(e.embeddings), None)
        if source is None:
            raise e.problem("F304", "unembed needs vocab, since no tokens are embedded", span, expected=("vocab",))
        attrs["vocab"] = source.attrs["vocab"]
    return instance


def fold(e: Elaborator, function: Primitive, inputs: list[Any], span: Span) -> int | float:
    """Arithmetic on compile-time numbers, kept within finite reals."""
    try:
        if function.name == "power" and abs(inputs[1]) > 64:
            result: Any = math.pow(inputs[0], inputs[1])
        else:
            assert function.fold is not None
            result = function.fold(*inputs)
        if isinstance(result, complex) or not abs(result) < NUMBER_LIMIT:
            raise ValueError
    except (ArithmeticError, ValueError):
        sign = next((sign for sign, name in OPERATORS.items() if name == function.name), "")
        shown = [f"{i:g}" for i in inputs]
        said = f" {sign} ".join(shown) if sign else f"{function.name}({', '.join(shown)})"
        raise e.problem("F307", f"{said} has no finite value", span) from None
    if isinstance(result, bool):
        return int(result)
    if isinstance(result, int):
        return result if abs(result) < 1 << 53 else float(result)
    return (
        int(result)
        if result == math.floor(result) and abs(result) < 1 << 53 and not is_decimal(inputs)
        else float(result)
    )


def plain_number(value: float) -> str:
    """A number as a message shows it, "" for an infinite one."""
    if not math.isfinite(value):
        return ""
    return format_number(int(value) if value == math.floor(value) and abs(value) < 1 << 53 else value)


def is_decimal(inputs: list[Any]) -> bool:
    """Whether a whole result stays a decimal number: only sizes, made of whole numbers, become whole."""
    return any(isinstance(i, float) for i in inputs)


def param_type(e: Elaborator, per: tuple[str, ...], span: Span, of: TensorType | None = None) -> TensorType:
    if not per:
        return SCALAR
    if not e.leading and of is None:
        raise e.problem(
            "F308",
            "param has no sequence whose axes it could follow",
            span,
            help="write it inside a function of a sequence, or leave per out",
        )
    lead = of or e.leading[-1]
    what = "of" if of else "the function's input"
    for axis in per:
        if not lead.has(axis):
            raise e.problem(
                "F301",
                f"param has one value per {axis}, but {what} is {lead}",
                span,
                found=str(lead),
                expected=tuple(a for a in ("head", "channel") if lead.has(a)),
            )
    axes = tuple(a for a in ("head", "channel") if a in per)
    return TensorType(axes, lead.heads if "head" in per else 0, lead.width if "channel" in per else 0)


def mismatch_problem(
    e: Elaborator, function: Primitive, m: Mismatch, inputs: list[Any], span: Span, spans: dict
) -> Problem:
    labels = [
        Label(i.span, f"{arg.name} is {i.type}")
        for arg, i in zip([a for a in function.args if a.is_tensor], inputs, strict=False)
        if isinstance(i, Node)
    ]
    verb = f"{function.name} " if m.message.split()[0] in ("takes", "turns", "joins", "looks", "compares") else ""
    code = {"shape": "F301", "divide": "F302"}[m.code]
    at = spans.get(m.argument, span)
    return e.problem(
        code,
        verb + m.message,
        at,
        labels=labels,
        expected=tuple(str(e) for e in m.expected),
        found=m.found,
        help=m.help,
        blame=m.argument,
    )


def clash_problem(e: Elaborator, function: Primitive, clash: Clash, inputs: list[Any], span: Span) -> Problem:
    nodes = [i for i in inputs if isinstance(i, Node)]
    labels = [Label(n.span, f"this is {n.type}") for n in nodes]
    types = " and ".join(str(n.type) for n in nodes)
    help, differ = "", f"{clash.left} {clash.axis}s against {clash.right}"
    if isinstance(clash.left, str):
        differ = {"head": "only one of them has heads", "channel": "channels and pairs of positions do not mix"}[
            clash.axis
        ]
        help = "split_heads and merge_heads go between seq and heads" if clash.axis == "head" else ""
    elif clash.axis == "channel":
        help = "give both the same number of channels, for example with linear"
    return e.problem(
        "F301",
        f"{function.doc.split(':')[0]} of {types}: {differ}",
        span,
        labels=labels,
        help=help,
    )
