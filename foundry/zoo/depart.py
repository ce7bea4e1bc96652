"""A checkpoint as a Hugging Face folder: of its family where it has one, else with code that comes along."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from shutil import rmtree
from typing import Any

from torch import Tensor

from foundry.compiler.emit import emit
from foundry.train.checkpoint import Checkpoint, inside
from foundry.train.tensors import read_header, write_tensors, write_whole
from foundry.zoo.failure import ZooError
from foundry.zoo.moves import SAME, Move
from foundry.zoo.recognise import member
from foundry.zoo.remote import FILES, remote_config
from foundry.zoo.source import INDEX, WHOLE
from foundry.zoo.streamed import Shapes, Streamed, moved

SHARD = 5_000_000_000  # bytes of weights in one file
Tell = Callable[[int, int], None]  # tensors written, of how many


def to_hf(
    checkpoint: Checkpoint,
    out: str | Path,
    say: Callable[[str], None] = lambda line: None,
    tell: Tell = lambda done, total: None,
    shard: int = SHARD,
) -> Path:
    """Write what `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` read, and give its folder.

    A model of no family comes with its code: such a folder needs trust_remote_code=True.

    Raises:
        ZooError: `out` holds something, or a weight is not finite.
        OSError: the disk is full, or `out` is not to be written to.
    """
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ZooError(f"{folder}: there is something already; name a new folder")
    found = member(checkpoint)
    path = inside(checkpoint.folder, "model.safetensors")
    shapes = read_header(path).tensors
    read = _reader(path)
    if found is not None:
        family, config, names = found
        config = {**config, "architectures": [family.architecture]}
        held = {ours: shapes[name] for ours, name in names.items()}
        tensors = moved(family.moves(config), held, lambda name: read(names[name]), back=True)
        say(f"{family.name}: {family.architecture}")
    else:
        config = remote_config(checkpoint)
        tensors = moved([_under("model.", name) for name in shapes], shapes, read, back=True)
        say("of no family that transformers knows: the model's code comes along (trust_remote_code=True)")
    config["dtype"] = str(max(shapes.values(), key=lambda s: prod(s[1]))[0]).removeprefix("torch.")
    config.pop("torch_dtype", None)
    tokenizer = checkpoint.tokenizer
    if tokenizer.end is not None and config.get("eos_token_id") is None:
        config["eos_token_id"] = tokenizer.end
    if tokenizer.begin is not None and config.get("bos_token_id") is None:
        config["bos_token_id"] = tokenizer.begin
    existed = folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _write_tensors(folder, tensors, shard, tell)
        _beside(checkpoint, folder, config)
        if found is None:
            for name, text in FILES.items():
                _write(folder / name, text)
            _write(folder / "foundry_model.py", emit(checkpoint.program))
        _write(folder / "config.json", json.dumps(config, indent=2) + "\n")
    except BaseException:
        rmtree(folder, ignore_errors=True)  # which held nothing before
        if existed:
            folder.mkdir(exist_ok=True)
        raise
    return folder


def _reader(path: Path) -> Callable[[str], Tensor]:
    from safetensors import safe_open

    file: Any = safe_open(path, "pt")
    return file.get_tensor


def _under(prefix: str, name: str) -> Move:
    return Move((prefix + name,), (name,), SAME)


def _write_tensors(folder: Path, tensors: Streamed, shard: int, tell: Tell) -> None:
    """One file, or several with an index."""
    parts = _parts(tensors, shard)
    done = 0
    where: dict[str, str] = {}
    for number, groups in enumerate(parts, start=1):
        name = WHOLE if len(parts) == 1 else f"model-{number:05}-of-{len(parts):05}.safetensors"
        own = Streamed(groups, {name: tensors.shapes[name] for names, _ in groups for name in names})
        write_tensors(folder / name, own, {"format": "pt"})
        where |= dict.fromkeys(own, name)
        done += len(own)
        tell(done, len(tensors))
    if len(parts) > 1:
        total = sum(_bytes(tensors.shapes, name) for name in tensors.shapes)
        index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
        _write(folder / INDEX, json.dumps(index, indent=2) + "\n")


def _parts(tensors: Streamed, shard: int) -> list[list[Any]]:
    """What each move gives, in files of about so many bytes."""
    parts: list[list[Any]] = [[]]
    size = 0
    for group in tensors.groups:
        more = sum(_bytes(tensors.shapes, name) for name in group[0])
        if parts[-1] and size + more > shard:
            parts.append([])
            size = 0
        parts[-1].append(group)
        size += more
    return parts


def _bytes(shapes: Shapes, name: str) -> int:
    dtype, shape = shapes[name]
    return prod(shape) * dtype.itemsize


def _beside(checkpoint: Checkpoint, folder: Path, config: Mapping[str, Any]) -> None:
    """Tokenizer, template and settings of generation."""
    came: Any = checkpoint.config.get("source_files")
    came = came if isinstance(came, dict) else {}
    tokenizer = checkpoint.tokenizer
    if tokenizer.kind == "bytes":
        _write(folder / "tokenizer.json", json.dumps(_of_bytes(), ensure_ascii=False) + "\n")
        names: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        _write(folder / "tokenizer_config.json", json.dumps(names, indent=2) + "\n")
    else:
        tokenizer.write(folder)
        if isinstance(came.get("tokenizer_config.json"), dict):
            said = {k: v for k, v in came["tokenizer_config.json"].items() if k not in ("auto_map", "chat_template")}
            _write(folder / "tokenizer_config.json", json.dumps(said, ensure_ascii=False, indent=2) + "\n")
    if checkpoint.template is not None:
        _write(folder / "chat_template.jinja", checkpoint.template)
    generation: Any = came.get("generation_config.json")
    if not isinstance(generation, dict):
        generation = {name: config[name] for name in ("bos_token_id", "eos_token_id") if config.get(name) is not None}
    if config.get("use_cache") is False:  # of code that comes along, which has none
        generation = {**generation, "use_cache": False}
    _write(folder / "generation_config.json", json.dumps(generation, indent=2) + "\n")


def _of_bytes() -> dict[str, Any]:
    """A tokenizer.json by which every byte is the token of its number: byte-level BPE without a merge."""
    shown = [n for n in range(256) if 33 <= n <= 126 or 161 <= n <= 172 or 174 <= n <= 255]
    hidden = [n for n in range(256) if n not in shown]
    letters = {chr(n): n for n in shown} | {chr(256 + place): n for place, n in enumerate(hidden)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
        "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": dict(sorted(letters.items(), key=lambda item: item[1])), "merges": [],
        },
    }  # fmt: skip


def _write(path: Path, text: str) -> None:
    write_whole(path, (text.encode("utf-8"),))
