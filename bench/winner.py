"""Is a run's winner what it claims to be? `python bench/winner.py RUN...`

For each run folder, without any code of Foundry: its `best.py` is loaded with the name `foundry` blocked, trained on
bytes for a few steps, asked to generate, and probed for causality from outside: later tokens are changed, and no
earlier logit may change by a bit. Prints one line per run; exits with 1 if one fails.
"""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 60
TOKENS = 128


def probe(path: Path) -> None:
    """Runs in a process of its own, where `foundry` cannot be imported."""
    sys.modules["foundry"] = None  # type: ignore[assignment]
    import torch

    spec = importlib.util.spec_from_file_location("best", path)
    assert spec and spec.loader
    best = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(best)
    model = best.Model()
    model.load_state_dict(torch.load("model.pt", weights_only=True))
    model.eval()
    rng = random.Random(0)
    leaks = 0
    with torch.no_grad():
        for cut in [1, 2, 3, 7, 16, 31, 32, 33, 64, 65, 100, TOKENS - 1]:
            a = torch.randint(256, (2, TOKENS))
            b = a.clone()
            b[:, cut:] = torch.tensor([[rng.randrange(256) for _ in range(TOKENS - cut)] for _ in range(2)])
            leaks += int(not torch.equal(model(a)[:, :cut], model(b)[:, :cut]))
        full = model(a)
        past = best.Past()
        steps = torch.cat([model(a[:, t : t + 1], past) for t in range(TOKENS)], 1)
    print(f"leaks {leaks} of 12, cached decoding within {(full - steps).abs().max():.1e} of the full pass")
    sys.exit(leaks > 0 or not torch.allclose(full, steps, atol=1e-3))


def check(run: Path) -> bool:
    """Train, generate and probe one run's best.py in a folder of its own."""
    best = (run / "best.py").resolve()
    text = Path(random.__file__)  # any text will do: a source file of the standard library
    block = "import sys, runpy; sys.modules['foundry'] = None; sys.argv = sys.argv[1:]; "
    alone = [sys.executable, "-c", block + "runpy.run_path(sys.argv[0], run_name='__main__')", str(best)]
    with tempfile.TemporaryDirectory() as folder:
        train = subprocess.run(
            [*alone, "train", "--steps", str(STEPS), str(text)], cwd=folder, capture_output=True, text=True
        )
        said = subprocess.run([*alone, "generate", "model.pt", "def "], cwd=folder, capture_output=True, text=True)
        outside = subprocess.run(
            [sys.executable, __file__, "--probe", str(best)], cwd=folder, capture_output=True, text=True
        )
    losses = [float(line.rsplit(" ", 1)[1]) for line in train.stdout.splitlines() if line.startswith("step ")]
    good = train.returncode == said.returncode == outside.returncode == 0 and losses[-1] < losses[0]
    print(
        f"{run}: trains ({losses[0]:.2f} to {losses[-1]:.2f} nats in {STEPS} steps), " if losses else f"{run}: ", end=""
    )
    print(f"generates {len(said.stdout)} characters, {outside.stdout.strip()}: {'good' if good else 'BAD'}")
    for process in (train, said, outside):
        if process.returncode:
            print(process.stderr[-2000:])
    return good


if __name__ == "__main__":
    if sys.argv[1:2] == ["--probe"]:
        probe(Path(sys.argv[2]))
    sys.exit(0 if all(map(check, map(Path, sys.argv[1:]))) else 1)
