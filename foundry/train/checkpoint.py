"""A checkpoint: the folder that holds a model, and all that it takes to go on training it.

    model.genome         what the model is
    model.py             the same as PyTorch, for people; it is never executed from here
    config.json          vocabulary, tokenizer, data, what training did, versions
    tokenizer.json       absent where tokens are bytes
    chat_template.jinja  where the model has one
    model.safetensors    the last weights
    best/                the weights of the best validation, as a checkpoint of its own
    state.safetensors    weights, optimizer, random numbers, place in the data: all that is read to go on
    log/                 what happened, step by step

Every file is written beside its place, forced to disk and renamed: a run that is killed leaves the old file or the
new one. config.json is the last to come into a new folder, so that half a checkpoint is none. No pickle is written
or read.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from foundry import __version__
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.dsl.program import Program
from foundry.dsl.render import visible
from foundry.dsl.source import read_genome
from foundry.train.tensors import TensorsError, read_header, read_tensors, write_tensors, write_whole

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer

FORMAT = "foundry checkpoint 1"
STATE_FORMAT = "foundry state 1"
FLOATS = (torch.float32, torch.bfloat16, torch.float16)  # what weights may be stored as
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt")
LONGEST_TEXT = 16 << 20  # bytes of config.json and of a chat template
CONVERT = (
    "a pickle can run code and is never loaded; convert it where you trust it: "
    "safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
)


class CheckpointError(ValueError):
    """A folder that cannot be used as a checkpoint. One line: which, why, and what to do."""


@dataclass(frozen=True)
class Checkpoint:
    """A model that was read, except for its weights, whose names, shapes and kinds are known to be right.

    text, program: of model.genome. module: what the compiler emits for it. config: of config.json; `trained` in it
    has steps, tokens, compute and bits_per_byte. template: a chat template in jinja, or None.
    """

    folder: Path
    text: str
    program: Program
    module: ModuleType
    tokenizer: Tokenizer
    config: dict[str, Any]
    template: str | None

    def build(self, device: str | torch.device = "cpu", dtype: torch.dtype | None = None) -> nn.Module:
        """The model with its weights, for inference; in float32 unless `dtype` says otherwise.

        Raises:
            CheckpointError: a weight is not finite, or the file has changed since.
        """
        model = self.module.Model()
        fill_from(self.folder, model)
        return model.to(device=device, dtype=dtype).eval()


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """The checkpoint in a folder. Reads no weights yet.

    Raises:
        CheckpointError: it is none, or a file is missing, damaged, outside of the folder, or at odds with another.
    """
    from foundry.data.tokenizer import TokenizerError, read_tokenizer

    folder = Path(folder)
    config = read_config(folder)
    try:
        text = read_genome(str(inside(folder, "model.genome")))
        program = load_program(text, str(folder / "model.genome"))
    except (GenomeError, OSError) as error:
        raise CheckpointError(f"{folder / 'model.genome'}: {reason(error)}") from None
    kind = config["tokenizer"]["kind"]
    try:
        tokenizer = read_tokenizer("bytes" if kind == "bytes" else inside(folder, "tokenizer.json"))
    except TokenizerError as error:
        raise CheckpointError(str(error)) from None
    if tokenizer.vocab > program.vocab:
        held = f"{tokenizer.vocab:,} tokens, and the model has {program.vocab:,}"
        raise CheckpointError(f"{folder}: the tokenizer does not match the model: it has {held}")
    if tokenizer.hash != config["tokenizer"]["hash"]:
        raise CheckpointError(f"{folder}: its tokenizer is not the one that the model was trained with")
    module = load(emit(program))
    check_weights(folder, module)
    template = _text(folder, "chat_template.jinja") if (folder / "chat_template.jinja").exists() else None
    return Checkpoint(folder, text, program, module, tokenizer, config, template)


def read_config(folder: Path) -> dict[str, Any]:
    """What config.json says.

    Raises:
        CheckpointError: there is none, or it is not in FORMAT.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder")
    if not (folder / "config.json").exists():
        raise CheckpointError(f"{folder}: not a checkpoint: it has no config.json{_or_pickle(folder)}")
    try:
        config = json.loads(_text(folder, "config.json"))
    except (ValueError, RecursionError):
        raise CheckpointError(f"{folder / 'config.json'}: not valid JSON") from None
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        other = str(config.get("format") if isinstance(config, dict) else None)[:60]
        raise CheckpointError(f"{folder / 'config.json'}: its format is {other!r} instead of {FORMAT!r}")
    tokenizer = config.get("tokenizer")
    said = tokenizer if isinstance(tokenizer, dict) else {}
    if said.get("kind") not in ("bytes", "tokenizers") or not isinstance(said.get("hash"), str):
        raise CheckpointError(f"{folder / 'config.json'}: it does not say which tokenizer the model has")
    return config


def check_weights(folder: Path, module: ModuleType) -> None:
    """Hold the header of model.safetensors against the model, which takes no memory.

    Raises:
        CheckpointError: a tensor is missing, unexpected, of another shape, or of a kind that weights cannot have.
    """
    if not (folder / "model.safetensors").exists():
        raise CheckpointError(f"{folder}: it has no model.safetensors{_or_pickle(folder)}")
    path = inside(folder, "model.safetensors")
    try:
        found = read_header(path).tensors
    except (TensorsError, OSError) as error:
        raise CheckpointError(f"{path}: {reason(error)}") from None
    with torch.device("meta"):
        expected = weights(module.Model())
    if missing := sorted(expected.keys() - found.keys()):
        raise CheckpointError(f"{path}: {_named(missing)} missing")
    if unexpected := sorted(found.keys() - expected.keys()):
        raise CheckpointError(f"{path}: {_named(unexpected)} not of this model")
    for name, tensor in expected.items():
        dtype, shape = found[name]
        if shape != tuple(tensor.shape):
            raise CheckpointError(f"{path}: {name} has the shape {shape} instead of {tuple(tensor.shape)}")
        if dtype != tensor.dtype and not (dtype in FLOATS and tensor.dtype in FLOATS):
            raise CheckpointError(f"{path}: {name} is {_kind(dtype)} instead of {_kind(tensor.dtype)}")


def weights(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor that makes up a model, by name: parameters and lasting buffers, shared ones once."""
    named: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            named[name] = tensor
    return named


@torch.no_grad()
def fill_from(folder: Path, model: nn.Module) -> None:
    """Give a model the weights in a folder. Names and shapes are known to be right.

    Raises:
        CheckpointError: a weight is not finite, or the file has changed since.
    """
    path = folder / "model.safetensors"
    try:
        tensors = read_tensors(path)
        for name, own in weights(model).items():
            if not tensors[name].isfinite().all():
                raise TensorsError(f"{name} holds what is not a finite number")
            own.copy_(tensors[name])
    except (TensorsError, OSError) as error:
        raise CheckpointError(f"{path}: {reason(error)}") from None


def write_model(
    folder: str | Path,
    *,
    text: str,
    weights: Mapping[str, Tensor],
    tokenizer: Tokenizer,
    config: Mapping[str, Any],
    template: str | None = None,
) -> None:
    """Write a checkpoint, or a new state of one that is there.

    text: the genome. weights: see `weights`. config: data (name, hash), trained (steps, tokens, compute,
    bits_per_byte), train (settings); the rest of config.json is added here.

    Raises:
        OSError: the disk is full, or the folder is not to be written to; what was there is still whole.
    """
    folder = Path(folder)
    said, source = _written(text)
    folder.mkdir(parents=True, exist_ok=True)
    _write_text(folder / "model.genome", text)
    _write_text(folder / "model.py", source)
    if tokenizer.kind != "bytes" and not (folder / "tokenizer.json").exists():
        tokenizer.write(folder)
    if template is not None:
        _write_text(folder / "chat_template.jinja", template)
    trained = {name: config.get("trained", {}).get(name) for name in ("steps", "tokens", "bits_per_byte")}
    write_tensors(folder / "model.safetensors", weights, {"foundry": json.dumps(trained), "format": "pt"})
    whole = {
        "format": FORMAT,
        **said,
        "tokenizer": {"kind": tokenizer.kind, "hash": tokenizer.hash},
        **config,
        "versions": {"foundry": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
    _write_text(folder / "config.json", json.dumps(whole, indent=1) + "\n")


@lru_cache(maxsize=4)  # a run writes the same genome again and again
def _written(text: str) -> tuple[dict[str, Any], str]:
    """What config.json says of a genome, and model.py."""
    program = load_program(text, "model.genome")
    return {"genome_hash": canonical_hash(program), "vocab": program.vocab}, emit(program)


def write_state(folder: str | Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write what it takes to go on: tensors by name, and whatever JSON can say of them.

    Raises:
        OSError: as `write_model`; the state before is still there.
    """
    said = {"foundry": json.dumps({"format": STATE_FORMAT, **about})}
    write_tensors(Path(folder) / "state.safetensors", tensors, said)


def read_state(folder: str | Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_state` wrote last: the tensors, and what was said of them.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    folder = Path(folder)
    if not (folder / "state.safetensors").exists():
        raise CheckpointError(f"{folder}: nothing to go on from: it has no state.safetensors")
    path = inside(folder, "state.safetensors")
    try:
        about = json.loads(read_header(path).metadata.get("foundry", "null"))
        if not isinstance(about, dict) or about.get("format") != STATE_FORMAT:
            raise TensorsError("not the state of a training run")
        return read_tensors(path), about
    except (ValueError, RecursionError, OSError) as error:
        raise CheckpointError(f"{path}: {reason(error)}") from None


def inside(folder: Path, name: str) -> Path:
    """The path of a checkpoint's file, which must be a file and lie in the folder, whatever links say.

    Raises:
        CheckpointError: it is not there, or leads elsewhere.
    """
    path = folder / name
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise CheckpointError(f"{folder}: it has no {name}") from None
    if folder.resolve() not in real.parents:
        raise CheckpointError(f"{path}: a link out of the checkpoint; put the file itself there")
    if not real.is_file():
        raise CheckpointError(f"{path}: not a file")
    return path


def reason(error: Exception) -> str:
    """What an error says, in one line without the place."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return (str(error) or type(error).__name__).splitlines()[0]


def _text(folder: Path, name: str) -> str:
    path = inside(folder, name)
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_TEXT + 1)
        if len(data) > LONGEST_TEXT:
            raise CheckpointError(f"{path}: more than {LONGEST_TEXT:,} bytes")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: {reason(error)}") from None


def _write_text(path: Path, text: str) -> None:
    data = text.encode("utf-8")
    if not path.exists() or path.read_bytes() != data:
        write_whole(path, (data,))


def _or_pickle(folder: Path) -> str:
    """What to say where weights are missing: that there are some of a kind that is refused."""
    found = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    return f", and {found[0]} is refused: {CONVERT}" if found else ""


def _named(names: list[str]) -> str:
    """Some tensors by name, with their verb."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(visible(name[:80]) for name in names[:3])}{more} {'is' if len(names) == 1 else 'are'}"


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
