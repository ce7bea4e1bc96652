"""A genome as the operators see it: every expression with its type, its place and the names in sight there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import Checked, examine
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.program import Program
from foundry.dsl.registry import CONSTANTS, PRIMITIVES, SPECIAL
from foundry.dsl.substitute import occurrences
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Block,
    Call,
    Definition,
    Expr,
    Function,
    Genome,
    Name,
    Number,
    Parameter,
    Path,
    Tree,
    at,
    children,
    walk,
)
from foundry.dsl.types import TensorType
from foundry.dsl.values import Applied
from foundry.generate.vocabulary import SLOT_ROLES, Vocabulary, function_role, vocabulary

# Functions that see neither sequences nor learned values from outside.
SEALED = ("score", "mask", "schedule", "context", "difficulty", "loss")


@dataclass(frozen=True)
class Frame:
    """The function that an expression stands in: its role, the axes over which it may learn parameters, and
    the type of its leading argument, which says how long those axes are."""

    role: str = ""
    axes: tuple[str, ...] = ()
    leading: TensorType | None = None


@dataclass(frozen=True)
class Site:
    """An expression of a genome.

    sorts: what it evaluated to. scope: the tensors in sight, by name. frame: the function around it.
    callee, argument: the function and the parameter that it is given to, where it is an argument.
    guarded: whether its range keeps something finite: a denominator, what a root or a logarithm takes, the
        decay of a recurrence. Its numbers may change, its form may not.
    """

    path: Path
    node: Expr
    sorts: tuple[object, ...]
    scope: Mapping[str, TensorType]
    frame: Frame
    callee: str = ""
    argument: str = ""
    guarded: bool = False

    @property
    def type(self) -> TensorType | None:
        """Its type, where it is a tensor and of one type at every use."""
        kinds = {sort for sort in self.sorts if isinstance(sort, TensorType)}
        return next(iter(kinds)) if len(kinds) == 1 and len(self.sorts) == 1 else None

    @property
    def applied(self) -> Applied | None:
        """The types at which it was applied, where it is a function; the first of them."""
        return next((sort for sort in self.sorts if isinstance(sort, Applied)), None)

    @property
    def is_function(self) -> bool:
        return "function" in self.sorts or self.applied is not None

    @property
    def is_called(self) -> bool:
        """Whether it stands where a call names its function."""
        return self.path[-1] == "function"

    @property
    def maps(self) -> TensorType | None:
        """The type that it maps to itself, where it is a function that keeps one."""
        applied = self.applied
        if applied and len(applied.inputs) == 1 and applied.inputs[0] == applied.result:
            return applied.result
        return None


@dataclass(frozen=True)
class Subject:
    """A genome that checks clean, with what the operators need to know of it.

    focus: the definition that changes are to stay within, or "" for the whole genome.
    """

    text: str
    checked: Checked
    focus: str = ""

    @property
    def genome(self) -> Genome:
        assert self.checked.genome is not None
        return self.checked.genome

    @property
    def program(self) -> Program:
        assert self.checked.program is not None
        return self.checked.program

    @cached_property
    def hash(self) -> str:
        return canonical_hash(self.program)

    @cached_property
    def known(self) -> Vocabulary:
        return vocabulary(self.genome)

    @cached_property
    def all_sites(self) -> tuple[Site, ...]:
        """Every expression, in the order of the text."""
        return tuple(_definition_sites(self))

    @cached_property
    def sites(self) -> tuple[Site, ...]:
        """The expressions that may change."""
        if not self.focus:
            return self.all_sites
        names = [definition.name for definition in self.genome.definitions]
        return tuple(site for site in self.all_sites if names[int(site.path[1])] == self.focus)

    @cached_property
    def width(self) -> int:
        """Channels of the residual stream: the width that the embedding is given, 64 where that is no number."""
        for site in self.all_sites:
            if site.callee == "embed" and site.argument == "width" and isinstance(site.node, Number):
                return int(site.node.value)
        return 64


@lru_cache(maxsize=128)
def subject(text: str) -> Subject:
    """The subject of a text.

    Raises:
        GenomeError: the genome has errors.
    """
    checked = examine(text)
    if not checked.ok:
        raise GenomeError(checked.diagnostics, text)
    return Subject(text, checked)


def _definition_sites(of: Subject) -> Iterator[Site]:
    for index, definition in enumerate(of.genome.definitions):
        path: Path = ("definitions", index)
        role = of.known[definition.name].role if definition.name in of.known else ""
        yield from _function_sites(of, definition, path, {}, role)


def _function_sites(
    of: Subject, node: Definition | Function, path: Path, scope: Mapping[str, TensorType], role: str
) -> Iterator[Site]:
    """The sites in a function's defaults and body, or in a definition's value."""
    body_field = "value" if isinstance(node, Definition) else "body"
    inner = {} if role in SEALED else dict(scope)
    name = node.name if isinstance(node, Definition) else ""
    axes: tuple[str, ...] = ("head",) if role == "score" else ()
    leading: TensorType | None = None
    for index, parameter in enumerate(node.parameters or ()):
        kind = _parameter_type(of, node, path, parameter, body_field)
        inner.pop(parameter.name, None)
        if kind is not None:
            inner[parameter.name] = kind
        if index == 0 and kind is not None and role not in SEALED:
            leading = kind
            axes = tuple(axis for axis in ("channel", "head") if kind.has(axis))
        if parameter.default is not None:
            below: Path = (*path, "parameters", index, "default")
            yield from _sites(of, parameter.default, below, dict(inner), Frame(), name, parameter.name)
    yield from _sites(of, getattr(node, body_field), (*path, body_field), inner, Frame(role, axes, leading))


def _parameter_type(
    of: Subject, node: Definition | Function, path: Path, parameter: Parameter, body_field: str
) -> TensorType | None:
    """The type of a parameter, from the first place that uses it."""
    for below, used in walk(getattr(node, body_field), (*path, body_field)):
        if isinstance(used, Name) and used.id == parameter.name:
            kinds = [sort for sort in of.checked.sorts.get(below, ()) if isinstance(sort, TensorType)]
            return kinds[0] if len(kinds) == 1 else None
    return None


# Functions whose result has a safe range whatever they are given, and those that need one.
_SAFE = frozenset({"sigmoid", "tanh", "abs", "relu", "softplus"})
NEEDY = frozenset({"rsqrt", "sqrt", "log", "exp"})
# Arguments that must keep their range, and so must what they are bound to: decays, what is written, keys of length 1.
_BOUND = {"scan": ("a",), "linear_attend": ("decay",), "delta_attend": ("k", "beta", "decay")}


def _sites(
    of: Subject,
    node: Expr,
    path: Path,
    scope: Mapping[str, TensorType],
    frame: Frame,
    callee: str = "",
    argument: str = "",
    guarded: bool = False,
) -> Iterator[Site]:
    sorts = of.checked.sorts.get(path, ())
    yield Site(path, node, sorts, scope, frame, callee, argument, guarded)
    if isinstance(node, Function):
        role = SLOT_ROLES.get(argument) or function_role(node, of.known)
        yield from _function_sites(of, node, path, scope, role)
    elif isinstance(node, Block):
        inner = dict(scope)
        needed = _guarded_names(node)
        for index, binding in enumerate(node.bindings):
            below: Path = (*path, "bindings", index, "value")
            yield from _sites(of, binding.value, below, dict(inner), frame, guarded=binding.name in needed)
            inner.pop(binding.name, None)
            kinds = of.checked.sorts.get(below, ())
            if len(kinds) == 1 and isinstance(kinds[0], TensorType):
                inner[binding.name] = kinds[0]
        yield from _sites(of, node.result, (*path, "result"), inner, frame, guarded=guarded)
    elif isinstance(node, Call):
        yield from _sites(of, node.function, (*path, "function"), scope, frame, guarded=guarded)
        name = node.function.id if isinstance(node.function, Name) else ""
        for index, parameter in enumerate(argument_names(of, node, path)):
            below = (*path, "arguments", index, "value")
            inside = (guarded and name not in _SAFE) or name in NEEDY or parameter in _BOUND.get(name, ())
            inside = inside or (name == "penalty" and index > 0)  # the loss grows with it
            yield from _sites(of, node.arguments[index].value, below, scope, frame, name, parameter, inside)
    else:
        for step, child in children(node):
            if not isinstance(child, (Argument, Parameter)):
                inside = guarded or _is_needy_operand(node, step)
                yield from _sites(of, child, path + step, scope, frame, callee, argument, inside)  # type: ignore[arg-type]


def _is_needy_operand(node: Expr, step: Path) -> bool:
    """Whether an operand must keep its range: a denominator, or the base of a power that is not whole."""
    if not isinstance(node, Binary):
        return False
    if node.operator == "/":
        return step == ("right",)
    whole = isinstance(node.right, Number) and node.right.value == int(node.right.value)
    return node.operator == "**" and not whole


def _guarded_names(block: Block) -> set[str]:
    """Names of a block's bindings that must keep their range: they stand in a denominator, a root or a decay."""
    out: set[str] = set()
    for _, node in walk(block):
        if isinstance(node, Call) and isinstance(node.function, Name):
            name = node.function.id
            if name in NEEDY:
                out |= _exposed(node)
            elif name in _BOUND:
                places = [argument.name for argument in PRIMITIVES[name].args]
                for index, argument in enumerate(node.arguments):
                    if (argument.name or places[index]) in _BOUND[name]:
                        out |= _exposed(argument.value)
        elif isinstance(node, Binary) and node.operator == "/":
            out |= _exposed(node.right)
    return out


def _exposed(node: Expr) -> set[str]:
    """The names that decide whether an expression keeps its range: not those below a square or a safe function."""
    if isinstance(node, Name):
        return {node.id}
    if isinstance(node, Call) and isinstance(node.function, Name) and node.function.id in _SAFE:
        return set()
    if isinstance(node, Binary) and (
        (node.operator == "*" and node.left == node.right) or (node.operator == "**" and node.right == Number(2))
    ):
        return set()
    parts = (child for _, child in children(node) if not isinstance(child, Parameter))
    return {name for part in parts for name in _exposed(part.value if isinstance(part, Argument) else part)}  # type: ignore[arg-type]


def argument_names(of: Subject, node: Call, path: Path) -> list[str]:
    """For each argument of a call, the parameter that it is given to; "" where that is unknown."""
    callee = of.known.get(node.function.id) if isinstance(node.function, Name) else None
    parameters = callee.parameters if callee else ()
    positional = [i for i, argument in enumerate(node.arguments) if not argument.name]
    first = 0
    if positional and len(parameters) > 1 and len(positional) != len(parameters):
        sorts = of.checked.sorts.get((*path, "arguments", positional[0], "value"), ())
        first = 0 if any(isinstance(sort, TensorType) for sort in sorts) else 1
    names = []
    for index, argument in enumerate(node.arguments):
        place = first + (positional.index(index) if index in positional else 0)
        names.append(argument.name or (parameters[place] if place < len(parameters) else ""))
    return names


def parent(of: Subject, path: Path) -> tuple[Path, Tree]:
    """The nearest node above a path."""
    for end in range(len(path) - 1, -1, -1):
        node = at(of.genome, path[:end])
        if not isinstance(node, tuple):
            return path[:end], node
    return (), of.genome


def uses_locals(of: Subject, node: Expr) -> bool:
    """Whether an expression uses names that only its surroundings bind."""
    return any(name not in of.known and name not in _LANGUAGE for name in occurrences(node))


_LANGUAGE = SPECIAL | set(CONSTANTS)
