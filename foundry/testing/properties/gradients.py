"""Gradients: finite, right, and in every weight that the loss can feel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from foundry.dsl.program import all_units
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.double import load_double
from foundry.testing.felt import matched

STEPS = (1e-6, 1e-7)  # of finite differences, along a direction whose numbers are about 1
SLACK = 1e-4  # between a difference and a gradient, relative to the larger
FEW = 6  # weights that are tried one by one
NOTHING = 1e-8  # of the size of the loss: a difference that is none
SINGULAR = frozenset({"divide", "power", "log", "sqrt", "rsqrt"})  # functions whose slope may be infinite
DIVIDES = ("aten.div", "aten.pow", "aten.reciprocal", "aten.rsqrt", "aten.mul")


class Objective:
    """What a backward pass lessens, as a function of a case's weights: the mean loss, and the model's penalties.

    Nothing is stopped here: gradients flow through `stop` too, so that they are the slopes of what is computed.
    """

    def __init__(self, case: Case):
        self.module: Any = load_double(case.source.replace(".detach()", ""))
        self.penalty: Any = getattr(self.module, "penalty", None)
        self.model = self.module.Model().double().eval()
        self.model.load_state_dict(case.model.state_dict())
        self.counts: list[bool] = []  # for each penalty of a run, whether a gradient reaches it
        self.x, self.y = case.tokens[:, :-1], case.tokens[:, 1:]
        if self.x.size(1) == 0:
            raise Skipped("sequences of one token")

    @property
    def parameters(self) -> list[tuple[str, nn.Parameter]]:
        return list(self.model.named_parameters())

    def backward(self) -> Tensor:
        """Fill in the gradients, and give the loss."""
        with replaced(self.module, penalty=self.watched):
            loss = self.module.loss(self.model(self.x), self.y).mean()
        if not loss.isfinite():
            raise Skipped("the loss is not finite")
        loss.backward()
        return loss.detach()

    def watched(self, x: Tensor, term: Tensor) -> Tensor:
        """A penalty that notes whether a gradient reaches it."""
        out, index = self.penalty(x, term), len(self.counts)
        self.counts.append(False)
        if out.requires_grad:
            out.register_hook(lambda grad: self.counts.__setitem__(index, True))
        return out

    def value(self) -> float:
        """The mean loss, and the penalties that a gradient reaches, their means taken in float64."""
        terms: list[Tensor] = []

        def penalty(x: Tensor, term: Tensor) -> Tensor:
            terms.append(term.sum())
            return x

        with torch.no_grad(), replaced(self.module, penalty=penalty, average=_average):
            loss = self.module.loss(self.model(self.x), self.y).mean()
        return float(loss + sum(term for term, counts in zip(terms, self.counts, strict=True) if counts))

    def slopes(self, directions: list[tuple[nn.Parameter, Tensor]], step: float) -> tuple[float, float]:
        """The difference quotients ahead along a direction, and behind."""
        before, values = [weight.detach().clone() for weight, _ in directions], []
        with torch.no_grad():
            for sign in (1, 0, -1):
                for (weight, direction), at in zip(directions, before, strict=True):
                    weight.copy_(at + sign * step * direction if sign else at)  # to the last bit: it may jump here
                values.append(self.value())
            for (weight, _), at in zip(directions, before, strict=True):
                weight.copy_(at)
        return (values[0] - values[1]) / step, (values[1] - values[2]) / step


def _average(x: Tensor) -> Tensor:
    return x.double().mean(0).mean(-2, keepdim=True)


@contextmanager
def replaced(module: Any, **functions: Callable[..., Tensor]) -> Iterator[None]:
    """A module in which functions, those that it has of these, are replaced."""
    kept = {name: vars(module)[name] for name in functions if name in vars(module)}
    vars(module).update({name: functions[name] for name in kept})
    try:
        yield
    finally:
        vars(module).update(kept)


def operations(case: Case) -> set[str]:
    """The names of the operations in a case's model and loss."""
    loss = case.program.recipe.loss
    return {node.op for unit in (*all_units(case.program), loss) for node in unit.nodes}


def finite(case: Case) -> None:
    """Where the loss is finite, so is every gradient, unless a written function has an infinite slope."""
    objective = Objective(case)
    with Infinite() as infinite:
        objective.backward()
    bad = [name for name, w in objective.parameters if w.grad is not None and not w.grad.isfinite().all()]
    if bad and infinite.first.startswith(DIVIDES) and operations(case) & SINGULAR:
        raise Skipped("a written function has an infinite slope")
    if bad:
        raise Broken(f"the gradient of {', '.join(bad)} is not finite, from {infinite.first} on")


class Infinite(TorchDispatchMode):
    """Notes the first operation inside whose result is infinite or no number; minus infinity is a logit's."""

    def __init__(self) -> None:
        super().__init__()
        self.first = ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point() and (out.isnan() | (out == torch.inf)).any():
            self.first = self.first or str(func)
        return out


def everywhere(case: Case) -> None:
    """A weight gets a gradient exactly if the loss can feel it: if operations that pass gradients lead from it."""
    model, pairs = matched(case.program, case.module)
    model.initialise(case.seed)
    x, y = case.tokens[:, :-1], case.tokens[:, 1:]
    if x.size(1) == 0:
        raise Skipped("sequences of one token")
    loss = case.module.loss(model(x), y).mean()
    if loss.requires_grad:
        loss.backward()
    names = {id(p): name for name, p in model.named_parameters()}
    for weight, parameter in pairs:
        name = f"{names[id(parameter)]} ({weight.name})"
        if weight.felt and parameter.grad is None:
            raise Broken(f"the loss feels {name}, which gets no gradient")
        if not weight.felt and parameter.grad is not None and parameter.grad.any():
            raise Broken(f"the loss does not feel {name}, which gets a gradient")


def right(case: Case) -> None:
    """Gradients are the slopes of the loss: along a direction in all weights, in a few, and where they are zero."""
    objective = Objective(case)
    size = 1 + abs(objective.backward().item())
    weights = [(name, w) for name, w in objective.parameters if w.grad is not None]
    if any(not w.grad.isfinite().all() for _, w in weights if w.grad is not None):
        raise Skipped("a gradient is not finite")
    if not weights:
        raise Skipped("no weight has a gradient")
    generator = torch.Generator().manual_seed(case.seed + 5)
    some = [weights[n] for n in torch.randperm(len(weights), generator=generator)[:FEW]]
    flat = [(name, w) for name, w in weights if w.grad is not None and not w.grad.any()]
    skipped = 0
    for group in (weights, *([pair] for pair in [*flat, *some])):
        directions = [(w, torch.randn(w.shape, generator=generator, dtype=w.dtype)) for _, w in group]
        slope = sum((w.grad * d).sum().item() for w, d in directions if w.grad is not None)
        (ahead, behind), far = objective.slopes(directions, STEPS[1]), objective.slopes(directions, STEPS[0])
        found = (ahead + behind) / 2
        smooth = abs(found) < torch.inf and _alike(sum(far) / 2, found, size)
        if smooth and _alike(found, slope, size):
            continue
        if not smooth or abs(ahead - behind) >= abs(found - slope):
            skipped += 1  # a corner or a jump, or rounding
            continue
        what = ", ".join(name for name, _ in group) if len(group) < 3 else "all weights"
        raise Broken(f"along {what} the loss rises by {found:.6g}, and the gradient says {slope:.6g}")
    if skipped == 1 + len(flat) + len(some):
        raise Skipped("the loss has a corner here")


def _alike(a: float, b: float, size: float) -> bool:
    return abs(a - b) <= SLACK * max(abs(a), abs(b)) + NOTHING * size


PROPERTIES = (
    Property("gradients-finite", "Where the loss is finite, every gradient is.", finite),
    Property("gradients-everywhere", "A weight gets a gradient exactly if the loss can feel it.", everywhere),
    Property("gradients-right", "Gradients are the slopes of the loss.", right),
)
