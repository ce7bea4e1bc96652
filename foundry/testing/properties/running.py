"""A genome that checks clean builds and runs, and the emitted file is all that it takes."""

from __future__ import annotations

import ast
import copy
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from foundry.dsl.program import all_units
from foundry.testing.agreement import require_close, require_same_bits, rounding, size
from foundry.testing.case import Broken, Case, Property, Skipped

LONG = 40  # tokens of a long sequence, if the positions reach so far
SINGLE = 2e-3  # what float32 may differ by from float64, relative to the size of the logits
JUMPS = frozenset({"floor", "remainder", "top", "less", "less_equal", "greater", "greater_equal", "equal", "unequal"})
SINGLE_NUDGE = 1e-6  # of each weight: what roundings in float32 add up to


def runs(case: Case) -> None:
    """Sequences of any length give logits of the right shape and type, one sequence or many."""
    vocab, longest = case.module.VOCAB, case.module.LONGEST
    for batch, tokens in ((1, 1), (3, 2), (1, LONG), (2, 17), (2, 8)):
        tokens = min(tokens, longest or tokens)
        with torch.no_grad():
            logits = case.model(sample(case, batch, tokens))
        if logits.shape != (batch, tokens, vocab):
            raise Broken(f"logits {tuple(logits.shape)} for {batch} sequences of {tokens} tokens out of {vocab}")
        if logits.dtype != torch.float64:
            raise Broken(f"logits are {logits.dtype} in a model of float64")
    loss = case.double.loss(case.logits, case.tokens)
    if loss.shape != (*case.tokens.shape, 1):
        raise Broken(f"the loss is {tuple(loss.shape)} for tokens {tuple(case.tokens.shape)}")


def sample(case: Case, batch: int, tokens: int) -> Tensor:
    """Token ids (batch, tokens), the same for the same case."""
    generator = torch.Generator().manual_seed(case.seed + 3)
    return torch.randint(case.module.VOCAB, (batch, tokens), generator=generator)


def stays_finite(case: Case) -> None:
    """Fresh weights, and weights moved away from them, give finite logits."""
    if not case.logits.isfinite().all():
        raise Skipped("the genome's own values overflow")


def seeds_decide(case: Case) -> None:
    """One seed gives the same initial values whatever torch's own generator did; another seed gives others."""
    with torch.random.fork_rng(devices=[]):
        found = []
        for global_seed, seed in ((0, 5), (1, 5), (0, 6)):
            torch.manual_seed(global_seed)
            model = case.module.Model()
            model.initialise(seed)
            found.append(model.state_dict())
    one, again, other = found
    for name, value in one.items():
        require_same_bits(again[name], value, f"{name} of the same seed")
    if all(torch.equal(other[name], value) for name, value in one.items()):
        raise Broken("two seeds give the same initial values")


ALLOWED = {"sys", "math", "zlib", "torch", "torch.nn.functional"}


def stands_alone(case: Case) -> None:
    """The emitted file imports torch and the standard library alone, and gives the loaded module's logits."""
    for node in ast.walk(ast.parse(case.source)):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if not set(names) <= ALLOWED:
            raise Broken(f"the file imports {', '.join(names)}")
    model, other = case.fresh(torch.float32), alone(case.source).Model()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        require_same_bits(other.eval()(case.tokens), model(case.tokens), "the file run alone")


def alone(source: str) -> Any:
    """The emitted file as a module that nothing of Foundry has touched."""
    module = ModuleType("alone")
    exec(compile(source, "<alone>", "exec"), module.__dict__)
    return module


def state_returns(case: Case) -> None:
    """Weights survive a state dict: another model with them gives the same logits in every bit."""
    model, other = case.fresh(torch.float32), case.module.Model()
    other.initialise(case.seed + 99)
    names = list(other.state_dict())
    if len(set(names)) != len(names) or names != list(model.state_dict()):
        raise Broken("two models of one file name their weights differently")
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    with torch.no_grad():
        require_same_bits(other.eval()(case.tokens), model(case.tokens), "after a state dict")


def copies_are_whole(case: Case) -> None:
    """A deep copy gives the same logits, shares no weight with its origin, and keeps its ties."""
    twin = copy.deepcopy(case.model)
    with torch.no_grad():
        require_same_bits(twin(case.tokens), case.logits, "a deep copy")
    if len(list(twin.parameters())) != len(list(case.model.parameters())):
        raise Broken("a deep copy has another number of weights")
    if {w.data_ptr() for w in twin.parameters()} & {w.data_ptr() for w in case.model.parameters()}:
        raise Broken("a deep copy shares weights with its origin")


def single_precision(case: Case) -> None:
    """In float32, which training uses, the logits are those of float64 but for rounding."""
    if not case.logits.isfinite().all() or size(case.logits) > 1e6:
        raise Skipped("values too large for float32")
    if size(case.logits) < 1e-6:
        raise Skipped("values that cancel, so that only rounding is left")
    single, exact = case.fresh(torch.float32), case.fresh()
    exact.load_state_dict(single.state_dict())  # the same weights: those that float32 can hold
    with torch.no_grad():
        found = single(case.tokens)
        if found.dtype != torch.float32:
            raise Broken(f"logits are {found.dtype} in a model of float32")
        if not found.isfinite().all():
            raise Skipped("values overflow in float32")
        expected = exact(case.tokens)
    require_close(found.double(), expected, "float32 against float64", lambda: _single_rounding(case), SINGLE)


def _single_rounding(case: Case) -> float:
    """How far rounding in float32 moves the logits; anywhere, where a function jumps, since its edge may be a number
    that the genome writes."""
    if any(node.op in JUMPS for unit in all_units(case.program) for node in unit.nodes):
        return 1.0
    return rounding(case, lambda model: model(case.tokens), SINGLE_NUDGE)


def nothing_changes(case: Case) -> None:
    """Running a model twice gives the same logits, and changes neither its weights nor the tokens."""
    before, tokens = copy.deepcopy(case.model.state_dict()), case.tokens.clone()
    with torch.no_grad():
        require_same_bits(case.model(case.tokens), case.logits, "the second run")
        require_same_bits(case.model.train()(case.tokens), case.logits, "in training mode")
    case.model.eval()
    for name, value in case.model.state_dict().items():
        require_same_bits(value, before[name], name)
    if not torch.equal(tokens, case.tokens):
        raise Broken("the model changed the tokens")


def trains(case: Case) -> None:
    """One step of the recipe's optimizer changes every weight that has a gradient, no other, and the loss is finite."""
    module, model = case.module, case.fresh(torch.float32, stir=0.02).train()
    x, y = case.tokens[:, :-1], case.tokens[:, 1:]
    if x.size(1) == 0:
        raise Skipped("sequences of one token")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimizers = module.optimizers(model)
    loss = module.loss(model(x), y).mean()
    if not loss.isfinite():
        raise Skipped("the loss is not finite before the step")
    loss.backward()
    if any(w.grad is not None and not w.grad.isfinite().all() for w in model.parameters()):
        raise Skipped("a gradient is not finite")
    if module.CLIP > 0:
        nn.utils.clip_grad_norm_(model.parameters(), module.CLIP)
    for optimizer in optimizers:
        optimizer.step()
    stepped = {id(w) for o in optimizers for group in o.param_groups for w in group["params"]}
    for name, weight in model.named_parameters():
        if id(weight) not in stepped:
            raise Broken(f"no optimizer has {name}")
        moved = not torch.equal(weight, before[name])
        pulled = weight.grad is not None and bool(weight.grad.abs().max() > 1e-12)
        if pulled and not moved:
            raise Broken(f"{name} has a gradient, and the step leaves it as it was")
        if weight.grad is None and moved:
            raise Broken(f"{name} has no gradient, and the step changes it")
        if not weight.isfinite().all():
            raise Broken(f"{name} is not finite after a step")
    for name, value in model.named_buffers():
        require_same_bits(value, before[name], f"the constant {name}")
    for group in (group for optimizer in optimizers for group in optimizer.param_groups):
        if group["peak_lr"] != group["lr"]:
            raise Broken("a group does not know its peak learning rate")


PROPERTIES = (
    Property("runs", "A genome that checks clean builds, and runs on sequences of any length.", runs),
    Property("finite", "Its logits are finite.", stays_finite),
    Property("seeds", "A seed decides the initial values, and nothing else does.", seeds_decide),
    Property("alone", "The emitted file needs torch alone, and gives the same logits in every bit.", stands_alone),
    Property("state-dict", "A state dict carries everything that a model has learned.", state_returns),
    Property("copies", "A deep copy computes the same and shares nothing.", copies_are_whole),
    Property("single-precision", "float32 gives what float64 gives, but for rounding.", single_precision),
    Property("pure", "A run changes nothing that the next one sees.", nothing_changes),
    Property("trains", "A step of the recipe's optimizer moves what has a gradient and nothing else.", trains),
)
