"""What the emitted file computes is what the program means: logits, losses, gradients, initial values.

The program is run by a reference of its own (`foundry.testing.reference`), in float64, on the same weights.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foundry.dsl.program import all_units
from foundry.testing.case import Broken, Case, Property, Skipped
from foundry.testing.double import float64, stirred
from foundry.testing.reference import Reference
from foundry.testing.weights import Key, weights_by_key, weights_of

CLOSE = 1e-9  # for the size of the values


def batch(case: Case) -> Tensor:
    """Tokens (B, T): those of the case, or where chunks of up to 16 tokens pass on a state, more than two of them."""
    if not any(n.op in ("linear_attend", "delta_attend") for unit in all_units(case.program) for n in unit.nodes):
        return case.tokens
    generator = torch.Generator().manual_seed(case.seed + 4)
    return torch.randint(case.program.vocab, (2, min(35, case.module.LONGEST or 35)), generator=generator)


def differ(found: Tensor, expected: Tensor, size: float = 0.0) -> float:
    """How far two tensors of one shape are apart, for the size of the expected one, or `size` if that is larger."""
    if found.shape != expected.shape:
        raise Broken(f"a shape of {tuple(found.shape)} instead of {tuple(expected.shape)}")
    if not expected.isfinite().all():
        raise Skipped("the reference is not finite")
    size = max(size, float(expected.abs().max()), 1e-30)
    return float((found - expected).abs().nan_to_num(torch.inf).max()) / size


def judge(what: str, apart: float, reference: Reference, sway: float = 0.0, allowed: float = CLOSE) -> None:
    """Raise where the file is too far from the reference, which sways so much under weights that are barely moved."""
    if apart <= allowed:
        return
    watch = reference.watch
    if watch is not None and not watch.finite:
        raise Skipped("a number on the way is not finite")
    if watch is not None and watch.jumps:
        raise Skipped(f"rounding decides {', '.join(sorted(watch.jumps))}")
    if sway and apart <= 1e3 * sway:
        raise Skipped("ill-conditioned")
    raise Broken(f"{what} differ from the reference by {apart:.1e} of their size")


def moved(weights: dict[Key, Tensor], seed: int) -> dict[Key, Tensor]:
    """The weights, each moved by about a thousand times the rounding of float64."""
    generator = torch.Generator().manual_seed(seed)
    return {
        key: w * (1 + 1e-13 * torch.randn(w.shape, generator=generator, dtype=torch.float64))
        for key, w in weights.items()
    }


def meaning(case: Case) -> None:
    with torch.no_grad(), float64():
        model = stirred(case.double, case.seed)
        weights = weights_by_key(case, model)
        reference, tokens = Reference(weights), batch(case)
        expected = reference.logits(case.program, tokens)
        found = model(tokens)
        apart = differ(found, expected)
        sway = 0.0
        if apart > CLOSE:
            sway = differ(Reference(moved(weights, case.seed)).logits(case.program, tokens), expected)
        judge("logits", apart, reference, sway)


def loss_meaning(case: Case) -> None:
    generator = torch.Generator().manual_seed(case.seed + 3)
    vocab = case.program.vocab
    logits, teacher = (2 * torch.randn(2, 7, vocab, generator=generator, dtype=torch.float64) for _ in range(2))
    y = torch.randint(vocab, (2, 7), generator=generator)
    taught = any(i.attrs["name"] == "teacher" for i in case.program.recipe.loss.inputs)
    with torch.no_grad(), float64():
        module = case.double
        for extra in ((), (teacher,)) if taught else ((),):
            reference = Reference({})
            expected = reference.loss(case.program, logits, y, *extra).expand(2, 7, 1)
            found = module.loss(logits, y, *extra)
            judge("losses", differ(found, expected), reference)


def gradient_meaning(case: Case) -> None:
    with float64():
        model = stirred(case.double, case.seed)
        weights = {key: w.detach() for key, w in weights_by_key(case, model).items()}
        learned = {w.key: None for w in weights_of(case.program) if w.learned}
        inputs = batch(case)
        reference, expected = gradients(case, weights, list(learned), inputs)
        loss = case.double.loss(model(inputs), inputs.roll(-1, 1)).mean()
        if loss.requires_grad:
            loss.backward()
        size = 1e-3 * max((float(g.abs().max()) for g in expected), default=0.0)
        sways: list[Tensor] = []
        for n, (name, weight) in enumerate(model.named_parameters()):
            found = torch.zeros_like(expected[n]) if weight.grad is None else weight.grad
            apart = differ(found, expected[n], size)
            if apart <= 10 * CLOSE:
                continue
            if reference.watch is not None and reference.watch.kinks:
                raise Skipped(f"rounding decides the slope of {', '.join(sorted(reference.watch.kinks))}")
            sways = sways or gradients(case, moved(weights, case.seed), list(learned), inputs)[1]
            judge(f"gradients of {name}", apart, reference, differ(sways[n], expected[n], size), 10 * CLOSE)


def gradients(
    case: Case, weights: dict[Key, Tensor], learned: list[Key], tokens: Tensor
) -> tuple[Reference, list[Tensor]]:
    """The reference, and its gradient of each learned weight: 0 where what training lessens does not depend on it."""
    leaves = {key: w.clone().requires_grad_(key in learned) for key, w in weights.items()}
    reference = Reference(leaves)
    loss = reference.loss(case.program, reference.logits(case.program, tokens), tokens.roll(-1, 1))
    objective, wanted = reference.objective(loss), [leaves[key] for key in learned]
    if not objective.requires_grad or not wanted:
        return reference, [torch.zeros_like(w) for w in wanted]
    slopes = torch.autograd.grad(objective, wanted, allow_unused=True)
    return reference, [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, slopes, strict=True)]


def initial_values(case: Case) -> None:
    with float64():
        model = case.double.Model()
    model.initialise(case.seed)
    tensors = weights_by_key(case, model)
    for weight in weights_of(case.program):
        if weight.init is not None and not bool((tensors[weight.key] == weight.init).all()):
            raise Broken(f"weights that should begin as {weight.init} begin as {tensors[weight.key].flatten()[:4]}")


PROPERTIES = (
    Property("meaning", "The emitted model computes what the program means.", meaning),
    Property("loss-meaning", "The emitted loss computes what the recipe means.", loss_meaning),
    Property("gradient-meaning", "Training follows the gradient of what the program means.", gradient_meaning),
    Property("initial-values", "Learned numbers begin as the genome says.", initial_values),
)
