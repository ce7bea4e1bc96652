"""Fixes for names: of functions, arguments and definitions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce

from foundry.dsl.diagnostics import Edit, Fix
from foundry.dsl.fixes.site import Site
from foundry.dsl.registry import OPTIMIZERS
from foundry.dsl.synonyms import NEEDLESS, arguments_here, plain
from foundry.dsl.syntax import (
    Argument,
    Binary,
    Call,
    Definition,
    Expr,
    Function,
    ListOf,
    Name,
    Number,
    Parameter,
    Path,
)

# What an argument of attention elsewhere is here: another argument, with a function of the prelude.
_WRITTEN_OUT = {
    **dict.fromkeys(("window", "windowsize", "slidingwindow"), ("mask", "window", "size")),
    **dict.fromkeys(("softcap", "logitcap", "cap", "attnlogitsoftcapping"), ("score", "softcap", "cap")),
    **dict.fromkeys(("ropetheta", "ropebase", "theta", "rotarybase"), ("pos", "rope", "theta")),
}
_BETAS = {"beta1": "0.9", "beta2": "0.95"}


def unknown_name(site: Site) -> Iterator[Fix]:
    """Calls of a function that is an operator here, or that does nothing here, all over a definition."""
    here, name = next(site.around(Definition), ()), site.diagnostic.found
    places = [p for p, n in site.nodes.items() if p[: len(here)] == here and isinstance(n, Name) and n.id == name]
    if rewrite := _OPERATORS.get(plain(name)):
        yield from _everywhere("write it with operators", [_rewritten(site, place, rewrite) for place in places])
    if plain(name) == "dropout":
        yield from _everywhere("leave it out", [_without_dropout(site, place) for place in places])


def _everywhere(message: str, parts: list[tuple[Edit, ...]]) -> Iterator[Fix]:
    if all(parts):
        yield Fix(message, tuple(edit for part in parts for edit in part))


def _called(site: Site, path: Path) -> list[Expr] | None:
    """What a function gets by position where it is called; None where it is not."""
    call = site.nodes[site.parent(path)]
    called = isinstance(call, Call) and call.function is site.nodes[path]
    return [a.value for a in call.arguments if not a.name] if isinstance(call, Call) and called else None


def _rewritten(site: Site, path: Path, rewrite: Callable[[list[Expr]], Expr | None]) -> tuple[Edit, ...]:
    """A call as what it is here."""
    new = rewrite(_called(site, path) or [])
    return site.swap(site.parent(path), new) if new is not None else ()


def _without_dropout(site: Site, path: Path) -> tuple[Edit, ...]:
    """`dropout(x, 0.1)` as x, and a pipe without the stage that drops something."""
    values = _called(site, path)
    if values and not isinstance(values[0], Number):
        return site.swap(site.parent(path), values[0])
    stage = path if values is None else site.parent(path)
    pipe = site.nodes[site.parent(stage)]
    if isinstance(pipe, Binary) and pipe.operator == ">>" and pipe.right is site.nodes[stage]:
        return (Edit(pipe.left.span.end, pipe.right.span.end, ""),)
    return ()


def _joined(operator: str) -> Callable[[list[Expr]], Expr | None]:
    """`f(a, b, c)` and `f([a, b, c])` as a, b and c with an operator between."""

    def join(values: list[Expr]) -> Expr | None:
        if len(values) == 1 and isinstance(values[0], ListOf):
            values = list(values[0].items)
        return reduce(lambda a, b: Binary(operator, a, b), values) if len(values) > 1 else None

    return join


def _copies(values: list[Expr]) -> Expr | None:
    if len(values) != 2:
        return None
    f, times = values[::-1] if isinstance(values[0], Number) else values
    return Binary("*", times, f)


def _square(values: list[Expr]) -> Expr | None:
    return Binary("**", values[0], Number(2)) if len(values) == 1 else None


def _residual(values: list[Expr]) -> Expr | None:
    x = Name("x")
    body = [Binary("+", x, Call(f, (Argument("", x),))) for f in values]
    return Function((Parameter("x"),), body[0]) if len(body) == 1 else None


_OPERATORS: dict[str, Callable[[list[Expr]], Expr | None]] = {
    **dict.fromkeys(("sequential", "compose", "chain", "pipeline", "pipe"), _joined(">>")),
    **dict.fromkeys(("repeat", "stack", "repeated", "layers", "copies", "loop"), _copies),
    **dict.fromkeys(("pow", "power"), _joined("**")),
    **dict.fromkeys(("add", "plus"), _joined("+")),
    **dict.fromkeys(("mul", "multiply"), _joined("*")),
    **dict.fromkeys(("sub", "subtract"), _joined("-")),
    **dict.fromkeys(("div", "divide", "truediv"), _joined("/")),
    **dict.fromkeys(("logicaland", "bitwiseand", "andmasks"), _joined("&")),
    **dict.fromkeys(("logicalor", "bitwiseor", "ormasks"), _joined("|")),
    "square": _square,
    "residual": _residual,
}


def unknown_argument(site: Site) -> Iterator[Fix]:
    """An argument that is written in another way here, belongs elsewhere, or is not needed."""
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    call = site.nodes[site.parent(path)] if path is not None else None
    if path is None or not (isinstance(argument, Argument) and isinstance(call, Call)):
        return
    name, legal = plain(argument.name), site.diagnostic.expected
    written = _WRITTEN_OUT.get(name)
    if written and written[0] in legal:
        text = f"{written[0]} = {written[1]}({written[2]} = {site.source(argument.value)})"
        yield Fix(f"write `{text}`", site.replace(argument, text))
    if "optimizer" in legal:
        yield from _of_the_optimizer(site, path, argument, call)
    if name in _BETAS and "betas" in legal:
        yield from _two_betas(site, path, argument, call)
    if name in NEEDLESS:
        yield Fix("leave it out", site.drop(path))


def _of_the_optimizer(site: Site, path: Path, argument: Argument, call: Call) -> Iterator[Fix]:
    """An argument of the optimizer given to train."""
    optimizer = next((a.value for a in call.arguments if a.name == "optimizer"), Call(Name("adamw"), ()))
    kind = optimizer.function.id if isinstance(optimizer, Call) and isinstance(optimizer.function, Name) else ""
    names = [a.name for a in OPTIMIZERS.get(kind, ())]
    here = next((n for n in (argument.name, *arguments_here(argument.name, names)) if n in names), "")
    if not here or not isinstance(optimizer, Call):
        return
    text = f"{here} = {site.source(argument.value)}"
    if not optimizer.span.end:  # there is none yet
        yield Fix(f"write `optimizer = {kind}({text})`", site.replace(argument, f"optimizer = {kind}({text})"))
    elif edits := site.drop(path):
        end = optimizer.span.end - 1
        yield Fix(f"give it to {kind}", (*edits, Edit(end, end, f", {text}" if optimizer.arguments else text)))


def _two_betas(site: Site, path: Path, argument: Argument, call: Call) -> Iterator[Fix]:
    """`beta1 = 0.9, beta2 = 0.95`"""
    given = {plain(a.name): n for n, a in enumerate(call.arguments) if plain(a.name) in _BETAS}
    shown = [site.source(call.arguments[given[n]].value) if n in given else usual for n, usual in _BETAS.items()]
    others = [(*path[:-1], n) for n in given.values() if n != path[-1]]
    text = f"betas = [{', '.join(shown)}]"
    yield Fix(f"write `{text}`", (*site.replace(argument, text), *(edit for p in others for edit in site.drop(p))))


def given_twice(site: Site) -> Iterator[Fix]:
    """An argument given by position and by name."""
    path = site.exactly(Argument)
    if path is not None:
        yield Fix("leave out the second", site.drop(path))


def unused(site: Site) -> Iterator[Fix]:
    """A definition that nothing uses: the recipe by another name, or one to remove with the comments above it."""
    path = site.exactly(Definition)
    definition = site.nodes[path] if path is not None else None
    if not isinstance(definition, Definition):
        return
    trains = isinstance(definition.value, Call) and definition.value.function == Name("train")
    if trains and site.genome.definition("recipe") is None:
        yield Fix("call it recipe", site.rename(definition, "recipe", ()))
    data, span = site.data, definition.span
    start, line = data.rfind(b"\n", 0, span.start) + 1, data.find(b"\n", span.end)
    end = len(data) if line < 0 else line + 1
    if data[start : span.start].strip() or data[span.end : end].strip():  # not alone on its lines
        yield Fix("remove it", site.replace(definition, ""))
        return
    while definition.comments and data[:start].rstrip(b"\n").split(b"\n")[-1].lstrip().startswith(b"#"):
        start = data.rfind(b"\n", 0, start - 1) + 1
    end += data[:start].endswith(b"\n\n") and data[end : end + 1] == b"\n"
    yield Fix("remove it", (Edit(start, end, ""),))


def no_model(site: Site) -> Iterator[Fix]:
    """The definition that was meant as the model: the last that no other one uses."""
    for definition in reversed(site.genome.definitions):
        if definition.name != "recipe" and not list(site.uses(definition.name)):
            yield Fix(f"call {definition.name} model", site.rename(definition, "model", ()))


def reserved(site: Site) -> Iterator[Fix]:
    """A definition with a name of the language."""
    path = site.exactly(Definition)
    definition = site.nodes[path] if path is not None else None
    if isinstance(definition, Definition):
        called = {id(node.function) for node in site.nodes.values() if isinstance(node, Call)}
        uses = (u for u in site.uses(definition.name) if definition.parameters is not None or id(u) not in called)
        new = f"own_{definition.name}"
        yield Fix(f"call it {new}", site.rename(definition, new, uses))
