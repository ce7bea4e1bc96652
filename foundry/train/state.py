"""What a run has to remember to go on to the bit: weights, optimizers, random numbers and losses, as named tensors.

The optimizers' rates are not among them: they follow from the recipe and the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from foundry.dsl.render import visible
from foundry.train.checkpoint import CheckpointError, weights
from foundry.train.devices import Machine, like, whole

MODEL, OPTIMIZER, DATA = "model.", "optimizer.", "data."
LOSSES, RANDOM, RANDOM_CUDA = "losses", "random.cpu", "random.cuda"


def gathered(tensors: Mapping[str, Tensor], machine: Machine) -> dict[str, Tensor]:
    """The tensors in the memory of the first process, whole; the others, which all have to ask, get none."""
    found = {}
    for name, tensor in tensors.items():
        complete = whole(tensor.detach())
        if machine.first:
            found[name] = complete.cpu()
    return found


def capture(
    model: nn.Module, optimizers: Sequence[Optimizer], losses: Sequence[float], data: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The state of a run after a step, by name. data: where the data go on, if their order has a memory.

    Weights and momenta are the tensors themselves, not copies of them.
    """
    own = weights(model)
    names = {id(tensor): name for name, tensor in own.items()}
    found = {MODEL + name: tensor for name, tensor in own.items()}
    for index, optimizer in enumerate(optimizers):
        for parameter, remembered in optimizer.state.items():
            for key, value in remembered.items():
                found[f"{OPTIMIZER}{index}.{names[id(parameter)]}.{key}"] = value
    found |= {DATA + name: tensor for name, tensor in data.items()}
    found[LOSSES] = torch.tensor(losses, dtype=torch.float64)
    found[RANDOM] = torch.get_rng_state()
    if torch.cuda.is_initialized():
        found[RANDOM_CUDA] = torch.cuda.get_rng_state()
    return found


@torch.no_grad()
def restore(state: Mapping[str, Tensor], model: nn.Module, optimizers: Sequence[Optimizer]) -> list[float]:
    """Put a state back, in whatever parts the model lies now; the losses so far.

    Raises:
        CheckpointError: the state is of another model, or holds what cannot be.
    """
    own = weights(model)
    parameters = {name: tensor for name, tensor in own.items() if isinstance(tensor, nn.Parameter)}
    for name, tensor in own.items():
        given = state.get(MODEL + name)
        if given is None or given.shape != tensor.shape:
            raise CheckpointError(f"the state has {'no' if given is None else 'another shape of'} {name}")
        tensor.copy_(like(given, tensor))
    for full, value in state.items():
        if full.startswith(OPTIMIZER):
            index, _, rest = full.removeprefix(OPTIMIZER).partition(".")
            name, _, key = rest.rpartition(".")
            if not index.isdigit() or int(index) >= len(optimizers) or name not in parameters:
                raise CheckpointError(f"the state has {visible(full[:80])}, of which this recipe knows nothing")
            parameter = parameters[name]
            if value.shape not in (parameter.shape, ()):
                raise CheckpointError(f"the state has another shape of {visible(full[:80])}")
            optimizers[int(index)].state[parameter][key] = like(value, parameter)
    if LOSSES not in state or state[LOSSES].dim() != 1 or RANDOM not in state:
        raise CheckpointError("the state has no losses or no random numbers")
    try:
        torch.set_rng_state(state[RANDOM])
        if RANDOM_CUDA in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state[RANDOM_CUDA])
    except (TypeError, RuntimeError):
        raise CheckpointError("the random numbers of the state are not those of this version of torch") from None
    return state[LOSSES].double().tolist()


def data_of(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The part of a state that belongs to the order of the data."""
    return {name.removeprefix(DATA): tensor for name, tensor in state.items() if name.startswith(DATA)}
