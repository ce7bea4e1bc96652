"""The verb that trains for good: train."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import load_source
from foundry.cli.failures import INTERRUPTED, Failure, Misuse

if TYPE_CHECKING:
    from foundry.train.devices import Machine
    from foundry.train.run import Finished
    from foundry.train.terms import Asked

EXAMPLES = """\b
Examples:
  foundry train llama --out runs/llama --time 3min
  foundry train gpt2 --data texts/ --out runs/gpt2 --tokens 20M --set lr=1e-3
  foundry train gpt2 --out runs/gpt2 --resume          go on, to the bit, after Ctrl-C or a crash
  foundry train runs/llama --data other/ --out runs/b  begin with the weights of a checkpoint
  torchrun --nproc-per-node 8 -m foundry train families/gpt2 --data D --tokenizer T --out C --tokens 2B

Rows of text run across documents (joined), or each lies within one (apart). Text that is too much for a cache is read
from its files as it is needed (streamed).

The result is a folder: model.genome, model.py, model.safetensors, log/, best/ with the best validation, and the state
that --resume goes on from. It is written at each validation and once a minute or so in between.

Exit code: 0 done, 1 failed or diverged (the last good checkpoint is kept), 2 misuse, 130 interrupted (it goes on)."""

UNITS = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "": 1.0}
SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
Text = str | None


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(train)


def train(
    genome: Annotated[Text, typer.Argument(metavar="[F]", help="A genome, or a checkpoint to begin from.")] = None,
    out: Annotated[str, typer.Option(metavar="CKPT", help="The folder that the run is kept in.")] = "",
    data: Annotated[Text, typer.Option(metavar="D", help="Text; default: Python's own library.")] = None,
    tokenizer: Annotated[Text, typer.Option(metavar="T", help="bytes, or a tokenizer.json.")] = None,
    tokens: Annotated[Text, typer.Option(metavar="N", help="Train on N tokens: 3M (the default), 2B.")] = None,
    steps: Annotated[int | None, typer.Option(metavar="N", min=1, help="Train for N steps.")] = None,
    time: Annotated[Text, typer.Option(metavar="T", help="Train for about so long: 90s, 10min, 2h.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where CKPT is; begin where there is none.")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe: lr=1e-3, batch=8192.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="S", min=0, max=2**31 - 1, help="Of weights and order.")] = None,
    documents: Annotated[Text, typer.Option(metavar="W", help="joined (the default), apart or streamed.")] = None,
    validations: Annotated[int | None, typer.Option(metavar="N", min=1, help="Validate so often (10).")] = None,
    patience: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after N without a better one.")] = None,
    sample: Annotated[int, typer.Option(metavar="N", min=0, help="Tokens to show after each validation.")] = 96,
    device: Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(metavar="T", help="auto (bfloat16 on CUDA), float32 or bfloat16.")] = "auto",
    compiled: Annotated[str, typer.Option("--compile", metavar="W", help="auto (on CUDA), on or off.")] = "auto",
    micro: Annotated[int | None, typer.Option(metavar="N", min=1, help="Tokens in memory at once.")] = None,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Less memory: compute blocks again for their gradient.")
    ] = False,
    shard: Annotated[str, typer.Option(metavar="W", help="With torchrun: ddp, or fsdp to share the weights.")] = "ddp",
    log: Annotated[str, typer.Option(metavar="L", help="Also to tensorboard, wandb, trackio; with commas.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print what came of it as JSON.")] = False,
) -> int:
    """Train a genome, or train a checkpoint further."""
    if not out:
        raise Misuse("name the folder of the run: --out CKPT")
    _refuse("--documents", documents or "joined", ("joined", "apart", "streamed"))
    _refuse("--device", device, ("auto", "cpu", "cuda"))
    _refuse("--dtype", dtype, ("auto", "float32", "bfloat16"))
    _refuse("--compile", compiled, ("auto", "on", "off"))
    _refuse("--shard", shard, ("ddp", "fsdp"))
    unit, amount = _length(tokens, steps, time)
    from foundry.train.devices import DeviceError, machine
    from foundry.train.terms import Asked

    text, weights = _model(genome, settings or [])
    asked = Asked(
        out=Path(out), text=text, weights=weights, resume=resume, data=data, tokenizer=tokenizer, unit=unit,
        amount=amount, seed=seed, documents=documents, validations=validations, patience=patience, micro=micro,
        compile=compiled, recompute=checkpoint_activations, sample=sample, trackers=log,
    )  # fmt: skip
    try:
        with machine(device, dtype, shard) as here:
            finished = _run(asked, here)
    except DeviceError as error:
        raise Failure(str(error)) from None
    except Failure as failure:
        if os.environ.get("RANK", "0") == "0" or isinstance(failure, _Own):
            raise
        return failure.code  # the first process speaks for all
    if here.first:
        _tell(finished, as_json)
    return 0


def _run(asked: Asked, machine: Machine) -> Finished:
    """Train; whatever ends it ends the command with one line that says what is left.

    Raises:
        Failure: it cannot begin, was interrupted, or failed.
    """
    from torch import OutOfMemoryError

    from foundry.cli.training_view import Encoding, viewer
    from foundry.data.corpus import CorpusError
    from foundry.train.loop import Diverged
    from foundry.train.run import Stopped, run
    from foundry.train.terms import RunError

    try:
        return run(asked, machine, viewer, Encoding())
    except Stopped as stopped:
        raise Failure(str(stopped), INTERRUPTED) from None
    except KeyboardInterrupt:
        begun = (asked.out / "state.safetensors").exists()
        left = f"foundry train --out {asked.out} --resume goes on" if begun else "nothing is kept: it had not begun"
        raise Failure(f"stopped; {left}", INTERRUPTED) from None
    except Diverged as error:
        raise Failure(f"{error}{_kept(asked.out)}. Try a lower rate: --set lr=…") from None
    except (OutOfMemoryError, MemoryError):
        raise _too_large(asked.out) from None
    except RuntimeError as error:
        if "allocate memory" not in str(error):  # what torch says on a CPU
            raise
        raise _too_large(asked.out) from None
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = f"{error.filename or asked.out}: {(error.strerror or str(error)).lower()}{_kept(asked.out)}"
        raise _Own(why + "; make room and --resume" * full) from None
    except (RunError, CorpusError, ValueError) as error:
        raise Failure(_one_line(error)) from None


class _Own(Failure):
    """What befalls one process and perhaps no other, so that it speaks for itself."""


def _kept(out: Path) -> str:
    """What to say of what is left of a run."""
    return f"; {out} holds the last good checkpoint" if (out / "state.safetensors").exists() else ""


def _too_large(out: Path) -> _Own:
    less = "--micro N, --checkpoint-activations, or --shard fsdp with torchrun"
    return _Own(f"the device has too little memory: try {less}{_kept(out)}")


def _one_line(error: Exception) -> str:
    """The message of an error that is meant for people; of any other ValueError, its traceback is worth more."""
    if type(error) is ValueError:
        raise error
    return str(error)


def _model(genome: str | None, settings: list[str]) -> tuple[str | None, Path | None]:
    """The text of the genome, with what `--set` says, and the checkpoint to begin from, if it is one.

    Raises:
        Failure: it cannot be read, or a setting cannot be made.
    """
    from foundry.train.checkpoint import CheckpointError, read_config
    from foundry.train.settings import SettingError, override

    if genome is None:
        if settings:
            raise Misuse("--set changes a genome: name one")
        return None, None
    folder = Path(genome) if Path(genome).is_dir() else None
    if folder:
        try:
            read_config(folder)
        except CheckpointError as error:
            raise Failure(str(error)) from None
    source, _ = load_source(str(folder / "model.genome") if folder else genome)
    try:
        return (override(source.text, settings) if settings else source.text), folder
    except SettingError as error:
        raise Misuse(str(error)) from None


def _length(tokens: Text, steps: int | None, time: Text) -> tuple[str | None, float | None]:
    """Unit and amount of the length that was asked for; (None, None) where none was.

    Raises:
        Misuse: several, or one that is no length.
    """
    given = {"--tokens": tokens, "--steps": steps, "--time": time}
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise Misuse(f"{' and '.join(named)} both say how long to train: give one")
    if tokens is not None:
        return "tokens", _number("--tokens", tokens, UNITS, "20M")
    if time is not None:
        return "seconds", _number("--time", time, SECONDS, "10min")
    return ("steps", float(steps)) if steps is not None else (None, None)


def _number(option: str, said: str, units: dict[str, float], example: str) -> float:
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?(?:e\d{1,2})?) ?([a-zA-Z]*)", said.strip())
    if found is None or found[2] not in units or not 0 < float(found[1]) * units[found[2]] <= 1e15:
        raise Misuse(f"{option} {said[:40]}: write a number such as {example}")
    return float(found[1]) * units[found[2]]


def _refuse(option: str, said: str, known: tuple[str, ...]) -> None:
    if said not in known:
        raise Misuse(f"{option} {said[:40]}: there are {', '.join(known)}")


def _tell(finished: Finished, as_json: bool) -> None:
    """What came of the run, on standard output."""
    import json

    figures: dict[str, Any] = {
        "checkpoint": str(finished.folder),
        "steps": finished.steps,
        "tokens": finished.tokens,
        "bits_per_byte": finished.validation,
        "best_bits_per_byte": finished.best,
        "ended": finished.ended,
    }
    if as_json:
        print(json.dumps(figures, indent=1))
        return
    best = f", at best {finished.best:.3f}" if finished.best != finished.validation else ""
    print(
        f"{finished.folder}: {finished.validation:.3f} bits per byte of validation text{best}, after "
        f"{finished.steps:,} steps and {finished.tokens:,} tokens ({finished.ended})"
    )
