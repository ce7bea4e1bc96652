"""The calls of chosen functions in a genome, and what each becomes when it is written out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from foundry.dsl.check import Checked, prelude
from foundry.dsl.effects import Sight, learns_along
from foundry.dsl.inline import Copies, renamed
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.resolve import BUILT_IN
from foundry.dsl.substitute import free
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
    Parameter,
    Unary,
    walk,
)
from foundry.dsl.types import TensorType
from foundry.dsl.unfold import Given, applied, joined, waiting

NEAT, PLAIN, LEAVE = "neat", "plain", "leave"
Form = Callable[[int], str]


@dataclass(frozen=True)
class _Around:
    """What stands around an expression: the local names in sight, and the leading tensor of the function that it is
    in, by what it was: learned values follow its axes."""

    local: frozenset[str] = frozenset()
    lead: frozenset[object] = frozenset()


class Round:
    """One pass over a genome that writes out its outermost calls of the functions `targets`.

    form: what becomes of each call, by its number in the order of the text. A neat one has the arguments in the body
    where that changes nothing, and bindings for the others; a plain one is the function as it stands, applied on the
    spot. found: the targets that were come across, each as often as it was.
    """

    def __init__(self, checked: Checked, targets: frozenset[str], form: Form = lambda number: NEAT):
        assert checked.genome is not None
        self.old, self.targets, self.form = checked.genome, targets, form
        self.found: list[str] = []
        self.copies = Copies(self.old)
        nodes = dict(walk(self.old))
        self.sorts = {id(nodes[path]): sorts for path, sorts in checked.sorts.items()}
        self.optional = _named_from_afar(self.old)

    def genome(self) -> Genome:
        """The genome after the pass."""
        definitions: list[Definition] = []
        for definition in self.old.definitions:
            function = self.inside(Function(definition.parameters or (), definition.value), _Around())
            assert isinstance(function, Function)
            parameters = None if definition.parameters is None else function.parameters
            definitions.append(replace(definition, parameters=parameters, value=function.body))
        return replace(self.old, definitions=(*definitions, *self.copies.definitions()))

    # ---- where calls stand --------------------------------------------------------------------------------------

    def expr(self, expr: Expr, around: _Around) -> Expr:
        target, layers = self.target(expr, around)
        if target:
            self.found.append(target)
            form = self.form(len(self.found) - 1)
            return expr if form == LEAVE else self.written(target, layers, form, around)
        return self.inside(expr, around)

    def inside(self, expr: Expr, around: _Around) -> Expr:
        match expr:
            case Function(parameters, body):
                lead = next((kinds for p in parameters if (kinds := self.tensors_of(p.name, body))), around.lead)
                changed: list[Parameter] = []
                for parameter in parameters:
                    default = None if parameter.default is None else self.expr(parameter.default, around)
                    changed.append(replace(parameter, default=default))
                    around = _Around(around.local | {parameter.name}, lead)
                return replace(expr, parameters=tuple(changed), body=self.expr(body, replace(around, lead=lead)))
            case Block(bindings, result):
                bound = []
                for binding in bindings:
                    bound.append(replace(binding, value=self.expr(binding.value, around)))
                    around = replace(around, local=around.local | {binding.name})
                return _block(expr, tuple(bound), self.expr(result, around))
            case Call(function, arguments):
                called = self.expr(function, around)
                given = tuple(replace(a, value=self.expr(a.value, around)) for a in arguments)
                return replace(expr, function=called, arguments=given)
            case Binary(_, left, right):
                return replace(expr, left=self.expr(left, around), right=self.expr(right, around))
            case Unary(_, operand):
                return replace(expr, operand=self.expr(operand, around))
            case ListOf(items):
                return replace(expr, items=tuple(self.expr(item, around) for item in items))
        return expr

    def target(self, expr: Expr, around: _Around) -> tuple[str, list[tuple[Argument, ...]]]:
        """The function that an expression names or calls, where it is one to be written out, and the arguments of one
        call after the other; "" otherwise."""
        layers: list[tuple[Argument, ...]] = []
        while isinstance(expr, Call):
            layers.insert(0, expr.arguments)
            expr = expr.function
        found = isinstance(expr, Name) and expr.id in self.targets and expr.id not in around.local
        return (expr.id, layers) if found and isinstance(expr, Name) else ("", [])

    # ---- what they become ---------------------------------------------------------------------------------------

    def written(self, name: str, layers: list[tuple[Argument, ...]], form: str, around: _Around) -> Expr:
        """What replaces a call, or a function that is named without being called."""
        sight = self.sight(around)
        definition = self.meant(name, around)
        function: Expr = definition.value
        if definition.parameters is not None:
            function = Function(definition.parameters, definition.value)
            if form == NEAT:
                return self.neat(function, layers, around, sight)
        for arguments in layers:
            call = Call(function, arguments)
            function = joined(call, sight) if form == NEAT else call
        return function

    def neat(self, function: Function, layers: list[tuple[Argument, ...]], around: _Around, sight: Sight) -> Expr:
        given: dict[str, Expr] = {}
        for number, arguments in enumerate(layers):
            for name, value in self.bound(function, arguments, set(given)):
                given.pop(name, None)
                given[name] = value
            if not function.parameters or function.parameters[0].default or function.parameters[0].name in given:
                out = self.result(function, list(given.items()), around, sight)
                for more in layers[number + 1 :]:
                    out = Call(out, more)
                return out
        return waiting(function, list(given.items()), self.left_open(function), sight)

    def result(self, function: Function, given: list[Given], around: _Around, sight: Sight) -> Expr:
        """The result of a function with all that it needs. Where it learns along the axes of its first tensor and
        stands in a function of another one, it stays a function, applied on the spot."""
        if not learns_along(function.body) or self.follows(function, dict(given), around):
            return applied(function, given, sight)
        tensors = [(name, value) for name, value in given if self.tensors(value) or not self.sorts.get(id(value))]
        rest = [(name, value) for name, value in given if (name, value) not in tensors]
        waits = waiting(function, rest, (), sight)
        names = len(tensors) > 1
        return Call(waits, tuple(Argument(name if names else "", value) for name, value in tensors))

    def follows(self, function: Function, given: dict[str, Expr], around: _Around) -> bool:
        """Whether the axes of a function's first tensor are those of the function around."""
        lead = next((kinds for p in function.parameters if (kinds := self.tensors(given.get(p.name)))), frozenset())
        if any(isinstance(kind, TensorType) and kind.has("key") for kind in lead):
            return True  # a score: what is learned there follows the heads, whichever function it stands in
        return len(lead) == 1 and lead == around.lead

    def bound(self, function: Function, arguments: tuple[Argument, ...], given: set[str]) -> list[Given]:
        """The parameter of each argument of a call. A number given by position where a tensor leads is the argument
        after it, as the checker has it."""
        names = [p.name for p in function.parameters]
        positional = [a for a in arguments if not a.name]
        named = given | {a.name for a in arguments if a.name}
        left = [name for name in names if name not in given]
        skips = len(left) > 1 and left[0] == names[0] and names[0] not in named
        whole = len(positional) == len(left) and not named
        if skips and positional and not whole and not self.may_be_tensor(positional[0].value):
            left = left[1:]
        places = iter(left)
        return [(a.name or next(places), a.value) for a in arguments]

    def meant(self, name: str, around: _Around) -> Definition:
        """The definition of a name; what a local name or one of the genome's hides in it goes by another."""
        own = self.old.definition(name)
        definition = own or self.copies.theirs[name]
        names: dict[str, str] = {}
        for used in sorted(free(definition)):
            if own is None and used in self.copies.own:
                names[used] = self.copies.copy(used)
            elif used in around.local:
                names[used] = self.copies.alias(used)
        return renamed(definition, names)

    # ---- what is known ------------------------------------------------------------------------------------------

    def sight(self, around: _Around) -> Sight:
        shadowed = around.local | self.copies.own
        leading = {name: entry.args[0].name for name, entry in PRIMITIVES.items()}
        for definition in (*self.copies.theirs.values(), *self.old.definitions):
            if definition.parameters:
                leading[definition.name] = definition.parameters[0].name
        return Sight(
            lambda expr: self.tensors(expr) == frozenset() and "function" in self.sorts.get(id(expr), ()),
            shadowed,
            {name: first for name, first in leading.items() if name not in around.local},
        )

    def tensors(self, expr: Expr | None) -> frozenset[object]:
        """The tensors that an expression was."""
        return frozenset(sort for sort in self.sorts.get(id(expr), ()) if isinstance(sort, TensorType))

    def tensors_of(self, name: str, body: Expr) -> frozenset[object]:
        """The tensors that a parameter was, from the first place in the body that uses it."""
        first = next((node for _, node in walk(body) if node == Name(name)), None)
        return self.tensors(first)

    def may_be_tensor(self, expr: Expr) -> bool:
        return bool(self.tensors(expr)) or not self.sorts.get(id(expr))

    def left_open(self, function: Function) -> set[str]:
        """The parameters with a default that someone may give, where the function is passed on."""
        return {p.name for p in function.parameters if self.optional is None or p.name in self.optional}


def _block(block: Block, bindings: tuple[Binding, ...], result: Expr) -> Block:
    """A block with new parts; a result that has become a block is joined to it."""
    if not isinstance(result, Block) or result is block.result:
        return replace(block, bindings=bindings, result=result)
    first, *rest = result.bindings
    inner = (replace(first, comments=(*block.comments, *first.comments)), *rest)
    return replace(result, bindings=(*bindings, *inner))


def _named_from_afar(genome: Genome) -> set[str] | None:
    """The names of arguments that are given to functions which are not called by their own name: through a parameter,
    a binding, or another name. None where one is given several by position, which may be any of them."""
    known = {d.name for d in prelude().definitions} | set(BUILT_IN)
    known |= {d.name for d in genome.definitions if d.parameters is not None}
    known -= {d.name for d in genome.definitions if d.parameters is None}
    known -= {node.name for _, node in walk(genome) if isinstance(node, (Binding, Parameter))}
    out: set[str] = set()
    for _, node in walk(genome):
        if isinstance(node, Call):
            called: Expr = node
            while isinstance(called, Call):
                called = called.function
            if isinstance(called, Function) or (isinstance(called, Name) and called.id in known):
                continue
            if sum(not a.name for a in node.arguments) > 1:
                return None
            out |= {a.name for a in node.arguments if a.name}
    return out
