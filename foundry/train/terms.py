"""What a run is, from its first step to its last: what it was asked for, and what going on may not change."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foundry.dsl.render import visible
from foundry.train.checkpoint import CheckpointError, read_state, reason
from foundry.train.plan import Length

UNITS = ("tokens", "steps", "seconds")
DOCUMENTS = ("joined", "apart", "streamed")
DEFAULT = ("tokens", 3e6)  # a quarter of the default data, once
OWN = ("lock", "log")  # what may lie in the folder of a run before its first checkpoint


class RunError(Exception):
    """A run that cannot begin, or go on. One line: what, where, and what to do."""


@dataclass(frozen=True)
class Asked:
    """A command. None is for what was not said: the default, or what the run that goes on was begun with.

    text: of the genome; weights: the checkpoint to begin from. amount: of `unit`, one of UNITS. tokenizer: see
    `read_tokenizer`. validations: over the run, evenly. patience: validations without a better one before the end.
    micro: tokens that go through a model at once, None for what fits. compile: auto, on or off. sample: tokens that are
    shown after each validation. trackers: see `foundry.train.trackers`.
    """

    out: Path
    text: str | None = None
    weights: Path | None = None
    resume: bool = False
    data: str | None = None
    tokenizer: str | None = None
    unit: str | None = None
    amount: float | None = None
    seed: int | None = None
    documents: str | None = None
    validations: int | None = None
    patience: int | None = None
    micro: int | None = None
    compile: str = "auto"
    recompute: bool = False
    sample: int = 96
    trackers: str = ""


@dataclass(frozen=True)
class Terms:
    """What every part of a run has in common, however often it is interrupted and wherever it goes on.

    length: None until it is measured (seconds). tokenizer: where it was read from. weights: what the run began from.
    """

    text: str
    data: str | None
    tokenizer: str
    seed: int
    unit: str
    amount: float
    documents: str
    validations: int
    patience: int
    weights: str | None = None
    length: Length | None = None


FREE = {
    "text": "the genome",
    "data": "--data",
    "tokenizer": "--tokenizer",
    "seed": "--seed",
    "documents": "--documents",
}
FREE |= {"unit": "the length", "amount": "the length", "validations": "--validations", "patience": "--patience"}


def fresh(asked: Asked, tokenizer: str) -> Terms:
    """The terms of a run that begins. tokenizer: the one to take where none was asked for.

    Raises:
        RunError: it does not say what to train.
    """
    if asked.text is None:
        raise RunError(f"{asked.out}: nothing to go on from; name the genome that is to be trained")
    return Terms(
        text=asked.text,
        data=asked.data,
        tokenizer=asked.tokenizer or tokenizer,
        seed=asked.seed or 0,
        unit=asked.unit or DEFAULT[0],
        amount=asked.amount or DEFAULT[1],
        documents=asked.documents or DOCUMENTS[0],
        validations=asked.validations or 10,
        patience=asked.patience or 0,
        weights=str(asked.weights) if asked.weights else None,
    )


def resumed(asked: Asked, about: Mapping[str, Any]) -> Terms:
    """The terms that a state was written under, if the command does not speak against them.

    Raises:
        RunError: it does, or the state does not say.
    """
    try:
        said = dict(about["terms"])
        length = Length(**said.pop("length"))
        terms = Terms(**said, length=length)
        if not _possible(terms, length):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{asked.out}: its state does not say how the run was begun") from None
    for name, option in FREE.items():
        given, was = getattr(asked, name), getattr(terms, name)
        if given is not None and given != was:
            shown = "" if name == "text" else f" ({visible(str(was))} then, {given} now)"
            raise RunError(f"{asked.out}: {option} is not the one that this run was begun with{shown}; leave it out")
    return terms


def _possible(terms: Terms, length: Length) -> bool:
    """Whether terms that were read are such as a command could have asked for: anybody may have written them."""
    texts = (terms.text, terms.tokenizer, terms.data or "", terms.weights or "")
    whole = ((terms.seed, 0), (terms.validations, 1), (terms.patience, 0))
    real = (terms.amount, length.amount, length.step, length.token, length.reach)
    return (
        all(isinstance(text, str) for text in texts)
        and all(type(number) is int and least <= number < 1 << 63 for number, least in whole)
        and all(type(number) in (int, float) and 0 <= number < math.inf for number in real)
        and length.amount > 0
        and (terms.unit in UNITS and length.unit in UNITS and terms.documents in DOCUMENTS)
    )


def described(terms: Terms) -> dict[str, Any]:
    """Terms as JSON has them."""
    return asdict(terms)


def stored(asked: Asked) -> tuple[Mapping[str, Any], dict[str, Any]] | None:
    """The state to go on from (tensors, what is said of them), or None where the run is to begin.

    Raises:
        RunError: there is something in the folder that must not be overwritten.
        CheckpointError: the state is damaged.
    """
    there = sorted(p.name for p in asked.out.iterdir()) if asked.out.is_dir() else []
    there = [name for name in there if name not in OWN and not name.startswith(".")]
    if not asked.resume:
        if there:
            raise RunError(
                f"{asked.out}: the folder is not empty; --resume goes on with its run, or name another --out"
            )
        return None
    if "state.safetensors" in there:
        return read_state(asked.out)
    if there and "tokenizer.json" not in there:
        raise CheckpointError(f"{asked.out}: nothing to go on from: it has no state.safetensors")
    return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes from writing to a run.

    Raises:
        RunError: one does already, or it is no folder that can be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file; a checkpoint is a folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise RunError(f"{folder}: cannot write there ({reason(error)}); name another --out") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(f"{folder}: another process trains there") from None
        yield
    finally:
        os.close(descriptor)


def with_length(terms: Terms, length: Length) -> Terms:
    """The terms, once it is known how long the run is."""
    return replace(terms, length=length)
