"""The recurrences against attention at 128 tokens, and against a Python loop over time at 512, forwards and backwards.

    python bench/recurrences.py [--seconds 40] [--width 96] [--heads 4] [--rows 8]

Everything runs in one process on one thread, in turn, and what counts is processor time. `alone`: the mechanism by
itself, against torch's causal scaled_dot_product_attention on as many heads of the same size. `mixer`: with the
projections before and after it and those of its gates, against attention with its projections, which is what training
sees. `loop`: the same recurrence token by token in Python, against the mechanism. Prints the median of the paired
ratios and their quartiles: below 2 is the aim for the first two, above 5 for the third.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foundry.compiler.mechanisms.attend import attend
from foundry.compiler.mechanisms.delta_attend import delta_attend
from foundry.compiler.mechanisms.heads import merge_heads, split_heads
from foundry.compiler.mechanisms.linear_attend import linear_attend
from foundry.compiler.mechanisms.scan import scan


def looped_scan(b: Tensor, a: Tensor) -> Tensor:
    h, out = torch.zeros_like(b[:, :, 0]), []
    for t in range(b.size(2)):
        h = a[:, :, t] * h + b[:, :, t]
        out.append(h)
    return torch.stack(out, 2)


def looped_linear_attend(q: Tensor, k: Tensor, v: Tensor, decay: Tensor) -> Tensor:
    state, out = k.new_zeros(*k.shape[:2], k.size(3), v.size(3)), []
    for t in range(k.size(2)):
        state = decay[:, :, t, :, None] * state + k[:, :, t, :, None] * v[:, :, t, None, :]
        out.append(q[:, :, t, None, :] @ state)
    return torch.cat(out, 2)


def looped_delta_attend(q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor) -> Tensor:
    state, out = k.new_zeros(*k.shape[:2], k.size(3), v.size(3)), []
    for t in range(k.size(2)):
        state = decay[:, :, t, :, None] * state
        new = v[:, :, t, None, :] - k[:, :, t, None, :] @ state
        state = state + beta[:, :, t, :, None] * k[:, :, t, :, None] * new
        out.append(q[:, :, t, None, :] @ state)
    return torch.cat(out, 2)


# Each with its loop, how many of its inputs have a head's channels, and the channels of its gates ("d": a head's).
MECHANISMS: dict[str, tuple[Callable[..., Tensor], Callable[..., Tensor] | None, int, tuple[int | str, ...]]] = {
    "attend": (attend, None, 3, ()),
    "scan": (lambda b, a: scan(a, b), looped_scan, 1, ("d",)),
    "linear_attend, decay per head": (linear_attend, looped_linear_attend, 3, (1,)),
    "linear_attend, decay per channel": (linear_attend, looped_linear_attend, 3, ("d",)),
    "delta_attend": (delta_attend, looped_delta_attend, 3, (1, 1)),
}


class Mixer(nn.Module):
    """A mechanism with its projections: (B, T, width) to (B, T, width)."""

    def __init__(self, name: str, width: int, heads: int):
        super().__init__()
        self.name, self.heads = name, heads
        self.mechanism, _, wide, gates = MECHANISMS[name]
        self.wide = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(wide))
        self.gates = nn.ModuleList(nn.Linear(width, width if size == "d" else heads) for size in gates)
        self.out = nn.Linear(width, width, bias=False)

    def inputs(self, x: Tensor) -> list[Tensor]:
        """What the mechanism takes: (B, H, T, D), and gates from 0 to 1."""
        wide = [split_heads(f(x), self.heads) for f in self.wide]
        if self.name == "delta_attend":
            wide[1] = F.normalize(wide[1], dim=-1)
        return wide + [split_heads(f(x), self.heads).sigmoid() for f in self.gates]

    def forward(self, x: Tensor) -> Tensor:
        return self.out(merge_heads(self.mechanism(*self.inputs(x))))


def both_ways(function: Callable[..., Tensor], leaves: list[Tensor], grad: Tensor) -> Callable[[], object]:
    return lambda: torch.autograd.grad(function(), leaves, grad)


def alone(function: Callable[..., Tensor], mixer: Mixer, x: Tensor) -> Callable[[], object]:
    """A mechanism forwards and backwards, on what the mixer's projections give."""
    inputs = [y.detach().requires_grad_() for y in mixer.inputs(x)]
    return both_ways(lambda: function(*inputs), inputs, torch.randn_like(inputs[0]))


def whole(mixer: Mixer, x: Tensor) -> Callable[[], object]:
    leaves = [x.clone().requires_grad_(), *mixer.parameters()]
    return both_ways(lambda: mixer(leaves[0]), leaves, torch.randn_like(x))


def race(calls: dict[str, Callable[[], object]], seconds: float, least: int) -> dict[str, list[float]]:
    """The processor seconds of each call, in turn and back, until the time is up and there are `least` of each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    deadline = time.perf_counter() + seconds
    turn = 0
    while time.perf_counter() < deadline or turn < least + 1:
        for name in list(calls)[:: 1 if turn % 2 else -1]:
            start = time.thread_time()
            calls[name]()
            times[name].append(time.thread_time() - start)
        turn += 1
    return {name: values[1:] for name, values in times.items()}


def ratio(ours: list[float], theirs: list[float]) -> str:
    low, middle, high = statistics.quantiles([a / b for a, b in zip(ours, theirs, strict=True)], n=4)
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seconds", 40), ("width", 96), ("heads", 4), ("rows", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    torch.empty(1 << 22).fill_(0)  # freed at once: as in training, the allocator then keeps what it has

    mixers = {name: Mixer(name, args.width, args.heads) for name in MECHANISMS}
    x = torch.randn(args.rows, 128, args.width)
    by_itself = race({n: alone(m.mechanism, m, x) for n, m in mixers.items()}, args.seconds / 4, 20)
    in_mixer = race({n: whole(m, x) for n, m in mixers.items()}, args.seconds / 4, 20)
    print(f"128 tokens, {args.rows} rows, {args.heads} heads of {args.width // args.heads}; ratio to attention")
    print(f"{'':34}{'ms':>6}  {'alone':22}{'mixer':22}")
    for name in MECHANISMS:
        ratios = [ratio(times[name], times["attend"]) for times in (by_itself, in_mixer)]
        print(f"{name:34}{1e3 * statistics.median(by_itself[name]):6.2f}  {ratios[0]:22}{ratios[1]}")

    x = torch.randn(args.rows, 512, args.width)
    print("\n512 tokens; ratio of a loop over time to the mechanism")
    print(f"{'':34}{'ms':>6}  {'loop':22}")
    for name, (mechanism, loop, _, _) in MECHANISMS.items():
        if loop is not None:
            calls = {"ours": alone(mechanism, mixers[name], x), "loop": alone(loop, mixers[name], x)}
            times = race(calls, args.seconds / 8, 5)
            print(f"{name:34}{1e3 * statistics.median(times['ours']):6.2f}  {ratio(times['loop'], times['ours'])}")


if __name__ == "__main__":
    main()
