"""What a genome comes to, as a few short texts, so that two processes can be compared.

Run as a module it answers for another process: a JSON list of a text and a seed on each line in, an object out.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import torch

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check
from foundry.dsl.render import render
from foundry.search.operators import Barren, mutate


def fingerprint(text: str, seed: int) -> dict[str, Any]:
    """Hash, figures, the emitted file, names and initial values of a genome, and what a mutation of it is; of a wrong
    genome what is said of it."""
    checked = check(text)
    if checked.program is None:
        return {"diagnostics": digest(render(checked.diagnostics, text))}
    source = emit(checked.program)
    model = load(source).Model()
    model.initialise(seed)
    state = model.state_dict()
    return {
        "hash": canonical_hash(checked.program),
        "cost": digest(repr(sorted(vars(cost(checked.program)).items()))),
        "file": digest(source),
        "names": digest(repr([(name, tuple(weight.shape)) for name, weight in state.items()])),
        "values": digest(b"".join(weight.numpy().tobytes() for weight in state.values())),
        "mutant": digest(_mutant(text, seed)),
    }


def _mutant(text: str, seed: int) -> str:
    import random

    try:
        return mutate(text, random.Random(seed)).text
    except Barren:
        return ""


def digest(content: str | bytes) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content).hexdigest()


def elsewhere(text: str, seed: int) -> dict[str, Any]:
    """The fingerprint as another process finds it, whose dictionaries and sets hash otherwise."""
    process = _other()
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(json.dumps([text, seed]) + "\n")
    process.stdin.flush()
    answer = process.stdout.readline()
    if not answer:
        _other.cache_clear()
        raise RuntimeError(f"the other process ended with {process.wait()}")
    found: dict[str, Any] = json.loads(answer)
    if "error" in found:
        raise RuntimeError(f"the other process failed: {found['error']}")
    return found


@cache
def _other() -> subprocess.Popen[str]:
    """Another process that fingerprints, for as long as this one lives."""
    seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "foundry.testing.fingerprint"]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", env=environment
    )
    atexit.register(process.kill)
    return process


def main() -> None:
    torch.set_num_threads(1)
    for line in sys.stdin:
        text, seed = json.loads(line)
        try:
            found = fingerprint(text, seed)
        except Exception as error:  # it is the caller's to tell
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
