"""Programs under construction: frames of nodes, values captured from outside, and the blame for mistakes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Label
from foundry.dsl.program import Node, Optimizer, Recipe, Unit
from foundry.dsl.registry import SLOTS
from foundry.dsl.source import resource
from foundry.dsl.syntax import NOWHERE, Genome, Span
from foundry.dsl.types import TensorType
from foundry.dsl.values import Axis, Frame

MAX_OPERATIONS = 25_000  # expressions evaluated and nodes made: what takes a third of a second
PRELUDE = "prelude"


class _Poison:
    """The value of an expression with an error that has been reported."""


POISON = _Poison()


class Silent(Exception):
    """An operation on a poisoned value: nothing more to say."""


class Problem(Exception):
    """A mistake: becomes a diagnostic where it is caught."""

    def __init__(self, diagnostic: Diagnostic):
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Inline(Exception):
    """A unit that must be part of the model itself, since it holds the token embedding or its tied twin."""


def describe(value: Any) -> str:
    """What a value is, in words."""
    if isinstance(value, Node):
        return str(value.type)
    if isinstance(value, (int, float)):
        return f"the number {value:g}"
    if isinstance(value, tuple):
        return "a list"
    if isinstance(value, Axis):
        return f"the axis {value.name}"
    if isinstance(value, Optimizer):
        return "an optimizer"
    if isinstance(value, Recipe):
        return "a recipe"
    name = getattr(value, "name", "")
    return f"the function {name}" if name else "a function"


@cache
def _prelude_text() -> bytes:
    return resource("grammars", "prelude.genome").encode()


def words_of_prelude(span: Span) -> str:
    """What stands at a place in the prelude."""
    return _prelude_text()[span.start : span.end].decode()


class Builder:
    """The units under construction, innermost last, and the diagnostics so far."""

    def __init__(self, genome: Genome):
        self.genome = genome
        self.diagnostics: list[Diagnostic] = []
        self.frames: list[Frame] = []
        self.leading: list[
            TensorType
        ] = []  # the first tensor of each function being applied, whose axes `param` follows
        self.calls: list[tuple[str, Span, dict[str | int, Span]]] = []  # what is being applied: name, where, arguments
        self.homes: dict[int, Frame] = {}
        self.seen: list[Node] = []  # the values per token that the score and the mask at hand read
        self.instances = 0
        self.steps = 0

    # ---- errors -------------------------------------------------------------------------------------------------

    def problem(self, code: str, message: str, span: Span, **more: Any) -> Problem:
        """A mistake at `span`. Inside the prelude it is blamed on the call in the genome that led there, and there on
        the argument called `blame`, on the one that the place in the prelude names, or on the one that was applied."""
        trace: list[Label] = []
        labels = list(more.pop("labels", ()))
        blame = more.pop("blame", "")
        if span.file == PRELUDE:
            outer = [n for n, (_, at, _) in enumerate(self.calls) if at.file != PRELUDE]
            trace = [Label(at, f"in {name}") for name, at, _ in self.calls[outer[-1] if outer else 0 :]]
            trace.append(Label(span, message))
            inside = [name for name, _, _ in self.calls[outer[-1] + 1 :]] if outer else []
            suspects = (blame, words_of_prelude(span), *inside)
            span, arguments = self.calls[outer[-1]][1:] if outer else (NOWHERE, {})
            span = next((arguments[suspect] for suspect in suspects if suspect in arguments), span)
        labels = [label for label in labels if label.span.file != PRELUDE and label.span is not NOWHERE]
        return Problem(Diagnostic(code, message, span, labels=tuple(labels), trace=tuple(trace), **more))

    def report(self, problem: Problem) -> None:
        """Note a mistake once. A call that goes wrong inside the prelude goes wrong for one reason, the first."""
        d = problem.diagnostic
        if d.trace and any(o.trace and o.trace[0] == d.trace[0] for o in self.diagnostics):
            return
        known = ((o.code, o.message, o.span if d.phase != "limits" else d.span) for o in self.diagnostics)
        if (d.code, d.message, d.span) not in known:
            self.diagnostics.append(d)

    # ---- nodes and frames ---------------------------------------------------------------------------------------

    def add(
        self, op: str, inputs: Iterable[Any], attrs: dict[str, Any], type: TensorType, span: Span, **more: Any
    ) -> Node:
        """Append a node to the frame under construction; inputs from outer frames are captured."""
        frame = self.frames[-1]
        node = Node(op, tuple(self.here(i) for i in inputs), attrs, type, span=span, **more)
        frame.nodes.append(node)
        self.homes[id(node)] = frame
        self.spend(1)
        return node

    def spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > MAX_OPERATIONS:
            raise Problem(
                Diagnostic(
                    "F402",
                    f"the genome expands to more than {MAX_OPERATIONS:,} operations",
                    self.calls[0][1] if self.calls else self.genome.span,
                    help="repeat a block with n * block instead of writing it out",
                )
            )

    def here(self, value: Any) -> Any:
        """A tensor as the current frame sees it."""
        if not isinstance(value, Node):
            return value
        home = self.homes[id(value)]
        chain: list[Frame] = []
        for frame in reversed(self.frames):
            if frame is home:
                break
            chain.append(frame)
        else:
            raise self.problem("F308", "a value is used outside the function that it belongs to", value.span)
        for frame in reversed(chain):
            if frame.kind in SLOTS:
                raise self.problem(
                    "F308",
                    f"the {frame.kind} function uses {value.name or 'a value'} from outside, which is {value.type}",
                    self.calls[-1][1] if self.calls else value.span,
                    blame=frame.kind,
                    help=f"it sees only {', '.join(SLOTS[frame.kind])}, numbers and learned parameters"
                    + ("; query(x) and key(x) read a value per token" if frame.kind in ("score", "mask") else ""),
                )
            if value not in frame.captures:
                stand_in = Node(
                    "input", (), {"name": value.name or "context"}, value.type, name=value.name, span=value.span
                )
                frame.captures[value] = stand_in
                self.homes[id(stand_in)] = frame
            value = frame.captures[value]
        return value

    @contextmanager
    def frame(self, kind: str) -> Iterator[Frame]:
        frame = Frame(kind, self.frames[-1] if self.frames else None)
        self.frames.append(frame)
        try:
            yield frame
        finally:
            self.frames.pop()

    def enter(self, frame: Frame, name: str, type: TensorType, span: Span = NOWHERE) -> Node:
        node = Node("input", (), {"name": name}, type, name=name, span=span)
        frame.inputs.append(node)
        self.homes[id(node)] = frame
        return node

    def close(self, frame: Frame, result: Node, name: str, **more: Any) -> tuple[Unit, list[int], list[Node]]:
        """Finish a unit: drop what the result does not need.

        Returns the unit, which of its own inputs it keeps, and the outer nodes that it captures.
        """
        needed: set[int] = set()
        stack = [result]
        while stack:
            node = stack.pop()
            if id(node) not in needed:
                needed.add(id(node))
                stack.extend(node.tensors)
        kept = [n for n, node in enumerate(frame.inputs) if id(node) in needed]
        captured = [outer for outer, inner in frame.captures.items() if id(inner) in needed]
        inputs = [frame.inputs[n] for n in kept] + [frame.captures[outer] for outer in captured]
        unit = Unit(name, inputs, [n for n in frame.nodes if id(n) in needed], result, **more)
        return unit, kept, captured

    def instance(self) -> int:
        self.instances += 1
        return self.instances

    def slot(self) -> str:
        """The slot whose function is being elaborated, or ""."""
        return next((f.kind for f in reversed(self.frames) if f.kind in SLOTS), "")
