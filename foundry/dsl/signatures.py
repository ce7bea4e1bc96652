"""What a function takes: each argument with its sort, its default and its legal values.

A primitive's arguments stand in the registry. Those of a function written in the language follow from its body: an
argument that is handed to `attend` as its `mask` is a mask, one that is called is a function.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from foundry.dsl.check import prelude
from foundry.dsl.format import format_expr, format_number
from foundry.dsl.registry import CALLABLE, OPTIMIZERS, PRIMITIVES, REQUIRED, SLOTS, TRAIN, Arg
from foundry.dsl.resolve import definition_names
from foundry.dsl.syntax import Argument, Binary, Block, Call, Definition, Expr, Function, Name, Parameter, children

# What each sort of the registry is, in words; that of a slot is said by what it binds.
SORTS = {
    "tokens": "tokens",
    "seq": "a sequence seq[d]",
    "heads": "heads[h, d]",
    "value": "a tensor",
    "factor": "a tensor or a number",
    "integer": "a whole number",
    "number": "a number",
    "flag": "0 or 1",
    "axes": "head, channel, or [head, channel]",
    "numbers": "a list of numbers",
    "list": "two numbers, each from 0 up to below 1",
    "optimizer": " or ".join(OPTIMIZERS),
    "function": "a function",
}


@dataclass(frozen=True)
class Taken:
    """An argument that a function takes.

    sort: as in the registry. default: its text, "" where leaving it out means nothing, None where it is required.
    low, high: the legal interval of a number. slot: the slot whose names a function in this place binds, or "".
    """

    name: str
    sort: str
    default: str | None = None
    low: float = -math.inf
    high: float = math.inf
    slot: str = ""

    @property
    def required(self) -> bool:
        return self.default is None

    @property
    def is_tensor(self) -> bool:
        return Arg(self.name, self.sort).is_tensor

    @property
    def legal(self) -> str:
        """The legal values, in words."""
        if self.slot:
            return f"a function of {', '.join(SLOTS[self.slot])}"
        words = SORTS.get(self.sort, self.sort)
        if self.sort not in ("integer", "number"):
            return words
        low, high = (_bound(limit) for limit in (self.low, self.high))
        if low and high:
            return f"{words} from {low} to {high}"
        return f"{words}, at least {low}" if low else f"{words}, at most {high}" if high else words

    @property
    def meaning(self) -> str:
        """The legal values and the default, in words."""
        if self.required:
            return f"{self.legal} (required)"
        return f"{self.legal}, {self.default} by default" if self.default else f"{self.legal}, optional"

    def __str__(self) -> str:
        return f"{self.name}: {self.sort}" + (f" = {self.default}" if self.default else "")


def _bound(limit: float) -> str:
    if math.isinf(limit):
        return ""
    return f"{int(limit):,}" if limit == int(limit) and abs(limit) < 1e9 else format_number(limit)


def built_in() -> dict[str, tuple[Taken, ...]]:
    """The arguments of every primitive that a genome may call, of the optimizers, and of `train`."""
    tables = {name: PRIMITIVES[name].args for name in sorted(CALLABLE & set(PRIMITIVES))}
    return {name: tuple(map(_taken, args)) for name, args in (tables | OPTIMIZERS | {"train": TRAIN}).items()}


def _taken(arg: Arg) -> Taken:
    slot = next((name for name in (arg.sort, arg.name) if name in SLOTS and not arg.is_tensor), "")
    return Taken(arg.name, arg.sort, _default(arg.default), arg.low, arg.high, slot)


def _default(value: Any) -> str | None:
    if value is REQUIRED:
        return None
    if isinstance(value, tuple):
        return f"[{', '.join(map(format_number, value))}]" if value else ""
    return format_number(value) if isinstance(value, (int, float)) else ""


def signatures(definitions: Mapping[str, Definition] | None = None) -> dict[str, tuple[Taken, ...]]:
    """The arguments of everything that can be called, by name: built in, of the prelude, and of `definitions`."""
    return _Bodies(dict(definitions), _shipped()).found if definitions else dict(_shipped())


@cache
def _shipped() -> dict[str, tuple[Taken, ...]]:
    return _Bodies({d.name: d for d in prelude().definitions}, built_in()).found


def _callees_first(definitions: dict[str, Definition]) -> list[str]:
    """The names of definitions, each behind those that it uses; circles are cut somewhere."""
    order: list[str] = []
    seen: set[str] = set()
    stack = [(name, False) for name in reversed(definitions)]
    while stack:
        name, finished = stack.pop()
        if finished:
            order.append(name)
        elif name in definitions and name not in seen:
            seen.add(name)
            stack.append((name, True))
            stack += [(used.id, False) for used, _ in definition_names(definitions[name])]
    return order


class _Bodies:
    """Reads from the bodies of definitions what their parameters are; `found` begins with what is known already."""

    def __init__(self, definitions: dict[str, Definition], known: dict[str, tuple[Taken, ...]]):
        self.found = {name: taken for name, taken in known.items() if name not in definitions}
        for name in _callees_first(definitions):
            parameters = definitions[name].parameters
            if parameters is not None:
                self.found[name] = tuple(self.taken(definitions[name].value, p) for p in parameters)

    def taken(self, body: Expr, parameter: Parameter) -> Taken:
        """What a parameter is: what its uses say, or else its default."""
        uses = list(self.uses(body, parameter.name))
        particular = next((use for use in uses if use.sort not in ("value", "factor")), None)
        use = particular or self.guess(parameter.default) or next(iter(uses), Taken(parameter.name, "value"))
        default = None if parameter.default is None else format_expr(parameter.default)
        return Taken(parameter.name, use.sort, default, use.low, use.high, use.slot)

    def guess(self, default: Expr | None) -> Taken | None:
        """What a default alone says of an argument."""
        if isinstance(default, Name):
            return Taken("", "function") if default.id in self.found else None
        return Taken("", "function" if isinstance(default, Function) else "number") if default is not None else None

    def uses(self, expr: Expr, name: str) -> Iterator[Taken]:
        """What each place of an expression where `name` stands takes."""
        match expr:
            case Function(parameters, body):
                if name not in [p.name for p in parameters]:
                    yield from self.uses(body, name)
            case Block(bindings, result):
                for binding in bindings:
                    yield from self.uses(binding.value, name)
                    if binding.name == name:
                        return
                yield from self.uses(result, name)
            case Binary(">>", _, Name(id)) if id == name:
                yield Taken(name, "function")
            case Call(function, arguments):
                if function == Name(name):
                    yield Taken(name, "function")
                elif isinstance(function, Name):
                    for argument, place in zip(
                        arguments, places(arguments, self.found.get(function.id, ())), strict=True
                    ):
                        if argument.value == Name(name) and place is not None:
                            yield place
                for inner in (function, *(argument.value for argument in arguments)):
                    yield from self.uses(inner, name)
            case _:
                for _, child in children(expr):
                    yield from self.uses(child, name)  # type: ignore[arg-type]


def places(arguments: tuple[Argument, ...], taken: tuple[Taken, ...]) -> list[Taken | None]:
    """Which argument each argument of a call is; a call that gives too few leaves out the leading one."""
    named = {a.name for a in arguments if a.name}
    open_ = [t for t in taken if t.name not in named]
    positional = len([a for a in arguments if not a.name])
    if positional < sum(t.required for t in open_):
        open_ = open_[1:]
    by_name, rest = {t.name: t for t in taken}, iter(open_)
    return [by_name.get(a.name) if a.name else next(rest, None) for a in arguments]


def waits_for_one(taken: tuple[Taken, ...]) -> bool:
    """Whether a function needs one argument, its first, and nothing else."""
    return [t.required for t in taken][:1] == [True] and not any(t.required for t in taken[1:])


def binds_all(taken: tuple[Taken, ...], slot: str) -> bool:
    """Whether a slot binds, by name, all that a function needs."""
    needed = {t.name for t in taken if t.required}
    return bool(needed) and needed <= set(SLOTS[slot])
