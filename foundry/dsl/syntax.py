"""The syntax tree of a genome: frozen dataclasses, one per form of the grammar.

Trees are values: an edit makes a new tree. Every node carries the span of text that it came from;
spans and comments take no part in equality.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, Union


@dataclass(frozen=True)
class Span:
    """Byte offsets `[start, end)` into the text `file`, with 1-based line and column of the start."""

    start: int = 0
    end: int = 0
    line: int = 1
    column: int = 1
    file: str = ""


NOWHERE = Span()


def _span() -> Any:
    return field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Number:
    value: int | float
    span: Span = _span()


@dataclass(frozen=True)
class Name:
    id: str
    span: Span = _span()


@dataclass(frozen=True)
class ListOf:
    items: tuple[Expr, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Argument:
    """An argument of a call; `name` is empty where it is positional."""

    name: str
    value: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Call:
    function: Expr
    arguments: tuple[Argument, ...]
    span: Span = _span()


@dataclass(frozen=True)
class Unary:
    """`-x` or `!x`."""

    operator: str
    operand: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Binary:
    """`operator` is one of `>> | & < <= > >= == != + - * / **`."""

    operator: str
    left: Expr
    right: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Parameter:
    """A parameter of a function; `default` is None where it is required."""

    name: str
    default: Expr | None = None
    span: Span = _span()


@dataclass(frozen=True)
class Function:
    """`fn(parameters) => body`."""

    parameters: tuple[Parameter, ...]
    body: Expr
    span: Span = _span()


@dataclass(frozen=True)
class Binding:
    """`name = value;` inside a block. `comments` are the comment lines above it, without `#`."""

    name: str
    value: Expr
    span: Span = _span()
    comments: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Block:
    """`{ bindings… result }`. `comments` stand above the result."""

    bindings: tuple[Binding, ...]
    result: Expr
    span: Span = _span()
    comments: tuple[str, ...] = field(default=(), compare=False)


Expr = Union[Number, Name, ListOf, Call, Unary, Binary, Function, Block]


@dataclass(frozen=True)
class Definition:
    """`name = value;` or `name(parameters) = value;` at the top level.

    `parameters` is None for a plain value. A trailing comment on the same line counts as above it.
    """

    name: str
    parameters: tuple[Parameter, ...] | None
    value: Expr
    span: Span = _span()
    comments: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Genome:
    """`@foundry(version);` and its definitions. `closing` are comments after the last definition."""

    version: int
    definitions: tuple[Definition, ...]
    span: Span = _span()
    comments: tuple[str, ...] = field(default=(), compare=False)
    closing: tuple[str, ...] = field(default=(), compare=False)

    def definition(self, name: str) -> Definition | None:
        """The definition of `name`, or None."""
        return next((d for d in self.definitions if d.name == name), None)


Tree = Union[Expr, Argument, Parameter, Binding, Definition, Genome]
Path = tuple[str | int, ...]


def children(tree: Tree) -> Iterator[tuple[Path, Tree]]:
    """The direct children of a node, each with its path from it: a field name, then an index for lists."""
    for name in _parts(type(tree)):  # type: ignore[arg-type]
        value = getattr(tree, name)
        if isinstance(value, tuple):
            for index, item in enumerate(value):
                if hasattr(item, "span"):
                    yield (name, index), item
        elif hasattr(value, "span"):
            yield (name,), value


@cache
def _parts(kind: type[Any]) -> tuple[str, ...]:
    """The fields of a form of the grammar in which its children are."""
    return tuple(f.name for f in fields(kind) if f.name not in ("span", "comments", "closing"))


def walk(tree: Tree, path: Path = ()) -> Iterator[tuple[Path, Tree]]:
    """Every node of a tree with its path, parents first."""
    yield path, tree
    for step, child in children(tree):
        yield from walk(child, path + step)


def at(tree: Tree, path: Path) -> Tree:
    """The node at a path."""
    node: Any = tree
    for step in path:
        node = node[step] if isinstance(step, int) else getattr(node, step)
    return node


def put(tree: Any, path: Path, new: Any) -> Any:
    """A copy of the tree with the node at `path` replaced."""
    if not path:
        return new
    step, rest = path[0], path[1:]
    if isinstance(step, int):
        return tree[:step] + (put(tree[step], rest, new),) + tree[step + 1 :]
    return replace(tree, **{step: put(getattr(tree, step), rest, new)})
