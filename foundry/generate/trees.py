"""Building and tidying syntax trees: short constructors, names in use, dead code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    ListOf,
    Name,
    Number,
    Parameter,
    Tree,
    Unary,
    walk,
)

Value = Expr | int | float | str


def expr(value: Value) -> Expr:
    """A tree for a value: numbers become Number (negative ones a minus sign), text a Name."""
    if isinstance(value, str):
        return Name(value)
    if isinstance(value, (int, float)):
        return Unary("-", Number(-value)) if value < 0 else Number(value)
    return value


def call(function: Value, *positional: Value, **named: Value) -> Call:
    """`function(positional…, name = value…)`."""
    arguments = [Argument("", expr(value)) for value in positional]
    arguments += [Argument(name, expr(value)) for name, value in named.items()]
    return Call(expr(function), tuple(arguments))


def applied(function: Expr, value: Value) -> Call:
    """The function applied to a value: `f(x)`, and `f(x, n = 1)` where it is `f(n = 1)`."""
    if isinstance(function, Call) and all(argument.name for argument in function.arguments):
        return Call(function.function, (Argument("", expr(value)), *function.arguments))
    return Call(function, (Argument("", expr(value)),))


def op(left: Value, operator: str, right: Value) -> Binary:
    """`left operator right`."""
    return Binary(operator, expr(left), expr(right))


def chain(*functions: Value) -> Expr:
    """`f >> g >> …`."""
    out = expr(functions[0])
    for function in functions[1:]:
        out = Binary(">>", out, expr(function))
    return out


def links(pipeline: Expr) -> list[Expr]:
    """The stages of `f >> g >> …`, in order."""
    if isinstance(pipeline, Binary) and pipeline.operator == ">>":
        return links(pipeline.left) + links(pipeline.right)
    return [pipeline]


def fn(parameters: Iterable[str], body: Value) -> Function:
    """`fn(parameters) => body`."""
    return Function(tuple(Parameter(name) for name in parameters), expr(body))


def list_of(*items: Value) -> ListOf:
    """`[items…]`."""
    return ListOf(tuple(expr(item) for item in items))


def block(bindings: Iterable[tuple[str, Expr]], result: Expr) -> Expr:
    """`{ name = value; … result }`, or the result alone where there are no bindings."""
    bound = tuple(Binding(name, value) for name, value in bindings)
    return Block(bound, result) if bound else result


def define(name: str, parameters: Iterable[str] | None, value: Expr) -> Definition:
    """`name(parameters) = value;`, or `name = value;` where there are none."""
    if parameters is None:
        return Definition(name, None, value)
    return Definition(name, tuple(Parameter(parameter) for parameter in parameters), value)


def rounded(value: float, digits: int = 2) -> float:
    """`value` to so many significant digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return float(f"{value:.{digits}g}")


def size(tree: Tree) -> int:
    """Nodes of a tree: what bloat is measured in."""
    return sum(1 for _ in walk(tree))


def named_argument(node: Call, name: str) -> Argument | None:
    """The argument given by this name, or None."""
    return next((argument for argument in node.arguments if argument.name == name), None)


def with_argument(node: Call, name: str, value: Value) -> Call:
    """The call with a named argument set, in its place if it is there already."""
    new = Argument(name, expr(value))
    if named_argument(node, name) is None:
        return replace(node, arguments=node.arguments + (new,))
    return replace(node, arguments=tuple(new if a.name == name else a for a in node.arguments))


def without_argument(node: Call, name: str) -> Call:
    """The call without a named argument."""
    return replace(node, arguments=tuple(a for a in node.arguments if a.name != name))


def definitions_used(genome: Genome, roots: Iterable[str] = ("model", "recipe")) -> set[str]:
    """Names of the definitions that the roots need, themselves included."""
    by_name = {d.name: d for d in genome.definitions}
    needed: set[str] = set()
    stack = [name for name in roots if name in by_name]
    while stack:
        name = stack.pop()
        if name in needed:
            continue
        needed.add(name)
        stack.extend(used for used in occurrences(by_name[name]) if used in by_name)
    return needed


def _drop_unused_bindings(tree: Expr) -> Expr:
    if isinstance(tree, Block):
        needed = set(occurrences(tree.result))
        kept: list[Binding] = []
        for binding in reversed(tree.bindings):
            if binding.name in needed:
                needed.discard(binding.name)
                needed |= set(occurrences(binding.value))
                kept.append(binding)
        if not kept:
            return tree.result
        return replace(tree, bindings=tuple(reversed(kept)))
    return tree


def transform(tree: Expr, apply: Callable[[Expr], Expr]) -> Expr:
    """The tree with `apply` applied to every expression, innermost first."""
    if isinstance(tree, Block):
        bindings = tuple(replace(b, value=transform(b.value, apply)) for b in tree.bindings)
        tree = replace(tree, bindings=bindings, result=transform(tree.result, apply))
    elif isinstance(tree, Function):
        parameters = tuple(
            p if p.default is None else replace(p, default=transform(p.default, apply)) for p in tree.parameters
        )
        tree = replace(tree, parameters=parameters, body=transform(tree.body, apply))
    elif isinstance(tree, Call):
        arguments = tuple(replace(a, value=transform(a.value, apply)) for a in tree.arguments)
        tree = replace(tree, function=transform(tree.function, apply), arguments=arguments)
    elif isinstance(tree, Binary):
        tree = replace(tree, left=transform(tree.left, apply), right=transform(tree.right, apply))
    elif isinstance(tree, Unary):
        tree = replace(tree, operand=transform(tree.operand, apply))
    elif isinstance(tree, ListOf):
        tree = replace(tree, items=tuple(transform(item, apply) for item in tree.items))
    return apply(tree)


def tidy(genome: Genome) -> Genome:
    """The genome without definitions and bindings that nothing uses."""
    definitions = tuple(replace(d, value=transform(d.value, _drop_unused_bindings)) for d in genome.definitions)
    genome = replace(genome, definitions=definitions)
    needed = definitions_used(genome)
    return replace(genome, definitions=tuple(d for d in genome.definitions if d.name in needed))


def put_definition(genome: Genome, new: Definition, before: str = "model") -> Genome:
    """The genome with a definition replaced, or added above `before` where it is new."""
    definitions = list(genome.definitions)
    for index, definition in enumerate(definitions):
        if definition.name == new.name:
            definitions[index] = new
            return replace(genome, definitions=tuple(definitions))
    place = next((i for i, d in enumerate(definitions) if d.name == before), len(definitions))
    definitions.insert(place, new)
    return replace(genome, definitions=tuple(definitions))
