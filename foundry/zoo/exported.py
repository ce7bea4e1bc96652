"""A checkpoint for other programs: as PyTorch code with its weights, as a graph of torch.export, as ONNX.

Every one is a folder with the model, the tokenizer and a README.md that says in a few lines how to run it. A graph is
held against the model, at several batches and lengths, before anything is written.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.train.checkpoint import Checkpoint, fill_from, inside
from foundry.train.tensors import write_whole
from foundry.zoo.exported_forms import followed
from foundry.zoo.exported_words import LOADER, readme
from foundry.zoo.failure import ZooError

TRIED = ((1, 1), (1, 5), (2, 3), (3, 40))  # (batch, length) at which a graph must give what the model gives
CLOSE = 1e-4  # how near, of a logit; relative to the largest one where that is more than 1
MOST_IN_ONE_FILE = 1 << 30  # bytes of weights; protobuf, which ONNX is written in, allows twice that
INSTALL = "pip install 'foundry[onnx]'"
Run = Callable[[Tensor], Tensor]


def to_py(checkpoint: Checkpoint, out: str | Path) -> Path:
    """Write model.py, model.safetensors as they are, and load.py, which needs nothing but torch. Gives load.py's path.

    Raises:
        ZooError: see `_folder`.
        OSError: the disk is full, or the place is not to be written to.
    """
    folder = _folder(checkpoint, out)
    _write(folder / "model.py", emit(checkpoint.program))
    write_whole(folder / "model.safetensors", _pieces(inside(checkpoint.folder, "model.safetensors")))
    _write(folder / "load.py", LOADER)
    return _beside(checkpoint, folder, "py", folder / "load.py")


def to_torch_export(checkpoint: Checkpoint, out: str | Path) -> Path:
    """Write model.pt2: `torch.export.load(path).module()(tokens)` takes int64 (B, T) and gives float32 logits
    (B, T, vocabulary), for any B and any T that the model's positions allow. Gives its path.

    Raises:
        ZooError: see `_folder` and `graph`.
        OSError: as `to_py`.
    """
    folder = _folder(checkpoint, out)
    exported = graph(checkpoint)
    path = folder / "model.pt2"
    torch.export.save(exported, path)
    return _beside(checkpoint, folder, "torch-export", path)


def to_onnx(checkpoint: Checkpoint, out: str | Path) -> Path:
    """Write model.onnx, with the weights beside it where they are many: input `tokens`, int64 (batch, length); output
    `logits`, float32 (batch, length, vocabulary). Gives its path.

    Raises:
        ZooError: onnx or onnxscript are not installed; what onnxruntime, if it is installed, makes of the file is not
            what the model gives; see also `_folder` and `graph`.
        OSError: as `to_py`.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ZooError(f"ONNX needs a package that is not installed ({error.name}): {INSTALL}") from None
    folder = _folder(checkpoint, out)
    exported = graph(checkpoint)
    size = sum(tensor.numel() * tensor.element_size() for tensor in exported.state_dict.values())
    path = folder / "model.onnx"
    with quiet():
        try:
            program = torch.onnx.export(
                exported, (_some(checkpoint, 2, 9),), dynamo=True, verbose=False, external_data=False
            )
        except torch.onnx.OnnxExporterError as error:
            raise ZooError(f"ONNX cannot say what this model does: {_last(error)}; {OTHERS}") from None
        assert program is not None
        _named(program.model.graph)
        program.save(str(path), external_data=size > MOST_IN_ONE_FILE)
    _check_onnx(checkpoint, path)
    return _beside(checkpoint, folder, "onnx", path)


def _named(graph_out: Any) -> None:
    """Names of people for what goes in and out of an ONNX graph, and for the two sizes that are free."""
    import onnx_ir

    graph_out.inputs[0].name, graph_out.outputs[0].name = "tokens", "logits"
    free = dict(zip(map(str, graph_out.inputs[0].shape), ("batch", "length"), strict=True))
    made = (value for node in graph_out.all_nodes() for value in node.outputs)
    for value in (*graph_out.inputs, *made):
        if value.shape is not None:
            value.shape = onnx_ir.Shape(
                dim if isinstance(dim, int) else re.sub(r"\w+", lambda m: free.get(m[0], m[0]), str(dim))
                for dim in value.shape
            )


OTHERS = "`foundry export --to py` writes the model as code, whatever it does"


def graph(checkpoint: Checkpoint) -> torch.export.ExportedProgram:
    """The model as a graph over tokens (B, T), both free.

    Raises:
        ZooError: the tracer cannot follow the model, or what it made differs from it.
    """
    module = followed(load(emit(checkpoint.program)))
    model = module.Model()
    fill_from(checkpoint.folder, model)
    model.eval().requires_grad_(False)
    free = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=module.LONGEST)}
    with quiet(), torch.no_grad():
        try:
            example = _some(checkpoint, 2, min(9, module.LONGEST or 9))
            exported = torch.export.export(model, (example,), dynamic_shapes=(free,), strict=False)
        except Exception as error:  # the tracer raises almost anything
            raise ZooError(f"torch.export cannot follow this model: {_last(error)}; {OTHERS}") from None
        _agree(checkpoint, checkpoint.build(), exported.module(), "torch.export")
    return exported


def _agree(checkpoint: Checkpoint, model: nn.Module, run: Run, who: str) -> None:
    """Hold a graph against the model.

    Raises:
        ZooError: somewhere it fails, or gives other logits.
    """
    for batch, length in TRIED:
        if length > (checkpoint.module.LONGEST or length):
            continue
        tokens = _some(checkpoint, batch, length)
        expected = model(tokens)
        try:
            apart = float((run(tokens) - expected).abs().max())
        except Exception as error:  # whatever the other runtime raises
            raise ZooError(f"{who}: the graph fails on tokens {batch} x {length}: {_last(error)}; {OTHERS}") from None
        if not apart <= CLOSE * max(1.0, float(expected.abs().max())):
            raise ZooError(
                f"{who}: the graph gives other logits on tokens {batch} x {length}, by {apart:.2g}; {OTHERS}"
            )


@torch.no_grad()
def _check_onnx(checkpoint: Checkpoint, path: Path) -> None:
    try:
        import onnxruntime
    except ImportError:
        return
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # fatal errors alone: others are raised as well
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        path.unlink()
        raise ZooError(f"onnxruntime: the graph does not load: {_last(error)}; {OTHERS}") from None

    def run(tokens: Tensor) -> Tensor:
        return torch.from_numpy(session.run(["logits"], {"tokens": tokens.numpy()})[0])

    try:
        _agree(checkpoint, checkpoint.build(), run, "onnxruntime")
    except ZooError:
        path.unlink()
        raise


def _some(checkpoint: Checkpoint, batch: int, length: int) -> Tensor:
    """Tokens at random, always the same: (batch, length)."""
    return torch.randint(checkpoint.program.vocab, (batch, length), generator=torch.Generator().manual_seed(batch))


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings and log lines of exporters, which speak of themselves."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


def _folder(checkpoint: Checkpoint, out: str | Path) -> Path:
    """The folder to write to, which is made.

    Raises:
        ZooError: it is a file, or the checkpoint itself, or holds something else.
    """
    folder = Path(out)
    if folder.resolve() == checkpoint.folder.resolve():
        raise ZooError(f"{folder}: this is the checkpoint; name another folder")
    if folder.exists() and not folder.is_dir():
        raise ZooError(f"{folder}: a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        raise ZooError(f"{folder}: the folder is not empty; name a new one")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _beside(checkpoint: Checkpoint, folder: Path, kind: str, main: Path) -> Path:
    """Write what every kind of export has: how tokens become text, and how to run it."""
    if checkpoint.tokenizer.kind != "bytes":
        checkpoint.tokenizer.write(folder)
    if checkpoint.template is not None:
        _write(folder / "chat_template.jinja", checkpoint.template)
    _write(folder / "README.md", readme(kind, checkpoint.tokenizer.kind, checkpoint.module.LONGEST))
    return main


def _write(path: Path, text: str) -> None:
    write_whole(path, (text.encode("utf-8"),))


def _pieces(path: Path, size: int = 1 << 24) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(size):
            yield piece


def _last(error: Any) -> str:
    """The first line of what went wrong at the bottom of a chain of errors, not too long."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]
