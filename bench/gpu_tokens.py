"""Training GPT-2 124M on one GPU: tokens per second of the emitted model against transformers', and the utilisation.

    python bench/gpu_tokens.py [--steps 100] [--rows 16] [--tokens 1024]

Both are compiled, under bfloat16 autocast, on the same batches, without dropout: forward, loss, backward, clipping,
fused AdamW. They run in turn, ten steps at a time. Prints medians, the ratio ours / theirs (above 1, ours is faster)
and the share of the GPU's peak; says so where there is no GPU.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.train.loop import forward_pass
from foundry.train.throughput import peak_flops, training_flops

PROGRAM = load_program((Path(__file__).parents[1] / "genomes" / "families" / "gpt2_124m.genome").read_text())
ROUND = 10  # steps in a row
WARM = 3  # rounds that are not counted: the first compiles

Steps = Callable[[Tensor], None]


def ours() -> Steps:
    """Steps of the emitted model, as `foundry train` takes them, on batches (N, B, T + 1)."""
    module = load(emit(PROGRAM))
    model = module.Model().to("cuda")
    model.initialise(0)
    (optimizer,) = module.optimizers(model)
    forward = torch.compile(forward_pass(module, model, plain=True))

    def loss(batch: Tensor) -> Tensor:
        return forward(batch[:, :-1], batch[:, 1:], True)[0] / batch[:, 1:].numel()

    return stepper(model, optimizer, loss)


def theirs(tokens: int) -> Steps:
    """Steps of transformers' GPT-2 with the attention that it chooses itself."""
    import transformers

    config = transformers.GPT2Config(
        n_positions=tokens, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False
    )
    model = transformers.GPT2LMHeadModel(config).to("cuda").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    compiled = torch.compile(model)

    def loss(batch: Tensor) -> Tensor:
        return compiled(input_ids=batch[:, :-1], labels=batch[:, :-1]).loss

    return stepper(model, optimizer, loss)


def stepper(model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[Tensor], Tensor]) -> Steps:
    def steps(batches: Tensor) -> None:
        for batch in batches:
            with torch.autocast("cuda", dtype=torch.bfloat16):
                value = loss(batch)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    return steps


def timed(steps: Steps, batches: Tensor) -> float:
    """Seconds that the GPU takes for the steps."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    steps(batches)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("steps", 100), ("rows", 16), ("tokens", 1024)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch sees no GPU here; there is nothing to measure")
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")

    both = {"ours": ours(), "theirs": theirs(args.tokens)}
    rates: dict[str, list[float]] = {"ours": [], "theirs": []}
    for turn in range(WARM + max(4, args.steps // ROUND)):
        batches = torch.randint(50257, (ROUND, args.rows, args.tokens + 1), device="cuda")
        for name in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            seconds = timed(both[name], batches)
            if turn >= WARM:
                rates[name].append(ROUND * args.rows * args.tokens / seconds)

    peak, flops = peak_flops("cuda", torch.bfloat16), training_flops(PROGRAM)(args.tokens)
    print(torch.cuda.get_device_name())
    for name, values in rates.items():
        rate = statistics.median(values)
        share = f", {rate * flops / peak:.1%} of {peak / 1e12:,.0f} TFLOP/s" if peak else ""
        print(f"{name:>6}: {rate:,.0f} tokens/s{share}")
    pairs = [a / b for a, b in zip(rates["ours"], rates["theirs"], strict=True)]
    low, middle, high = statistics.quantiles(pairs, n=4)
    print(f"ratio ours / theirs: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
