"""Where the verbs that let a checkpoint speak compute, and in which numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.failures import Misuse

if TYPE_CHECKING:
    import torch

Device = Annotated[str, typer.Option(metavar="D", help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(metavar="T", help="auto, float32 or bfloat16.")]


def device_and_dtype(device: str, dtype: str) -> tuple[str, torch.dtype]:
    """In bfloat16 on a GPU and in float32 elsewhere, unless told otherwise.

    Raises:
        Misuse: there is no such device, or no such kind of numbers.
    """
    import torch

    if device not in ("auto", "cpu", "cuda"):
        raise Misuse(f"--device is auto, cpu or cuda, not {device}")
    if dtype not in ("auto", "float32", "bfloat16"):
        raise Misuse(f"--dtype is auto, float32 or bfloat16, not {dtype}")
    if device == "cuda" and not torch.cuda.is_available():
        raise Misuse("--device cuda: there is no GPU that torch can use")
    where = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    kind = ("bfloat16" if where == "cuda" else "float32") if dtype == "auto" else dtype
    return where, getattr(torch, kind)
