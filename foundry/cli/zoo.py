"""Verbs on public models: import, export, zoo list, zoo show."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Json
from foundry.cli.failures import INTERRUPTED, Failure, Misuse

if TYPE_CHECKING:
    from foundry.train.checkpoint import Checkpoint

IMPORT_EXAMPLES = """\b
Examples:
  foundry import models/SmolLM2-135M -o runs/smol        a Hugging Face folder
  foundry import model.gguf -o runs/smol                 a GGUF file, dequantised
  foundry import HuggingFaceTB/SmolLM2-135M -o runs/smol --revision main
  foundry chat runs/smol

The result is a checkpoint: model.genome says what the model is. Weights go over one by one, so that no more than one
is in memory. Pickles are never read. `foundry zoo list` has the families.

Exit code: 0 written, 1 the model cannot be used, 2 misuse, 130 interrupted (nothing is kept)."""

EXPORT_EXAMPLES = """\b
Examples:
  foundry export runs/smol --to hf -o out/smol           for transformers
  foundry export runs/smol --to gguf --kind Q8_0 -o smol.gguf
  foundry export runs/mine --to onnx -o out/onnx
  foundry export runs/mine --to py -o out/py             PyTorch code and weights; needs torch alone

hf: a model of a known family becomes one of transformers' own; any other comes with its code
(trust_remote_code=True). gguf: only families that llama.cpp knows.

Exit code: 0 written, 1 it cannot be exported so, 2 misuse, 130 interrupted."""

LIST_EXAMPLES = """\b
Examples:
  foundry zoo list
  foundry zoo list --json"""

SHOW_EXAMPLES = """\b
Examples:
  foundry zoo show llama
  foundry zoo show qwen3 --json"""

KINDS = ("hf", "gguf", "onnx", "torch-export", "py")
GGUF_KINDS = ("F32", "F16", "Q8_0", "Q4_0")
Folder = Annotated[str, typer.Argument(metavar="CKPT", help="A folder that train or import has written.")]


def register(app: typer.Typer) -> None:
    app.command(name="import", epilog=IMPORT_EXAMPLES)(import_)
    app.command(epilog=EXPORT_EXAMPLES)(export)
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(zoo)
    group.command(name="list", epilog=LIST_EXAMPLES)(list_)
    group.command(epilog=SHOW_EXAMPLES)(show)
    app.add_typer(group, name="zoo")


def zoo(context: typer.Context) -> None:
    """The families of public models that are known."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def import_(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A Hugging Face folder, a .gguf, or an id.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="CKPT", help="Where the checkpoint goes.")],
    revision: Annotated[str, typer.Option(metavar="R", help="Of an id: a branch, a tag or a commit.")] = "",
    dtype: Annotated[str, typer.Option(metavar="T", help="keep, float32, bfloat16 or float16.")] = "keep",
) -> int:
    """Make a checkpoint of a public model."""
    if dtype not in ("keep", "float32", "bfloat16", "float16"):
        raise Misuse(f"--dtype {dtype}: keep, float32, bfloat16 or float16")
    _refuse_existing(out)
    with _told("nothing is written"):
        from foundry.cli.measuring import bar

        place = Path(source)
        if source.endswith(".gguf"):
            if revision or dtype != "keep":
                raise Misuse("--revision and --dtype are not for GGUF files")
            from foundry.zoo.gguf_arrive import from_gguf

            from_gguf(place, Path(out), _say)
        else:
            import torch

            from foundry.zoo.arrive import arrive
            from foundry.zoo.hub import fetched, is_id

            if not place.exists() and is_id(source):
                place = fetched(source, revision or None)
            elif revision:
                raise Misuse("--revision is for ids of the hub")
            with bar("importing") as tell:
                arrive(place, out, None if dtype == "keep" else getattr(torch, dtype), _say, tell)
    print(f"wrote {out}", file=sys.stderr)
    return 0


def export(
    checkpoint: Folder,
    to: Annotated[str, typer.Option("--to", metavar="F", help="hf, gguf, onnx, torch-export or py.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="OUT", help="A new folder; for gguf also a file.")],
    kind: Annotated[str, typer.Option(metavar="Q", help="Of gguf: F32, F16 (the default), Q8_0 or Q4_0.")] = "",
) -> int:
    """Write a checkpoint for other programs."""
    if to not in KINDS:
        raise Misuse(f"--to {to}: hf, gguf, onnx, torch-export or py")
    if kind and to != "gguf":
        raise Misuse("--kind is for --to gguf")
    if kind and kind.upper() not in GGUF_KINDS:
        raise Misuse(f"--kind {kind}: F32, F16, Q8_0 or Q4_0")
    _refuse_existing(out)
    with _told(f"what is in {out} is not whole"):
        from foundry.train.checkpoint import read_checkpoint

        path = _export(read_checkpoint(checkpoint), to, Path(out), kind or "F16")
    print(f"wrote {path}", file=sys.stderr)
    return 0


def list_(as_json: Json = False) -> int:
    """The families, and which models they are."""
    from foundry.zoo.known import known

    if as_json:
        print(json.dumps([_about(family) for family in known()], indent=2))
        return 0
    rows = [(family.name, ", ".join(family.types), family.covers) for family in known()]
    wide = [max(len(row[n]) for row in rows) for n in (0, 1)]
    for name, types, covers in rows:
        print(f"{name:{wide[0]}}  {types:{wide[1]}}  {covers}")
    return 0


def show(
    name: Annotated[str, typer.Argument(metavar="FAMILY", help="A name, or a model_type: llama.")],
    as_json: Json = False,
) -> int:
    """What is known of one family, where it goes, and what tests it."""
    with _told("nothing is written"):
        from foundry.zoo.known import named

        about = _about(named(name))
    if as_json:
        print(json.dumps(about, indent=2))
        return 0
    for key, value in about.items():
        print(f"{key:12}  {', '.join(value) if isinstance(value, list) else value}")
    return 0


def _about(family: Any) -> dict[str, Any]:
    """What `--json` prints."""
    return {
        "name": family.name,
        "model_type": list(family.types),
        "architecture": family.architecture,
        "covers": family.covers,
        "import": ["Hugging Face folder", "hub id", *(["GGUF"] if _gguf(family) else [])],
        "export": [kind for kind in KINDS if kind != "gguf" or _gguf(family)],
        "tested by": "tests/zoo: logits and greedy tokens of transformers, and every tensor back bit for bit",
    }


def _gguf(family: Any) -> bool:
    from foundry.zoo.gguf_keys import OF_FAMILIES

    return any(kind in OF_FAMILIES for kind in family.types)


def _export(checkpoint: Checkpoint, to: str, out: Path, kind: str) -> Path:
    if to == "hf":
        from foundry.cli.measuring import bar
        from foundry.zoo.depart import to_hf

        with bar("exporting") as tell:
            return to_hf(checkpoint, out, _say, tell)
    if to == "gguf":
        from foundry.zoo.gguf_depart import to_gguf

        return to_gguf(checkpoint, out, kind)
    from foundry.zoo import exported

    return {"onnx": exported.to_onnx, "torch-export": exported.to_torch_export, "py": exported.to_py}[to](
        checkpoint, out
    )


def _refuse_existing(out: str) -> None:
    """Nothing is written over."""
    place = Path(out)
    if not out or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise Failure(f"{out or 'an empty name'}: there is something already; name a new place")


@contextlib.contextmanager
def _told(left: str) -> Iterator[None]:
    """Whatever goes wrong ends the command with one line. left: what there is after an interruption."""
    from foundry.train.checkpoint import CheckpointError
    from foundry.zoo.failure import ZooError

    try:
        yield
    except (ZooError, CheckpointError) as error:
        raise Failure(str(error)) from None
    except MemoryError:
        raise Failure("not enough memory") from None
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{place}{(error.strerror or str(error)).lower()}") from None
    except KeyboardInterrupt:
        raise Failure(f"stopped; {left}", INTERRUPTED) from None


def _say(line: str) -> None:
    print(line, file=sys.stderr)
