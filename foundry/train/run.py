"""A run from its first step to its last: `foundry train`. The steps themselves are `foundry.train.loop.updates`."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from foundry.compiler.cost import compute_per_token
from foundry.data.order import Batch
from foundry.data.tokens import Tell
from foundry.train import validation
from foundry.train.build import REMEMBERED, WINDOWS, Run, built, refuse_strangers
from foundry.train.checkpoint import write_model, write_state
from foundry.train.devices import Machine
from foundry.train.fault import first_bad_gradient
from foundry.train.journal import Journal, Row, Viewer
from foundry.train.loop import Diverged, Update, updates
from foundry.train.state import capture, gathered
from foundry.train.terms import Asked, described, locked, stored
from foundry.train.throughput import Pace, peak_flops, training_flops
from foundry.train.trackers import installed, trackers

ROWS = 1000  # of the journal, in about so many steps of a run
SAFE = 60.0  # seconds between states on disk ...
SHARE = 30.0  # ... or so many times what one takes to write
TOGETHER = 1.0  # seconds in which interrupts count as one
PROMPT = 32  # tokens of validation text before a sample
TEMPERATURE = 0.8


class Stopped(Exception):
    """The run was interrupted, and goes on from where it is. The message says how."""


@dataclass(frozen=True)
class Finished:
    """What came of a run. ended: "complete", or why it ended before its last step."""

    folder: Path
    steps: int
    tokens: int
    validation: float | None
    best: float | None
    ended: str


def run(
    asked: Asked, machine: Machine, watch: Callable[[int], Viewer] | None = None, tell: Tell | None = None
) -> Finished:
    """Train, from the beginning or from where the run in `asked.out` is.

    watch: who is shown the run, given its number of steps. tell: called with the bytes of text that are encoded, and
    all that there are, where that takes a while.

    Raises:
        RunError, CheckpointError, TokenizerError, CorpusError, OrderError, PlanError, ProbeError, TrackerError: it
            cannot begin. The message is one line.
        Diverged: the loss is no number any more, or hopeless; the last good checkpoint is kept.
        Stopped: SIGINT or SIGTERM came; the state is saved.
        OSError: what is to be kept cannot be written; the last good checkpoint is kept.
    """
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        if machine.first:
            installed(asked.trackers)  # which is not to be found out after hours of preparation
            stack.enter_context(locked(asked.out))
        torch.set_flush_denormal(True)
        found = stored(asked)
        machine.wait()  # nobody goes on before all have looked
        refuse_strangers(machine, found and found[1])
        one = built(asked, machine, found, began, tell)
        if one.progress.ended:
            return _finished(one)
        if machine.first:
            step = one.progress.step
            viewers = trackers(asked.trackers, asked.out / "log", described(one.terms), step)
            one.journal = Journal(asked.out / "log", step, viewers)
            stack.callback(one.journal.close)
            one.journal.viewers += [watch(len(one.steps))] if watch else []
            for remark in remarks(one):
                one.journal.say(remark)
        interrupt = stack.enter_context(interrupted())
        if found is None:
            save(one)
        train_on(one, interrupt)
        return _finished(one)


def remarks(one: Run) -> list[str]:
    """What is otherwise than somebody may expect, one line each."""
    found = []
    if one.machine.shard == "fsdp" and one.micro is None:
        found.append("--shard fsdp does not try what fits: a step is taken at once; --micro N takes it in parts")
    longest = one.module.LONGEST
    asked = max(one.module.context(step.progress) for step in one.steps[:: max(1, len(one.steps) // ROWS)])
    if longest is not None and asked > longest:
        found.append(f"rows have at most {longest:,} tokens, as many as the model has positions, and not {asked:,.0f}")
    return found


def train_on(one: Run, interrupt: list[float]) -> None:
    """Take the steps that are left, and between them validate, keep what is to be kept, and tell of it."""
    machine, progress, steps = one.machine, one.progress, one.steps
    pace = _pace(one)
    looks = validation_steps(len(steps), one.terms.validations)
    every = max(1, len(steps) // ROWS)
    saved, took = time.monotonic(), 0.0
    left = updates(
        one.module, one.model, one.optimizers, steps, _timed(one.order, pace), progress.losses,
        machine=machine, forward=one.forward, micro=one.micro, byte_lengths=one.lengths,
    )  # fmt: skip
    while progress.step < len(steps) and not progress.ended:
        with pace.inside("step"):
            update = next(left)
        _refuse_broken(one, update)
        progress.tokens += update.tokens
        step = progress.step
        done = steps[step].progress if step < len(steps) else 1.0
        pace.step(update.tokens, update.step.context, done)
        better = False
        if step in looks:
            with pace.inside("validation"):
                better = validate(one)
        if step in looks or step % every == 0:
            with pace.inside("journal"):
                note(one, update, pace, done, step in looks)
        due = machine.first and time.monotonic() - saved > max(SAFE, SHARE * took)
        stop, write = machine.agree(len(interrupt), due)
        if write or stop or step in looks:
            with pace.inside("checkpoint"):
                start = time.monotonic()
                save(one, better)
                saved = time.monotonic()
                took = saved - start
        if stop and not progress.ended:
            raise Stopped(
                f"stopped after step {step:,} of {len(steps):,}; foundry train --out {one.asked.out} --resume goes on"
            )


def validate(one: Run) -> bool:
    """Bits per byte of validation text; whether they are the best so far. Ends the run where patience does.

    Raises:
        Diverged: they are no number.
    """
    progress, machine = one.progress, one.machine
    one.model.eval()
    with machine.autocast():
        progress.validation = validation.bits_per_byte(
            one.model,
            validation_text(one),
            one.lengths,
            vocab=one.program.vocab,
            device=machine.device,
            share=(machine.rank, machine.world),
            add_up=machine.add_up,
        )
    one.model.train()
    if not math.isfinite(progress.validation):
        raise Diverged(f"the validation is {progress.validation} bits per byte after step {progress.step}")
    better = progress.best is None or progress.validation < progress.best
    progress.best = progress.validation if better else progress.best
    progress.stale = 0 if better else progress.stale + 1
    if progress.step == len(one.steps):
        progress.ended = "complete"
    elif one.terms.patience and progress.stale >= one.terms.patience:
        progress.ended = f"no better validation in {progress.stale}"
    return better


def validation_text(one: Run) -> torch.Tensor:
    """The windows that every validation of a run takes: (N, T + 1), N a multiple of the number of processes."""
    data = one.tokens.validation
    context = min(one.steps[-1].context, len(data) - 1)
    return validation.windows(data, -(-WINDOWS // one.machine.world) * one.machine.world, context)


def validation_steps(steps: int, count: int) -> set[int]:
    """After which steps to validate: evenly, and after the last."""
    count = min(count, steps)
    return {math.ceil(steps * number / count) for number in range(1, count + 1)}


def note(one: Run, update: Update, pace: Pace, done: float, validated: bool) -> None:
    """A row of the journal, and a sample after a validation, which all processes take part in."""
    text = ""
    if validated and one.asked.sample:
        with pace.inside("validation"):
            text = sample(one)
    if one.journal is None:
        return
    progress, speed = one.progress, pace.speed()
    recent = progress.losses[progress.seen :] or [update.bits]
    progress.seen = progress.step
    row = Row(
        step=progress.step,
        tokens=progress.tokens,
        progress=done,
        bits_per_byte=math.fsum(recent) / len(recent),
        validation=progress.validation if validated else None,
        best=progress.best,
        rate=update.step.factor,
        gradient_norm=update.norm,
        context=update.step.context,
        tokens_per_s=speed.tokens_per_s,
        utilisation=speed.utilisation,
        seconds=pace.seconds,
        step_seconds=pace.parts["step"],
        validation_seconds=pace.parts.get("validation"),
        seconds_left=speed.seconds_left,
    )
    one.journal.row(row)
    if text:
        one.journal.sample(progress.step, text)


def sample(one: Run) -> str:
    """How the model goes on from the beginning of the validation text; the same draws at every step."""
    device = one.machine.device
    prompt = torch.from_numpy(one.tokens.validation[None, :PROMPT].astype("int64")).to(device)
    generator = torch.Generator(device).manual_seed(one.terms.seed)
    one.model.eval()
    with one.machine.autocast():
        tokens = one.module.generate(one.model, prompt, one.asked.sample, TEMPERATURE, generator)
    one.model.train()
    return one.tokenizer.decode(number for number in tokens[0].tolist() if number < one.tokenizer.vocab)


def save(one: Run, best: bool = False) -> None:
    """Write the model as a checkpoint, also in best/ where it is the best, and then the state: whatever moment a kill
    comes at, what the state says of the models is so.

    Raises:
        Diverged: a weight is not finite any more; what was there before stays.
        OSError: there is no room, or no right; what was there before is still whole.
    """
    progress, folder = one.progress, one.asked.out
    state = capture(one.model, one.optimizers, progress.losses, one.data_state())
    state = gathered(state, one.machine)
    if not one.machine.first:
        return
    own = {name.removeprefix("model."): tensor for name, tensor in state.items() if name.startswith("model.")}
    if broken := next((name for name, tensor in own.items() if not tensor.isfinite().all()), ""):
        raise Diverged(f"the weight {broken} is not finite after step {progress.step}")
    about = {"terms": described(one.terms), "data_hash": one.tokens.hash, "tokenizer_hash": one.tokenizer.hash}
    about |= {name: getattr(progress, name) for name in REMEMBERED}
    if progress.step == 0:  # the state makes the folder a run, which can be gone on with whatever else it lacks
        one.tokenizer.write(folder)
        write_state(folder, state, about)
    keep = partial(write_model, text=one.terms.text, weights=own, tokenizer=one.tokenizer, config=_config(one))
    if best:
        keep(folder / "best")
    keep(folder)
    if one.journal:
        one.journal.flush()
    if progress.step:
        write_state(folder, state, about)


def _config(one: Run) -> dict[str, Any]:
    """What config.json says of the training."""
    shapes = Counter((step.context, step.tokens) for step in one.steps[: one.progress.step])
    spent = sum(count * size * compute_per_token(one.program, context) for (context, size), count in shapes.items())
    progress = one.progress
    trained: dict[str, Any] = {"steps": progress.step, "tokens": progress.tokens, "compute": spent}
    trained |= {"bits_per_byte": progress.validation, "best_bits_per_byte": progress.best}
    settings = {name: value for name, value in described(one.terms).items() if name != "text"}
    settings |= {"processes": one.machine.world, "planned_steps": len(one.steps)}
    return {"data": {"name": one.tokens.name, "hash": one.tokens.hash}, "trained": trained, "train": settings}


# ---- what goes on around the steps ------------------------------------------------------------------------------


@contextlib.contextmanager
def interrupted() -> Iterator[list[float]]:
    """A list that is empty until SIGINT or SIGTERM comes. A SIGINT that comes later raises KeyboardInterrupt at once;
    several within a second are one, such as those that a process and its group are sent."""
    came: list[float] = []

    def note_it(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if came and number == signal.SIGINT and now - came[0] > TOGETHER:
            raise KeyboardInterrupt
        came.append(now)

    try:
        before = {number: signal.signal(number, note_it) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # not the main thread, which alone hears signals
        before = {}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _timed(order: Iterable[Sequence[Batch]], pace: Pace) -> Iterator[Sequence[Batch]]:
    """The same batches, with the time that they take counted as theirs and not as the step's that asks for them."""
    batches = iter(order)
    while True:
        with pace.inside("data"):
            batch = next(batches, None)
        if batch is None:
            return
        yield batch


def _pace(one: Run) -> Pace:
    peak = peak_flops(one.machine.device, one.machine.dtype or torch.float32)
    steps, step = one.steps, one.progress.step
    done = steps[step].progress if step < len(steps) else 1.0
    return Pace(training_flops(one.program), peak * one.machine.world if peak else None, done=done)


def _refuse_broken(one: Run, update: Update) -> None:
    """Raise where a step broke the weights, before anything is saved of them.

    Raises:
        Diverged: a gradient was not finite.
    """
    if not math.isfinite(update.norm):
        name = first_bad_gradient(one.model)
        raise Diverged(
            f"the gradient is {update.norm} at step {one.progress.step}" + (f", first in {name}" if name else "")
        )


def _finished(one: Run) -> Finished:
    progress = one.progress
    return Finished(one.asked.out, progress.step, progress.tokens, progress.validation, progress.best, progress.ended)
