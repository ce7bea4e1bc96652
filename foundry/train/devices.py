"""Where a run computes: a device, a precision, and the processes that share the work (started by torchrun).

Every process holds a part of each step's rows. Gradients are sums over tokens divided by the step's number of tokens,
so that adding them up over the processes gives what one process alone would have.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

SHARDS = ("ddp", "fsdp")
PATIENCE = timedelta(days=7)  # while the first process reads and encodes all text


class DeviceError(ValueError):
    """A device, or a way to use several, that is not to be had. One line."""


@dataclass(frozen=True)
class Machine:
    """One process's place among those of a run.

    dtype: what matrix products take under autocast; None for the weights' own. shard: `ddp`, every process holds the
    whole model; `fsdp`, each holds a part of every weight. patient: the same processes, who wait for each other longer
    than for a message in training.
    """

    device: torch.device = torch.device("cpu")
    dtype: torch.dtype | None = None
    rank: int = 0
    world: int = 1
    shard: str = "ddp"
    patient: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    @property
    def gradient_scale(self) -> float:
        """What losses are multiplied with: FSDP takes the mean over processes where the sum is wanted."""
        return float(self.world) if self.shard == "fsdp" else 1.0

    def autocast(self) -> contextlib.AbstractContextManager:
        """The precision of a forward pass."""
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def add_up(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor, on all of them."""
        if self.world > 1:
            dist.all_reduce(tensor)
        return tensor

    def agree(self, *flags: float) -> list[float]:
        """The sums of every process's numbers."""
        if self.world == 1:
            return list(flags)
        return self.add_up(torch.tensor(flags, dtype=torch.float64, device=self.device)).tolist()

    def wait(self) -> None:
        """Go on when every process is here, for which some may need hours."""
        if self.world > 1:
            dist.barrier(group=self.patient)

    def first_word(self, said: str) -> str:
        """What the first process that has something to say says."""
        if self.world == 1:
            return said
        all_said: list[str] = [""] * self.world
        dist.all_gather_object(all_said, said)
        return next(filter(None, all_said), "")

    @torch.no_grad()
    def add_gradients(self, model: nn.Module) -> None:
        """Give every process the sum of all gradients, as one message for each kind of number.

        A weight that no process had a use for stays without one, so that optimizers pass it over as they do alone.
        """
        if self.world == 1 or self.shard == "fsdp":
            return
        parameters = [p for p in model.parameters() if p.requires_grad]
        used = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=self.device)
        needed = [p for p, uses in zip(parameters, self.add_up(used).tolist(), strict=True) if uses]
        for dtype in {p.dtype for p in needed}:
            alike = [p for p in needed if p.dtype == dtype]
            for p in alike:
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
            gradients = [p.grad for p in alike if p.grad is not None]
            flat = self.add_up(torch.cat([gradient.flatten() for gradient in gradients]))
            parts = flat.split([gradient.numel() for gradient in gradients])
            for gradient, part in zip(gradients, parts, strict=True):
                gradient.copy_(part.view_as(gradient))


ALONE = Machine()


@contextlib.contextmanager
def machine(device: str = "auto", dtype: str = "auto", shard: str = "ddp") -> Iterator[Machine]:
    """This process's machine, for as long as the context lasts.

    device: auto, cpu or cuda. dtype: auto (bfloat16 on CUDA), float32 or bfloat16. The environment of torchrun says
    whether there are other processes.

    Raises:
        DeviceError: there is no such device, or FSDP is asked of one process.
    """
    rank, local, world = (int(os.environ.get(name, default)) for name, default in _TORCHRUN)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("--device cuda: torch sees no CUDA device here")
    if shard == "fsdp" and world == 1:
        raise DeviceError("--shard fsdp shares a model among processes; start them with torchrun --nproc-per-node N")
    place = torch.device("cuda", local) if device == "cuda" else torch.device(device)
    if place.type == "cuda":
        if local >= torch.cuda.device_count():
            raise DeviceError(f"process {local} has no GPU of its own: there are {torch.cuda.device_count()}")
        torch.cuda.set_device(place)
        torch.set_float32_matmul_precision("high")  # TF32
    half = dtype == "bfloat16" or (dtype == "auto" and place.type == "cuda" and torch.cuda.is_bf16_supported())
    patient = None
    if world > 1:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
        patient = dist.new_group(backend="gloo", timeout=PATIENCE)
    try:
        yield Machine(place, torch.bfloat16 if half else None, rank, world, shard, patient)
    finally:
        if world > 1:
            dist.destroy_process_group()


_TORCHRUN = (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1))


def blocks(model: nn.Module) -> list[nn.Module]:
    """The parts of a model that repeat: the members of its outermost module lists, each once."""
    found: dict[nn.Module, None] = {}
    lists: list[nn.ModuleList] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and not any(
            name.startswith(f"{outer}.") for outer in _names(model, lists)
        ):
            lists.append(module)
            found |= dict.fromkeys(module)
    return list(found)


def _names(model: nn.Module, modules: Iterable[nn.Module]) -> list[str]:
    wanted = set(modules)
    return [name for name, module in model.named_modules() if module in wanted]


def recompute(model: nn.Module) -> None:
    """Let every block keep its input alone, and compute the rest again for its gradient (Chen et al. 2016,
    arXiv:1604.06174)."""
    from torch.utils.checkpoint import checkpoint

    for block in blocks(model):
        forward = block.forward

        def again(*inputs, forward=forward, block=block, **named):
            if block.training and torch.is_grad_enabled():
                return checkpoint(forward, *inputs, use_reentrant=False, **named)
            return forward(*inputs, **named)

        block.forward = again


def shard_weights(model: nn.Module, machine: Machine) -> None:
    """Leave this process its part of every weight: each block, and what is around them, is gathered when it is used.

    FSDP2: Zhao et al. 2023, arXiv:2304.11277; torch.distributed.fsdp.fully_shard.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(machine.device.type, (machine.world,))
    for block in blocks(model):
        if next(block.parameters(), None) is not None:
            fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may lie in parts on several processes; every one of them has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(tensor: Tensor, pattern: Tensor) -> Tensor:
    """A whole tensor, laid out as `pattern` is: on its device, in its parts."""
    tensor = tensor.to(pattern.device)
    if not hasattr(pattern, "full_tensor") or tensor.shape != pattern.shape:
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(pattern, DTensor)
    return distribute_tensor(tensor, pattern.device_mesh, pattern.placements)
