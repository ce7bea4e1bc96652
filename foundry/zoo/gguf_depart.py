"""A checkpoint as a GGUF file, for llama.cpp and what is built on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foundry.dsl.canonical import architecture_hash
from foundry.dsl.check import load_program
from foundry.dsl.diagnostics import GenomeError
from foundry.train.checkpoint import Checkpoint, inside
from foundry.train.tensors import read_header
from foundry.zoo.failure import ZooError
from foundry.zoo.family import Config, Family
from foundry.zoo.gguf_arrive import family_of
from foundry.zoo.gguf_file import NAMED, Kind, write_gguf
from foundry.zoo.gguf_keys import IDS, keys_of
from foundry.zoo.gguf_names import gguf_moves
from foundry.zoo.gguf_rotary import rope_tensors
from foundry.zoo.gguf_tokens import token_keys
from foundry.zoo.streamed import Streamed, moved

FILE_TYPES = {"F32": 0, "F16": 1, "Q4_0": 2, "Q8_0": 7}  # what weights may be written as, and `general.file_type`
NAME = "model.gguf"


def to_gguf(checkpoint: Checkpoint, out: str | Path, kind: str = "F16") -> Path:
    """Write one file and give its path: `out` where that ends in .gguf, else model.gguf in that folder.

    kind: F32, F16, Q8_0 or Q4_0. What has a single axis, and positions, are written as F32 always; rows that do not
    fill their blocks as F16; and with Q4_0 the embedding and the logits as Q8_0.

    Raises:
        ZooError: the model is of no family that llama.cpp knows, or its tokenizer is not; there is no such kind; a
            weight is not finite; there is a file already; the `gguf` package is missing for Q8_0 and Q4_0.
        OSError: the disk is full, or the place is not to be written to.
    """
    kind = kind.upper()
    if kind not in FILE_TYPES:
        raise ZooError(f"gguf: no such kind as {kind!r}; there are {', '.join(FILE_TYPES)}")
    path = Path(out) if str(out).endswith(".gguf") else Path(out) / NAME
    if path.exists():
        raise ZooError(f"{path}: there is a file already")
    family, config = member(checkpoint)
    keys = keys_of(config)
    tokens = token_keys(checkpoint.tokenizer, checkpoint.program.vocab)
    theirs = _weights(checkpoint, config, family, keys["general.architecture"])
    beside = {} if config["model_type"] == "gpt2" else rope_tensors(config, keys[_key(keys, "attention.key_length")])
    said = {
        **keys,
        "general.name": str(config.get("_name_or_path") or checkpoint.folder.name),
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": 2,
        **tokens,
        **_ids(config, tokens, checkpoint.program.vocab),
    }
    if checkpoint.template is not None:
        said["tokenizer.chat_template"] = checkpoint.template
    tensors = {name: (NAMED["F32"], tuple(tensor.shape)) for name, tensor in beside.items()}
    tensors |= {name: (_kind(kind, name, shape), shape) for name, (_, shape) in theirs.shapes.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gguf(path, said, tensors, lambda name: beside[name] if name in beside else theirs[name])
    return path


def member(checkpoint: Checkpoint) -> tuple[Family, dict[str, Any]]:
    """The family that a checkpoint's model is of, as its graph says, and its configuration.

    Raises:
        ZooError: none that llama.cpp knows.
    """
    source = checkpoint.config.get("source")
    if isinstance(source, dict) and isinstance(source.get("model_type"), str) and source["model_type"].isidentifier():
        try:
            family = family_of(source)
            same = load_program(family.genome(source))
        except (ZooError, GenomeError):
            same = None
        if same is not None and architecture_hash(same) == architecture_hash(checkpoint.program):
            return family, source
    raise ZooError(f"{checkpoint.folder}: its model is of no family that llama.cpp knows, so that no GGUF file fits it")


def _weights(checkpoint: Checkpoint, config: Config, family: Family, architecture: str) -> Streamed:
    """The tensors of the file, by way of those of transformers."""
    from safetensors import safe_open

    path = inside(checkpoint.folder, "model.safetensors")
    file: Any = safe_open(path, "pt")
    moves = family.moves(config)
    theirs = moved(moves, read_header(path).tensors, file.get_tensor, back=True)
    further = gguf_moves(architecture, config, [name for move in moves for name in move.theirs])
    return moved(further, theirs.shapes, theirs.__getitem__, back=True)


def _kind(kind: str, name: str, shape: tuple[int, ...]) -> Kind:
    """How one tensor is stored in a file of a kind."""
    if len(shape) < 2 or name == "position_embd.weight":
        return NAMED["F32"]
    if kind == "Q4_0" and name in ("token_embd.weight", "output.weight"):
        kind = "Q8_0"
    return NAMED[kind if shape[-1] % NAMED[kind].block == 0 else "F16"]


def _ids(config: Config, tokens: dict[str, Any], vocab: int) -> dict[str, int]:
    """Special tokens that the configuration names and the tokenizer does not."""
    found = {f"tokenizer.ggml.{theirs}": config.get(ours) for theirs, ours in IDS.items()}
    return {key: n for key, n in found.items() if key not in tokens and type(n) is int and 0 <= n < vocab}


def _key(keys: dict[str, Any], name: str) -> str:
    return f"{keys['general.architecture']}.{name}"
