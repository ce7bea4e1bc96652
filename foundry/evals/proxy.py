"""Proxy evaluation: a genome's text in, its bits per byte after a fixed amount of training compute out."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from types import ModuleType
from typing import Any

import torch

from foundry.compiler.cost import compute_per_token, cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.corpus import Corpus
from foundry.data.order import windows as training_windows
from foundry.dsl.check import check
from foundry.dsl.program import all_units
from foundry.evals.bits import bits_per_byte, first_leak, implausible_below, windows
from foundry.evals.curve import early_signals
from foundry.evals.fingerprint import fingerprint
from foundry.evals.screen import Screen
from foundry.evals.signals import untrained
from foundry.train.loop import train
from foundry.train.plan import PlanError, Step, plan_steps

BYTES = 256  # the vocabulary of every proxy
VALIDATION_CONTEXT = 128
WINDOWS = {"validation": 128, "test": 512}
LONGEST_CONTEXT = 256  # that a recipe may train with
PROBED = {"validation": 32, "test": 128}  # windows in the causality probe, each changed from another place on
SIZES = ("parameters", "flops_per_token", "bytes_per_token", "cache_bytes_per_token")  # of a genome, in an outcome


@dataclass(frozen=True)
class Outcome:
    """What came of one evaluation. A failure is an outcome too.

    status: ok, diverged, rejected (nothing was trained), abandoned (the loss was above a limit), quarantined (a score
    not to be believed), out_of_memory or crashed. error_code: a diagnostic's code, an exception's class, or one word;
    message: one line for people.
    compute: flop-equivalents spent of the budget. train_curve: (progress, bits per byte) pairs.
    fingerprint: see `foundry.evals.fingerprint`, "" where it was not asked for or cannot be had. shared_with: what
    `known` has under it; then nothing was trained, and the score is that one's. signals: by name, those before
    training where they were asked for (`foundry.evals.signals`), and those of the curve (`foundry.evals.curve`).
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
    fingerprint: str = ""
    shared_with: str = ""
    signals: Mapping[str, float] = field(default_factory=dict)
    cpu_s: float = 0.0
    peak_rss: int = 0


class Refused(Exception):
    """An evaluation that ends without a score that counts."""

    def __init__(self, status: str, code: str, message: str):
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def evaluate(
    text: str,
    corpus: Corpus,
    *,
    compute: float,
    seed: int,
    split: str = "validation",
    known: Mapping[str, str] | None = None,
    probe: bool = False,
    screen: Screen | None = None,
    limits: Sequence[tuple[float, float]] = (),
) -> Outcome:
    """Train the genome in `text` for `compute` flop-equivalents and score it on `split`.

    known: evaluations by fingerprint, all of this compute and seed: what computes the same as one of them is not
    trained. probe: take fingerprint and signals even where there is nothing to compare them with. screen: reject what
    its signals speak against, before training. limits: where to stop training, see `foundry.train.loop.train`.

    Never raises for what a genome does. Sets this process to one thread and flushes denormals: processes, not
    threads, are what runs side by side. Equal arguments give an equal score, to the bit; that of a genome which is
    trained to the end depends on text, corpus, compute, seed and split alone.
    """
    began = time.process_time()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    found: dict[str, Any] = {"status": "ok"}
    try:
        trial = _prepare(text, compute, found)
        if probe or known or screen:
            _look(trial, corpus, seed, found, screen)
        if known and found.get("fingerprint") in known:
            found["shared_with"] = known[found["fingerprint"]]
        else:
            train_and_score(trial, corpus, seed, split, found, limits)
    except Refused as refusal:
        found.update(status=refusal.status, error_code=refusal.code, message=refusal.message)
    except Exception as error:
        found.update(failure(error))
    return Outcome(**found, cpu_s=time.process_time() - began, peak_rss=peak_rss())


@dataclass(frozen=True)
class Trial:
    """An emitted module and the compute to train it with, in flop-equivalents; compute_per_token by context length.

    groups_tokens: it has experts, see `first_leak`.
    """

    module: ModuleType
    compute: float
    compute_per_token: Callable[[int], float]
    groups_tokens: bool = False

    def steps(self) -> list[Step]:
        """The steps of its training, known before the model takes any memory.

        Raises:
            Refused: it cannot be trained with this compute, or not be scored.
        """
        longest = self.module.LONGEST
        if longest is not None and longest < VALIDATION_CONTEXT:
            short = f"the model reaches {longest} positions, and validation needs {VALIDATION_CONTEXT}"
            raise Refused("rejected", "context", short)
        try:
            return plan_steps(self.module, **self.budget)
        except PlanError as error:
            raise Refused("rejected", "plan", str(error)) from None

    @property
    def budget(self) -> dict[str, Any]:
        """What `train` and `plan_steps` want to know."""
        return {"compute": self.compute, "compute_per_token": self.compute_per_token, "max_context": LONGEST_CONTEXT}


def _prepare(text: str, compute: float, found: dict[str, Any]) -> Trial:
    """The trial of a genome; fills `found` with what the outcome says of its size.

    Raises:
        Refused: it has errors, or it is no model of bytes.
    """
    checked = check(text)
    if checked.program is None:
        first = next(d for d in checked.diagnostics if d.severity == "error")
        raise Refused("rejected", first.code, first.message)
    program = checked.program
    if program.vocab != BYTES:
        raise Refused("rejected", "vocab", f"the vocabulary is {program.vocab}; text is bytes, so it must be {BYTES}")

    figures = cost(program, context=VALIDATION_CONTEXT)
    found.update({name: getattr(figures, name) for name in SIZES})
    groups_tokens = any(node.op == "experts" for unit in all_units(program) for node in unit.nodes)
    return Trial(load(emit(program)), compute, cache(partial(compute_per_token, program)), groups_tokens)


def _look(trial: Trial, corpus: Corpus, seed: int, found: dict[str, Any], screen: Screen | None) -> None:
    """Fill `found` with what can be known before training.

    Raises:
        Refused: it cannot be trained, or the screen rejects it.
    """
    steps = trial.steps()
    module, rate = trial.module, trial.compute_per_token(VALIDATION_CONTEXT)
    with contextlib.suppress(Exception):  # a genome that fails here fails in training too, and is told of it there
        found["fingerprint"] = fingerprint(module, rate, LONGEST_CONTEXT)
    with contextlib.suppress(Exception):
        model = module.Model()
        model.initialise(seed)
        (batch,) = training_windows(corpus.train, steps[:1], seed, LONGEST_CONTEXT)
        found["signals"] = untrained(module, model, batch.x, batch.y)
    if screen and (reason := screen.rejects({name: found[name] for name in SIZES} | found.get("signals", {}))):
        raise Refused("rejected", "screened", reason)


def train_and_score(
    trial: Trial,
    corpus: Corpus,
    seed: int,
    split: str,
    found: dict[str, Any],
    limits: Sequence[tuple[float, float]] = (),
) -> None:
    """Train a fresh model and score it; fill `found` with the fields of the outcome as they become known.

    Raises:
        Refused: the module cannot be trained, its training diverged or was abandoned, or its score is not to be
            believed.
    """
    trial.steps()
    module = trial.module
    model = module.Model()
    model.initialise(seed)
    trained = train(module, model, corpus.train, seed=seed, limits=limits, **trial.budget)
    found.update(steps=trained.steps, tokens=trained.tokens, compute=trained.compute, train_curve=trained.curve)
    found["signals"] = found.get("signals", {}) | early_signals(trained.curve)
    if trained.diverged:
        raise Refused("diverged", "loss", trained.diverged)
    if trained.abandoned:
        raise Refused("abandoned", "limit", trained.abandoned)

    model.eval()
    data = corpus.split(split)
    text = windows(data, WINDOWS[split], VALIDATION_CONTEXT)
    score = bits_per_byte(model, text)
    if score != score:
        raise Refused("diverged", "loss", f"the loss on {split} text is not a number")
    found.update(bits_per_byte=score)
    leak = first_leak(model, text[:: len(text) // PROBED[split], :-1], BYTES, trial.groups_tokens)
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
