"""Elaboration: a genome is evaluated on symbolic inputs, and what it would do is written down as a program.

Compile-time values (numbers, lists, functions) are computed; operations on tensors become nodes with
inferred types. A mistake is reported once: its value is `POISON`, and whatever it touches is silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from foundry.dsl.frames import POISON, PRELUDE, Builder, Inline, Problem, Silent, describe
from foundry.dsl.primitives import primitive, run_primitive
from foundry.dsl.program import Node, Recipe, Unit
from foundry.dsl.recipes import special
from foundry.dsl.registry import CALLABLE, CONSTANTS, OPERATORS, PRIMITIVES, REQUIRED, SPECIAL, Primitive
from foundry.dsl.resolve import unknown_argument
from foundry.dsl.syntax import (
    NOWHERE,
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
    Span,
    Unary,
)
from foundry.dsl.types import TOKENS
from foundry.dsl.units import repeat, run_closure, shared
from foundry.dsl.values import (
    FUNCTIONS,
    Applied,
    Axis,
    Closure,
    Composite,
    Partial,
    Repeated,
    Scope,
    Shared,
    Special,
    sort_of,
)

MAX_CALLS = 64  # applications inside applications
MAX_REPEATS = 1024


class Elaborator(Builder):
    """Evaluates one genome over a prelude. Diagnostics gather in `diagnostics`."""

    def __init__(self, genome: Genome, prelude: Genome):
        super().__init__(genome)
        self.sorts: dict[int, dict[Any, None]] = {}
        self.origins: dict[int, tuple[Any, dict[int, None]]] = {}  # a function's id → the expressions it came from
        self.embeddings: list[Node] = []
        self.vocab = 0
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
                        definition.name,
                        definition.parameters,
                        definition.value,
                        scope,
                        definition.comments,
                        definition.span,
                    )

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
                value = found.names[name] = self.value(definition.value, found, definition.name)
                if isinstance(value, (Composite, Partial, Shared)):
                    value.name = value.name or name
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
            raise self.problem(
                "F402", "the genome expands too deeply", expr.span, help="use fewer functions inside functions"
            )
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
                return primitive(self, op, [self.operand(operator, operand, self.value(operand, scope))], {}, expr.span)
            case Binary(">>", left, right):
                return self.pipe(expr, scope)
            case Binary(operator, left, right):
                a, b = self.value(left, scope), self.value(right, scope)
                if operator == "*" and isinstance(b, FUNCTIONS) and isinstance(a, (int, float)):
                    return self.repeated(a, b, expr.span)
                if operator == "*" and isinstance(a, FUNCTIONS) and isinstance(b, (int, float)):
                    raise self.problem(
                        "F303",
                        "copies are written n * f, with the number first",
                        expr.span,
                        help="put the number before the function",
                    )
                operands = [self.operand(operator, side, v) for side, v in ((left, a), (right, b))]
                return primitive(self, PRIMITIVES[OPERATORS[operator]], operands, {}, expr.span)
            case Call():
                return self.call(expr, scope, name)
        raise AssertionError(expr)

    def operand(self, operator: str, expr: Expr, value: Any) -> Any:
        """A value that arithmetic can take."""
        if not isinstance(value, (int, float, Node)):
            raise self.problem(
                "F303",
                f"{operator} takes numbers and tensors, but this is {describe(value)}",
                expr.span,
                found=describe(value),
                help="apply the function first" if isinstance(value, FUNCTIONS) else "",
            )
        return value

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
        if (
            isinstance(result, Node)
            and expr.comments
            and not result.comments
            and self.frames
            and result in self.frames[-1].nodes
        ):
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
                    value.name, value.bound = binding.name, True
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
                raise self.problem(
                    "F303",
                    f">> leads into a function, but this is {describe(value)}",
                    stage.span,
                    found=describe(value),
                )
            elif isinstance(current, FUNCTIONS):
                head = current if isinstance(current, Composite) else Composite((current,), (stages[0].span,))
                current = Composite(head.parts + (value,), head.spans + (stage.span,))
            elif isinstance(current, (Node, int, float)):
                current = self.apply(value, [current], stage.span, self.callee(stage))
            else:
                raise self.problem(
                    "F303",
                    f">> takes a function or a tensor on its left, but this is {describe(current)}",
                    stages[0].span,
                )
        return current

    def repeated(self, times: int | float, function: Any, span: Span) -> Any:
        if times != int(times) or not 1 <= times <= MAX_REPEATS:
            raise self.problem(
                "F306",
                f"{times:g} copies of a function",
                span,
                expected=(f"a whole number from 1 to {MAX_REPEATS}",),
                found=f"{times:g}",
            )
        return function if times == 1 else Repeated(int(times), function, span)

    @staticmethod
    def callee(expr: Expr) -> str:
        """The name by which an expression calls something, or ""."""
        while isinstance(expr, Call):
            shares = isinstance(expr.function, Name) and expr.function.id == "share" and expr.arguments
            expr = expr.arguments[0].value if shares else expr.function
        if isinstance(expr, Binary) and expr.operator == "*":
            return Elaborator.callee(expr.right)
        return expr.id if isinstance(expr, Name) else ""

    # ---- calls --------------------------------------------------------------------------------------------------

    def call(self, expr: Call, scope: Scope, name: str) -> Any:
        function = self.value(expr.function, scope)
        if not isinstance(function, FUNCTIONS):
            raise self.problem(
                "F303",
                f"{describe(function)} is called as if it were a function",
                expr.span,
                found=describe(function),
                blame=self.callee(expr),
            )
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
            raise self.problem(
                "F204",
                f"more than {MAX_CALLS} functions inside one another",
                self.calls[0][1],
                help="a function may not apply itself, even through another name",
            )
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
                return special(self, function.name, positional, named, span, spans)
            case Composite() | Repeated() | Shared():
                if named or len(positional) != 1 or not isinstance(positional[0], (Node, int, float)):
                    raise self.problem(
                        "F303",
                        "this function takes one tensor and no named arguments",
                        span,
                        help="give the arguments to the functions that it is made of",
                    )
                if isinstance(function, Composite):
                    value = positional[0]
                    for part, at in zip(function.parts, function.spans, strict=True):
                        value = self.apply(part, [value], at, self.title(part))
                    return value
                if not isinstance(positional[0], Node):
                    raise self.problem("F303", "copies and shared functions take a tensor", span)
                if isinstance(function, Repeated):
                    return repeat(self, function, positional[0], span, called)
                return shared(self, function, positional[0], span, called)
            case Partial():
                merged = dict(function.given)
                for key, value in named.items():
                    merged[key] = value
                return self.bind(
                    function.function,
                    positional,
                    merged,
                    span,
                    called,
                    {**{name: at for name, at in function.spans.items() if isinstance(name, str)}, **spans},
                    set(function.given),
                )
        return self.bind(function, positional, named, span, called, spans, set())

    @staticmethod
    def title(function: Any) -> str:
        while isinstance(function, (Partial, Repeated, Shared)) and not getattr(function, "name", ""):
            function = function.function
        return getattr(function, "name", "")

    def bind(
        self, function: Any, positional: list[Any], named: dict, span: Span, called: str, spans: dict, given: set
    ) -> Any:
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
                "F305",
                f"{title} takes {_count(len(open_names), 'argument')} by position, but {len(positional)} are given",
                span,
                expected=tuple(open_names),
                found=str(len(positional)),
                help=f"its arguments are {', '.join(names)}",
            )
        bound = dict(named)
        for at, name in enumerate(open_names[: len(positional)] if spans else ()):
            if at in spans:
                spans.setdefault(name, spans[at])
        for name, value in zip(open_names, positional, strict=False):
            if name in bound:
                raise self.problem("F203", f"{title} is given {name} twice", spans.get(name, span), found=name)
            bound[name] = value
        if names and names[0] in required and names[0] not in bound:
            return Partial(function, bound, spans)
        missing = [n for n in names if n in required and n not in bound]
        if missing:
            raise self.problem(
                "F304",
                f"{title} needs {' and '.join(missing)}",
                span,
                expected=tuple(missing),
                help=f"write {missing[0]} = …",
            )
        if isinstance(function, Primitive):
            return run_primitive(self, function, bound, span, spans)
        return run_closure(self, function, bound, span, called)

    def unknown_argument(self, title: str, name: str, names: list[str], span: Span) -> Problem:
        d = unknown_argument(title, name, names, span)
        return self.problem(d.code, d.message, span, expected=d.expected, found=d.found, help=d.help, fixes=d.fixes)

    # ---- the whole ----------------------------------------------------------------------------------------------

    def model(self) -> Unit | None:
        """The model's unit, or None where it has errors."""
        definition = self.genome.definition("model")
        if definition is None:
            return None
        with self.frame("model") as frame:
            tokens = self.enter(frame, "tokens", TOKENS, definition.span)
            self.leading = [TOKENS]
            function = self.attempt(lambda: self.lookup("model", self.scope, definition.span), definition.span)
            if function is None:
                return None
            result = self.attempt(lambda: self.run_model(function, tokens, definition), definition.value.span)
            if result is None:
                return None
        unit, kept, _ = self.close(frame, result, "model", comments=definition.comments, span=definition.span)
        if not kept:
            self.report(self.problem("F308", "the model does not use its tokens", definition.span))
            return None
        return unit

    def run_model(self, function: Any, tokens: Node, definition: Definition) -> Node:
        if not isinstance(function, FUNCTIONS):
            raise self.problem(
                "F308",
                f"model is {describe(function)} instead of a function from tokens to logits",
                definition.value.span,
                help="write model = embed(vocab = 256, width = 64) >> … >> unembed()",
            )
        result = self.apply(function, [tokens], definition.value.span, "model")
        if not isinstance(result, Node):
            raise self.problem("F308", f"model gives {describe(result)} instead of logits", definition.value.span)
        if not result.type.is_seq:
            raise self.problem(
                "F301",
                f"model gives {result.type} instead of logits seq[vocab]",
                definition.value.span,
                expected=("seq[vocab]",),
                found=str(result.type),
            )
        return result

    def attempt(self, action: Callable[[], Any], span: Span) -> Any:
        """What an action gives, None where it fails; `span` is where what it does as a whole stands."""
        try:
            return action()
        except Problem as problem:
            self.report(problem)
        except Silent:
            pass
        except Inline:
            message = "a score, a mask or a shared function embeds tokens or unembeds with tied weights"
            help = "do that in the model itself, and pass on what it gives"
            self.report(self.problem("F308", message, span, help=help))
        except RecursionError:
            help = "use fewer functions inside functions"
            self.report(self.problem("F402", "the genome expands too deeply", span, help=help))
        return None

    def whole_recipe(self, vocab: int) -> Recipe | None:
        """The recipe, for a model with so many logits."""
        self.vocab = vocab
        definition = self.genome.definition("recipe")
        span = definition.value.span if definition else NOWHERE
        if definition is None:
            recipe = self.attempt(lambda: special(self, "train", [], {}, NOWHERE, {}), span)
        else:
            recipe = self.attempt(lambda: self.lookup("recipe", self.scope, span), span)
        if recipe is None:
            return None
        if not isinstance(recipe, Recipe):
            message = f"recipe is {describe(recipe)} instead of a recipe"
            self.report(self.problem("F310", message, span, help="write recipe = train(…)"))
            return None
        return recipe


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
