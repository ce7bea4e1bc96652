"""Applying functions of the language: a named one becomes a unit, a repeated or shared one a unit of its own kind."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from foundry.dsl.diagnostics import Label
from foundry.dsl.frames import POISON, Inline, Silent, describe
from foundry.dsl.program import Node, Unit, learns
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.syntax import Span
from foundry.dsl.types import FUNCTION
from foundry.dsl.values import FUNCTIONS, Closure, Composite, Frame, Repeated, Scope, Shared

if TYPE_CHECKING:
    from foundry.dsl.elaborate import Elaborator


MAX_PASSES = 10_000  # of one function, in all repeats around it


def run_closure(e: Elaborator, function: Closure, bound: dict[str, Any], span: Span, called: str) -> Any:
    if any(value is POISON for value in bound.values()):
        raise Silent
    tensors = [bound[p.name] for p in function.parameters if isinstance(bound.get(p.name), Node)]
    if not tensors or not function.name or e.slot() or (len(e.frames) == 1 and function.name == "model"):
        return run_body(e, function, bound)
    try:
        return run_unit(e, function, bound, span, called)
    except Inline:
        if any(frame.kind == "repeat" for frame in e.frames):
            raise
        return run_body(e, function, bound)


def run_body(e: Elaborator, function: Closure, bound: dict[str, Any]) -> Any:
    scope = Scope({}, function.scope)
    lead = next((bound[p.name] for p in function.parameters if isinstance(bound.get(p.name), Node)), None)
    if e.slot():
        lead = None  # a score's learned numbers follow its heads, whichever slots it uses
    if lead is not None:
        e.leading.append(lead.type)
    try:
        for parameter in function.parameters:
            if parameter.name in bound:
                scope.names[parameter.name] = bound[parameter.name]
            else:
                assert parameter.default is not None
                scope.names[parameter.name] = e.value(parameter.default, scope)
        return e.value(function.body, scope)
    finally:
        if lead is not None:
            e.leading.pop()


def run_unit(e: Elaborator, function: Closure, bound: dict[str, Any], span: Span, called: str) -> Any:
    """Apply a named function to tensors: its body becomes a unit, and the application a `call`."""
    outer = [p.name for p in function.parameters if isinstance(bound.get(p.name), Node)]
    mark = e.instances
    with e.frame("function") as frame:
        inner = dict(bound)
        for name in outer:
            inner[name] = e.enter(frame, name, bound[name].type, bound[name].span)
        result = run_body(e, function, inner)
    if not isinstance(result, Node):
        e.instances = mark
        return run_body(e, function, bound)
    arguments = [bound[name] for name in outer]
    if result in frame.inputs:
        return arguments[frame.inputs.index(result)]
    if result in frame.captures.values():
        return next(o for o, i in frame.captures.items() if i is result)
    constants = {n: v for n, v in bound.items() if isinstance(v, (int, float))}
    unit, kept, captured = e.close(
        frame, result, function.name, constants=constants, comments=function.comments, span=function.span
    )
    return e.add(
        "call",
        [arguments[n] for n in kept] + captured,
        {},
        result.type,
        span,
        unit=unit,
        instance=e.instance(),
        name=called or function.name,
    )


def repeat(e: Elaborator, function: Repeated, x: Node, span: Span, called: str) -> Node:
    with e.frame("repeat") as frame:
        frame.times = function.times
        passes = prod(f.times for f in e.frames)
        if passes > MAX_PASSES:
            raise e.problem(
                "F402",
                f"{passes:,} copies of a function inside one another",
                span,
                expected=(f"at most {MAX_PASSES:,}",),
                found=f"{passes:,}",
            )
        looped = e.enter(frame, x.name or "x", x.type, x.span)
        try:
            result = e.apply(function.function, [looped], span, e.title(function.function) or called)
        except Inline:
            raise e.problem(
                "F308",
                "a block that is repeated embeds tokens or unembeds with tied weights",
                span,
                help="do that before or after the repeated blocks",
            ) from None
    if not isinstance(result, Node):
        raise e.problem("F303", f"a repeated function gives {describe(result)} instead of a sequence", span)
    if result.type != x.type:
        raise e.problem(
            "F301",
            f"a repeated function takes {x.type} and gives {result.type}",
            span,
            expected=(str(x.type),),
            found=str(result.type),
            help="every pass feeds the next, so the two must be equal",
            labels=(Label(x.span, f"this is {x.type}"),),
        )
    unit, kept, captured = e.close(frame, result, "")
    inputs: list[Any] = [x, *captured]
    if result is looped:
        return x
    if not kept:
        raise e.problem("F308", "a repeated function does not use its input", span)
    only = unit.nodes[0]
    if len(unit.nodes) == 1 and only.op == "call" and only.inputs and only.inputs[0] is looped:
        outside = {id(inner): o for o, inner in frame.captures.items()}
        if all(id(i) in outside for i in only.inputs[1:]):
            assert only.unit is not None
            inputs = [x] + [outside[id(i)] for i in only.inputs[1:]]
            unit = only.unit
    return e.add(
        "repeat",
        inputs,
        {"times": function.times, "shared": function.shared},
        result.type,
        span,
        unit=unit,
        instance=e.instance(),
        name=called or ("groups" if isinstance(function.function, Composite) else "layers"),
    )


def experts(
    e: Elaborator, function: Any, inputs: list[Any], whole: Span, spans: dict
) -> tuple[Unit | None, dict[str, Any]]:
    """The unit of one expert, and what the node of all of them knows: how many they are, and how many each token uses.

    An expert sees one token at a time, since it is computed for some tokens and not for others.
    """
    x, gates = inputs
    span = spans.get("expert", whole)
    if not isinstance(function, FUNCTIONS):
        raise e.problem(
            "F303",
            f"experts takes a function as expert, but this is {describe(function)}",
            span,
            found=describe(function),
            help="write experts(x, gates, glu(hidden = 64))",
            blame="expert",
        )
    for name, value in (("x", x), ("gates", gates)):
        if not (isinstance(value, Node) and value.type.is_seq):
            raise e.problem(
                "F301",
                f"experts takes a sequence seq[d], but {name} is {describe(value)}",
                spans.get(name, whole),
                expected=("seq[d]",),
                found=describe(value),
                blame=name,
            )
    with e.frame("repeat") as frame:
        token = e.enter(frame, x.name or "x", x.type, x.span)
        result = e.apply(function, [token], span, e.title(function))
    if not isinstance(result, Node) or not result.type.is_seq:
        raise e.problem(
            "F301", f"an expert gives {describe(result)} instead of a sequence", span, found=describe(result)
        )
    unit, kept, captured = e.close(frame, result, e.title(function))
    alone = unit.nodes[0] if len(unit.nodes) == 1 else None
    if alone is not None and alone.op == "call" and alone.inputs == tuple(unit.inputs) and alone.unit is not None:
        unit = alone.unit
    if captured or looks_back(unit):
        what = "uses a value from outside" if captured else "looks at other positions"
        raise e.problem("F308", f"an expert {what}", span, help="an expert is a function of one token alone")
    if _penalises(unit):
        raise e.problem("F308", "an expert has a penalty", span, help="an expert may see no token: penalise outside it")
    if not kept or not any(learns(node) for node in unit.nodes):
        raise e.problem("F308", "an expert learns nothing", span, help="all of them would be the same")
    count = gates.type.width
    return unit, {"times": count, "active": max(1, min(chosen(gates), count)), "type": result.type}


def looks_back(unit: Unit) -> bool:
    """Whether a unit looks at other positions, or at its own."""
    return any(
        (node.op in PRIMITIVES and PRIMITIVES[node.op].stateful) or any(looks_back(u) for u in _inside(node))
        for node in unit.nodes
    )


def _penalises(unit: Unit) -> bool:
    return any(node.op == "penalty" or any(_penalises(u) for u in _inside(node)) for node in unit.nodes)


def _inside(node: Node) -> list[Unit]:
    return [u for u in (node.unit, *node.attrs.values()) if isinstance(u, Unit)]


def chosen(gates: Node, known: dict[Node, int] | None = None) -> int:
    """How many gates of a token can differ from 0: the least `top` that they are a product with, else all of them.

    known: the same for nodes that were asked before, and for the inputs of the unit that `gates` belongs to.
    """
    known = {} if known is None else known
    if gates not in known:
        known[gates] = _chosen(gates, known)
    return known[gates]


def _chosen(gates: Node, known: dict[Node, int]) -> int:
    match gates.op:
        case "top":
            return int(gates.attrs["count"])
        case "multiply" | "both":
            return min(_chosen_of(i, gates, known) for i in gates.tensors)
        case "divide":
            return _chosen_of(gates.inputs[0], gates, known)
        case "stop" | "negate":
            return chosen(gates.tensors[0], known)
        case "call":
            assert gates.unit is not None
            inner = {i: chosen(node, known) for i, node in zip(gates.unit.inputs, gates.tensors, strict=True)}
            return chosen(gates.unit.result, inner)
        case _:
            return gates.type.width


def _chosen_of(factor: Node | float | int, gates: Node, known: dict[Node, int]) -> int:
    """How many gates a factor lets through: all, where it is one number for them all."""
    alike = isinstance(factor, Node) and factor.type.width == gates.type.width
    return chosen(factor, known) if alike else gates.type.width  # type: ignore[arg-type]


def shared(e: Elaborator, function: Shared, x: Node, span: Span, called: str) -> Any:
    """One set of weights for every application. They belong to the function where `share` stands, or to the model.

    Where it is applied further inside, the weights are handed in: a `shared` node at home, which inner units capture as
    they capture tensors, and a call `through` it.
    """
    home = function.home if any(frame is function.home for frame in e.frames) else e.frames[0]
    if function.unit is None:
        _settle(e, function, x, home, span, called)
    elif (x.type,) != function.inputs:
        raise e.problem(
            "F301",
            f"a shared function first took {function.inputs[0]} and now takes {x.type}",
            span,
            help="one set of weights has one shape",
        )
    unit = function.unit
    assert unit is not None
    inputs, attrs, instance = [x, *function.captured], {}, function.instance
    if home is not e.frames[-1] and not any(learns(node) for node in unit.nodes):  # nothing to share
        return e.apply(function.function, [x], span, called)
    if home is not e.frames[-1]:
        if function.module is None:
            function.module = Node("shared", (), {}, FUNCTION, unit=unit, instance=instance, span=span)
            function.module.name = function.name or unit.name or "shared"
            home.nodes.append(function.module)
            e.homes[id(function.module)] = home
        inputs, attrs, instance = [function.module, *inputs], {"through": True}, 0
    return e.add("call", inputs, attrs, unit.result.type, span, unit=unit, instance=instance, name=called or unit.name)


def _settle(e: Elaborator, function: Shared, x: Node, home: Frame, span: Span, called: str) -> None:
    """Elaborate a shared function at home, for inputs like x."""
    frames = e.frames
    e.frames = frames[: frames.index(home) + 1]
    try:
        with e.frame("function") as inner:
            entered = e.enter(inner, x.name or "x", x.type, x.span)
            result = e.apply(function.function, [entered], span, e.title(function.function) or called)
        if not isinstance(result, Node):
            raise e.problem("F303", f"a shared function gives {describe(result)} instead of a sequence", span)
        title = e.title(function.function) or function.name or called
        unit, kept, captured = e.close(inner, result, title)
    finally:
        e.frames = frames
    if not kept:
        raise e.problem("F308", "a shared function does not use its input", span)
    only = unit.nodes[0] if unit.nodes else None
    if only is not None and len(unit.nodes) == 1 and only.op == "call" and only.inputs == tuple(unit.inputs):
        assert only.unit is not None
        unit = only.unit
    function.unit, function.instance = unit, e.instance()
    function.inputs, function.captured = (x.type,), tuple(captured)
