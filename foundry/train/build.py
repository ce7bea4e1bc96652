"""What a run consists of: the model, its data and its steps, from a command or from a saved state."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.apart import apart
from foundry.data.order import Batch, windows
from foundry.data.stream import held_out, streamed
from foundry.data.tokenizer import Tokenizer, read_tokenizer
from foundry.data.tokens import Tell, Tokens, load_tokens
from foundry.dsl.check import load_program
from foundry.dsl.program import Program
from foundry.train.checkpoint import check_weights, fill_from, read_checkpoint
from foundry.train.devices import Machine, blocks, recompute, shard_weights
from foundry.train.journal import Journal
from foundry.train.loop import Forward, forward_pass
from foundry.train.plan import Length, Step, plan_length
from foundry.train.probe import fitting, measured
from foundry.train.state import data_of, restore
from foundry.train.terms import Asked, RunError, Terms, fresh, resumed, with_length

LONGEST_CONTEXT = 1 << 20  # that a recipe may train with
WINDOWS = 128  # of validation text
RESERVE = 0.97  # of the time asked for that is planned with
REMEMBERED = ("tokens", "validation", "best", "stale", "seen", "ended")  # of the progress, besides the losses
State = tuple[Mapping[str, Tensor], dict[str, Any]]  # see `foundry.train.checkpoint.read_state`


@dataclass
class Progress:
    """How far a run is. losses: bits per byte of each step. stale: validations since the best. seen: where `losses`
    had got to when the journal last had a row."""

    losses: list[float] = field(default_factory=list)
    tokens: int = 0
    validation: float | None = None
    best: float | None = None
    stale: int = 0
    seen: int = 0
    ended: str = ""  # why there is nothing left to do: "complete", or that validations no longer improved

    @property
    def step(self) -> int:
        return len(self.losses)


@dataclass
class Run:
    """All that a run consists of, built."""

    asked: Asked
    terms: Terms
    machine: Machine
    program: Program
    module: ModuleType
    tokenizer: Tokenizer
    tokens: Tokens
    model: nn.Module
    forward: Forward
    micro: int | None
    steps: list[Step]
    optimizers: Sequence[Optimizer]
    progress: Progress
    order: Iterable[Sequence[Batch]]
    journal: Journal | None = None

    @property
    def lengths(self):
        """UTF-8 bytes of each token, None where all have one."""
        return None if self.tokenizer.kind == "bytes" else self.tokenizer.byte_lengths()

    def data_state(self) -> dict[str, torch.Tensor]:
        """Where the data go on, if their order has a memory."""
        state = getattr(self.order, "state", None)
        return {name: torch.from_numpy(array) for name, array in state().items()} if state else {}


def built(asked: Asked, machine: Machine, found: Any, began: float, tell: Tell | None = None) -> Run:
    """Everything that a run needs, as it was after its last step. tell: see `load_tokens`."""
    source = read_checkpoint(asked.weights) if asked.weights and found is None else None
    terms = resumed(asked, found[1]) if found else fresh(asked, _tokenizer_of(source))
    own = asked.out / "tokenizer.json"
    tokenizer = read_tokenizer(own if found and own.exists() else terms.tokenizer)
    program = load_program(terms.text, "the genome")
    if tokenizer.vocab > program.vocab:
        short = f"the tokenizer has {tokenizer.vocab:,} tokens, and the genome's vocabulary {program.vocab:,}"
        raise RunError(f"{short}: --set vocab={tokenizer.vocab}")
    tokens = _tokens(terms, tokenizer, machine, tell)
    if found and (tokens.hash, tokenizer.hash) != (found[1].get("data_hash"), found[1].get("tokenizer_hash")):
        raise RunError(f"{asked.out}: the data or the tokenizer are not those that this run was begun with")
    refuse_strangers(machine, terms.text, tokens.hash, tokenizer.hash)

    module = load(emit(program))
    torch.manual_seed(terms.seed)
    model = module.Model()
    if source:
        check_weights(source.folder, module)  # --set may have made another model of it
        fill_from(source.folder, model)
    elif not found:
        model.initialise(terms.seed)
    model.to(machine.device)
    forward = _forward(asked, module, model, program, machine)
    guess = plan_length(module, terms.length or _guess(terms, module), LONGEST_CONTEXT)
    _refuse_long(guess, tokens)
    micro = asked.micro or fitting(forward, model, max(guess, key=lambda step: step.tokens), machine)
    if terms.length is None:
        terms = with_length(terms, _length(terms, module, model, guess, tokens, machine, forward, micro, began))
    assert terms.length is not None
    steps = plan_length(module, terms.length, LONGEST_CONTEXT)
    optimizers = module.optimizers(model)
    progress = Progress()
    if found:
        progress = _progress(asked, restore(found[0], model, optimizers), len(steps), found[1])
    order = _order(terms, tokens, program, steps, progress.step, machine, micro, found)
    return Run(
        asked,
        terms,
        machine,
        program,
        module,
        tokenizer,
        tokens,
        model,
        forward,
        micro,
        steps,
        optimizers,
        progress,
        order,
    )


def _progress(asked: Asked, losses: list[float], steps: int, about: Mapping[str, Any]) -> Progress:
    """How far a run is, as its state says, which anybody may have written.

    Raises:
        RunError: it does not say, or nothing that can be.
    """
    said: dict[str, Any] = {name: about.get(name) for name in REMEMBERED}
    counts = all(type(said[name]) is int and said[name] >= 0 for name in ("tokens", "stale", "seen"))
    figures = all(
        said[name] is None or (isinstance(said[name], float) and math.isfinite(said[name]))
        for name in ("validation", "best")
    )
    words = isinstance(said["ended"], str) and said["ended"].isprintable()
    if not (counts and figures and words and len(losses) <= steps):
        raise RunError(f"{asked.out}: its state does not say how far the run is")
    return Progress(losses, **said)


def refuse_strangers(machine: Machine, *known: object) -> None:
    """Raise where processes do not have the same run before them: gradients of different models do not add up.

    Raises:
        RunError: on the processes that differ.
    """
    mine = int(hashlib.sha256(repr(known).encode()).hexdigest()[:10], 16)
    if machine.agree(mine) != [mine * machine.world]:
        where = "put --out, the text and $FOUNDRY_CACHE where all machines see them"
        raise RunError(f"the processes do not have the same run, text or tokenizer before them: {where}")


def _tokenizer_of(source: Any) -> str:
    return "bytes" if source is None or source.tokenizer.kind == "bytes" else str(source.folder)


def _tokens(terms: Terms, tokenizer: Tokenizer, machine: Machine, tell: Tell | None) -> Tokens:
    """The data. Of a stream only what is held out, which then stands for what it is like; else the first process builds
    the cache that the others open."""
    if terms.documents == "streamed":
        held = held_out(terms.data, tokenizer)
        stream = streamed(terms.data, tokenizer, (), terms.seed)
        return Tokens(stream.name, tokenizer, held, held, held[:0], stream.hash, {})
    if machine.first:
        tokens = load_tokens(terms.data, tokenizer, tell=tell)
    machine.wait()
    return tokens if machine.first else load_tokens(terms.data, tokenizer)


def _forward(asked: Asked, module: ModuleType, model: nn.Module, program: Program, machine: Machine) -> Forward:
    """The forward pass, compiled where that pays. Changes the model: parts, and what is computed again."""
    compiled = asked.compile == "on" or (asked.compile == "auto" and machine.device.type == "cuda")
    if asked.recompute:
        recompute(model)
    if machine.shard == "fsdp":
        for block in blocks(model) if compiled else ():
            block.compile()
        shard_weights(model, machine)
    plain = [node.op for node in program.recipe.loss.nodes] == ["cross_entropy"]
    forward = forward_pass(module, model, plain)
    return torch.compile(forward) if compiled and machine.shard != "fsdp" else forward


def _guess(terms: Terms, module: ModuleType) -> Length:
    """The length of a run; of one that is given in seconds a stand-in, for the shapes of its steps."""
    if terms.unit == "tokens":
        return Length(terms.amount, "tokens", token=1.0)
    return Length(terms.amount if terms.unit == "steps" else 64, "steps", step=1.0)


def _length(terms, module, model, guess, tokens, machine, forward, micro, began: float) -> Length:
    """How long the run is; what is left of the seconds it was given is measured in steps."""
    if terms.unit != "seconds":
        return _guess(terms, module)
    found = measured(module, model, guess, tokens.train, terms.amount, machine, forward, micro)
    text_tokens = WINDOWS * guess[-1].context
    looks = terms.validations * text_tokens * (found.token + found.reach * guess[-1].context) / 2
    (spent,) = machine.agree(time.monotonic() - began if machine.first else 0.0)
    left = RESERVE * (terms.amount - spent) - looks
    if left <= 0:
        raise RunError(f"{terms.amount:.0f} seconds are too few: {spent + looks:.0f} go to measuring and validating")
    return Length(left, "seconds", token=found.token, reach=found.reach)


def _refuse_long(steps: list[Step], tokens: Tokens) -> None:
    longest = max(step.context for step in steps)
    for split in ("train", "validation"):
        if len(tokens.split(split)) <= longest:
            size = len(tokens.split(split))
            raise RunError(f"{tokens.name}: {size:,} tokens of {split} text are too few for a context of {longest:,}")


def _order(
    terms: Terms,
    tokens: Tokens,
    program: Program,
    steps: list[Step],
    done: int,
    machine: Machine,
    micro: int | None,
    found: Any,
) -> Iterable[Sequence[Batch]]:
    """The batches of the steps that are left."""
    if terms.documents == "streamed":
        state = {name: tensor.numpy() for name, tensor in data_of(found[0]).items()} if found else None
        stream = streamed(terms.data, tokens.tokenizer, steps, terms.seed, machine.rank, machine.world, state)
        if stream.step != done:
            raise RunError(f"{tokens.name}: the place where this run stands in it is damaged")
        return stream
    longest = max(step.context for step in steps)
    shared = {"rank": machine.rank, "world": machine.world, "vocab": program.vocab}
    if terms.documents == "apart":
        whole = micro * machine.world if micro else None
        return apart(tokens.train, tokens.starts("train"), steps, terms.seed, longest, done, micro=whole, **shared)
    return ([batch] for batch in windows(tokens.train, steps, terms.seed, longest, done, **shared))
