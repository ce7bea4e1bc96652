"""Fixes for functions in slots (scores, masks, losses, schedules) and for recipes."""

from __future__ import annotations

from collections.abc import Iterator

from foundry.dsl.diagnostics import Edit, Fix
from foundry.dsl.fixes.site import Site
from foundry.dsl.registry import OPTIMIZERS, SLOTS
from foundry.dsl.resolve import free_names
from foundry.dsl.synonyms import plain
from foundry.dsl.syntax import Argument, Binary, Call, Definition, Expr, Function, ListOf, Name, Path, walk

COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")

# What people and other libraries call what a slot binds; None: what nothing here needs.
_BOUND: dict[str, str | None] = {
    **dict.fromkeys(("qidx", "qi", "qpos", "queryidx", "queryindex", "queryposition", "row", "qindex"), "i"),
    **dict.fromkeys(("kvidx", "kidx", "ki", "kpos", "kvpos", "keyidx", "keyindex", "keyposition", "col"), "j"),
    **dict.fromkeys(("head", "headidx", "hidx", "headindex"), "h"),
    **dict.fromkeys(("score", "scores", "logit", "qk", "attn", "sim"), "s"),
    **dict.fromkeys(("pred", "preds", "prediction", "predictions", "output", "outputs", "ypred", "yhat"), "logits"),
    **dict.fromkeys(("target", "targets", "label", "labels", "ytrue", "tokens", "gold"), "y"),
    **dict.fromkeys(("teacherlogits", "teachers"), "teacher"),
    **dict.fromkeys(("step", "progress", "epoch", "time", "iteration", "frac", "pct"), "t"),
    **dict.fromkeys(("b", "batch", "batchidx", "bidx", "total", "totalsteps", "maxsteps", "steps"), None),
}


def slot(site: Site) -> Iterator[Fix]:
    """A function that does not fit its slot."""
    path = site.exactly(Argument)
    argument = site.nodes[path] if path is not None else None
    if path is None or not isinstance(argument, Argument):
        return
    function = _function(site, argument.value)
    if function is not None:
        yield from _renamed(site, argument.name, function)
        yield from _wrapped(site, argument.name, function)
    if argument.name == "score":  # one that says yes or no
        start = argument.span.start
        yield Fix("give it as mask", (Edit(start, start + len("score"), "mask"),))
    value = argument.value
    if isinstance(value, Call) and len(value.arguments) == 1 and not value.arguments[0].name:
        start = value.arguments[0].span.start
        for name in site.diagnostic.expected[:2]:
            yield Fix(f"give it as {name}", (Edit(start, start, f"{name} = "),))
    elif function is None:
        yield Fix("leave it out", site.drop(path))


def _function(site: Site, value: Expr) -> Function | Definition | None:
    """The function that a value is or names, where the genome holds it."""
    if isinstance(value, Function):
        return value
    called = value.function if isinstance(value, Call) else value
    definition = site.genome.definition(called.id) if isinstance(called, Name) else None
    return definition if definition is not None and definition.parameters is not None else None


def _body(function: Function | Definition) -> Expr:
    return function.body if isinstance(function, Function) else function.value


def _renamed(site: Site, kind: str, function: Function | Definition) -> Iterator[Fix]:
    """Parameters by the names that the slot binds, but for those that nothing needs."""
    parameters, body, legal = function.parameters or (), _body(function), SLOTS.get(kind, ())
    place = next(path for path, node in site.nodes.items() if node is function)
    kept, edits = [], []
    for parameter in parameters:
        new = _BOUND.get(plain(parameter.name), parameter.name) if parameter.name not in legal else parameter.name
        uses = [use for use, _ in free_names(body, frozenset()) if use.id == parameter.name]
        if new is None and not uses:
            continue
        kept.append((parameter, new or parameter.name))
        edits += [edit for use in uses for edit in site.replace(use, new or use.id) if new != use.id]
    names = [new for _, new in kept]
    if len(set(names)) < len(names) or names == [parameter.name for parameter in parameters] or not kept:
        return
    first, last = (site.nodes[(*place, "parameters", n)].span for n in (0, len(parameters) - 1))
    shown = [site.source(p).replace(p.name, new, 1) for p, new in kept]
    head = Edit(first.start, last.end, ", ".join(shown))
    yield Fix(f"name its parameters {', '.join(names)}", (head, *sorted(edits, key=lambda edit: edit.start)))


def _compares(body: Expr) -> bool:
    """Whether a number comes of comparisons, so that it is 0 or 1."""
    return any(isinstance(node, Binary) and node.operator in COMPARISONS for _, node in walk(body))


def _wrapped(site: Site, kind: str, function: Function | Definition) -> Iterator[Fix]:
    """A mask that gives numbers, of which 0 means no; a loss with a term for each channel."""
    if kind == "mask" and _compares(_body(function)):
        yield Fix("compare with 0", site.wrap(_body(function), "(", ") != 0"))
    elif kind == "mask":
        yield Fix("compare with a number", site.wrap(_body(function), "", " < 64"))
    elif kind == "loss":
        yield Fix("take the mean", site.wrap(_body(function), "mean(", ")"))


def recipe(site: Site) -> Iterator[Fix]:
    """Something in a recipe that does not describe training."""
    path, definition = site.exactly(Argument), site.genome.definition("recipe")
    argument = site.nodes[path] if path is not None else None
    if path is not None and isinstance(argument, Argument):
        yield from _of_train(site, path, argument)
    elif definition is not None and isinstance(definition.value, Call) and definition.value.function != Name("train"):
        yield Fix("give it to train", site.wrap(definition.value, "train(optimizer = ", ")"))


def _of_train(site: Site, path: Path, argument: Argument) -> Iterator[Fix]:
    """An argument of train that is something else than it should be."""
    value, function = argument.value, _function(site, argument.value)
    if argument.name == "optimizer" and isinstance(value, Name) and value.id in OPTIMIZERS:
        yield Fix(f"write {value.id}()", (Edit(value.span.end, value.span.end, "()"),))
        return
    if isinstance(value, ListOf) and value.items:
        yield Fix("use the last of them", site.replace(value, site.source(value.items[-1])))
    elif function is not None:
        yield from _wrapped(site, argument.name, function)
    yield Fix("leave it out", site.drop(path))
