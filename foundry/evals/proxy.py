"""Proxy evaluation: a genome's text in, its bits per byte after a fixed amount of training compute out."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch

from foundry.compiler.cost import compute_per_token, cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.corpus import Corpus
from foundry.dsl.check import check
from foundry.dsl.program import all_units
from foundry.evals.bits import bits_per_byte, first_leak, implausible_below, windows
from foundry.train.loop import train
from foundry.train.plan import PlanError, plan_steps

BYTES = 256  # the vocabulary of every proxy
VALIDATION_CONTEXT = 128
WINDOWS = {"validation": 128, "test": 512}
LONGEST_CONTEXT = 256  # that a recipe may train with
PROBED = 4  # windows in the causality probe


@dataclass(frozen=True)
class Outcome:
    """What came of one evaluation. A failure is an outcome too.

    status: ok, diverged, rejected (nothing was trained), quarantined (a score not to be believed), out_of_memory or
    crashed. error_code: a diagnostic's code, an exception's class, or one word; message: one line for people.
    compute: flop-equivalents spent of the budget. train_curve: (progress, bits per byte) pairs.
    flops_per_token, bytes_per_token: forward, at VALIDATION_CONTEXT. cache_bytes_per_token: float32.
    cpu_s: processor time of the evaluation. peak_rss: bytes, of the whole process so far.
    """

    status: str
    error_code: str = ""
    message: str = ""
    bits_per_byte: float | None = None
    compute: float = 0.0
    tokens: int = 0
    steps: int = 0
    train_curve: tuple[tuple[float, float], ...] = ()
    parameters: int = 0
    flops_per_token: float = 0.0
    bytes_per_token: float = 0.0
    cache_bytes_per_token: float = 0.0
    cpu_s: float = 0.0
    peak_rss: int = 0


class Refused(Exception):
    """An evaluation that ends without a score that counts."""

    def __init__(self, status: str, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def evaluate(text: str, corpus: Corpus, *, compute: float, seed: int, split: str = "validation") -> Outcome:
    """Train the genome in `text` for `compute` flop-equivalents and score it on `split`.

    Never raises for what a genome does. Sets this process to one thread and flushes denormals: processes, not
    threads, are what runs side by side. Equal arguments give an equal score, to the bit.
    """
    began = time.process_time()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found: dict[str, Any] = {"status": "ok"}
    try:
        _evaluate(text, corpus, compute, seed, split, found)
    except Refused as refusal:
        found.update(status=refusal.status, error_code=refusal.code, message=refusal.message)
    except Exception as error:
        found.update(failure(error))
    return Outcome(**found, cpu_s=time.process_time() - began, peak_rss=peak_rss())


def _evaluate(text: str, corpus: Corpus, compute: float, seed: int, split: str, found: dict[str, Any]) -> None:
    """Fill `found` with the fields of the outcome as they become known.

    Raises:
        Refused: there is no score that counts.
    """
    checked = check(text)
    if checked.program is None:
        first = next(d for d in checked.diagnostics if d.severity == "error")
        raise Refused("rejected", first.code, first.message)
    program = checked.program
    if program.vocab != BYTES:
        raise Refused("rejected", "vocab", f"the vocabulary is {program.vocab}; text is bytes, so it must be {BYTES}")

    figures = cost(program, context=VALIDATION_CONTEXT)
    found.update(
        parameters=figures.parameters,
        flops_per_token=figures.flops_per_token,
        bytes_per_token=figures.bytes_per_token,
        cache_bytes_per_token=figures.cache_bytes_per_token,
    )

    module = load(emit(program))
    per_token = cache(partial(compute_per_token, program))
    groups_tokens = any(node.op == "experts" for unit in all_units(program) for node in unit.nodes)
    train_and_score(module, corpus, compute, per_token, seed, split, found, groups_tokens)


def train_and_score(
    module: ModuleType,
    corpus: Corpus,
    compute: float,
    compute_per_token: Callable[[int], float],
    seed: int,
    split: str,
    found: dict[str, Any],
    groups_tokens: bool = False,
) -> None:
    """Train a fresh model of an emitted module and score it; fills `found` as `_evaluate` does.

    groups_tokens: it has experts, see `first_leak`.

    Raises:
        Refused: the module cannot be trained, its training diverged, or its score is not to be believed.
    """
    if module.LONGEST is not None and module.LONGEST < VALIDATION_CONTEXT:
        short = f"the model reaches {module.LONGEST} positions, and validation needs {VALIDATION_CONTEXT}"
        raise Refused("rejected", "context", short)
    budget: dict[str, Any] = {
        "compute": compute,
        "compute_per_token": compute_per_token,
        "max_context": LONGEST_CONTEXT,
    }
    try:
        plan_steps(module, **budget)  # before the model takes any memory
    except PlanError as error:
        raise Refused("rejected", "plan", str(error)) from None
    model = module.Model()
    model.initialise(seed)
    trained = train(module, model, corpus.train, seed=seed, **budget)
    found.update(steps=trained.steps, tokens=trained.tokens, compute=trained.compute, train_curve=trained.curve)
    if trained.diverged:
        raise Refused("diverged", "loss", trained.diverged)

    model.eval()
    data = corpus.split(split)
    text = windows(data, WINDOWS[split], VALIDATION_CONTEXT)
    score = bits_per_byte(model, text)
    if score != score:
        raise Refused("diverged", "loss", f"the loss on {split} text is not a number")
    found.update(bits_per_byte=score)
    leak = first_leak(model, text[:PROBED, :-1], BYTES, groups_tokens)
    if leak is not None:
        raise Refused("quarantined", "leak", f"tokens from position {leak} on change the logits before it")
    if score < (floor := implausible_below(data)):
        raise Refused("quarantined", "implausible", f"{score:.3f} bits per byte, and below {floor:.3f} is not credible")


def failure(error: Exception) -> dict[str, str]:
    """Status, code and message for an exception that ended an evaluation."""
    message = (str(error).splitlines() or [""])[0][:200]
    memory = isinstance(error, MemoryError) or "allocate memory" in message or "not enough memory" in message
    return {
        "status": "out_of_memory" if memory else "crashed",
        "error_code": type(error).__name__,
        "message": message,
    }


def peak_rss() -> int:
    """The most memory that this process has held, in bytes (getrusage counts KiB on Linux, bytes on macOS)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
