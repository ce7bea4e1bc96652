"""Does the cost model predict how long a training step takes?

    python bench/cost_model.py            measure a varied set of genomes, print predicted against measured
    python bench/cost_model.py --fit      also fit the constants of foundry/compiler/work.py
    python bench/cost_model.py --diverse  measure 60 genomes that the constants were not fitted to: 30 of those shipped,
                                          30 from the generator that search uses
    python bench/cost_model.py F...       measure other genomes

One thread, processor time, so that other work on the machine disturbs little. A prediction is compute
per token times tokens per step, at one speed for all genomes (the median); it matters that the ratio of two
genomes' predictions is the ratio of their times, for that is how a search shares out its budget.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

import numpy as np
import torch

from foundry.compiler.cost import compute_per_token, final_context, step_work
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.compiler.work import BALANCE, LAUNCH, LOGIT
from foundry.dsl.check import load_program
from foundry.dsl.program import Program
from foundry.generate.genomes import random_genome

GENOME = """@foundry(1);
layer(x) = {{
  x = x + ({mixer})({norm}(x));
  x + ({mlp})({norm}(x))
}};
model = embed(vocab = 256, width = {width}) >> {depth} * layer >> {norm} >> unembed(tied = 1);
recipe = train(optimizer = {optimizer}, batch = {batch}, context = fn(t) => {context}{more});
"""
USUAL = {
    "mixer": "attention(heads = 4, pos = rope)", "mlp": "mlp(hidden = 256, act = gelu)", "norm": "rmsnorm", "width": 64,
    "depth": 4, "optimizer": "adamw(lr = 3e-3)", "batch": 1024, "context": 128, "more": "",
}  # fmt: skip
ATTEND = """fn(x) => {{
  q = split_heads(linear(x, 64), 4);
  k = split_heads(linear(x, 64), 4);
  linear(merge_heads(attend(q, k, split_heads(linear(x, 64), 4), {})), 64)
}}"""
VARIANTS: dict[str, dict[str, object]] = {
    "usual": {},
    "width 32": {"width": 32, "mlp": "mlp(hidden = 128)"},
    "width 32, two heads": {"width": 32, "mlp": "mlp(hidden = 128)", "mixer": "attention(heads = 2, pos = rope)"},
    "width 96": {"width": 96, "mlp": "mlp(hidden = 384)"},
    "width 128": {"width": 128, "mlp": "mlp(hidden = 512)"},
    "width 128, shallow": {"width": 128, "mlp": "mlp(hidden = 512)", "depth": 1},
    "depth 1": {"depth": 1},
    "depth 8": {"depth": 8},
    "batch 256": {"batch": 256},
    "batch 4096": {"batch": 4096},
    "context 32": {"context": 32},
    "context 256": {"context": 256},
    "no positions": {"mixer": "attention(heads = 4)"},
    "layer norm": {"norm": "layernorm"},
    "written norm": {"norm": "(fn(x) => x / (mean(abs(x)) + 1e-6))"},
    "gated": {"mlp": "glu(hidden = 160)"},
    "squared relu": {"mlp": "mlp(hidden = 256, act = relu2)"},
    "written activation": {"mlp": "mlp(hidden = 256, act = fn(x) => x * sigmoid(1.7 * x) + 0.1 * relu(x) ** 2)"},
    "wide mlp": {"mlp": "mlp(hidden = 1024)"},
    "one kv head": {"mixer": "attention(heads = 4, kv_heads = 1, pos = rope)"},
    "one head": {"mixer": "attention(heads = 1, pos = rope)"},
    "eight heads": {"mixer": "attention(heads = 8, pos = rope)"},
    "window": {"mixer": "attention(heads = 4, pos = rope, mask = window(size = 32))"},
    "dilated": {"mixer": "attention(heads = 4, pos = rope, mask = dilated)"},
    "alibi": {"mixer": "attention(heads = 4, score = alibi)"},
    "learned bias": {"mixer": "attention(heads = 4, score = log_distance)"},
    "soft cap": {"mixer": "attention(heads = 4, pos = rope, score = softcap)"},
    "soft cap, context 256": {"mixer": "attention(heads = 4, score = softcap)", "context": 256},
    "short convolutions": {"mixer": "attention(heads = 4, pos = rope, short = conv(kernel = 3))"},
    "gated convolution": {"mixer": "gated_conv(kernel = 4)"},
    "recurrence": {"mixer": "recurrence()"},
    "recurrence, context 32": {"mixer": "recurrence()", "context": 32},
    "token shift": {"mixer": "token_shift >> attention(heads = 4, pos = rope)"},
    "query-key norm": {"mixer": "attention(heads = 4, pos = rope, norm = rmsnorm)"},
    "linear attention": {"mixer": "linear_attention(heads = 4)"},
    "retention": {"mixer": "retention(heads = 4)"},
    "gated linear attention": {"mixer": "gated_linear_attention(heads = 4)"},
    "delta rule": {"mixer": "delta_attention(heads = 4)"},
    "delta rule, context 32": {"mixer": "delta_attention(heads = 4)", "context": 32},
    "state space": {"mixer": "mamba()"},
    "latent attention": {"mixer": "mla(heads = 4, rank = 16)"},
    "sparse attention": {"mixer": ATTEND.format("top = 16")},
    "sink": {"mixer": ATTEND.format("sink = 0")},
    "relative positions": {"mixer": ATTEND.format("score = fn(s, i, j) => s + lookup(i - j, size = 32, per = head)")},
    "four experts": {"mlp": "moe(count = 4, active = 2, hidden = 64)"},
    "eight experts": {"mlp": "moe(count = 8, active = 2, hidden = 64)"},
    "eight experts, batch 4096": {"mlp": "moe(count = 8, active = 2, hidden = 64)", "batch": 4096},
    "lion": {"optimizer": "lion(lr = 5e-4)"},
    "muon": {"optimizer": "muon(lr = 0.02)"},
    "muon, width 128": {"optimizer": "muon(lr = 0.02)", "width": 128, "mlp": "mlp(hidden = 512)"},
    "z-loss": {"more": ", loss = z_loss"},
}


ROUNDS = 3  # each genome is measured in so many rounds, and the fastest counts


def measure(program: Program, seconds: float) -> float:
    """Processor seconds of the fastest training steps."""
    module = load(emit(program))
    model = module.Model()
    model.initialise(0)
    optimizers = module.optimizers(model)
    context = module.context(1.0)
    tokens = torch.randint(module.VOCAB, (max(1, program.recipe.batch // context), context + 1))
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 8 or (time.perf_counter() - started < seconds and len(times) < 60):
        before = time.process_time()
        loss = module.loss(model(tokens[:, :-1]), tokens[:, 1:]).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), module.CLIP)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        times.append(time.process_time() - before)
    return float(np.quantile(times[3:], 0.2))


def terms(program: Program, context: int) -> tuple[float, ...]:
    """Operations, bytes, kernels and logits of a training step: what compute is a weighted sum of."""
    work = step_work(program, context)
    return work.flops, work.bytes, work.kernels, work.logits


def fit(x: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Seconds per operation, byte, kernel and logit, with the least relative error."""
    return np.linalg.lstsq(x / seconds[:, None], np.ones(len(seconds)), rcond=None)[0]


DIVERSE = 60
ROOMS = ("attention", "positions", "norms", "channels", "residual", "heads", "recipes")


def diverse() -> dict[str, str]:
    """Genomes by name: every so many-th of those shipped, and as many from the generator, by seed."""
    folder = Path(__file__).parents[1] / "genomes"
    files = sorted(folder.glob("*.genome")) + [f for room in ROOMS for f in sorted(folder.glob(f"{room}/*.genome"))]
    chosen = [files[i * len(files) // (DIVERSE // 2)] for i in range(DIVERSE // 2)]
    texts = {f"{file.parent.name}/{file.stem}": file.read_text() for file in chosen}
    return texts | {f"generated {seed}": random_genome(random.Random(seed)) for seed in range(DIVERSE // 2)}


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def interval(a: np.ndarray, b: np.ndarray, draws: int = 2000) -> tuple[float, float]:
    """The 95 % bootstrap interval of the rank correlation, over genomes."""
    rng = np.random.default_rng(0)
    samples = rng.integers(len(a), size=(draws, len(a)))
    low, high = np.quantile([spearman(a[i], b[i]) for i in samples], (0.025, 0.975))
    return float(low), float(high)


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit BALANCE, LAUNCH and LOGIT")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long to measure each genome")
    parser.add_argument("--diverse", action="store_true", help="measure 60 genomes that nothing was fitted to")
    parser.add_argument("files", nargs="*", type=Path, help="genomes to measure instead of the built-in ones")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)

    texts = {file.stem: file.read_text() for file in args.files}
    if args.diverse:
        texts |= diverse()
    texts = texts or {name: GENOME.format(**(USUAL | changes)) for name, changes in VARIANTS.items()}
    names, programs = list(texts), [load_program(text) for text in texts.values()]
    contexts = [final_context(program) for program in programs]
    predicted = np.array([compute_per_token(p, c) * p.recipe.batch for p, c in zip(programs, contexts, strict=True)])
    parts = np.array([terms(p, c) for p, c in zip(programs, contexts, strict=True)])
    rounds = [[measure(p, args.seconds / ROUNDS) for p in programs] for _ in range(ROUNDS)]
    seconds = np.min(rounds, axis=0)
    report(names, predicted, seconds, parts)
    if args.fit:
        operation, byte, kernel, logit = found = fit(parts, seconds)
        print(f"\nfit: {1e-9 / operation:.1f} Gop/s, {1e-9 / byte:.1f} GB/s", end=", ")
        print(f"{kernel * 1e6:.1f} µs a kernel, {logit * 1e9:.2f} ns a logit")
        print(f"BALANCE = {byte / operation:.2f}  (now {BALANCE})")
        print(f"LAUNCH = {kernel / operation:,.0f}  (now {LAUNCH:,.0f})")
        print(f"LOGIT = {logit / operation:.0f}  (now {LOGIT:.0f})")
        print("with these constants:")
        report(names, parts @ found / operation, seconds, parts)


def report(names: list[str], predicted: np.ndarray, seconds: np.ndarray, parts: np.ndarray) -> None:
    """One line for each genome, and how well the predictions do."""
    speed = float(np.median(predicted / seconds))
    error = predicted / speed / seconds - 1
    print(f"{'':24} {'measured':>10} {'error':>6} {'Mop':>6} {'MB':>6} {'kernels':>8} {'klogits':>8}")
    for name, s, e, (flops, moved, kernels, logits) in zip(names, seconds, error, parts, strict=True):
        columns = f"{flops / 1e6:6.0f} {moved / 1e6:6.0f} {kernels:8.0f} {logits / 1e3:8.0f}"
        print(f"{name:24} {s * 1e3:7.2f} ms {e:+6.0%} {columns}")
    print(f"genomes {len(names)}, {speed / 1e9:.1f} Gop/s in equivalent operations")
    low, high = interval(predicted, seconds)
    print(f"Spearman {spearman(predicted, seconds):.3f} (95 % {low:.3f} to {high:.3f})")
    print(f"relative error: median {np.median(abs(error)):.0%}, 90 % within {np.quantile(abs(error), 0.9):.0%}")


if __name__ == "__main__":
    main()
