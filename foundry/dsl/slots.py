"""Functions in slots: scores and masks of attention, and the schedule, context and loss of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foundry.dsl.frames import describe
from foundry.dsl.program import Node, Unit
from foundry.dsl.registry import REQUIRED, SLOTS, Primitive
from foundry.dsl.syntax import Span
from foundry.dsl.types import BOOLEAN, INTEGER, SCALAR, TensorType, scores
from foundry.dsl.values import FUNCTIONS, Closure, Composite, Partial

if TYPE_CHECKING:
    from foundry.dsl.elaborate import Elaborator


def fill(e: Elaborator, function: Any, kind: str, slots: dict[str, Node], span: Span) -> Any:
    """Apply a function whose parameters bind the slots by name; a single other parameter takes the first."""
    first = function
    rest: tuple[Any, ...] = ()
    if isinstance(function, Composite):
        first, rest = function.parts[0], function.parts[1:]
    given: set[str] = set(first.given) if isinstance(first, Partial) else set()
    inner = first.function if isinstance(first, Partial) else first
    if isinstance(inner, Closure):
        open_ = [(p.name, p.default is None) for p in inner.parameters if p.name not in given]
        legal = (inner.parameters[0].name,) if inner.parameters else ()
    elif isinstance(inner, Primitive):
        open_ = [(a.name, a.default is REQUIRED) for a in inner.args if a.name not in given]
        legal = (inner.args[0].name,)
    else:
        raise e.problem("F308", f"{describe(function)} of this form does not fit as {kind}", span, blame=kind)
    bound = sorted(given & set(slots) & by_position(first), key=list(slots).index)
    if bound:
        rest_ = [name for name, needed in open_ if name not in slots and not needed]
        raise e.problem(
            "F308",
            f"{e.title(first) or 'this function'} is given {bound[0]}, which a {kind} function binds",
            span,
            found=bound[0],
            expected=tuple(rest_),
            help=f"give what is not bound by name: {rest_[0]} = …" if rest_ else "",
            blame=kind,
        )
    required = [name for name, needed in open_ if needed]
    named = {name: slots[name] for name, needed in open_ if name in slots}
    odd = [name for name in required if name not in slots]
    if len(required) == 1 and odd and required[0] in legal and not named:
        named, odd = {odd[0]: next(iter(slots.values()))}, []
    if odd:
        raise e.problem(
            "F308",
            f"a {kind} function has no {' or '.join(filter(None, (', '.join(odd[:-1]), odd[-1])))} to bind",
            span,
            found=odd[0],
            expected=tuple(slots),
            help=f"it binds {', '.join(slots)} by name",
            blame=kind,
        )
    value = e.apply(first, [], span, e.title(first), named)
    for part in rest:
        value = e.apply(part, [value], span, e.title(part))
    return value


def by_position(function: Any) -> set[str]:
    """The arguments that a function was given by position."""
    if not isinstance(function, Partial):
        return set()
    places = [span for name, span in function.spans.items() if isinstance(name, int)]
    return {name for name, span in function.spans.items() if isinstance(name, str) and span in places}


def slot_unit(
    e: Elaborator,
    function: Any,
    kind: str,
    types: dict[str, TensorType],
    span: Span,
    lead: TensorType | None = None,
    j: str = "",
) -> Unit:
    """The unit of a function in a slot; its inputs are the slots that it uses."""
    with e.frame(kind) as frame:
        slots = {name: e.enter(frame, name, type, span) for name, type in types.items()}
        outer, e.leading = e.leading, [lead] if lead is not None else []
        try:
            result = fill(e, function, kind, slots, span) if isinstance(function, FUNCTIONS) else function
        finally:
            e.leading = outer
        if isinstance(result, (int, float)):
            result = e.add("number", (), {"value": result}, SCALAR, span)
    if not isinstance(result, Node):
        raise e.problem(
            "F308", f"a {kind} function gives a number per element, but this gives {describe(result)}", span, blame=kind
        )
    unit, _, _ = e.close(frame, result, e.title(function), span=span, comments=getattr(function, "comments", ()))
    return unit


def score(e: Elaborator, function: Any, count: int, span: Span) -> Unit | None:
    if function is None:
        return None
    need_function(e, function, "score", span)
    types = {
        "s": scores(count),
        "h": TensorType(("head",), heads=count, dtype=INTEGER),
        "i": TensorType(("token",), dtype=INTEGER),
        "j": TensorType(("token", "key"), dtype=INTEGER),
    }
    unit = slot_unit(e, function, "score", types, span, scores(count))
    t = unit.result.type
    if t.has("channel") or t.dtype == BOOLEAN:
        given = "yes or no" if t.dtype == BOOLEAN else str(t)
        raise e.problem(
            "F308",
            f"a score function gives one number per pair of positions, but this gives {given}",
            span,
            blame="score",
        )
    return None if unit.result.op == "input" and unit.result.attrs["name"] == "s" else unit


def mask(e: Elaborator, function: Any, count: int, span: Span) -> Unit | None:
    if function is None:
        return None
    need_function(e, function, "mask", span)
    types = {
        "h": TensorType(("head",), heads=count, dtype=INTEGER),
        "i": TensorType(("token",), dtype=INTEGER),
        "j": TensorType(("key",), dtype=INTEGER),
    }
    unit = slot_unit(e, function, "mask", types, span, TensorType(("head",), heads=count))
    result = unit.result
    if result.op == "number":
        if not result.attrs["value"]:
            raise e.problem("F308", "this mask removes every position", span, blame="mask")
        return None
    if result.type.dtype != BOOLEAN:
        raise e.problem(
            "F308",
            "a mask function gives yes or no, but this gives a number",
            span,
            help="compare: i - j < 64",
            blame="mask",
        )
    names = [i.attrs["name"] if isinstance(i, Node) and i.op == "input" else None for i in result.inputs]
    if (result.op, names) in (("less_equal", ["j", "i"]), ("greater_equal", ["i", "j"])):
        return None
    return unit


def view(e: Elaborator, kind: str, x: Any, span: Span) -> Node:
    """In a score or a mask: what a value per token (and head) is at the query's position, or at the key's."""
    frame = e.frames[-1] if e.frames else None
    if frame is None or frame.kind not in ("score", "mask"):
        raise e.problem(
            "F308", f"{kind} outside a score or a mask", span, help="it reads a value per token where queries meet keys"
        )
    count = next(i.type.heads for i in frame.inputs if i.type.has("head"))
    t = x.type if isinstance(x, Node) else SCALAR
    per_token = t.has("batch") and t.has("token") and not t.has("key") and t.width <= 1
    if not per_token or t.heads not in (0, 1, count):
        found = describe(x)
        raise e.problem("F301", f"{kind} takes one number per token, or per token and head, but this is {found}", span)
    if x not in e.seen:
        e.seen.append(x)
    index = e.seen.index(x)
    at = {"query": "token", "key": "key"}[kind]
    for known in frame.inputs:
        if known.attrs.get("view") == (kind, index):
            return known
    node = e.enter(
        frame, f"{x.name or 'value'}_{kind}", TensorType(("batch", "head", at), t.heads or 1, 0, t.dtype), span
    )
    node.attrs["view"] = (kind, index)
    return node


def seen_by(e: Elaborator, units: tuple[Unit | None, ...]) -> list[Node]:
    """The values that the functions of an attend read, numbered anew without those that no result needs."""
    views = [i for unit in units if unit is not None for i in unit.inputs if "view" in i.attrs]
    used = sorted({i.attrs["view"][1] for i in views})
    for i in views:
        kind, index = i.attrs["view"]
        i.attrs["view"] = (kind, used.index(index))
    return [e.seen[index] for index in used]


def need_function(e: Elaborator, value: Any, kind: str, span: Span) -> None:
    if not isinstance(value, FUNCTIONS):
        raise e.problem(
            "F308",
            f"{kind} takes a function of {', '.join(SLOTS[kind])}, but this is {describe(value)}",
            span,
            found=describe(value),
            blame=kind,
        )
