"""Journals elsewhere: TensorBoard, Weights & Biases and trackio, each where it is installed and asked for."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from foundry.dsl.suggest import closest
from foundry.train.journal import Row, Viewer, figures

PROJECT = "foundry"


class TrackerError(ValueError):
    """A tracker that cannot be used. The message is one line: which, and what to do."""


class TensorBoard:
    """Event files in log/tensorboard: `tensorboard --logdir CKPT/log`."""

    def __init__(self, folder: Path, config: Mapping[str, Any], step: int):
        summary = _imported("tensorboard", MODULES["tensorboard"])
        self._writer = summary.SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1 if step else None)
        self._writer.add_text("config", "\n\n".join(f"{name}: {value}" for name, value in config.items()), step)

    def row(self, row: Row) -> None:
        for name, value in figures(row).items():
            self._writer.add_scalar(name, value, row.step)

    def sample(self, step: int, text: str) -> None:
        self._writer.add_text("sample", text, step)

    def say(self, text: str) -> None: ...

    def close(self) -> None:
        self._writer.close()


class Hosted:
    """A run of wandb or trackio, which speak alike. A run that goes on there is the one that it was."""

    def __init__(self, package: str, folder: Path, config: Mapping[str, Any], step: int):
        self.name, self._package = package, _imported(package, MODULES[package])
        options: dict[str, Any] = {"name": folder.resolve().parent.name, "resume": "allow" if step else "never"}
        if package == "wandb":  # its runs go on by an identity, trackio's by their name
            options |= {"id": _identity(folder / "wandb.id", bool(step)), "dir": str(folder)}
        try:
            self._package.init(project=PROJECT, config=dict(config), **options)
        except Exception as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise TrackerError(f"{package} does not start: {reason}") from None

    def row(self, row: Row) -> None:
        self._package.log(figures(row), step=row.step)

    def sample(self, step: int, text: str) -> None: ...

    def say(self, text: str) -> None: ...

    def close(self) -> None:
        self._package.finish()


def _identity(path: Path, goes_on: bool) -> str:
    """The identity of a run, kept in a file; a new one for a new run."""
    if not goes_on or not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(4))
    return path.read_text()


def _hosted(package: str) -> Callable[[Path, Mapping[str, Any], int], Viewer]:
    return lambda folder, config, step: Hosted(package, folder, config, step)


MODULES = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb", "trackio": "trackio"}
TRACKERS: dict[str, Callable[[Path, Mapping[str, Any], int], Viewer]] = {
    "tensorboard": TensorBoard,
    "wandb": _hosted("wandb"),
    "trackio": _hosted("trackio"),
}


def trackers(names: str, folder: str | Path, config: Mapping[str, Any], step: int = 0) -> list[Viewer]:
    """The trackers of a list of names with commas between them; "" is none.

    folder: log/ of a checkpoint. config: what to say of the run, by name. step: what a run that goes on has done.

    Raises:
        TrackerError: a name that is none, a package that is not installed, or a tracker that does not start.
    """
    return [TRACKERS[name](Path(folder), config, step) for name in installed(names)]


def installed(names: str) -> list[str]:
    """The trackers that are asked for, each once.

    Raises:
        TrackerError: a name that is none, or a package that is not installed.
    """
    asked = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    for name in asked:
        if name not in TRACKERS:
            meant = closest(name, TRACKERS)
            hint = f"did you mean {meant[0]}?" if meant else f"there are {', '.join(TRACKERS)}"
            raise TrackerError(f"no log is called {name[:40]!r}; {hint}")
        _imported(name, MODULES[name])
    return asked


def _imported(package: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise TrackerError(f"logging to {package} needs the package {package}: pip install {package}") from None
