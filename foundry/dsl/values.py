"""What expressions of a genome evaluate to at compile time, beside numbers and tensors: functions, axes, recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Union

from foundry.dsl.program import Node, Optimizer, Recipe, Unit
from foundry.dsl.registry import Primitive
from foundry.dsl.syntax import Expr, Parameter, Span
from foundry.dsl.types import TensorType


@dataclass(frozen=True)
class Axis:
    """`head` or `channel`."""

    name: str


@dataclass(eq=False)
class Scope:
    """Names in sight: a chain of dictionaries, the innermost first."""

    names: dict[str, Any]
    parent: Scope | None = None

    def find(self, name: str) -> Scope | None:
        scope: Scope | None = self
        while scope is not None and name not in scope.names:
            scope = scope.parent
        return scope


@dataclass(eq=False)
class Closure:
    """A function written in the language, with the scope it was written in. A lambda has no name."""

    name: str
    parameters: tuple[Parameter, ...]
    body: Expr
    scope: Scope
    comments: tuple[str, ...] = ()
    span: Span = Span()


@dataclass(eq=False)
class Special:
    """One of the functions that the checker itself gives meaning to: share, width, train, …"""

    name: str


@dataclass(eq=False)
class Partial:
    """A function with some arguments given, waiting for the rest. name: the definition that it is the value of."""

    function: Closure | Primitive
    given: dict[str, Any]
    spans: dict[str | int, Span] = field(default_factory=dict)
    name: str = ""


@dataclass(eq=False)
class Composite:
    """`f >> g >> …`, and where each part stands. name: the definition that it is the value of."""

    parts: tuple[Any, ...]
    spans: tuple[Span, ...]
    name: str = ""


@dataclass(eq=False)
class Repeated:
    """`n * f`; `shared` where all passes use one set of weights."""

    times: int
    function: Any
    span: Span = Span()
    shared: bool = False


@dataclass(eq=False)
class Shared:
    """`share(f)`: the first application decides the weights, later ones use the same.

    name: the definition that it is the value of. home: the frame where `share` stands, to which the weights belong;
    None for the model's. module: the node at home by which inner frames reach them, if any does.
    """

    function: Any
    unit: Unit | None = None
    instance: int = 0
    inputs: tuple[TensorType, ...] = ()
    captured: tuple[Node, ...] = ()
    home: Any = None
    module: Node | None = None
    name: str = ""


Function = Union[Closure, Primitive, Special, Partial, Composite, Repeated, Shared]
FUNCTIONS = (Closure, Primitive, Special, Partial, Composite, Repeated, Shared)


@dataclass(frozen=True)
class Applied:
    """The type at which a function-valued expression was applied."""

    inputs: tuple[TensorType, ...]
    result: TensorType


@dataclass(eq=False)
class Frame:
    """A unit under construction.

    kind: model, function, repeat, or the name of a slot (score, mask, schedule, context, loss).
    captures: outer node → the input node that stands for it here, in order of first use.
    times: how often it runs, where it is repeated.
    """

    kind: str
    parent: Frame | None
    inputs: list[Node] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    captures: dict[Node, Node] = field(default_factory=dict)
    times: int = 1


def sort_of(value: Any) -> Any:
    """What a value is, for whoever edits the tree: a TensorType, or the name of a sort."""
    if isinstance(value, Node):
        return value.type
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, tuple):
        return "list"
    if isinstance(value, Axis):
        return "axis"
    if isinstance(value, Optimizer):
        return "optimizer"
    if isinstance(value, Recipe):
        return "recipe"
    return "function"
