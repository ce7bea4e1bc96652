"""Two syntax trees side by side: where they differ, and the second with parts of the first in some of those places.

Definitions and arguments correspond by name, bindings by name and value, the parts of a pipe in order. Two expressions
are one with changes inside where they have the same form; otherwise the whole of it differs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Any, TypeVar

from foundry.compiler.difference.alignment import align, gaps
from foundry.dsl.substitute import Captured, substitute, used_names
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
    Name,
    Number,
    Parameter,
    Unary,
)

Part = Any  # a node, a tuple of nodes, or None where there is nothing
Path = tuple[str, ...]
Node = TypeVar("Node")


@dataclass(frozen=True)
class Hunk:
    """A place where two genomes differ: the names that lead there, the first's part, and the second's."""

    path: Path
    before: Part
    after: Part


@dataclass
class Walk:
    """The second tree with the parts of the first in some places; `hunks` are all places where they differ.

    back: the numbers of the hunks at which the first's part is taken.
    """

    back: Collection[int]
    hunks: list[Hunk] = field(default_factory=list)

    def choose(self, path: Path, before: Node, after: Node) -> Node:
        self.hunks.append(Hunk(path, before, after))
        return before if len(self.hunks) - 1 in self.back else after

    def genome(self, a: Genome, b: Genome) -> Genome:
        old = {definition.name: definition for definition in a.definitions}
        new = {definition.name: definition for definition in b.definitions}
        lost = [d for d in a.definitions if d.name not in new]
        taken: list[Definition] = [d for one in lost for d in self.choose((one.name,), (one,), ())]
        for name, definition in new.items():
            taken += self.definition(old[name], definition) if name in old else self.choose((name,), (), (definition,))
        return replace(b, definitions=tuple(taken))

    def definition(self, a: Definition, b: Definition) -> tuple[Definition, ...]:
        if a == b:
            return (b,)
        if _names(a.parameters) != _names(b.parameters):
            return self.choose((b.name,), (a,), (b,))
        parameters = self.parameters((b.name,), a.parameters, b.parameters)
        return (replace(b, parameters=parameters, value=self.expr((b.name,), a.value, b.value)),)

    def parameters(self, path: Path, a: Any, b: Any) -> Any:
        """Parameters of equal names, which may differ in their defaults."""
        if b is None:
            return None
        return tuple(self.parameter((*path, y.name), x, y) for x, y in zip(a, b, strict=True))

    def parameter(self, path: Path, a: Parameter, b: Parameter) -> Parameter:
        if a.default is None or b.default is None:
            return b if a == b else self.choose(path, a, b)
        return replace(b, default=self.expr(path, a.default, b.default))

    def expr(self, path: Path, a: Expr, b: Expr) -> Expr:
        if a == b:
            return b
        if not _alike(a, b):
            return self.choose(path, a, b)
        match a, b:
            case Call(), Call(Name(name)):
                return replace(b, arguments=self.arguments((*path, name), a.arguments, b.arguments))
            case Call(), Call():
                return replace(b, arguments=self.arguments(path, a.arguments, b.arguments))
            case Binary(">>"), Binary(">>"):
                return self.pipe(path, a, b)
            case Binary(), Binary():
                return replace(b, left=self.expr(path, a.left, b.left), right=self.expr(path, a.right, b.right))
            case Unary(), Unary():
                return replace(b, operand=self.expr(path, a.operand, b.operand))
            case Function(), Function():
                parameters = self.parameters(path, a.parameters, b.parameters)
                return replace(b, parameters=parameters, body=self.expr(path, a.body, b.body))
            case Block(), Block():
                return self.block(path, a, b)
        return self.choose(path, a, b)  # numbers and names

    def arguments(self, path: Path, a: Sequence[Argument], b: Sequence[Argument]) -> tuple[Argument, ...]:
        """Arguments by position and by name; those of positions first."""
        pairs = list(zip_longest(*([x for x in side if not x.name] for side in (a, b))))
        old, new = ({x.name: x for x in side if x.name} for side in (a, b))
        pairs += [(old.get(name), x) for name, x in new.items()]
        pairs += [(x, None) for name, x in old.items() if name not in new]
        merged: list[Argument | None] = []
        for x, y in pairs:
            if x is None or y is None:
                merged.append(self.choose((*path, (x or y).name), x, y))
            else:
                below = (*path, y.name) if y.name else path
                merged.append(replace(y, value=self.expr(below, x.value, y.value)))
        return tuple(argument for argument in merged if argument is not None)

    def pipe(self, path: Path, a: Expr, b: Expr) -> Expr:
        old, new = list(_links(a)), list(_links(b))
        merged: list[Expr] = []
        for kind, i, j, k, m in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
            if kind == "equal":
                merged += new[k:m]
            elif j - i == m - k:
                merged += [self.expr(path, x, y) for x, y in zip(old[i:j], new[k:m], strict=True)]
            else:
                merged += self.choose(path, tuple(old[i:j]), tuple(new[k:m]))
        whole = merged[0]
        for link in merged[1:]:
            whole = Binary(">>", whole, link)
        return whole

    def block(self, path: Path, a: Block, b: Block) -> Expr:
        a, pairs = _named_alike(a, b)
        merged: list[Binding] = []
        between = {(x.stop, y.stop): (x, y) for x, y in gaps(pairs, len(a.bindings), len(b.bindings))}
        for i, j in [*pairs, (len(a.bindings), len(b.bindings))]:
            if (i, j) in between:
                x, y = between[i, j]
                merged += self.choose(path, a.bindings[x.start : x.stop], b.bindings[y.start : y.stop])
            if j < len(b.bindings):
                below = (*path, b.bindings[j].name)
                merged.append(replace(b.bindings[j], value=self.expr(below, a.bindings[i].value, b.bindings[j].value)))
        result = self.expr(path, a.result, b.result)
        return replace(b, bindings=tuple(merged), result=result) if merged else result


def _alike(a: Expr, b: Expr) -> bool:
    """Whether two expressions are one with changes inside, and not two different things."""
    match a, b:
        case Call(), Call():
            return a.function == b.function
        case Binary(">>"), Binary(">>"):
            return any(_alike(x, y) for x in _links(a) for y in _links(b))
        case Binary(), Binary():
            sides = [(a.left, b.left), (a.right, b.right)]
            return a.operator == b.operator and (any(x == y for x, y in sides) or all(_alike(x, y) for x, y in sides))
        case Unary(), Unary():
            return a.operator == b.operator
        case Function(), Function():
            return _names(a.parameters) == _names(b.parameters) and _alike(a.body, b.body)
        case Block(), Block():
            return bool(_named_alike(a, b)[1]) or _alike(a.result, b.result)
    return type(a) is type(b) and isinstance(a, (Number, Name))


def _names(parameters: Sequence[Parameter] | None) -> tuple[str, ...] | None:
    return None if parameters is None else tuple(parameter.name for parameter in parameters)


def _links(expr: Expr) -> Iterator[Expr]:
    """The parts of a pipe, in order."""
    if isinstance(expr, Binary) and expr.operator == ">>":
        yield from _links(expr.left)
        yield expr.right
    else:
        yield expr


def _named_alike(a: Block, b: Block) -> tuple[Block, list[tuple[int, int]]]:
    """Which bindings correspond; and the first block, with theirs called as in the second where only that differs."""
    pairs = align(a.bindings, b.bindings, _likeness, lambda binding: (binding.name, binding.value))
    for i, j in pairs:
        old, new = a.bindings[i].name, b.bindings[j].name
        if old != new:
            rest = Block(a.bindings[i + 1 :], a.result)
            if new in used_names(rest):
                return a, [(x, y) for x, y in pairs if a.bindings[x].name == b.bindings[y].name]
            try:
                renamed = substitute(rest, {old: Name(new)})
            except Captured:
                return a, [(x, y) for x, y in pairs if a.bindings[x].name == b.bindings[y].name]
            assert isinstance(renamed, Block)
            own = replace(a.bindings[i], name=new)
            a = replace(a, bindings=(*a.bindings[:i], own, *renamed.bindings), result=renamed.result)
    return a, pairs


def _likeness(a: Binding, b: Binding) -> float:
    return 2.0 * (a.name == b.name) + 1.5 * (a.value == b.value)
