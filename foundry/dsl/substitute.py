"""Names in a syntax tree: which are free, which are taken, and expressions put in the place of names.

A substitution never lets a name mean something else: bindings that would capture a name of what comes in are renamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

from foundry.dsl.resolve import free_names as free_occurrences
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Binding,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    ListOf,
    Name,
    Parameter,
    Tree,
    Unary,
    walk,
)

New = Mapping[str, Expr]
MakeCall = Callable[[Call], Expr]


def occurrences(tree: Expr | Definition) -> Iterator[str]:
    """The names that an expression or a definition uses and does not bind itself, each as often as it is used."""
    expr = Function(tree.parameters or (), tree.value) if isinstance(tree, Definition) else tree
    return (name.id for name, _ in free_occurrences(expr, frozenset()))


def free(tree: Expr | Definition) -> set[str]:
    """The names that an expression or a definition uses and does not bind itself."""
    return set(occurrences(tree))


def used_names(tree: Tree) -> set[str]:
    """Every name that occurs in a tree, bound or free: what a fresh name must avoid."""
    out: set[str] = set()
    for _, node in walk(tree):
        if isinstance(node, Name):
            out.add(node.id)
        elif isinstance(node, (Binding, Definition, Parameter, Argument)):
            out.add(node.name)
    return out


def fresh_name(stem: str, taken: Iterable[str]) -> str:
    """`stem`, or `stem_b`, `stem_c` … `stem_27` …: the first that is not taken."""
    taken = set(taken)
    if stem not in taken:
        return stem
    base = stem[:-2] if len(stem) > 2 and stem[-2] == "_" and stem[-1].isalpha() else stem
    letters = (f"{base}_{letter}" for letter in "bcdefghijklmnopqrstuvwxyz")
    numbers = (f"{base}_{n}" for n in range(27, 28 + len(taken)))
    return next(name for name in (*letters, *numbers) if name not in taken)


def substitute(expr: Expr, new: New, make: MakeCall = lambda call: call) -> Expr:
    """The expression with free names replaced, all at once.

    make: what a call becomes whose function was replaced.

    Raises:
        Captured: a parameter of a function inside would capture a name of what comes in. Its name is part of how
            the function is called, so it cannot change.
    """
    new = {name: value for name, value in new.items() if name in free(expr)}
    if not new:
        return expr
    match expr:
        case Name(id):
            return new[id]
        case Block():
            return _block(expr, new, make)
        case Function():
            return _function(expr, new, make)
        case Call(function, arguments):
            given = tuple(replace(a, value=substitute(a.value, new, make)) for a in arguments)
            called = substitute(function, new, make)
            out = replace(expr, function=called, arguments=given)
            return out if called is function else make(out)
        case Binary(_, left, right):
            return replace(expr, left=substitute(left, new, make), right=substitute(right, new, make))
        case Unary(_, operand):
            return replace(expr, operand=substitute(operand, new, make))
        case ListOf(items):
            return replace(expr, items=tuple(substitute(item, new, make) for item in items))
    raise AssertionError(expr)


class Captured(Exception):
    """A parameter called `name` stands between a name and what is to replace it."""

    def __init__(self, name: str):
        super().__init__(name)
        self.name = name


def _coming_in(new: New, scope: Iterable[Expr]) -> set[str]:
    """The free names of what replaces a name somewhere in a scope."""
    used = {name for expr in scope for name in free(expr)}
    return {name for key in used & set(new) for name in free(new[key])}


def _block(block: Block, new: New, make: MakeCall) -> Block:
    bindings: list[Binding] = []
    for index, binding in enumerate(block.bindings):
        value = substitute(binding.value, new, make)
        inner = {name: expr for name, expr in new.items() if name != binding.name}
        rest = Block(block.bindings[index + 1 :], block.result)
        name = binding.name
        if name in _coming_in(inner, [rest]):
            name = fresh_name(name, used_names(block) | {n for expr in new.values() for n in used_names(expr)})
            inner[binding.name] = Name(name)
        new = inner
        bindings.append(replace(binding, name=name, value=value))
    return replace(block, bindings=tuple(bindings), result=substitute(block.result, new, make))


def _function(function: Function, new: New, make: MakeCall) -> Function:
    parameters: list[Parameter] = []
    for index, parameter in enumerate(function.parameters):
        default = None if parameter.default is None else substitute(parameter.default, new, make)
        parameters.append(replace(parameter, default=default))
        new = {name: expr for name, expr in new.items() if name != parameter.name}
        rest = Function(function.parameters[index + 1 :], function.body)
        if parameter.name in _coming_in(new, [rest]):
            raise Captured(parameter.name)
    return replace(function, parameters=tuple(parameters), body=substitute(function.body, new, make))
