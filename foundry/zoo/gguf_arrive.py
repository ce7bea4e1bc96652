"""A GGUF file as a checkpoint: dequantised tensor by tensor, with the tokenizer and the template that it carries."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.gguf_vocabulary import read_gguf_tokenizer
from foundry.data.tokenizer import Tokenizer, TokenizerError
from foundry.dsl.check import load_program
from foundry.dsl.render import visible
from foundry.train.checkpoint import weights, write_model
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.gguf_file import GGUF, read_gguf
from foundry.zoo.gguf_keys import config_of
from foundry.zoo.gguf_names import BESIDE, gguf_moves
from foundry.zoo.streamed import Streamed, moved

MODULES = {"gemma3_text": "gemma3"}  # where a family's file is not called as its `model_type`


def from_gguf(path: str | Path, out: str | Path, tell: Callable[[str], None] = lambda line: None) -> Path:
    """Write the checkpoint of the model in a file to a folder, which is given back. Weights that are quantised become
    float32, others keep their kind. tell: gets a line on what is found.

    Raises:
        ZooError: the file is malformed, its model or its tokenizer is not known here, a tensor is missing, unexpected,
            of another shape or not finite; or the folder holds something.
        OSError: a file cannot be read or written.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ZooError(f"{out}: there is something; name a new folder")
    file = read_gguf(path)
    config = config_of(file)
    family = family_of(config)
    text = family.genome(config)
    found = _weights(file, config, family)
    _check(file, text, found)
    tokenizer = _tokenizer(file, config)
    template = file.keys.get("tokenizer.chat_template")
    kinds = ", ".join(sorted({held.kind.name for held in file.tensors.values()}))
    tell(f"{family.name}: {len(file.tensors)} tensors ({kinds}), {tokenizer.vocab:,} tokens")
    about = {"source": config, "trained": {"steps": 0, "tokens": 0}}
    try:
        write_model(
            out, text=text, weights=found, tokenizer=tokenizer, config=about,
            template=template if isinstance(template, str) else None,
        )  # fmt: skip
    except BaseException as error:
        rmtree(out, ignore_errors=True)  # which held nothing before
        if isinstance(error, ZooError):
            raise ZooError(f"{path}: {error}") from None
        raise
    return out


def family_of(config: Config) -> Family:
    """The family of a configuration, of those that GGUF files are known of.

    Raises:
        ZooError: there is none.
    """
    kind = str(config["model_type"])
    try:
        found: Any = import_module(f"foundry.zoo.families.{MODULES.get(kind, kind)}")
    except ImportError:
        raise ZooError(f"models of the type {kind} are not known here") from None
    return found.FAMILY


def _weights(file: GGUF, config: Config, family: Family) -> Streamed:
    """Our tensors, by way of those of transformers."""
    moves = family.moves(config)
    to_theirs = gguf_moves(file.architecture, config, [name for move in moves for name in move.theirs])
    used = {name for move in to_theirs for name in move.theirs}
    if unused := sorted(file.tensors.keys() - used - {*BESIDE}):
        shown = ", ".join(visible(name[:80]) for name in unused[:3])
        more = f" and {len(unused) - 3} more" if len(unused) > 3 else ""
        raise ZooError(f"{file.path}: {shown}{more}: not of a model of the architecture {file.architecture}")
    held = {name: (tensor.dtype, tensor.shape) for name, tensor in file.tensors.items()}
    try:
        theirs = moved(to_theirs, held, file.read)
        return moved(moves, theirs.shapes, theirs.__getitem__)
    except ZooError as error:
        raise ZooError(f"{file.path}: {error}") from None


def _check(file: GGUF, text: str, found: Streamed) -> None:
    """Hold the shapes against those of the model, which takes no memory.

    Raises:
        ZooError: one is wrong, or a tensor has no place.
    """
    with torch.device("meta"):
        expected = weights(load(emit(load_program(text))).Model())
    if apart := sorted(expected.keys() ^ found.shapes.keys()):
        raise ZooError(f"{file.path}: {apart[0]} has no counterpart")
    for name, tensor in expected.items():
        shape = found.shapes[name][1]
        if shape != tuple(tensor.shape):
            raise ZooError(f"{file.path}: {name} comes as {shape}, and the keys ask for {tuple(tensor.shape)}")


def _tokenizer(file: GGUF, config: Config) -> Tokenizer:
    try:
        tokenizer = read_gguf_tokenizer(file.path)
    except TokenizerError as error:
        raise ZooError(str(error)) from None
    if tokenizer.vocab > config["vocab_size"]:
        held = f"{tokenizer.vocab:,} tokens, and the model has {config['vocab_size']:,}"
        raise ZooError(f"{file.path}: the tokenizer does not match the model: it has {held}")
    return tokenizer
