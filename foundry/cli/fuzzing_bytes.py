"""The verb that doubts the readers of untrusted bytes: fuzz-bytes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.arguments import Seed
from foundry.cli.failures import ERRORS, Failure, Misuse

if TYPE_CHECKING:
    from foundry.testing.bytes.session import Exploration
    from foundry.testing.bytes.target import Target

EXAMPLES = """\b
Examples:
  foundry fuzz-bytes --time 1h                   every reader in turn
  foundry fuzz-bytes parser --time 10min
  foundry fuzz-bytes archive run --time 20min --corpus tests/fuzz/corpus
  foundry fuzz-bytes parser --time 8h --inputs inputs/parser
  foundry fuzz-bytes --list                      what there is to explore

Inputs are changed at random and kept where they reach new code (atheris, libFuzzer). Each failure is made small and
stored in CORPUS/bytes/TARGET; what is stored there is tried again first.

Exit code: 0 nothing found, 1 something found, 2 misuse, 130 stopped by Ctrl-C."""


def register(app: typer.Typer) -> None:
    app.command(name="fuzz-bytes", epilog=EXAMPLES)(fuzz_bytes)


def fuzz_bytes(
    names: Annotated[list[str] | None, typer.Argument(metavar="[TARGET…]", help="Readers; all without one.")] = None,
    time: Annotated[str, typer.Option("--time", metavar="T", help="How long in all: 90s, 10min, 1h.")] = "10min",
    corpus: Annotated[str, typer.Option(metavar="DIR", help="Where failing inputs are kept.")] = "found",
    inputs: Annotated[
        str, typer.Option(metavar="DIR", help="Keep what reached new code, and begin with it; for one target.")
    ] = "",
    seed: Seed = 0,
    show: Annotated[bool, typer.Option("--list", help="Say what there is to explore.")] = False,
) -> int:
    """Look for bytes that a reader does not refuse in good order."""
    from foundry.cli.fuzzing import parse_time

    seconds = parse_time(time)
    targets = _chosen(names or [])
    if show:
        print("\n".join(f"{target.name:<11} {target.statement}" for target in targets))
        return 0
    if inputs and len(targets) != 1:
        raise Misuse("--inputs belongs to one target: name it")
    folder = Path(corpus)
    _make(folder)
    if inputs:
        _make(Path(inputs))
    failing = sum(_replayed(target, folder) for target in targets)
    for number, target in enumerate(targets):
        failing += _explored(target, seconds / len(targets), folder, Path(inputs) if inputs else None, seed + number)
    return ERRORS if failing else 0


def _chosen(names: list[str]) -> tuple[Target, ...]:
    """The targets of some names, all without one.

    Raises:
        Misuse: there is no such target.
    """
    from foundry.dsl.suggest import closest
    from foundry.testing.bytes.targets import BY_NAME, TARGETS

    for name in names:
        if name not in BY_NAME:
            meant = closest(name, set(BY_NAME))
            hint = f"did you mean {' or '.join(meant)}?" if meant else f"there are {', '.join(BY_NAME)}"
            raise Misuse(f"no target is called {name[:40]}; {hint}")
    return tuple(BY_NAME[name] for name in dict.fromkeys(names)) or TARGETS


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".writable").touch()
        (folder / ".writable").unlink()
    except OSError as error:
        raise Misuse(f"cannot keep anything in {folder}: {(error.strerror or str(error)).lower()}") from None


def _replayed(target: Target, folder: Path) -> int:
    """Try what is stored again; how much of it still fails."""
    from foundry.testing.bytes.session import replay

    failing = 0
    for path, failure in replay(target, folder):
        if failure is not None:
            failing += 1
            print(f"{path}: {failure.kind} {failure.place} {failure.message}")
    return failing


def _explored(target: Target, seconds: float, folder: Path, inputs: Path | None, seed: int) -> int:
    """Explore one target and say what came of it; how many failures."""
    from foundry.testing.bytes.session import Unavailable, explore

    told = 0
    interactive = sys.stderr.isatty()

    def notify(exploration: Exploration) -> None:
        nonlocal told
        for found in exploration.found[told:]:
            print(f"{found.path}: {found.kind} {found.place} {found.message}", flush=True)
        told = len(exploration.found)
        if interactive:
            print(f"\r{_line(exploration)}\x1b[K", end="", file=sys.stderr, flush=True)

    try:
        exploration = explore(target, seconds, folder, inputs, seed, notify)
    except Unavailable as error:
        raise Failure(str(error)) from None
    finally:
        if interactive:
            print("\r\x1b[K", end="", file=sys.stderr)
    print(_line(exploration))
    return len(exploration.found)


def _line(exploration: Exploration) -> str:
    e = exploration
    found = f"{len(e.found)} failure{'' if len(e.found) == 1 else 's'}"
    return f"{e.target:<11} {e.runs:>9,} inputs  {e.reached:>6,} branches reached  {found}  {e.seconds:.0f} s"
