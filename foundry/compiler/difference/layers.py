"""The layers of a model in depth, copies counted, and how to say which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundry.compiler.difference.view import View, overlap
from foundry.compiler.outline import Step, as_call, title_of
from foundry.compiler.spelling import described
from foundry.dsl.frames import PRELUDE
from foundry.dsl.trace import closure_of
from foundry.dsl.values import FUNCTIONS

MOST = 4096  # layers that are told apart
LONGEST = 8  # stages of a pattern that are written out
LONG = 40  # characters of a stage


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: what it does as a call, and which set of weights it has."""

    step: Step
    weights: object


def layer_steps(view: View, is_model: bool) -> list[Step]:
    """The steps of a body that are layers: repeats, and beside them (or in a model) blocks that hand on what they give
    as it is, or have the name of one that does."""
    steps = view.order
    if not is_model and not any(step.op == "repeat" for step in steps):
        return []
    handed_on = {view.resolve(i) for s in steps if not s.is_term for i in s.inputs if isinstance(i, Step)}
    found = {s for s in steps if s.op == "repeat" or (_keeps_type(s) and s in handed_on and _is_own(s))}
    titles = {step.title for step in found}
    return [step for step in steps if step in found or (_keeps_type(step) and step.title in titles)]


def holds_layers(step: Step) -> bool:
    """Whether a call is a wrapping around repeated layers."""
    return step.op == "call" and step.body is not None and any(s.op == "repeat" for s in step.body.steps)


def _is_own(step: Step) -> bool:
    """Whether a function is the genome's own: one of the prelude is a part of a layer."""
    closure = closure_of(step.function)
    return closure is not None and closure.span.file != PRELUDE


def _keeps_type(step: Step) -> bool:
    first = next((i for i in step.inputs if isinstance(i, Step)), None)
    return step.op == "call" and step.is_block and first is not None and first.type == step.type


def depth(steps: Sequence[Step]) -> int:
    """How many layers there are."""
    return sum(_times(step) * depth(_parts(step)) if _parts(step) else _times(step) for step in steps)


def layers(steps: Sequence[Step], within: object = ()) -> list[Layer]:
    """The layers in the order in which they run, the first `MOST` of them."""
    out: list[Layer] = []
    for n, step in enumerate(steps):
        for copy in range(_times(step)):
            if len(out) >= MOST:
                return out[:MOST]
            weights: object = (within, step.node.instance or n, 0 if step.node.attrs.get("shared") else copy)
            if step.node.attrs.get("through"):
                weights = step.title
            parts = _parts(step)
            out += layers(parts, weights) if parts else [Layer(as_call(step), weights)]
    return out[:MOST]


def likest(layer: Layer, others: Sequence[Layer]) -> Layer:
    """Of other layers, the one that does the same, has the same name, or has the most operations in common."""
    step = layer.step
    return max(
        others,
        key=lambda o: (o.step.digest == step.digest, o.step.title == step.title, round(overlap(o.step, step), 6)),
    )


def _times(step: Step) -> int:
    return int(step.node.attrs["times"]) if step.op == "repeat" else 1


def _parts(step: Step) -> list[Step]:
    """The layers that one pass of a repeat consists of, where it has no more than them."""
    body = step.body
    if step.op != "repeat" or step.title or body is None:
        return []
    return list(body.steps) if all(s.op == "repeat" or _keeps_type(s) for s in body.steps) else []


def sharing(stack: Sequence[Layer]) -> tuple[int, ...]:
    """For each layer, the first one that has its weights."""
    first: dict[object, int] = {}
    return tuple(first.setdefault(layer.weights, n) for n, layer in enumerate(stack))


def sharing_in_words(stack: Sequence[Layer]) -> str:
    sets = len(set(sharing(stack)))
    if sets == len(stack):
        return "each with its own weights"
    return f"{len(stack)} passes through {sets} set{'s' if sets > 1 else ''} of weights"


def pattern(steps: Sequence[Step]) -> str:
    """The layers by name and number: `12`, or `4 (3 × layer(mix = recurrence), layer(mix = attention))`."""
    stack, total = layers(steps), depth(steps)
    if total > len(stack):
        return f"{total:,}"
    names = _names(stack)
    kinds = [names[layer.step.digest] for layer in stack]
    if len(set(kinds)) == 1:
        return f"{total}"
    return f"{total} ({_kinds_in_turn(kinds)})"


def _kinds_in_turn(kinds: list[str]) -> str:
    for period in range(1, len(kinds) // 2 + 1):
        if len(kinds) % period == 0 and kinds == kinds[:period] * (len(kinds) // period):
            return f"{len(kinds) // period} × ({_run_lengths(kinds[:period])})"
    return _run_lengths(kinds)


def _run_lengths(kinds: list[str]) -> str:
    runs: list[tuple[int, str]] = []
    for kind in kinds:
        if runs and runs[-1][1] == kind:
            runs[-1] = (runs[-1][0] + 1, kind)
        else:
            runs.append((1, kind))
    if len(runs) > LONGEST:
        return f"{len(kinds)} of {len(set(kinds))} kinds"
    return ", ".join(kind if count == 1 else f"{count} × {kind}" for count, kind in runs)


def _names(stack: Sequence[Layer]) -> dict[bytes, str]:
    """A name for each kind of layer; functions of one name are told apart by the functions that they were given."""
    kinds = {layer.step.digest: layer.step for layer in stack}
    for name in (lambda step: step.title, _with_titles, lambda step: described(step, LONG)):
        names = {digest: name(step) for digest, step in kinds.items()}
        if len(set(names.values())) == len(names):
            break
    return names


def _with_titles(step: Step) -> str:
    given = {n: v for n, v in step.arguments.items() if n in step.explicit and isinstance(v, FUNCTIONS)}
    return f"{step.title}({', '.join(f'{n} = {title_of(v)}' for n, v in given.items())})"
