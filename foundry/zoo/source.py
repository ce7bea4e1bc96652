"""A Hugging Face folder: its configuration, and its tensors, of which nothing is read before it is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foundry.dsl.render import visible
from foundry.train.checkpoint import CONVERT, FORMAT, PICKLES, reason
from foundry.train.tensors import TensorsError, read_header
from foundry.zoo.failure import ZooError
from foundry.zoo.streamed import Shapes

LONGEST_JSON = 64 << 20  # bytes; an index of the largest models has ten million
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
KEPT = ("generation_config.json", "tokenizer_config.json")  # what an export gives back


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are."""

    path: Path
    begin: int  # in the file
    size: int


@dataclass(frozen=True)
class Source:
    """config: of config.json. shapes: dtype and shape of every tensor. places: where each is. template: the chat
    template, or None. kept: what the files in KEPT say, those that are there."""

    folder: Path
    config: dict[str, Any]
    shapes: Shapes
    places: Mapping[str, Place]
    template: str | None
    kept: dict[str, dict[str, Any]]

    def read(self, name: str) -> Tensor:
        """One tensor.

        Raises:
            ZooError: its file has changed, or cannot be read.
        """
        place = self.places[name]
        dtype, shape = self.shapes[name]
        data = bytearray(place.size)
        try:
            with place.path.open("rb", buffering=0) as file:
                file.seek(place.begin)
                view, done = memoryview(data), 0
                while done < place.size and (got := file.readinto(view[done:])):
                    done += got
        except OSError as error:
            raise ZooError(f"{place.path}: {reason(error)}") from None
        if done < place.size:
            raise ZooError(f"{place.path}: it was cut off while it was read")
        return torch.frombuffer(data, dtype=dtype).reshape(shape) if data else torch.empty(shape, dtype=dtype)


def read_source(folder: str | Path) -> Source:
    """What a folder holds. Reads no weights.

    Raises:
        ZooError: it is no folder of a model, a file is missing, damaged or a pickle, or two hold the same tensor.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ZooError(f"{folder}: no such folder")
    if not (folder / "config.json").exists():
        raise ZooError(f"{folder}: it has no config.json, so that it is no Hugging Face folder")
    config = read_json(folder / "config.json")
    if config.get("format") == FORMAT:
        raise ZooError(f"{folder}: a checkpoint of Foundry already; `foundry export` turns it into other formats")
    shapes: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    places: dict[str, Place] = {}
    for path in _files(folder):
        for name, (kind, place) in _tensors(path).items():
            if name in shapes:
                raise ZooError(f"{path}: the tensor {visible(name[:80])} stands in {places[name].path.name} too")
            shapes[name], places[name] = kind, place
    kept = {name: read_json(folder / name) for name in KEPT if (folder / name).exists()}
    _all_there(folder, shapes)
    return Source(folder, config, shapes, places, _template(folder, kept), kept)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        ZooError: it is too long, no file, or no JSON object.
    """
    text = _text(path)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise ZooError(f"{path}: not valid JSON") from None
    if not isinstance(content, dict):
        raise ZooError(f"{path}: JSON, but no object")
    return content


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise ZooError(f"{path}: not a file")
        with path.open("rb") as file:
            data = file.read(LONGEST_JSON + 1)
        if len(data) > LONGEST_JSON:
            raise ZooError(f"{path}: more than {LONGEST_JSON:,} bytes")
        return data.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{path}: {reason(error)}") from None


def _files(folder: Path) -> list[Path]:
    """The files of weights: one, or what an index names."""
    if (folder / WHOLE).exists():
        return [folder / WHOLE]
    if not (folder / INDEX).exists():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        also = f", and {pickles[0]} is refused: {CONVERT}" if pickles else ""
        raise ZooError(f"{folder}: it has neither {WHOLE} nor {INDEX}{also}")
    files = []
    for name in sorted(set(_index(folder).values())):
        if not _plain(name):
            raise ZooError(f"{folder / INDEX}: the shard {visible(repr(name[:80]))} is no plain name of a .safetensors")
        if not (folder / name).exists():
            raise ZooError(f"{folder}: the shard {name}, which {INDEX} names, is missing; fetch it again")
        files.append(folder / name)
    return files


def _index(folder: Path) -> dict[str, str]:
    """The shard of every tensor."""
    named = read_json(folder / INDEX).get("weight_map")
    if not isinstance(named, dict) or not named or not all(isinstance(name, str) for name in named.values()):
        raise ZooError(f"{folder / INDEX}: it has no weight_map from tensors to files")
    return named


def _plain(name: str) -> bool:
    """Whether a shard's name cannot lead out of the folder."""
    bad = {"/", "\\", "\0", ":"} & set(name)
    return name.endswith(".safetensors") and not bad and not name.startswith(".") and name.isprintable()


def _all_there(folder: Path, shapes: Shapes) -> None:
    """What an index names is in its shards."""
    if (folder / WHOLE).exists():
        return
    if missing := sorted(_index(folder).keys() - shapes.keys()):
        raise ZooError(f"{folder / INDEX}: the tensor {visible(missing[0][:80])} is in none of the shards")


def _tensors(path: Path) -> dict[str, tuple[tuple[torch.dtype, tuple[int, ...]], Place]]:
    """Kind and place of every tensor in a file, whose header is checked first."""
    try:
        if not path.is_file():
            raise ZooError(f"{path}: not a file")
        tensors = read_header(path).tensors
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            said = json.loads(file.read(length))
    except (TensorsError, OSError) as error:
        raise ZooError(f"{path}: {reason(error)}") from None
    found = {}
    for name, kind in tensors.items():
        begin, end = said[name]["data_offsets"]
        found[name] = (kind, Place(path, 8 + length + begin, end - begin))
    return found


def _template(folder: Path, kept: Mapping[str, dict[str, Any]]) -> str | None:
    """The chat template: a file of its own, or in tokenizer_config.json; of several the one called default."""
    if (folder / "chat_template.jinja").exists():
        return _text(folder / "chat_template.jinja")
    said = kept.get("tokenizer_config.json", {}).get("chat_template")
    if isinstance(said, list):
        said = next((one.get("template") for one in said if isinstance(one, dict) and one.get("name") == "default"), "")
    return said if isinstance(said, str) and said else None
