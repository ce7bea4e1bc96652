"""What fits into memory, found by trying: on a device that only pretends to be full."""

import gc
from dataclasses import replace

import pytest
import torch
from torch import nn

from foundry.train.devices import ALONE
from foundry.train.plan import Step
from foundry.train.probe import ProbeError, fitting

STEP = Step(0.0, 16, 12, 1.0, 1.0)


class Gpu(str):
    """The name of a CPU, which says that it is a GPU."""

    type = "cuda"


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(7, 13))


def alive():
    """How many tensors as large as the weight there are."""
    return sum(type(thing) in (torch.Tensor, nn.Parameter) and thing.shape == (7, 13) for thing in gc.get_objects())


def found(rows_that_fit, step=STEP):
    """What `fitting` finds where so many rows fit at a time."""
    model = Model()

    def forward(x, y, everywhere):
        gradient = model.weight.grad  # which Python knows of only when it is asked for
        if len(x) > rows_that_fit():
            raise torch.OutOfMemoryError
        del gradient
        loss = model.weight.sum()
        return loss, loss.detach()

    micro = fitting(forward, model, step, replace(ALONE, device=Gpu("cpu")))
    assert model.weight.grad is None
    return micro


def test_a_step_that_fits_is_taken_at_once_and_others_in_halves_of_it():
    assert found(lambda: 12) is None
    assert found(lambda: 11) == 6 * 16
    assert found(lambda: 5) == 3 * 16
    assert found(lambda: 1) == 16


def test_parts_fit_beside_gradients_and_what_the_optimizer_keeps():
    before = alive()
    assert found(lambda: 12 if alive() < before + 4 else 3) == 3 * 16


def test_a_row_that_does_not_fit_gets_one_line():
    with pytest.raises(ProbeError, match="one row of 16 tokens does not fit"):
        found(lambda: 0)


@pytest.mark.parametrize("machine", [ALONE, replace(ALONE, device=Gpu("cpu"), shard="fsdp")])
def test_nothing_is_tried_on_a_cpu_or_where_others_would_wait(machine):
    assert fitting(None, Model(), STEP, machine) is None
