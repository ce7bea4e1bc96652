"""A training step of the emitted GPT-2 against transformers' GPT2LMHeadModel of the same sizes.

    python bench/step_time.py [--seconds 30] [--width 64] [--layers 4] [--rows 8] [--tokens 128]
    python bench/step_time.py --width 256 --layers 6 --rows 4 --tokens 256

Both run in one process on one thread, step by step in turn, from the same batch, without dropout: forward, loss,
backward, clipping, AdamW. Prints the median of the paired ratios ours / theirs, and their quartiles; below 1, ours
is faster.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
import transformers
from torch import Tensor

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

GENOME = Path(__file__).parents[1] / "genomes" / "gpt2.genome"


def ours(width: int, layers: int, positions: int) -> Callable[[Tensor], float]:
    """A training step of the emitted model: batch (B, T + 1) → loss."""
    text = GENOME.read_text().replace("width = 64", f"width = {width}").replace("hidden = 256", f"hidden = {4 * width}")
    text = text.replace("vocab = 128", f"vocab = {positions}").replace("4 * layer", f"{layers} * layer")
    module = load(emit(load_program(text)))
    model = module.Model()
    model.initialise(0)
    optimizers = module.optimizers(model)

    def step(batch: Tensor) -> float:
        loss = module.loss(model(batch[:, :-1]), batch[:, 1:]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return loss.item()

    return step


def theirs(width: int, layers: int, positions: int) -> Callable[[Tensor], float]:
    """A training step of transformers' GPT-2, used as its documentation has it, with PyTorch's default AdamW."""
    config = transformers.GPT2Config(
        vocab_size=256, n_positions=positions, n_embd=width, n_layer=layers, n_head=4, n_inner=4 * width,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    model = transformers.GPT2LMHeadModel(config)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.1)

    def step(batch: Tensor) -> float:
        loss = model(input_ids=batch[:, :-1], labels=batch[:, :-1]).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("seconds", 30), ("width", 64), ("layers", 4), ("rows", 8), ("tokens", 128)):
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()

    sizes = args.width, args.layers, max(128, args.tokens)
    steps = {"ours": ours(*sizes), "theirs": theirs(*sizes)}
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    generator = torch.Generator().manual_seed(0)
    deadline = time.perf_counter() + args.seconds
    turn = 0
    while time.perf_counter() < deadline or turn < 20:
        batch = torch.randint(256, (args.rows, args.tokens + 1), generator=generator)
        for name in ("ours", "theirs") if turn % 2 else ("theirs", "ours"):
            start = time.perf_counter()
            steps[name](batch)
            times[name].append(time.perf_counter() - start)
        turn += 1

    pairs = list(zip(times["ours"], times["theirs"], strict=True))[5:]
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    for name, values in times.items():
        print(f"{name:>6}: {1e3 * statistics.median(values[5:]):.2f} ms a step (median of {len(values) - 5})")
    print(f"ratio ours / theirs: {middle:.3f} (quartiles {low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
