"""Functions that the checker itself gives meaning to: share, width, max, the optimizers and train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foundry.dsl.frames import describe
from foundry.dsl.primitives import argument, primitive
from foundry.dsl.program import Node, Optimizer, Recipe, Unit
from foundry.dsl.registry import OPTIMIZERS, PRIMITIVES, TRAIN, Arg
from foundry.dsl.slots import slot_unit, view
from foundry.dsl.syntax import Span
from foundry.dsl.types import BOOLEAN, SCALAR, TOKENS, seq
from foundry.dsl.values import FUNCTIONS, Repeated, Shared

if TYPE_CHECKING:
    from foundry.dsl.elaborate import Elaborator


def special(e: Elaborator, name: str, positional: list[Any], named: dict[str, Any], span: Span, spans: dict) -> Any:
    if name in ("train", *OPTIMIZERS):
        args = TRAIN if name == "train" else OPTIMIZERS[name]
        given = arguments(e, name, args, positional, named, span, spans)
        if name == "train":
            return recipe(e, given, span, spans)
        return Optimizer(name, {a.name: argument(e, name, a, given[a.name], spans.get(a.name, span)) for a in args})
    if name in ("max", "min"):
        if named or len(positional) not in (1, 2):
            raise e.problem("F305", f"{name} takes one tensor, or two values, by position", span)
        pair = {"max": ("largest", "maximum"), "min": ("smallest", "minimum")}[name]
        if len(positional) == 1 and not isinstance(positional[0], Node):
            raise e.problem(
                "F303", f"{name} of one value reduces a tensor, but this is {describe(positional[0])}", span
            )
        for value in positional:
            if not isinstance(value, (Node, int, float)):
                raise e.problem("F303", f"{name} takes tensors and numbers, but this is {describe(value)}", span)
        return primitive(e, PRIMITIVES[pair[len(positional) - 1]], positional, {}, span)
    if named or len(positional) != 1:
        raise e.problem("F305", f"{name} takes one argument, by position", span, expected=("x",))
    (value,) = positional
    if name == "share":
        if not isinstance(value, FUNCTIONS):
            raise e.problem("F303", f"share takes a function, but this is {describe(value)}", span)
        if isinstance(value, Repeated):
            return Repeated(value.times, value.function, value.span, True)
        return Shared(value, home=e.frames[-1] if e.frames else None)
    if name in ("query", "key"):
        return view(e, name, value, span)
    if not isinstance(value, Node):
        raise e.problem("F303", f"{name} takes a tensor, but this is {describe(value)}", span)
    axis, size = ("channel", value.type.width) if name == "width" else ("head", value.type.heads)
    if not value.type.has(axis):
        raise e.problem("F301", f"{name} of {value.type}, which has no {axis}s", span)
    return size


def arguments(
    e: Elaborator, title: str, args: tuple[Arg, ...], positional: list[Any], named: dict, span: Span, spans: dict
) -> dict:
    names = [a.name for a in args]
    if len(positional) > len(names):
        raise e.problem(
            "F305",
            f"{title} takes {len(names)} arguments, but {len(positional)} are given",
            span,
            expected=tuple(names),
            found=str(len(positional)),
            help=f"they are {', '.join(names)}",
        )
    for name in named:
        if name not in names:
            raise e.unknown_argument(title, name, names, spans.get(name, span))
    given = {a.name: a.default for a in args}
    given.update(zip(names, positional, strict=False))
    given.update(named)
    return given


def recipe(e: Elaborator, given: dict[str, Any], span: Span, spans: dict) -> Recipe:
    optimizer = given["optimizer"]
    if optimizer is None:
        optimizer = special(e, "adamw", [], {}, span, {})
    if not isinstance(optimizer, Optimizer):
        raise e.problem(
            "F310",
            f"optimizer is {describe(optimizer)} instead of an optimizer",
            spans.get("optimizer", span),
            expected=tuple(OPTIMIZERS),
            help="write optimizer = adamw(lr = 3e-3)",
        )
    numbers = {
        a.name: argument(e, "train", a, given[a.name], spans.get(a.name, span))
        for a in TRAIN
        if a.sort in ("integer", "number")
    }

    def scalar(kind: str, default: Any) -> Unit:
        function = given[kind] if given[kind] is not None else default
        at = spans.get(kind, span)
        if not isinstance(function, (*FUNCTIONS, int, float)):
            raise e.problem(
                "F310", f"{kind} is {describe(function)} instead of a function", at, help=f"write {kind} = fn(t) => …"
            )
        unit = slot_unit(e, function, kind, {"t": SCALAR}, at)
        if unit.result.type.axes:
            raise e.problem("F310", f"{kind} gives {unit.result.type} instead of a number", at)
        return unit

    schedule = scalar("schedule", e.lookup("warmup_cosine", e.prelude_scope, span))
    context = scalar("context", 128)
    loss = given["loss"] if given["loss"] is not None else PRIMITIVES["cross_entropy"]
    at = spans.get("loss", span)
    if not isinstance(loss, FUNCTIONS):
        raise e.problem(
            "F310",
            f"loss is {describe(loss)} instead of a function",
            at,
            help="write loss = fn(logits, y) => cross_entropy(logits, y)",
        )
    slots = {"logits": seq(e.vocab), "y": TOKENS, "teacher": seq(e.vocab)}
    per_token = slot_unit(e, loss, "loss", slots, at)
    t = per_token.result.type
    if t.axes not in (("batch", "token"), ("batch", "token", "channel")) or t.width > 1:
        raise e.problem("F310", f"loss gives {t} instead of one number per token", at)
    if t.dtype == BOOLEAN:
        raise e.problem("F310", "loss gives yes or no instead of one number per token", at)
    if not any(i.attrs["name"] == "logits" for i in per_token.inputs):
        raise e.problem("F310", "loss does not depend on the logits, so nothing could be learned", at)
    difficulty = None if given["difficulty"] is None else scalar("difficulty", None)
    settings = numbers["batch"], numbers["clip"], difficulty, numbers["transfer"]
    return Recipe(optimizer, schedule, per_token, context, *settings)
