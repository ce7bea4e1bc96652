"""A function's application written out: its body with the arguments in the place of the parameters.

What an argument learns, it learns once and before the body does: weights are numbered in the order of evaluation, and
every evaluation makes new ones. So an argument stands in the body only where that changes neither; else it becomes a
binding before it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from foundry.dsl.effects import Sight, comes_first, learns_along, pure
from foundry.dsl.registry import PRIMITIVES, Primitive
from foundry.dsl.substitute import Captured, free, fresh_name, occurrences, substitute, used_names
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Expr,
    Function,
    ListOf,
    Name,
    Number,
    Parameter,
    Unary,
    walk,
)

Given = tuple[str, Expr]  # a parameter and its argument

SMALL = 6  # nodes of a function that may be written twice
# Arguments of primitives that say what holds anyway, beside the defaults of the registry.
NO_OPS = {("attend", "score", "identity"), ("attend", "mask", "everything")}


def applied(function: Function, given: Sequence[Given], sight: Sight) -> Expr:
    """The result of a function whose required parameters are given, in the order in which they are evaluated.

    Raises:
        Captured: the arguments cannot be written into the body.
    """
    known = {name for name, _ in given}
    filled = [(p.name, p.default) for p in function.parameters if p.name not in known and p.default]
    return within(*_placed(given, filled, function.body, sight))


def waiting(function: Function, given: Sequence[Given], keep: Collection[str], sight: Sight) -> Expr:
    """A function with some parameters given, as `fn(…) => …` of the others.

    keep: the parameters with a default that someone may still give; the others are filled.

    Raises:
        Captured: the arguments cannot be written into the body.
    """
    known = {name for name, _ in given}
    left = tuple(p for p in function.parameters if p.name not in known)
    outer, inner = _placed(given, [], Function(left, function.body), sight)
    assert isinstance(inner, Function)
    filled = [(p.name, p.default) for p in inner.parameters if p.default and p.name not in keep]
    parameters = tuple(p for p in inner.parameters if p.name not in {name for name, _ in filled})
    return within(outer, Function(parameters, within(*_placed([], filled, inner.body, sight))))


def within(bindings: Sequence[Binding], result: Expr) -> Expr:
    """`{ bindings… result }`; a result that is itself a block is joined, and no bindings leave the result alone."""
    if not bindings:
        return result
    if isinstance(result, Block):
        return replace(result, bindings=(*bindings, *result.bindings))
    return Block(tuple(bindings), result)


def joined(call: Call, sight: Sight) -> Expr:
    """A call of a function that has just come in, in its usual form: `f(n = 1)(x)` as `f(x, n = 1)`."""
    if len(call.arguments) != 1 or call.arguments[0].name:
        return call
    (argument,), function = call.arguments, call.function
    match function:
        case Name("identity") if "identity" not in sight.shadowed:
            return argument.value
        case Call(Name(id) as inner, named) if all(a.name not in ("", sight.leading.get(id, "")) for a in named):
            return Call(inner, (argument, *named)) if id in sight.leading else call
        case Binary(">>", left, right):
            first = joined(Call(left, (argument,)), sight)
            return joined(Call(right, (Argument("", first),)), sight)
        case Function((Parameter(name, None), *rest), body) if not learns_along(body) and all(p.default for p in rest):
            return applied(function, [(name, argument.value)], sight)
    return call


# ---- where each argument goes ---------------------------------------------------------------------------------------


def _placed(given: Sequence[Given], filled: Sequence[Given], body: Expr, sight: Sight) -> tuple[list[Binding], Expr]:
    """Bindings for the arguments that need one, and the body with the others put in.

    given: arguments, in the names of the caller. filled: defaults, in the names of the function, evaluated after them.
    """
    body = _spared(body, _settled(given, filled), sight)
    bound: set[str] = set()  # parameters that need a binding under a new name
    while True:
        try:
            return _with_bindings(given, filled, body, bound, sight)
        except Captured as captured:
            more = {name for name, value in (*given, *filled) if captured.name in free(value)} - bound
            if not more:
                raise
            bound |= more


def _with_bindings(
    given: Sequence[Given], filled: Sequence[Given], body: Expr, renamed: Collection[str], sight: Sight
) -> tuple[list[Binding], Expr]:
    join = partial(joined, sight=sight)
    entries = [*given, *filled]
    learning = [name for name, value in entries if not pure(value, sight)]
    taken = set(sight.shadowed).union(used_names(body), *(used_names(value) for _, value in entries))
    bindings: list[Binding] = []
    new: dict[str, Expr] = {}
    for index, (name, value) in enumerate(entries):
        defaults = [default for later, default in filled if later != name]
        uses = sum(used == name for expr in (body, *defaults) for used in occurrences(expr))
        if not uses:
            continue
        if index >= len(given):
            value = substitute(value, new, join)
        if name in learning:
            fits = uses == 1 and learning[-1] == name and comes_first(name, body)
        else:
            fits = _fits(value, uses, any(_postponed(name, expr) for expr in (body, *defaults)), sight)
        if fits and name not in renamed:
            new[name] = value
            continue
        theirs = [*(later for _, later in given[index + 1 :]), *new.values()]
        clashes = name in renamed or any(name in free(expr) for expr in theirs)
        bound = fresh_name(name, taken | {name}) if clashes else name
        taken.add(bound)
        new[name] = Name(bound)
        bindings.append(Binding(bound, value))
    return bindings, substitute(body, new, join)


def _fits(value: Expr, uses: int, postponed: bool, sight: Sight) -> bool:
    """Whether an argument that learns nothing may stand in the body itself."""
    if isinstance(value, (Name, Number)) or (isinstance(value, Unary) and isinstance(value.operand, Number)):
        return True
    if isinstance(value, (Function, Block)):
        return uses == 1 or sum(1 for _ in walk(value)) <= SMALL
    return sight.is_function(value) or (uses == 1 and not postponed)


def _postponed(name: str, body: Expr) -> bool:
    """Whether a name is used in a function inside, which may be applied more than once."""
    return any(isinstance(node, Function) and name in free(node) for _, node in walk(body))


# ---- arguments that say what holds anyway ---------------------------------------------------------------------------


def _settled(given: Sequence[Given], filled: Sequence[Given]) -> dict[str, Expr]:
    """What each parameter comes to, where a default is another parameter."""
    out = dict(given)
    for name, default in filled:
        out[name] = out.get(default.id, default) if isinstance(default, Name) else default
    return out


def _spared(body: Expr, values: Mapping[str, Expr], sight: Sight) -> Expr:
    """The body without arguments of primitives that would come to their default: `bias = bias` for a bias of 0."""

    def usual(entry: Primitive, argument: Argument) -> bool:
        value = values.get(argument.value.id) if isinstance(argument.value, Name) else None
        default = next((arg.default for arg in entry.args if arg.name == argument.name), None)
        match value:
            case Number(number):
                return isinstance(default, (int, float)) and number == default
            case Name(id):
                return id not in sight.shadowed and (entry.name, argument.name, id) in NO_OPS
        return False

    def spare(call: Call) -> Call:
        entry = PRIMITIVES.get(call.function.id) if isinstance(call.function, Name) else None
        if entry is None or entry.name in sight.shadowed:
            return call
        return replace(call, arguments=tuple(a for a in call.arguments if not usual(entry, a)))

    return _each_call(body, spare)


def _each_call(expr: Expr, change: Callable[[Call], Call]) -> Expr:
    """The expression with every call changed, innermost first."""
    match expr:
        case Call(function, arguments):
            given = tuple(replace(a, value=_each_call(a.value, change)) for a in arguments)
            return change(replace(expr, function=_each_call(function, change), arguments=given))
        case Binary(_, left, right):
            return replace(expr, left=_each_call(left, change), right=_each_call(right, change))
        case Unary(_, operand):
            return replace(expr, operand=_each_call(operand, change))
        case ListOf(items):
            return replace(expr, items=tuple(_each_call(item, change) for item in items))
        case Block(bindings, result):
            bound = tuple(replace(b, value=_each_call(b.value, change)) for b in bindings)
            return replace(expr, bindings=bound, result=_each_call(result, change))
        case Function(_, body):
            return replace(expr, body=_each_call(body, change))
    return expr
