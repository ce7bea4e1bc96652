"""How fast training goes: tokens per second, the share of the machine's peak that it uses, and how long it will take.

Model FLOP utilisation is Chowdhery et al. 2022 (arXiv:2204.02311, appendix B): the operations that the model needs,
three times those of a forward pass, over what the device could do in that time. Recomputed activations do not count.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from foundry.compiler.cost import model_work
from foundry.dsl.program import Program

RECENT = 20.0  # seconds over which the speed is a mean
TRIED = 0.15  # seconds of matrix products that measure a processor's peak
SIDE = 1024  # of those matrices

# Dense TFLOP/s, (bfloat16 or float16, TF32, float32), by the name that the driver gives; the first that fits counts.
# From the makers' data sheets, with the figures for sparse matrices halved.
PEAKS: tuple[tuple[str, tuple[float, float, float]], ...] = (
    ("GB200", (2500, 1250, 80)),  # nvidia.com/en-us/data-center/gb200-nvl72
    ("B200", (2250, 1125, 75)),  # nvidia.com/en-us/data-center/dgx-b200
    ("H200 NVL", (835, 417, 60)),  # nvidia.com/en-us/data-center/h200
    ("H200", (989, 494, 67)),
    ("GH200", (989, 494, 67)),  # nvidia.com/en-us/data-center/grace-hopper-superchip
    ("H100 PCIe", (756, 378, 51)),  # nvidia.com/en-us/data-center/h100, and its PCIe product brief
    ("H100 NVL", (835, 417, 60)),
    ("H100", (989, 494, 67)),
    ("A100", (312, 156, 19.5)),  # nvidia.com/en-us/data-center/a100
    ("A40", (149.7, 74.8, 37.4)),  # nvidia.com/en-us/data-center/a40
    ("A30", (165, 82, 10.3)),  # nvidia.com/en-us/data-center/products/a30-gpu
    ("A10", (125, 62.5, 31.2)),  # nvidia.com/en-us/data-center/products/a10-gpu
    ("L40S", (362, 183, 91.6)),  # nvidia.com/en-us/data-center/l40s
    ("L40", (181, 90.5, 90.5)),  # nvidia.com/en-us/data-center/l40
    ("L4", (121, 60, 30.3)),  # nvidia.com/en-us/data-center/l4
    ("V100-PCIE", (112, 14, 14)),  # nvidia.com/en-us/data-center/v100; no TF32
    ("V100", (125, 15.7, 15.7)),
    ("T4", (65, 8.1, 8.1)),  # nvidia.com/en-us/data-center/tesla-t4; no TF32
    ("RTX 5090", (209.5, 104.8, 104.8)),  # "NVIDIA RTX Blackwell GPU architecture", appendix A
    ("RTX 4090", (165.2, 82.6, 82.6)),  # "NVIDIA Ada GPU architecture", appendix A; sums in float32
    ("RTX 3090", (71, 35.6, 35.6)),  # "NVIDIA Ampere GA102 GPU architecture", appendix A; sums in float32
    ("RTX A6000", (154.8, 77.4, 38.7)),
    ("MI300X", (1307.4, 653.7, 163.4)),  # amd.com/en/products/accelerators/instinct/mi300/mi300x.html
)


def training_flops(program: Program) -> Callable[[int], float]:
    """The operations of training on one token, by context length: a forward pass, and twice that backwards.

    Attention counts as the full square, as in `foundry show`.
    """
    return cache(lambda context: 3 * sum(times * work.flops for _, work, times in model_work(program, context)))


def peak_flops(device: torch.device | str, dtype: torch.dtype = torch.float32) -> float | None:
    """What a device can do at most, in operations per second; None where nobody knows.

    dtype: what matrix products take: bfloat16 or float16, or float32. A GPU's figure is its maker's; a processor's is
    measured with matrix products on the threads that torch has now, and takes `TRIED` seconds.
    """
    device = torch.device(device)
    if device.type == "cpu":
        return measured_peak(dtype)
    if device.type != "cuda":
        return None
    tf32 = torch.get_float32_matmul_precision() != "highest"
    return known_peak(torch.cuda.get_device_name(device), dtype, tf32)


def known_peak(name: str, dtype: torch.dtype, tf32: bool = False) -> float | None:
    """The peak of a GPU by the name that its driver gives, in operations per second; None for one not in the table."""
    found = next((peaks for known, peaks in PEAKS if _names(known, name)), None)
    if found is None:
        return None
    half, through_tf32, single = found
    if dtype in (torch.bfloat16, torch.float16):
        return half * 1e12
    return (through_tf32 if tf32 else single) * 1e12


def _names(known: str, name: str) -> bool:
    """Whether a name has the words of a known one, and none that make it another device."""
    return re.search(rf"(?<![^\W_]){known}(?![^\W_])(?! (Ti|SUPER|Laptop|D)\b)", name) is not None


def measured_peak(dtype: torch.dtype = torch.float32, clock: Callable[[], float] = time.perf_counter) -> float:
    """The best rate of a product of two `SIDE` × `SIDE` matrices on this processor, in operations per second."""
    a, b = torch.ones(2, SIDE, SIDE, dtype=dtype)
    best, began = 0.0, clock()
    while not best or clock() - began < TRIED:
        start = clock()
        torch.mm(a, b)
        best = max(best, 2 * SIDE**3 / (clock() - start))
    return best


@dataclass(frozen=True)
class Speed:
    """tokens_per_s: over the last `RECENT` seconds of steps. utilisation: of the device's peak, 0 to 1; None where that
    is not known. seconds_left: until the end at the pace of the whole run, pauses for validation included; None before
    the first step."""

    tokens_per_s: float
    utilisation: float | None
    seconds_left: float | None


class Pace:
    """The clock of a run: where its time goes, and how fast it is.

    flops_per_token: of training, by context length. peak: operations per second of all devices together, or None.
    done: progress of a run that goes on, 0 to 1. parts: seconds by the name that `inside` was given.
    """

    def __init__(
        self,
        flops_per_token: Callable[[int], float],
        peak: float | None,
        done: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ):
        self.flops_per_token, self.peak, self.clock = flops_per_token, peak, clock
        self.parts: dict[str, float] = {}
        self._began, self._first, self._progress = clock(), done, done
        self._recent: deque[tuple[float, int, float]] = deque()  # seconds, tokens and operations of the last steps
        self._span = 0.0  # seconds of those
        self._within = 0.0  # seconds of parts that ended within the part that is open
        self._counted = 0.0  # seconds of `step` that are in `_recent` already, or were

    @property
    def seconds(self) -> float:
        """Since the beginning, pauses included."""
        return self.clock() - self._began

    @contextmanager
    def inside(self, part: str) -> Iterator[None]:
        """Count the time inside as that of a part: step, data, validation, journal or checkpoint. A part within
        another is not the other's time."""
        start, within, self._within = self.clock(), self._within, 0.0
        try:
            yield
        finally:
            spent = self.clock() - start
            self.parts[part] = self.parts.get(part, 0.0) + spent - self._within
            self._within = within + spent

    def step(self, tokens: int, context: int, progress: float) -> None:
        """A step is done, timed as "step": its tokens on all devices, their context, and the progress after it."""
        spent = self.parts.get("step", 0.0) - self._counted
        self._counted += spent
        self._progress = progress
        self._recent.append((spent, tokens, tokens * self.flops_per_token(context)))
        self._span += spent
        while len(self._recent) > 1 and self._span > RECENT:
            self._span -= self._recent.popleft()[0]

    def speed(self) -> Speed:
        """How fast it is now."""
        seconds, tokens, flops = (sum(column) for column in zip((0.0, 0, 0.0), *self._recent, strict=True))
        if not seconds:
            return Speed(0.0, None, None)
        gained = self._progress - self._first
        left = self.seconds * (1 - self._progress) / gained if gained > 0 else None
        return Speed(tokens / seconds, flops / seconds / self.peak if self.peak else None, left)
