"""What is written on the boxes of a picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from foundry.compiler.outline import Step, purpose
from foundry.compiler.spelling import head
from foundry.dsl.program import Node
from foundry.dsl.quote import cut, named, quote, shown
from foundry.dsl.registry import PRIMITIVES
from foundry.dsl.values import FUNCTIONS

LONGEST = 30  # characters of a line of text


def title(step: Step) -> str:
    """What a box is called: by the function or operation, a linear map by the name of what it gives, and a function
    that was handed in by its parameter too."""
    name = step.title
    if step.op == "call" and name == "fn":
        name = shown(quote(step.function), LONGEST)
    if step.op == "repeat" and not name:
        return "layers"
    if step.op == "linear" and step.label:
        return step.label
    return f"{step.role}: {name}" if step.role and step.role != name else name


def short(step: Step) -> str:
    """All that is said of a step on one line."""
    text = shown(head(step), LONGEST)
    return f"{step.role}: {text}" if step.role else text


def details(step: Step, drawn: Collection[str] = ()) -> tuple[str, ...]:
    """Sizes and settings, a line each; functions that are handed in and `drawn` inside need no mention."""
    attrs = step.node.attrs
    first = next((i for i in step.inputs if isinstance(i, Step)), None)
    match step.op:
        case "linear":
            return (f"{first.type.width:,} → {step.type.width:,}",) if first else ()
        case "embed":
            return (f"{attrs['vocab']:,} {'tokens' if first is not None and first.type.is_tokens else 'positions'}",)
        case "unembed":
            return ("shares the embedding",) if attrs.get("tied") else (f"{attrs['vocab']:,} tokens",)
        case "conv":
            return (f"kernel {attrs['kernel']}",)
        case "experts":
            return (f"{attrs['active']} active",)
        case "shared":
            return ("one set of weights",)
        case "call" | "repeat":
            return tuple(_given(step, drawn))
    slots = [f"{name}: {named(step.arguments[name])}" for name in step.slots if name in step.arguments]
    return tuple(cut(text, LONGEST) for text in (*_settings(step), *slots))


def _settings(step: Step) -> Iterable[str]:
    """The numbers that a primitive was given other than its defaults."""
    for arg in PRIMITIVES[step.op].args if step.op in PRIMITIVES else ():
        value = step.node.attrs.get(arg.name)
        if not arg.is_tensor and isinstance(value, (int, float)) and value != arg.default:
            yield f"{arg.name} {shown(quote(value))}"


def _given(step: Step, drawn: Collection[str]) -> Iterable[str]:
    """The arguments that a call was given, as many to a line as fit."""
    line = ""
    for name, value in step.arguments.items():
        if name not in step.explicit or isinstance(value, Node) or name in drawn:
            continue
        text = f"{name}{':' if isinstance(value, FUNCTIONS) else ''} {shown(quote(value), LONGEST)}"
        if line and len(line) + len(text) + 2 > LONGEST:
            yield line
            line = ""
        line = f"{line}, {text}" if line else text
    if line:
        yield line


def badge(step: Step) -> str:
    """How many copies there are of what a box stands for."""
    times = step.node.attrs.get("times", 1)
    return "" if times == 1 else f"{times} ×, shared" if step.node.attrs.get("shared") else f"× {times}"


def argument_names(step: Step) -> tuple[str, ...]:
    """What the inputs of a step are called where it is defined."""
    if step.op in PRIMITIVES:
        return tuple(arg.name for arg in PRIMITIVES[step.op].args if arg.is_tensor)
    names = tuple(i.title for i in step.body.inputs) if step.body is not None else ()
    return (*names, "weights") if step.node.attrs.get("through") else names


def kind_of(step: Step) -> str:
    """What a box is for: weights, memory (what looks along the sequence), norm, activation, vocabulary, routing,
    structure or block."""
    if step.op == "call":
        light = purpose(step)
        return "block" if step.is_block else light if light in ("norm", "activation") else "structure"
    if step.op in ("repeat", "experts", "shared"):
        return "block"
    if step.op in ("embed", "unembed"):
        return "vocabulary"
    if step.op in ("top", "penalty"):
        return "routing"
    kind = PRIMITIVES[step.op].kind if step.op in PRIMITIVES else "structure"
    return {"weights": "weights", "sequence": "memory"}.get(kind, "structure")
