"""Other spellings of a genome: what docs/language.md says means the same, one change at one drawn place each.

A respelling takes a genome's `Sight` and a Draw, and gives a text, or None where it finds no place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from foundry.dsl.check import Checked, examine, prelude
from foundry.dsl.effects import SILENT, Sight, pure
from foundry.dsl.expand import ExpandError, expand
from foundry.dsl.format import format_genome
from foundry.dsl.inline import self_contained
from foundry.dsl.lexer import Source, Word
from foundry.dsl.parse import lexer, parse
from foundry.dsl.registry import OPTIMIZERS, SLOTS, SPECIAL
from foundry.dsl.resolve import ROOTS
from foundry.dsl.signatures import places, signatures
from foundry.dsl.substitute import Captured, free, fresh_name, substitute, used_names
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
    Number,
    Parameter,
    Path,
    Unary,
    put,
    walk,
)
from foundry.dsl.types import TensorType
from foundry.generate.draw import Draw, shuffled

T = TypeVar("T")

MIRRORED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
COMMUTATIVE = ("+", "*", "==", "!=", "&", "|")
SLOT_NAMES = frozenset(name for names in SLOTS.values() for name in names)
NO_CALL = frozenset(SPECIAL - set(OPTIMIZERS) - {"train"}) | {
    "max",
    "min",
    "concat",
}  # take arguments of their own kind


@dataclass(frozen=True)
class Genes:
    """A genome that checks, as respellings see it."""

    text: str
    checked: Checked

    @cached_property
    def tree(self) -> Genome:
        assert self.checked.genome is not None
        return self.checked.genome

    @cached_property
    def expressions(self) -> list[tuple[Path, Expr]]:
        """Every expression with its path."""
        kinds = (Number, Name, ListOf, Call, Unary, Binary, Function, Block)
        return [(path, node) for path, node in walk(self.tree) if isinstance(node, kinds)]

    @cached_property
    def names(self) -> set[str]:
        """Every name in the genome, and in the prelude."""
        return used_names(self.tree) | {d.name for d in prelude().definitions}

    @cached_property
    def bound(self) -> set[str]:
        """The names that something in the genome binds: they do not mean what they mean in the language."""
        bound = (Definition, Binding, Parameter)
        return {node.name for _, node in walk(self.tree) if isinstance(node, bound)}

    @cached_property
    def local(self) -> set[str]:
        """The names that are bound within a definition."""
        return {node.name for _, node in walk(self.tree) if isinstance(node, (Binding, Parameter))}

    def fresh(self, stem: str) -> str:
        return fresh_name(stem, self.names)

    def is_tensor(self, path: Path) -> bool:
        """Whether an expression was evaluated, and always to a tensor."""
        sorts = self.checked.sorts.get(path, ())
        return bool(sorts) and all(isinstance(sort, TensorType) for sort in sorts)

    def is_value(self, path: Path) -> bool:
        """Whether it was evaluated, and always to a tensor or a number."""
        sorts = self.checked.sorts.get(path, ())
        return bool(sorts) and all(isinstance(sort, TensorType) or sort == "number" for sort in sorts)

    def silent(self, expr: Expr) -> bool:
        """Whether evaluating it certainly learns nothing, so that it may come before or after what learns."""
        return pure(expr, Sight(lambda e: False, self.bound & SILENT, {}))

    def put(self, path: Path, new: Expr | Definition) -> str:
        """The genome with what stands at a path replaced."""
        return format_genome(put(self.tree, path, new))


def genes(text: str) -> Genes:
    """A genome that checks, ready for respellings."""
    return Genes(text, examine(text))


Respelling = Callable[[Genes, Draw], str | None]


def _one(draw: Draw, found: Sequence[T]) -> T | None:
    return draw.choice(found) if found else None


# Layout ------------------------------------------------------------------------------------------------------------


def layout(of: Genes, draw: Draw) -> str | None:
    """Other white space, and comments, between the words."""
    gaps = (" ", "\n", "", "\t", "\r\n", "  # a { remark; }\n", " #\n")
    out = ""
    for before, word in _with_before(of.text):
        gap = draw.choice(gaps)
        glued = before and (before.text[-1].isalnum() or before.text[-1] in "_.") and _is_word(word)
        signs = before and not _is_word(before) and not _is_word(word)  # two signs may be read as one
        out += (gap or " " if glued or signs else gap) + word.text
    return out + "\n"


def _with_before(text: str) -> Iterator[tuple[Word | None, Word]]:
    before = None
    for word in lexer().words(Source(text, ""))[:-1]:
        yield before, word
        before = word


def _is_word(word: Word) -> bool:
    return word.text[0].isalnum() or word.text[0] in "_."


def parentheses(of: Genes, draw: Draw) -> str | None:
    """Parentheses around an expression that has none."""
    found = _one(draw, of.expressions)
    if found is None:
        return None
    data, span = of.text.encode(), found[1].span
    return b"".join((data[: span.start], b"(", data[span.start : span.end], b")", data[span.end :])).decode()


# Numbers and operators ---------------------------------------------------------------------------------------------


def constants(of: Genes, draw: Draw) -> str | None:
    """A number as arithmetic on others."""
    found = _one(draw, [(p, e) for p, e in of.expressions if isinstance(e, Number)])
    if found is None:
        return None
    value = found[1].value
    ways: list[Expr] = [Unary("-", Unary("-", Number(value))), Binary("*", Number(1), Number(value))]
    if isinstance(value, int):
        ways += [Binary("+", Number(value - 1), Number(1))] if value else []
        ways += [Binary("*", Number(2), Number(value // 2))] if value % 2 == 0 else []
    elif math.ldexp(value, -1) * 2 == value:
        ways.append(Binary("+", Number(math.ldexp(value, -1)), Number(math.ldexp(value, -1))))
    return of.put(found[0], draw.choice(ways))


def commuted(of: Genes, draw: Draw) -> str | None:
    """The operands of `+`, `*`, `==`, `!=`, `&` or `|` in the other order, or a comparison from right to left."""
    found = [
        (path, e)
        for path, e in of.expressions
        if isinstance(e, Binary)
        and (e.operator in COMMUTATIVE or e.operator in MIRRORED)
        and of.is_value((*path, "left"))
        and of.is_value((*path, "right"))
        and (of.silent(e.left) or of.silent(e.right))
    ]
    place = _one(draw, found)
    if place is None:
        return None
    e = place[1]
    return of.put(place[0], replace(e, operator=MIRRORED.get(e.operator, e.operator), left=e.right, right=e.left))


# Arguments ---------------------------------------------------------------------------------------------------------


def _calls(of: Genes) -> list[tuple[Path, Call]]:
    """Calls, by name, of functions whose arguments are known."""
    known = signatures({d.name: d for d in of.tree.definitions})
    return [
        (path, e)
        for path, e in of.expressions
        if isinstance(e, Call)
        and isinstance(e.function, Name)
        and e.function.id in known
        and e.function.id not in of.local | NO_CALL
    ]


def named(of: Genes, draw: Draw) -> str | None:
    """Arguments by position given by name, from one of them on."""
    place = _one(draw, [(p, c) for p, c in _calls(of) if any(not a.name for a in c.arguments)])
    if place is None:
        return None
    path, call = place
    known = signatures({d.name: d for d in of.tree.definitions})
    taken = places(call.arguments, known[call.function.id])  # type: ignore[union-attr]
    begin = draw.integer(0, sum(not a.name for a in call.arguments) - 1)
    if not all(taken):
        return None
    arguments = tuple(
        replace(a, name=a.name or t.name) if n >= begin and t is not None else a
        for n, (a, t) in enumerate(zip(call.arguments, taken, strict=True))
    )
    return of.put(path, replace(call, arguments=arguments))


def reordered(of: Genes, draw: Draw) -> str | None:
    """Named arguments in another order, where at most one of them learns."""
    found = []
    for path, e in of.expressions:
        if isinstance(e, Call) and sum(bool(a.name) for a in e.arguments) > 1:
            loud = [a for a in e.arguments if not of.silent(a.value)]
            if len(loud) < 2:
                found.append((path, e))
    if not found:
        return None
    path, call = draw.choice(found)
    fixed = [a for a in call.arguments if not a.name]
    return of.put(path, replace(call, arguments=(*fixed, *shuffled(draw, [a for a in call.arguments if a.name]))))


def defaults(of: Genes, draw: Draw) -> str | None:
    """A default written out."""
    known = signatures({d.name: d for d in of.tree.definitions})
    found = []
    for path, call in _calls(of):
        taken = known[call.function.id]  # type: ignore[union-attr]
        given = {t.name for t in places(call.arguments, taken) if t is not None}
        for t in taken:
            value = _plain(t.default or "")
            if t.name not in given and value is not None and not free(value) & of.bound:
                found.append((path, call, Argument(t.name, value)))
    if not found:
        return None
    path, call, argument = draw.choice(found)
    return of.put(path, replace(call, arguments=(*call.arguments, argument)))


def _plain(text: str) -> Expr | None:
    """A default that is a number, a list of numbers or a name of the prelude, else None."""
    if not text:
        return None
    value = parse(f"@foundry(1);\na = {text};").definitions[0].value
    own = {d.name for d in prelude().definitions}
    plain = isinstance(value, (Number, ListOf)) or (isinstance(value, Name) and value.id in own)
    return value if plain else None


# Names -------------------------------------------------------------------------------------------------------------


def renamed_definition(of: Genes, draw: Draw) -> str | None:
    """A definition under another name."""
    own = [d.name for d in of.tree.definitions if d.name not in ROOTS]
    if not own:
        return None
    old = draw.choice(own)
    new = of.fresh(draw.choice((old, "zz", "a_rather_long_name_for_what_it_does")))
    definitions = []
    for definition in of.tree.definitions:
        whole = Function(definition.parameters or (), definition.value)
        try:
            again = substitute(whole, {old: Name(new)})
        except Captured:
            return None
        assert isinstance(again, Function)
        parameters = None if definition.parameters is None else again.parameters
        name = new if definition.name == old else definition.name
        definitions.append(replace(definition, name=name, parameters=parameters, value=again.body))
    return format_genome(replace(of.tree, definitions=tuple(definitions)))


def renamed_parameter(of: Genes, draw: Draw) -> str | None:
    """A parameter under another name, where nothing gives it by name."""
    by_name = SLOT_NAMES | {node.name for _, node in walk(of.tree) if isinstance(node, Argument)}
    functions = [
        (path, node, n)
        for path, node in walk(of.tree)
        if isinstance(node, (Function, Definition)) and node.parameters
        for n, parameter in enumerate(node.parameters)
        if parameter.name not in by_name
    ]
    if not functions:
        return None
    path, node, n = draw.choice(functions)
    body = node.body if isinstance(node, Function) else node.value
    assert node.parameters is not None
    old, new = node.parameters[n], of.fresh("zz")
    rest = substitute(Function(node.parameters[n + 1 :], body), {old.name: Name(new)})
    assert isinstance(rest, Function)
    parameters = (*node.parameters[:n], replace(old, name=new), *rest.parameters)
    if isinstance(node, Function):
        return of.put(path, replace(node, parameters=parameters, body=rest.body))
    return of.put(path, replace(node, parameters=parameters, value=rest.body))


def renamed_binding(of: Genes, draw: Draw) -> str | None:
    """A binding under another name."""
    found = [(p, e, n) for p, e in of.expressions if isinstance(e, Block) for n, _ in enumerate(e.bindings)]
    if not found:
        return None
    path, whole, n = draw.choice(found)
    assert isinstance(whole, Block)
    old, new = whole.bindings[n], of.fresh("zz")
    rest = substitute(Block(whole.bindings[n + 1 :], whole.result), {old.name: Name(new)})
    assert isinstance(rest, Block)
    bindings = (*whole.bindings[:n], replace(old, name=new), *rest.bindings)
    return of.put(path, replace(whole, bindings=bindings, result=rest.result))


def bound_value(of: Genes, draw: Draw) -> str | None:
    """A value given a name before it is used."""
    found = _one(draw, [(p, e) for p, e in of.expressions if of.is_tensor(p)])
    if found is None:
        return None
    name = of.fresh("zz")
    return of.put(found[0], Block((Binding(name, found[1]),), Name(name)))


# Code that does nothing --------------------------------------------------------------------------------------------


def identity(of: Genes, draw: Draw) -> str | None:
    """A value passed through `identity`."""
    found = _one(draw, [(p, e) for p, e in of.expressions if of.is_tensor(p)])
    if found is None or "identity" in of.bound:
        return None
    return of.put(found[0], Call(Name("identity"), (Argument("", found[1]),)))


def dead_binding(of: Genes, draw: Draw) -> str | None:
    """A binding that nothing uses: another one's value a second time.

    An embedding is never unused, since what is tied is tied to the first of them; here only the model embeds.
    """
    if any(_embeds(d.value) for d in of.tree.definitions if d.name != "model"):
        return None
    found = [
        (path, e, n)
        for path, e in of.expressions
        if isinstance(e, Block)
        for n in range(len(e.bindings))
        if of.is_tensor((*path, "bindings", n, "value")) and not _embeds(e.bindings[n].value)
    ]
    if not found:
        return None
    path, whole, n = draw.choice(found)
    assert isinstance(whole, Block)
    dead = Binding(of.fresh("unused"), whole.bindings[n].value)
    return of.put(path, replace(whole, bindings=(*whole.bindings[:n], dead, *whole.bindings[n:])))


def _embeds(expr: Expr) -> bool:
    return any(node == Name("embed") for _, node in walk(expr))


def dead_definition(of: Genes, draw: Draw) -> str | None:
    """A definition that nothing uses: another one's value a second time."""
    copied = draw.choice(of.tree.definitions)
    dead = replace(copied, name=of.fresh("unused"), comments=())
    place = draw.integer(0, len(of.tree.definitions))
    definitions = of.tree.definitions
    return format_genome(replace(of.tree, definitions=(*definitions[:place], dead, *definitions[place:])))


# Structure ---------------------------------------------------------------------------------------------------------


def definitions_in_another_order(of: Genes, draw: Draw) -> str | None:
    if len(of.tree.definitions) < 2:
        return None
    return format_genome(replace(of.tree, definitions=tuple(shuffled(draw, of.tree.definitions))))


def piped(of: Genes, draw: Draw) -> str | None:
    """`f(x, n)` as `x >> f(n)`."""
    known = signatures({d.name: d for d in of.tree.definitions})
    found: list[tuple[Path, Expr]] = []
    for path, call in _calls(of):
        taken = known[call.function.id]  # type: ignore[union-attr]
        given = places(call.arguments, taken)
        leads = given[:1] == [taken[0]] and not call.arguments[0].name and taken[0].required
        if leads and of.is_tensor((*path, "arguments", 0, "value")) and all(given):
            rest = [Argument(t.name, a.value) for a, t in zip(call.arguments, given, strict=True) if t is not None][1:]
            function = Call(call.function, tuple(rest)) if rest else call.function
            found.append((path, Binary(">>", call.arguments[0].value, function)))
    place = _one(draw, found)
    return None if place is None else of.put(*place)


def applied(of: Genes, draw: Draw) -> str | None:
    """`x >> f` as `f(x)`."""
    found = [
        (path, e)
        for path, e in of.expressions
        if isinstance(e, Binary)
        and e.operator == ">>"
        and of.is_tensor((*path, "left"))
        and (of.silent(e.left) or _quiet(of, e.right))
    ]
    place = _one(draw, found)
    if place is None:
        return None
    return of.put(place[0], Call(place[1].right, (Argument("", place[1].left),)))


def _quiet(of: Genes, function: Expr) -> bool:
    """Whether a function's own evaluation, before it is applied, certainly learns and shares nothing."""
    match function:
        case Name() | Function():
            return True
        case Call(Name(id), arguments):
            return id != "share" and all(of.silent(a.value) or _quiet(of, a.value) for a in arguments)
        case Binary("*", _, right):
            return _quiet(of, right)
        case Binary(">>", left, right):
            return _quiet(of, left) and _quiet(of, right)
    return False


def unrolled(of: Genes, draw: Draw) -> str | None:
    """`2 * f` as `f >> f`, in a genome that shares nothing."""
    if "share" in free(Function((), Block((), ListOf(tuple(d.value for d in of.tree.definitions))))):
        return None
    found = [
        (path, e, int(e.left.value))
        for path, e in of.expressions
        if isinstance(e, Binary)
        and e.operator == "*"
        and isinstance(e.left, Number)
        and e.left.value in (2, 3)
        and "function" in of.checked.sorts.get((*path, "right"), ())
        and _quiet(of, e.right)
    ]
    place = _one(draw, found)
    if place is None:
        return None
    out: Expr = place[1].right
    once = out
    for _ in range(place[2] - 1):
        out = Binary(">>", out, once)
    return of.put(place[0], out)


def lifted(of: Genes, draw: Draw) -> str | None:
    """A function without a name given one."""
    found = [(p, e) for p, e in of.expressions if isinstance(e, Function) and not free(e) & of.local and len(p) > 3]
    place = _one(draw, found)
    if place is None:
        return None
    name = of.fresh("zz")
    tree = put(of.tree, place[0], Name(name))
    new = Definition(name, place[1].parameters, place[1].body)
    return format_genome(replace(tree, definitions=(new, *tree.definitions)))


def as_function_value(of: Genes, draw: Draw) -> str | None:
    """`f(x) = …` as `f = fn(x) => …`."""
    own = [n for n, d in enumerate(of.tree.definitions) if d.parameters is not None]
    if not own:
        return None
    n = draw.choice(own)
    old = of.tree.definitions[n]
    new = replace(old, parameters=None, value=Function(old.parameters or (), old.value))
    return of.put(("definitions", n), new)


def expanded(of: Genes, draw: Draw) -> str | None:
    """What `foundry expand` gives: a function or the whole prelude written out."""
    called = sorted({c.function.id for _, c in _calls(of) if isinstance(c.function, Name)})
    names = draw.choice(((), *((name,) for name in called)))
    try:
        return expand(of.text, names)
    except ExpandError:
        return None


def inlined(of: Genes, draw: Draw) -> str | None:
    """What `foundry fmt --inline` gives: the prelude's functions copied in."""
    return format_genome(self_contained(of.tree))


RESPELLINGS: dict[str, Respelling] = {
    "layout": layout,
    "parentheses": parentheses,
    "constants": constants,
    "operands": commuted,
    "arguments by name": named,
    "arguments in another order": reordered,
    "defaults written out": defaults,
    "a definition renamed": renamed_definition,
    "a parameter renamed": renamed_parameter,
    "a binding renamed": renamed_binding,
    "a value bound": bound_value,
    "identity": identity,
    "a dead binding": dead_binding,
    "a dead definition": dead_definition,
    "definitions in another order": definitions_in_another_order,
    "a pipe": piped,
    "an application": applied,
    "repeats unrolled": unrolled,
    "a function named": lifted,
    "a definition as a value": as_function_value,
    "expand": expanded,
    "inline": inlined,
}
