"""Bytes as weights: what an emitted file reads for `python model.py generate WEIGHTS`."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import torch

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.testing.case import Broken

GENOME = "@foundry(1);\nmodel = embed(vocab = 256, width = 2) >> rmsnorm >> unembed(tied = 1);\n"


@cache
def model() -> ModuleType:
    """A small emitted file, loaded."""
    return load(emit(load_program(GENOME)))


def reader(folder: Path) -> Callable[[bytes], None]:
    """Generate a text from the weights in a file.

    The reader raises Broken where bad weights end in anything but one line that names the file.
    """
    folder.mkdir(exist_ok=True)
    path = folder / "model.pt"

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                model().main("generate", str(path), "a")
        except SystemExit as end:
            said = str(end.code)
            if str(path) not in said or len(said.splitlines()) != 1:
                raise Broken(f"no clear error: {said}") from None

    return read


def seeds() -> list[bytes]:
    """Weights that fit, in both of torch's formats; some that do not; and objects that are no weights."""
    state = dict(model().Model().state_dict())
    name, weight = next(iter(state.items()))
    objects = [
        state,
        state | {name: weight.half()},
        state | {name: weight.T.contiguous()},
        state | {name: torch.full_like(weight, float("nan"))},
        state | {name: weight.to_sparse()},
        {name: weight, "more": weight},
        {},
        {name: 3.5},
        {3: weight},
        [weight],
        weight,
        "text",
    ]
    return [*(_saved(thing) for thing in objects), _saved(state, _use_new_zipfile_serialization=False)]


def _saved(thing: object, **settings: bool) -> bytes:
    sink = io.BytesIO()
    torch.save(thing, sink, **settings)
    return sink.getvalue()
