"""Elaboration: a genome is evaluated on symbolic inputs, and what it would do is written down as a program.

Compile-time values (numbers, lists, functions) are computed; operations on tensors become nodes with
inferred types. A mistake is reported once: its value is `POISON`, and whatever it touches is silent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from foundry.dsl.diagnostics import Diagnostic, Edit, Fix, Label
from foundry.dsl.program import Node, Optimizer, Recipe, Unit
from foundry.dsl.registry import (
    CALLABLE,
    CONSTANTS,
    OPERATORS,
    OPTIMIZERS,
    PRIMITIVES,
    REQUIRED,
    SLOTS,
    SPECIAL,
    TRAIN,
    Arg,
    Mismatch,
    Primitive,
)
from foundry.dsl.suggest import closest
from foundry.dsl.syntax import (
    NOWHERE,
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
    Span,
    Unary,
)
from foundry.dsl.types import BOOLEAN, INTEGER, SCALAR, TOKENS, Clash, TensorType, scores, seq
from foundry.dsl.values import (
    FUNCTIONS,
    Applied,
    Axis,
    Closure,
    Composite,
    Frame,
    Partial,
    Repeated,
    Scope,
    Shared,
    Special,
    sort_of,
)

MAX_OPERATIONS = 100_000  # expressions evaluated and nodes made
MAX_CALLS = 64  # applications inside applications
MAX_REPEATS = 1024
PRELUDE = "prelude"

NUMBER_LIMIT = 1e300


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


class _Inline(Exception):
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
    return "a function"


class Elaborator:
    """Evaluates one genome over a prelude. Diagnostics gather in `diagnostics`."""

    def __init__(self, genome: Genome, prelude: Genome):
        self.genome = genome
        self.diagnostics: list[Diagnostic] = []
        self.sorts: dict[int, dict[Any, None]] = {}
        self.frames: list[Frame] = []
        self.leading: list[TensorType] = []
        self.calls: list[tuple[str, Span, dict[str | int, Span]]] = []
        self.origins: dict[int, tuple[Any, dict[int, None]]] = {}  # a function's id → the expressions it came from
        self.homes: dict[int, Frame] = {}
        self.embeddings: list[Node] = []
        self.instances = 0
        self.steps = 0
        self.depth = 0
        constants: dict[str, Any] = {n: Axis(v) if isinstance(v, str) else v for n, v in CONSTANTS.items()}
        specials: dict[str, Any] = {name: Special(name) for name in SPECIAL}
        callables: dict[str, Any] = {name: PRIMITIVES.get(name) or Special(name) for name in CALLABLE}
        base = Scope({**constants, **specials, **callables})
        self.prelude_scope = Scope({}, base)
        self.scope = Scope({}, self.prelude_scope)
        self.pending: dict[tuple[int, str], Definition] = {}
        for scope, source in ((self.prelude_scope, prelude), (self.scope, genome)):
            for definition in source.definitions:
                if definition.parameters is None:
                    self.pending[id(scope), definition.name] = definition
                    scope.names.setdefault(definition.name, None)
                elif definition.name not in scope.names:
                    scope.names[definition.name] = Closure(
                        definition.name, definition.parameters, definition.value, scope, definition.comments, definition.span
                    )  # fmt: skip

    # ---- errors -------------------------------------------------------------------------------------------------

    def problem(self, code: str, message: str, span: Span, **more: Any) -> Problem:
        """A mistake at `span`. Inside the prelude it is blamed on the call in the genome that led there, and
        there on the argument called `blame`, if it has one."""
        trace: list[Label] = []
        labels = list(more.pop("labels", ()))
        blame = more.pop("blame", "")
        if span.file == PRELUDE:
            outer = [n for n, (_, at, _) in enumerate(self.calls) if at.file != PRELUDE]
            trace = [Label(at, f"in {name}") for name, at, _ in self.calls[outer[-1] if outer else 0 :]]
            trace.append(Label(span, message))
            span, arguments = self.calls[outer[-1]][1:] if outer else (NOWHERE, {})
            span = arguments.get(blame, span)
        labels = [label for label in labels if label.span.file != PRELUDE and label.span is not NOWHERE]
        return Problem(Diagnostic(code, message, span, labels=tuple(labels), trace=tuple(trace), **more))

    def report(self, problem: Problem) -> None:
        d = problem.diagnostic
        known = ((o.code, o.message, o.span if d.phase != "limits" else d.span) for o in self.diagnostics)
        if (d.code, d.message, d.span) not in known:
            self.diagnostics.append(d)

    # ---- nodes and frames ---------------------------------------------------------------------------------------

    def add(self, op: str, inputs: Iterable[Any], attrs: dict[str, Any], type: TensorType, span: Span, **more: Any) -> Node:
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
                    f"the genome expands to more than {MAX_OPERATIONS} operations",
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
                    help=f"a {frame.kind} function sees only {', '.join(SLOTS[frame.kind])}, numbers and learned parameters",
                )
            if value not in frame.captures:
                stand_in = Node("input", (), {"name": value.name or "context"}, value.type, name=value.name, span=value.span)
                frame.captures[value] = stand_in
                self.homes[id(stand_in)] = frame
            value = frame.captures[value]
        return value

    @contextmanager
    def frame(self, kind: str) -> Any:
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

    # ---- definitions --------------------------------------------------------------------------------------------

    def lookup(self, name: str, scope: Scope, span: Span) -> Any:
        found = scope.find(name)
        if found is None:
            raise Silent  # the static check of names has reported it
        definition = self.pending.pop((id(found), name), None)
        if definition is not None:
            found.names[name] = POISON
            outer = self.leading, self.frames
            self.leading, self.frames = [], []
            try:
                found.names[name] = self.value(definition.value, found, definition.name)
            except Problem as problem:
                self.report(problem)
            except Silent:
                pass
            finally:
                self.leading, self.frames = outer
        value = found.names[name]
        if value is POISON or value is None:
            raise Silent
        return value

    # ---- expressions --------------------------------------------------------------------------------------------

    def value(self, expr: Expr, scope: Scope, name: str = "") -> Any:
        """Evaluate an expression. `name` is the binding that it is for.

        Raises:
            Problem, Silent.
        """
        self.spend(1)
        self.depth += 1
        if self.depth > 1000:
            raise self.problem("F402", "the genome expands too deeply", expr.span, help="use fewer functions inside functions")
        try:
            result = self._value(expr, scope, name)
        finally:
            self.depth -= 1
        if expr.span.file != PRELUDE:
            self.sorts.setdefault(id(expr), {})[sort_of(result)] = None
            if isinstance(result, FUNCTIONS):  # so that its applications are recorded there
                self.origins.setdefault(id(result), (result, {}))[1][id(expr)] = None
        return result

    def _value(self, expr: Expr, scope: Scope, name: str) -> Any:
        match expr:
            case Number(value):
                return value
            case Name(id):
                return self.lookup(id, scope, expr.span)
            case ListOf(items):
                return tuple(self.value(item, scope) for item in items)
            case Function(parameters, body):
                return Closure("", parameters, body, scope, (), expr.span)
            case Block():
                return self.block(expr, scope, name)
            case Unary(operator, operand):
                op = PRIMITIVES["negate" if operator == "-" else "invert"]
                return self.primitive(op, [self.value(operand, scope)], {}, expr.span)
            case Binary(">>", left, right):
                return self.pipe(expr, scope)
            case Binary(operator, left, right):
                a, b = self.value(left, scope), self.value(right, scope)
                if operator == "*" and isinstance(b, FUNCTIONS) and isinstance(a, (int, float)):
                    return self.repeated(a, b, expr.span)
                if operator == "*" and isinstance(a, FUNCTIONS) and isinstance(b, (int, float)):
                    raise self.problem("F303", "copies are written n * f, with the number first", expr.span,
                                       help="put the number before the function")  # fmt: skip
                for side, v in ((left, a), (right, b)):
                    if not isinstance(v, (int, float, Node)):
                        raise self.problem(
                            "F303", f"{operator} takes numbers and tensors, but this is {describe(v)}", side.span,
                            found=describe(v), help="apply the function first" if isinstance(v, FUNCTIONS) else "",
                        )  # fmt: skip
                return self.primitive(PRIMITIVES[OPERATORS[operator]], [a, b], {}, expr.span)
            case Call():
                return self.call(expr, scope, name)
        raise AssertionError(expr)

    def block(self, expr: Block, scope: Scope, name: str) -> Any:
        inner = Scope({}, scope)
        failed = False
        for binding in expr.bindings:
            try:
                inner.names[binding.name] = self.binding(binding, inner)
            except Problem as problem:
                self.report(problem)
                inner.names[binding.name], failed = POISON, True
            except Silent:
                inner.names[binding.name], failed = POISON, True
        result = self.value(expr.result, inner, name)
        if failed and not isinstance(result, Node):
            raise Silent
        if isinstance(result, Node) and expr.comments and not result.comments and self.frames and result in self.frames[-1].nodes:
            result.comments = expr.comments
        return result

    def binding(self, binding: Binding, scope: Scope) -> Any:
        before = len(self.frames[-1].nodes) if self.frames else 0
        rebound = scope.find(binding.name) is not None
        value = self.value(binding.value, scope, binding.name)
        if isinstance(value, Node) and self.frames:
            fresh = self.frames[-1].nodes[before:]
            weights = [n for n in fresh if n.instance and n.unit is None and not n.name]
            if weights and not rebound:
                weights[0].name = binding.name
                for node in weights[1:]:
                    node.name = f"{binding.name}_{node.op}"
            if value in fresh:
                if not value.instance or value.unit is None or not rebound:
                    value.name = binding.name
                value.comments = value.comments or binding.comments
            elif fresh and binding.comments:
                fresh[0].comments = binding.comments
        return value

    def pipe(self, expr: Expr, scope: Scope) -> Any:
        stages: list[Expr] = []
        while isinstance(expr, Binary) and expr.operator == ">>":
            stages.append(expr.right)
            expr = expr.left
        stages.append(expr)
        stages.reverse()
        current: Any = None
        for stage in stages:
            value = self.value(stage, scope)
            if current is None:
                current = value
            elif not isinstance(value, FUNCTIONS):
                raise self.problem("F303", f">> leads into a function, but this is {describe(value)}", stage.span,
                                   found=describe(value))  # fmt: skip
            elif isinstance(current, FUNCTIONS):
                head = current if isinstance(current, Composite) else Composite((current,), (stages[0].span,))
                current = Composite(head.parts + (value,), head.spans + (stage.span,))
            elif isinstance(current, (Node, int, float)):
                current = self.apply(value, [current], stage.span, self.callee(stage))
            else:
                raise self.problem("F303", f">> takes a function or a tensor on its left, but this is {describe(current)}",
                                   stages[0].span)  # fmt: skip
        return current

    def repeated(self, times: int | float, function: Any, span: Span) -> Any:
        if times != int(times) or not 1 <= times <= MAX_REPEATS:
            raise self.problem("F306", f"{times:g} copies of a function", span,
                               expected=(f"a whole number from 1 to {MAX_REPEATS}",), found=f"{times:g}")  # fmt: skip
        return function if times == 1 else Repeated(int(times), function, span)

    @staticmethod
    def callee(expr: Expr) -> str:
        """The name by which an expression calls something, or ""."""
        while isinstance(expr, Call):
            expr = expr.function
        if isinstance(expr, Binary) and expr.operator == "*":
            return Elaborator.callee(expr.right)
        return expr.id if isinstance(expr, Name) else ""

    # ---- calls --------------------------------------------------------------------------------------------------

    def call(self, expr: Call, scope: Scope, name: str) -> Any:
        function = self.value(expr.function, scope)
        if not isinstance(function, FUNCTIONS):
            raise self.problem("F303", f"{describe(function)} is called as if it were a function", expr.span,
                               found=describe(function), blame=self.callee(expr))  # fmt: skip
        positional: list[Any] = []
        named: dict[str, Any] = {}
        spans: dict[str | int, Span] = {}
        failed = False
        for argument in expr.arguments:
            try:
                value = self.value(argument.value, scope, argument.name)
            except Problem as problem:
                self.report(problem)
                failed = True
                continue
            except Silent:
                failed = True
                continue
            if argument.name:
                named[argument.name] = value
                spans[argument.name] = argument.span
            else:
                spans[len(positional)] = argument.span
                positional.append(value)
        if failed:
            raise Silent
        return self.apply(function, positional, expr.span, self.callee(expr), named, spans)

    def apply(
        self,
        function: Any,
        positional: list[Any],
        span: Span,
        called: str = "",
        named: dict[str, Any] | None = None,
        spans: dict[str | int, Span] | None = None,
    ) -> Any:
        """Apply a function to evaluated arguments; a missing leading argument gives a function waiting for it."""
        named, spans = named or {}, spans or {}
        if len(self.calls) >= MAX_CALLS:
            raise self.problem("F204", f"more than {MAX_CALLS} functions inside one another", self.calls[0][1],
                               help="a function may not apply itself, even through another name")  # fmt: skip
        given = function.spans if isinstance(function, Partial) else {}
        self.calls.append((called or getattr(function, "name", "") or "a function", span, {**given, **spans}))
        try:
            result = self._apply(function, positional, span, called, named, spans)
        finally:
            self.calls.pop()
        if isinstance(result, Node):
            inputs = tuple(v.type for v in positional if isinstance(v, Node))
            for origin in self.origins.get(id(function), (None, {}))[1]:
                self.sorts[origin][Applied(inputs, result.type)] = None
        return result

    def _apply(self, function: Any, positional: list[Any], span: Span, called: str, named: dict, spans: dict) -> Any:
        match function:
            case Special():
                return self.special(function.name, positional, named, span, spans)
            case Composite() | Repeated() | Shared():
                if named or len(positional) != 1 or not isinstance(positional[0], (Node, int, float)):
                    raise self.problem("F303", "this function takes one tensor and no named arguments", span,
                                       help="give the arguments to the functions that it is made of")  # fmt: skip
                if isinstance(function, Composite):
                    value = positional[0]
                    for part, at in zip(function.parts, function.spans, strict=True):
                        value = self.apply(part, [value], at, self.title(part))
                    return value
                if not isinstance(positional[0], Node):
                    raise self.problem("F303", "copies and shared functions take a tensor", span)
                if isinstance(function, Repeated):
                    return self.repeat(function, positional[0], span, called)
                return self.shared(function, positional[0], span, called)
            case Partial():
                merged = dict(function.given)
                for key, value in named.items():
                    merged[key] = value
                return self.bind(function.function, positional, merged, span, called, {**function.spans, **spans}, set(function.given))
        return self.bind(function, positional, named, span, called, spans, set())

    @staticmethod
    def title(function: Any) -> str:
        while isinstance(function, (Partial, Repeated, Shared)):
            function = function.function
        return getattr(function, "name", "")

    def bind(self, function: Any, positional: list[Any], named: dict, span: Span, called: str, spans: dict, given: set) -> Any:
        """Match arguments to parameters."""
        if isinstance(function, Closure):
            names = [p.name for p in function.parameters]
            required = {p.name for p in function.parameters if p.default is None}
        else:
            names = [a.name for a in function.args]
            required = {a.name for a in function.args if a.default is REQUIRED}
        title = function.name or "this function"
        for name in named:
            if name not in names:
                raise self.unknown_argument(title, name, names, spans.get(name, span))
        open_names = [n for n in names if n not in given]
        if (
            len(open_names) > 1
            and positional
            and not isinstance(positional[0], Node)
            and open_names[0] == names[0]
            and names[0] not in named
            and not (len(positional) == len(open_names) and not named)
            and (not isinstance(function, Primitive) or function.args[0].is_tensor)
        ):
            open_names = open_names[1:]
        if len(positional) > len(open_names):
            raise self.problem(
                "F305", f"{title} takes {len(open_names)} arguments by position, but {len(positional)} are given", span,
                help=f"its arguments are {', '.join(names)}",
            )  # fmt: skip
        bound = dict(named)
        for name, value in zip(open_names, positional, strict=False):
            if name in bound:
                raise self.problem("F203", f"{title} is given {name} twice", spans.get(name, span), found=name)
            bound[name] = value
        if names and names[0] in required and names[0] not in bound:
            return Partial(function, bound, spans)
        missing = [n for n in names if n in required and n not in bound]
        if missing:
            raise self.problem("F304", f"{title} needs {' and '.join(missing)}", span, expected=tuple(missing),
                               help=f"write {missing[0]} = …")  # fmt: skip
        if isinstance(function, Primitive):
            return self.run_primitive(function, bound, span, spans)
        return self.run_closure(function, bound, span, called)

    def unknown_argument(self, title: str, name: str, names: list[str], span: Span) -> Problem:
        close = closest(name, names)
        edit = (Edit(span.start, span.start + len(name), close[0]),) if close else ()
        return self.problem(
            "F202", f"{title} has no argument {name}", span, expected=tuple(names), found=name,
            help=f"did you mean {close[0]}?" if close else f"{title} takes {', '.join(names) or 'nothing'}",
            fixes=(Fix(f"replace {name} by {close[0]}", edit),) if close else (),
        )  # fmt: skip

    # ---- functions of the language ------------------------------------------------------------------------------

    def run_closure(self, function: Closure, bound: dict[str, Any], span: Span, called: str) -> Any:
        if any(value is POISON for value in bound.values()):
            raise Silent
        tensors = [bound[p.name] for p in function.parameters if isinstance(bound.get(p.name), Node)]
        if not tensors or not function.name or self.slot() or (len(self.frames) == 1 and function.name == "model"):
            return self.run_body(function, bound)
        try:
            return self.run_unit(function, bound, span, called)
        except _Inline:
            if any(frame.kind == "repeat" for frame in self.frames):
                raise
            return self.run_body(function, bound)

    def run_body(self, function: Closure, bound: dict[str, Any]) -> Any:
        scope = Scope({}, function.scope)
        lead = next((bound[p.name] for p in function.parameters if isinstance(bound.get(p.name), Node)), None)
        if self.slot():
            lead = None  # a score's learned numbers follow its heads, whichever slots it uses
        if lead is not None:
            self.leading.append(lead.type)
        try:
            for parameter in function.parameters:
                if parameter.name in bound:
                    scope.names[parameter.name] = bound[parameter.name]
                else:
                    assert parameter.default is not None
                    scope.names[parameter.name] = self.value(parameter.default, scope)
            return self.value(function.body, scope)
        finally:
            if lead is not None:
                self.leading.pop()

    def run_unit(self, function: Closure, bound: dict[str, Any], span: Span, called: str, share: Shared | None = None) -> Any:
        """Apply a named function to tensors: its body becomes a unit, and the application a `call`."""
        outer = [p.name for p in function.parameters if isinstance(bound.get(p.name), Node)]
        mark = self.instances
        with self.frame("function") as frame:
            inner = dict(bound)
            for name in outer:
                inner[name] = self.enter(frame, name, bound[name].type, bound[name].span)
            result = self.run_body(function, inner)
        if not isinstance(result, Node):
            self.instances = mark
            return self.run_body(function, bound)
        arguments = [bound[name] for name in outer]
        if result in frame.inputs:
            return arguments[frame.inputs.index(result)]
        if result in frame.captures.values():
            return next(o for o, i in frame.captures.items() if i is result)
        constants = {n: v for n, v in bound.items() if isinstance(v, (int, float))}
        unit, kept, captured = self.close(
            frame, result, function.name, constants=constants, comments=function.comments, span=function.span
        )
        return self.add(
            "call", [arguments[n] for n in kept] + captured, {}, result.type, span,
            unit=unit, instance=self.instance(), name=called or function.name,
        )  # fmt: skip

    def repeat(self, function: Repeated, x: Node, span: Span, called: str) -> Node:
        with self.frame("repeat") as frame:
            looped = self.enter(frame, x.name or "x", x.type, x.span)
            try:
                result = self.apply(function.function, [looped], span, self.title(function.function) or called)
            except _Inline:
                raise self.problem("F308", "a block that is repeated embeds tokens or unembeds with tied weights", span,
                                   help="do that before or after the repeated blocks") from None  # fmt: skip
        if not isinstance(result, Node):
            raise self.problem("F303", f"a repeated function gives {describe(result)} instead of a sequence", span)
        if result.type != x.type:
            raise self.problem(
                "F301", f"a repeated function takes {x.type} and gives {result.type}", span,
                expected=(str(x.type),), found=str(result.type), help="every pass feeds the next, so the two must be equal",
                labels=(Label(x.span, f"this is {x.type}"),),
            )  # fmt: skip
        unit, kept, captured = self.close(frame, result, "")
        inputs: list[Any] = [x, *captured]
        if result is looped:
            return x
        if not kept:
            raise self.problem("F308", "a repeated function does not use its input", span)
        only = unit.nodes[0]
        if len(unit.nodes) == 1 and only.op == "call" and only.inputs and only.inputs[0] is looped:
            outside = {id(inner): o for o, inner in frame.captures.items()}
            if all(id(i) in outside for i in only.inputs[1:]):
                assert only.unit is not None
                inputs = [x] + [outside[id(i)] for i in only.inputs[1:]]
                unit = only.unit
        return self.add(
            "repeat", inputs, {"times": function.times, "shared": function.shared}, result.type, span,
            unit=unit, instance=self.instance(), name=called or "layers",
        )  # fmt: skip

    def shared(self, function: Shared, x: Node, span: Span, called: str) -> Node:
        """One set of weights for every application, within the function where the first one stands."""
        frame = self.frames[-1]
        if function.unit is not None:
            if function.home is not frame:
                raise self.problem("F308", "a shared function is used in more than one block", span,
                                   help="apply it in one function, or repeat it there: share(n * f)")  # fmt: skip
            if (x.type,) != function.inputs:
                raise self.problem("F301", f"a shared function first took {function.inputs[0]} and now takes {x.type}", span,
                                   help="one set of weights has one shape")  # fmt: skip
        else:
            with self.frame("function") as inner:
                entered = self.enter(inner, x.name or "x", x.type, x.span)
                result = self.apply(function.function, [entered], span, self.title(function.function) or called)
            if not isinstance(result, Node):
                raise self.problem("F303", f"a shared function gives {describe(result)} instead of a sequence", span)
            unit, kept, captured = self.close(inner, result, self.title(function.function) or called)
            if not kept:
                raise self.problem("F308", "a shared function does not use its input", span)
            only = unit.nodes[0] if unit.nodes else None
            if only is not None and len(unit.nodes) == 1 and only.op == "call" and only.inputs == tuple(unit.inputs):
                assert only.unit is not None
                unit = only.unit
            function.unit, function.instance = unit, self.instance()
            function.inputs, function.captured, function.home = (x.type,), tuple(captured), frame
        return self.add(
            "call", [x, *function.captured], {}, function.unit.result.type, span,
            unit=function.unit, instance=function.instance, name=called or function.unit.name,
        )  # fmt: skip

    # ---- primitives ---------------------------------------------------------------------------------------------

    def run_primitive(self, function: Primitive, bound: dict[str, Any], span: Span, spans: dict) -> Any:
        inputs: list[Any] = []
        attrs: dict[str, Any] = {}
        for arg in function.args:
            value = bound.get(arg.name, arg.default)
            at = spans.get(arg.name, span)
            if arg.is_tensor:
                if not isinstance(value, (Node, int, float)):
                    raise self.problem("F303", f"{function.name} takes a tensor as {arg.name}, but this is {describe(value)}",
                                       at, found=describe(value))  # fmt: skip
                inputs.append(value)
            elif arg.sort in ("score", "mask"):
                attrs[arg.name] = value
            else:
                attrs[arg.name] = self.argument(function.name, arg, value, at)
        return self.primitive(function, inputs, attrs, span, spans)

    def argument(self, title: str, arg: Arg, value: Any, span: Span) -> Any:
        """A compile-time argument, checked against its sort and its legal values."""
        if value is None and arg.default is None:
            return None
        if arg.sort == "axes":
            axes = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(a, Axis) for a in axes):
                raise self.problem("F303", f"{title} takes axes as {arg.name}, but this is {describe(value)}", span,
                                   expected=("head", "channel", "[head, channel]"))  # fmt: skip
            return tuple(sorted({a.name for a in axes}, reverse=True))
        if arg.sort == "list":
            if not isinstance(value, tuple) or len(value) != 2 or not all(isinstance(v, (int, float)) for v in value):
                raise self.problem("F303", f"{title} takes two numbers as {arg.name}, but this is {describe(value)}", span,
                                   help="write [0.9, 0.95]")  # fmt: skip
            for v in value:
                if not 0 <= v < 1:
                    raise self.problem("F306", f"{arg.name} holds {v:g}", span, expected=("numbers from 0 up to below 1",),
                                       found=f"{v:g}")  # fmt: skip
            return tuple(float(v) for v in value)
        if not isinstance(value, (int, float)):
            raise self.problem("F303", f"{title} takes a number as {arg.name}, but this is {describe(value)}", span,
                               found=describe(value))  # fmt: skip
        if arg.sort == "flag":
            if value not in (0, 1):
                raise self.problem("F306", f"{arg.name} is {value:g}", span, expected=("0", "1"), found=f"{value:g}")
            return int(value)
        if arg.sort == "integer":
            if value != math.floor(value):
                raise self.problem("F302", f"{arg.name} of {title} is {value:g}, which is no whole number", span,
                                   found=f"{value:g}", help="a size must divide evenly")  # fmt: skip
            value = int(value)
        if not arg.low <= value <= arg.high:
            raise self.problem("F306", f"{arg.name} of {title} is {value:g}", span,
                               expected=(f"from {arg.low:g} to {arg.high:g}",), found=f"{value:g}")  # fmt: skip
        return value

    def primitive(self, function: Primitive, inputs: list[Any], attrs: dict[str, Any], span: Span, spans: dict | None = None) -> Any:
        """One operation: folded where every input is a number, a node otherwise."""
        if function.fold is not None and not any(isinstance(i, Node) for i in inputs):
            return self.fold(function, inputs, span)
        if function.name == "where" and isinstance(inputs[0], (int, float)):
            return inputs[1] if inputs[0] else inputs[2]
        if not self.frames:
            raise self.problem("F308", f"{function.name} stands outside any function of a sequence", span,
                               help="write it inside a function")  # fmt: skip
        takes_numbers = function.kind == "pointwise" or function.name == "scan"
        for arg, value in zip([a for a in function.args if a.is_tensor], inputs, strict=False):
            if not takes_numbers and not isinstance(value, Node):
                raise self.problem("F303", f"{function.name} takes a tensor as {arg.name}, but this is {describe(value)}",
                                   (spans or {}).get(arg.name, span), found=describe(value))  # fmt: skip
        types = tuple(i.type if isinstance(i, Node) else i for i in inputs)
        attrs = dict(attrs)
        instance = 0
        if function.name == "param":
            attrs["type"] = self.param_type(attrs["per"], span)
        if function.kind == "weights" or function.name == "conv":
            instance = self.instance()
        if function.name == "unembed":
            instance = self.unembed(attrs, inputs[0], span, instance)
        try:
            type = function.shape(types, attrs)
        except Mismatch as m:
            raise self.mismatch(function, m, inputs, span, spans or {}) from None
        except Clash as clash:
            raise self.clash(function, clash, inputs, span) from None
        if function.name == "attend":
            attrs["score"] = self.score(attrs["score"], inputs[0].type.heads, span)
            attrs["mask"] = self.mask(attrs["mask"], inputs[0].type.heads, span)
        if function.name == "embed" and inputs[0].type.is_tokens:
            if not any(frame.kind == "repeat" for frame in self.frames) and len(self.frames) > 1:
                raise _Inline
        if function.kind == "weights" and self.slot() in ("mask", "schedule", "context", "loss"):
            raise self.problem("F308", f"a {self.slot()} function learns {function.name}", span,
                               help=f"a {self.slot()} function may not hold weights")  # fmt: skip
        if self.slot() and function.kind in ("sequence", "structure"):
            raise self.problem("F308", f"{function.name} inside a {self.slot()} function", span,
                               help=f"a {self.slot()} function is elementwise over {', '.join(SLOTS[self.slot()])}")  # fmt: skip
        node = self.add(function.name, inputs, attrs, type, span, instance=instance)
        if function.name == "embed" and inputs[0].type.is_tokens:
            self.embeddings.append(node)
        return node

    def slot(self) -> str:
        """The slot whose function is being elaborated, or ""."""
        return next((f.kind for f in reversed(self.frames) if f.kind in SLOTS), "")

    def unembed(self, attrs: dict[str, Any], x: Any, span: Span, instance: int) -> int:
        source = self.embeddings[0] if self.embeddings else None
        if attrs["tied"]:
            if len(self.frames) > 1:
                raise _Inline
            if source is None:
                raise self.problem("F308", "there is no token embedding to tie to", span,
                                   help="embed the tokens first, or write tied = 0")  # fmt: skip
            if isinstance(x, Node) and x.type.is_seq and x.type.width != source.type.width:
                raise self.problem(
                    "F301", f"the embedding has {source.type.width} channels and x has {x.type.width}", span,
                    labels=(Label(source.span, f"embeds in {source.type.width} channels"),),
                )  # fmt: skip
            if attrs["vocab"] not in (0, source.attrs["vocab"]):
                raise self.problem("F306", f"vocab is {attrs['vocab']}, but the tied embedding has {source.attrs['vocab']}",
                                   span, expected=(str(source.attrs["vocab"]),))  # fmt: skip
            instance = source.instance
        if not attrs["vocab"]:
            if source is None:
                raise self.problem("F304", "unembed needs vocab, since no tokens are embedded", span, expected=("vocab",))
            attrs["vocab"] = source.attrs["vocab"]
        return instance

    def fold(self, function: Primitive, inputs: list[Any], span: Span) -> int | float:
        """Arithmetic on compile-time numbers, kept within finite reals."""
        try:
            if function.name == "power" and abs(inputs[1]) > 64:
                result: Any = math.pow(inputs[0], inputs[1])
            else:
                assert function.fold is not None
                result = function.fold(*inputs)
            if isinstance(result, complex) or not abs(result) < NUMBER_LIMIT:
                raise ValueError
        except (ArithmeticError, ValueError):
            values = " and ".join(f"{i:g}" for i in inputs)
            raise self.problem("F307", f"{function.doc.split(':')[0]} of {values} has no finite value", span) from None
        if isinstance(result, bool):
            return int(result)
        if isinstance(result, int):
            return result if abs(result) < 1 << 53 else float(result)
        return int(result) if result == math.floor(result) and abs(result) < 1 << 53 and not self.is_decimal(function, inputs) else float(result)

    @staticmethod
    def is_decimal(function: Primitive, inputs: list[Any]) -> bool:
        """Whether a whole result stays a decimal number: only sizes, made of whole numbers, become whole."""
        return any(isinstance(i, float) for i in inputs)

    def param_type(self, per: tuple[str, ...], span: Span) -> TensorType:
        if not per:
            return SCALAR
        if not self.leading:
            raise self.problem("F308", "param has no sequence whose axes it could follow", span,
                               help="write it inside a function of a sequence, or leave per out")  # fmt: skip
        lead = self.leading[-1]
        for axis in per:
            if not lead.has(axis):
                raise self.problem("F301", f"param has one value per {axis}, but the function's input is {lead}", span,
                                   expected=tuple(a for a in ("head", "channel") if lead.has(a)))  # fmt: skip
        axes = tuple(a for a in ("head", "channel") if a in per)
        return TensorType(axes, lead.heads if "head" in per else 0, lead.width if "channel" in per else 0)

    def mismatch(self, function: Primitive, m: Mismatch, inputs: list[Any], span: Span, spans: dict) -> Problem:
        labels = [
            Label(i.span, f"{arg.name} is {i.type}")
            for arg, i in zip([a for a in function.args if a.is_tensor], inputs, strict=False)
            if isinstance(i, Node)
        ]
        verb = "" if m.message.startswith(("channels ", "the ")) or m.message[0].isdigit() else f"{function.name} "
        code = {"shape": "F301", "divide": "F302"}[m.code]
        at = spans.get(m.argument, span)
        return self.problem(code, verb + m.message, at, labels=labels, expected=tuple(str(e) for e in m.expected),
                            help=m.help, blame=m.argument)  # fmt: skip

    def clash(self, function: Primitive, clash: Clash, inputs: list[Any], span: Span) -> Problem:
        nodes = [i for i in inputs if isinstance(i, Node)]
        labels = [Label(n.span, f"this is {n.type}") for n in nodes]
        types = " and ".join(str(n.type) for n in nodes)
        help = ""
        if clash.axis == "head" and any(n.type.is_seq for n in nodes):
            help = "split_heads and merge_heads go between seq and heads"
        elif clash.axis == "channel":
            help = "give both the same number of channels, for example with linear"
        return self.problem("F301", f"{function.doc.split(':')[0]} of {types}: the {clash.axis} sizes do not fit", span,
                            labels=labels, help=help)  # fmt: skip

    # ---- slots --------------------------------------------------------------------------------------------------

    def fill(self, function: Any, kind: str, slots: dict[str, Node], span: Span) -> Any:
        """Apply a function whose parameters bind the slots by name; a single other parameter takes the first."""
        first = function
        rest: tuple[Any, ...] = ()
        if isinstance(function, Composite):
            first, rest = function.parts[0], function.parts[1:]
        given: set[str] = set(first.given) if isinstance(first, Partial) else set()
        inner = first.function if isinstance(first, Partial) else first
        if isinstance(inner, Closure):
            open_ = [(p.name, p.default is None) for p in inner.parameters if p.name not in given]
            legal = (inner.parameters[0].name,) if inner.parameters else ()
        elif isinstance(inner, Primitive):
            open_ = [(a.name, a.default is REQUIRED) for a in inner.args if a.name not in given]
            legal = (inner.args[0].name,)
        else:
            raise self.problem("F308", f"{describe(function)} of this form does not fit as {kind}", span, blame=kind)
        required = [name for name, needed in open_ if needed]
        named = {name: slots[name] for name, needed in open_ if name in slots}
        odd = [name for name in required if name not in slots]
        if len(required) == 1 and odd and required[0] in legal and not named:
            named, odd = {odd[0]: next(iter(slots.values()))}, []
        if odd:
            raise self.problem("F308", f"a {kind} function has no {' or '.join(odd)} to bind", span, found=odd[0],
                               expected=tuple(slots), help=f"name its parameters among {', '.join(slots)}", blame=kind)  # fmt: skip
        value = self.apply(first, [], span, self.title(first), named)
        for part in rest:
            value = self.apply(part, [value], span, self.title(part))
        return value

    def slot_unit(self, function: Any, kind: str, types: dict[str, TensorType], span: Span, lead: TensorType | None = None,
                  j: str = "") -> Unit | None:  # fmt: skip
        """The unit of a function in a slot; its inputs are the slots that it uses. None: gives its first slot back."""
        with self.frame(kind) as frame:
            slots = {name: self.enter(frame, name, type, span) for name, type in types.items()}
            outer, self.leading = self.leading, [lead] if lead is not None else []
            try:
                result = self.fill(function, kind, slots, span) if isinstance(function, FUNCTIONS) else function
            finally:
                self.leading = outer
            if isinstance(result, (int, float)):
                result = self.add("number", (), {"value": result}, SCALAR, span)
        if not isinstance(result, Node):
            raise self.problem("F308", f"a {kind} function gives a number per element, but this gives {describe(result)}", span,
                               blame=kind)  # fmt: skip
        unit, _, _ = self.close(frame, result, self.title(function), span=span, comments=getattr(function, "comments", ()))
        return unit

    def score(self, function: Any, count: int, span: Span) -> Unit | None:
        if function is None:
            return None
        self.need_function(function, "score", span)
        types = {
            "s": scores(count), "h": TensorType(("head",), heads=count, dtype=INTEGER),
            "i": TensorType(("token",), dtype=INTEGER), "j": TensorType(("token", "key"), dtype=INTEGER),
        }  # fmt: skip
        unit = self.slot_unit(function, "score", types, span, scores(count))
        assert unit is not None
        t = unit.result.type
        if t.has("channel") or t.dtype == BOOLEAN:
            raise self.problem("F308", f"a score function gives {t} instead of one number per pair of positions", span, blame="score")
        return None if unit.result.op == "input" and unit.result.attrs["name"] == "s" else unit

    def mask(self, function: Any, count: int, span: Span) -> Unit | None:
        if function is None:
            return None
        self.need_function(function, "mask", span)
        types = {
            "h": TensorType(("head",), heads=count, dtype=INTEGER), "i": TensorType(("token",), dtype=INTEGER),
            "j": TensorType(("key",), dtype=INTEGER),
        }  # fmt: skip
        unit = self.slot_unit(function, "mask", types, span, TensorType(("head",), heads=count))
        assert unit is not None
        result = unit.result
        if result.op == "number":
            if not result.attrs["value"]:
                raise self.problem("F308", "this mask removes every position", span, blame="mask")
            return None
        if result.type.dtype != BOOLEAN:
            raise self.problem("F308", "a mask function gives yes or no, but this gives a number", span,
                               help="compare: i - j < 64", blame="mask")  # fmt: skip
        names = [i.attrs["name"] if isinstance(i, Node) and i.op == "input" else None for i in result.inputs]
        if (result.op, names) in (("less_equal", ["j", "i"]), ("greater_equal", ["i", "j"])):
            return None
        return unit

    def need_function(self, value: Any, kind: str, span: Span) -> None:
        if not isinstance(value, FUNCTIONS):
            raise self.problem("F308", f"{kind} takes a function of {', '.join(SLOTS[kind])}, but this is {describe(value)}",
                               span, found=describe(value), blame=kind)  # fmt: skip

    # ---- special functions --------------------------------------------------------------------------------------

    def special(self, name: str, positional: list[Any], named: dict[str, Any], span: Span, spans: dict) -> Any:
        if name in ("train", *OPTIMIZERS):
            args = TRAIN if name == "train" else OPTIMIZERS[name]
            given = self.arguments(name, args, positional, named, span, spans)
            if name == "train":
                return self.recipe(given, span, spans)
            return Optimizer(name, {a.name: self.argument(name, a, given[a.name], spans.get(a.name, span)) for a in args})
        if name in ("max", "min"):
            if named or len(positional) not in (1, 2):
                raise self.problem("F305", f"{name} takes one tensor, or two values, by position", span)
            pair = {"max": ("largest", "maximum"), "min": ("smallest", "minimum")}[name]
            if len(positional) == 1 and not isinstance(positional[0], Node):
                return self.problem_value("F303", f"{name} of one value reduces a tensor, but this is {describe(positional[0])}", span)
            for value in positional:
                if not isinstance(value, (Node, int, float)):
                    return self.problem_value("F303", f"{name} takes tensors and numbers, but this is {describe(value)}", span)
            return self.primitive(PRIMITIVES[pair[len(positional) - 1]], positional, {}, span)
        if named or len(positional) != 1:
            raise self.problem("F305", f"{name} takes one argument, by position", span)
        (value,) = positional
        if name == "share":
            if not isinstance(value, FUNCTIONS):
                raise self.problem("F303", f"share takes a function, but this is {describe(value)}", span)
            if isinstance(value, Repeated):
                return Repeated(value.times, value.function, value.span, True)
            return Shared(value)
        if not isinstance(value, Node):
            raise self.problem("F303", f"{name} takes a tensor, but this is {describe(value)}", span)
        axis, size = ("channel", value.type.width) if name == "width" else ("head", value.type.heads)
        if not value.type.has(axis):
            raise self.problem("F301", f"{name} of {value.type}, which has no {axis}s", span)
        return size

    def problem_value(self, code: str, message: str, span: Span) -> Any:
        raise self.problem(code, message, span)

    def arguments(self, title: str, args: tuple[Arg, ...], positional: list[Any], named: dict, span: Span, spans: dict) -> dict:
        names = [a.name for a in args]
        if len(positional) > len(names):
            raise self.problem("F305", f"{title} takes {len(names)} arguments", span, help=f"they are {', '.join(names)}")
        for name in named:
            if name not in names:
                raise self.unknown_argument(title, name, names, spans.get(name, span))
        given = {a.name: a.default for a in args}
        given.update(zip(names, positional, strict=False))
        given.update(named)
        return given

    def recipe(self, given: dict[str, Any], span: Span, spans: dict) -> Recipe:
        optimizer = given["optimizer"]
        if optimizer is None:
            optimizer = self.special("adamw", [], {}, span, {})
        if not isinstance(optimizer, Optimizer):
            raise self.problem("F310", f"optimizer is {describe(optimizer)}", spans.get("optimizer", span),
                               expected=tuple(OPTIMIZERS), help="write optimizer = adamw(lr = 3e-3)")  # fmt: skip
        numbers = {a.name: self.argument("train", a, given[a.name], spans.get(a.name, span)) for a in TRAIN if a.sort in ("integer", "number")}

        def scalar(kind: str, default: Any) -> Unit:
            function = given[kind] if given[kind] is not None else default
            at = spans.get(kind, span)
            if not isinstance(function, (*FUNCTIONS, int, float)):
                raise self.problem("F310", f"{kind} is {describe(function)}", at, help=f"write {kind} = fn(t) => …")
            unit = self.slot_unit(function, kind, {"t": SCALAR}, at)
            assert unit is not None
            if unit.result.type.axes:
                raise self.problem("F310", f"{kind} gives {unit.result.type} instead of a number", at)
            return unit

        schedule = scalar("schedule", self.lookup("warmup_cosine", self.prelude_scope, span))
        context = scalar("context", 128)
        loss = given["loss"] if given["loss"] is not None else PRIMITIVES["cross_entropy"]
        at = spans.get("loss", span)
        if not isinstance(loss, FUNCTIONS):
            raise self.problem("F310", f"loss is {describe(loss)}", at, help="write loss = fn(logits, y) => cross_entropy(logits, y)")
        self.loss_at = (loss, at)
        empty = Unit("", [], [], Node("number", (), {"value": 0}, SCALAR))
        return Recipe(optimizer, schedule, empty, context, numbers["batch"], numbers["clip"])

    # ---- the whole ----------------------------------------------------------------------------------------------

    def model(self) -> Unit | None:
        """The model's unit, or None where it has errors."""
        definition = self.genome.definition("model")
        if definition is None:
            return None
        with self.frame("model") as frame:
            tokens = self.enter(frame, "tokens", TOKENS, definition.span)
            self.leading = [TOKENS]
            function = self.attempt(lambda: self.lookup("model", self.scope, definition.span))
            if function is None:
                return None
            result = self.attempt(lambda: self.run_model(function, tokens, definition))
            if result is None:
                return None
        unit, kept, _ = self.close(frame, result, "model", comments=definition.comments, span=definition.span)
        if not kept:
            self.report(self.problem("F308", "the model does not use its tokens", definition.span))
            return None
        return unit

    def run_model(self, function: Any, tokens: Node, definition: Definition) -> Node:
        if not isinstance(function, FUNCTIONS):
            raise self.problem("F308", f"model is {describe(function)} instead of a function from tokens to logits",
                               definition.value.span, help="write model = embed(vocab = 256, width = 64) >> … >> unembed()")  # fmt: skip
        result = self.apply(function, [tokens], definition.value.span, "model")
        if not isinstance(result, Node):
            raise self.problem("F308", f"model gives {describe(result)} instead of logits", definition.value.span)
        if not result.type.is_seq:
            raise self.problem("F301", f"model gives {result.type} instead of logits seq[vocab]", definition.value.span)
        return result

    def attempt(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Problem as problem:
            self.report(problem)
        except Silent:
            pass
        except _Inline:
            self.report(self.problem("F308", "tokens are embedded inside a score, a mask or a shared function", NOWHERE))
        except RecursionError:
            self.report(Problem(Diagnostic("F402", "the genome expands too deeply", NOWHERE)))
        return None

    def whole_recipe(self, vocab: int) -> Recipe | None:
        """The recipe with its loss, which needs the size of the vocabulary."""
        definition = self.genome.definition("recipe")
        span = definition.value.span if definition else NOWHERE
        if definition is None:
            recipe = self.attempt(lambda: self.special("train", [], {}, NOWHERE, {}))
        else:
            recipe = self.attempt(lambda: self.lookup("recipe", self.scope, span))
        if recipe is None:
            return None
        if not isinstance(recipe, Recipe):
            self.report(self.problem("F310", f"recipe is {describe(recipe)}", span, help="write recipe = train(…)"))
            return None
        function, at = self.loss_at
        loss = self.attempt(lambda: self.slot_unit(function, "loss", {"logits": seq(vocab), "y": TOKENS}, at))
        if loss is None:
            return None
        t = loss.result.type
        if t.axes not in (("batch", "token"), ("batch", "token", "channel")) or t.width > 1:
            self.report(self.problem("F310", f"loss gives {t} instead of one number per token", at))
            return None
        return replace(recipe, loss=loss)
