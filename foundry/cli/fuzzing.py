"""The verb that doubts the compiler: fuzz."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.arguments import Seed, expand, load_source
from foundry.cli.failures import ERRORS, INTERRUPTED, Failure, Misuse

if TYPE_CHECKING:
    from foundry.testing.campaign import State

EXAMPLES = """\b
Examples:
  foundry fuzz --time 10min
  foundry fuzz --time 1h --report fuzz.md --corpus found/
  foundry fuzz --time 5min --property causal --property decodes
  foundry fuzz --time 2min --genome mine.genome
  foundry fuzz --time 20min --corpus tests/fuzz/corpus --stop-at-first

Every failure is made small and stored in the corpus, whose cases are tried first the next time.
Ctrl-C ends it with what was found so far.

Exit code: 0 nothing found, 1 something found, 2 misuse, 130 stopped by Ctrl-C before anything was found."""

UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600}
LONGEST = 7 * 86400  # seconds


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(fuzz)


def fuzz(
    time: Annotated[str, typer.Option("--time", metavar="T", help="How long: 90s, 10min, 1h.")] = "10min",
    workers: Annotated[int, typer.Option(metavar="N", min=0, max=256, help="0: one per core.", show_default=False)] = 0,
    names: Annotated[
        list[str] | None, typer.Option("--property", metavar="P", help="Try this one alone; may be given again.")
    ] = None,
    seed: Seed = 0,
    corpus: Annotated[str, typer.Option(metavar="DIR", help="Where found cases are kept and tried first.")] = "found",
    report: Annotated[str, typer.Option(metavar="FILE", help="Write what was done: .md or .json.")] = "",
    genome: Annotated[
        list[str] | None, typer.Option(metavar="F", help="Test this genome or folder in place of random ones.")
    ] = None,
    stop_at_first: Annotated[bool, typer.Option("--stop-at-first", help="End with the first failure.")] = False,
) -> int:
    """Look for genomes that break a promise of the compiler."""
    seconds = parse_time(time)
    _require_hypothesis()
    from foundry.cli.fuzzing_view import watching
    from foundry.search.settings import cores
    from foundry.testing.campaign import Settings, run
    from foundry.testing.corpus import CorpusError

    settings = Settings(
        seconds,
        workers or cores(),
        seed,
        _known(names or []),
        _folder(corpus),
        tuple(load_source(path)[0].text for path in expand(genome or [])),
        stop_at_first,
    )
    _refuse_unwritable(report)
    try:
        with watching() as notify:
            state = run(settings, notify)
    except CorpusError as error:
        raise Misuse(str(error)) from None
    _write(state, report)
    _print_end(state)
    if state.found:
        return ERRORS
    return INTERRUPTED if state.stopped else 0


def parse_time(text: str) -> float:
    """Seconds that `90s`, `10min` or `1h` mean.

    Raises:
        Misuse: it is no such text.
    """
    shown = text if len(text) <= 40 else text[:40] + "…"
    match = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{0,9})?)\s*([a-z]*)\s*", text.lower(), re.ASCII)
    if match is None or match[2] not in UNITS:
        raise Misuse(f"time {shown!r} is not a number with a unit; write it like 90s, 10min or 1h")
    seconds = float(match[1]) * UNITS[match[2]]
    if not 0 < seconds <= LONGEST:
        raise Misuse(f"time {shown!r} is not between nothing and a week")
    return seconds


def _require_hypothesis() -> None:
    from importlib.util import find_spec

    if find_spec("hypothesis") is None:
        raise Misuse("fuzzing needs the extra: pip install 'foundry[test]'")


def _known(names: list[str]) -> tuple[str, ...]:
    """The names of properties, refused where there is none of that name."""
    from foundry.dsl.suggest import closest
    from foundry.testing.properties import BY_NAME
    from foundry.testing.worker import SURVIVING

    all_names = {*BY_NAME, SURVIVING}
    for name in names:
        if name not in all_names:
            meant = closest(name, all_names)
            hint = f"; did you mean {' or '.join(meant)}?" if meant else f"; there are {', '.join(sorted(all_names))}"
            raise Misuse(f"no property is called {name}{hint}")
    return tuple(dict.fromkeys(names))


def _folder(name: str) -> Path:
    """The corpus folder, which need not exist as long as it can be made."""
    folder = Path(name)
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        reason = "permission denied" if existing.is_dir() else f"{existing} is a file"
        raise Misuse(f"cannot keep cases in {name}: {reason}")
    return folder


def _refuse_unwritable(report: str) -> None:
    """Raise before the work where its report could not be written after it."""
    if not report:
        return
    path = Path(report)
    if path.suffix not in (".md", ".json"):
        raise Misuse(f"the report {report} ends in neither .md nor .json")
    if path.is_dir() or not path.parent.is_dir():
        raise Misuse(f"cannot write {report}: {'is a directory' if path.is_dir() else 'no such directory'}")


def _write(state: State, path: str) -> None:
    from foundry.testing.report import markdown
    from foundry.testing.report import report as told

    if not path:
        return
    data = told(state)
    text = json.dumps(data, indent=2) + "\n" if path.endswith(".json") else markdown(data)
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failure(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None
    print(f"wrote {path}", file=sys.stderr)


def _print_end(state: State) -> None:
    """What was tried, what was found, and what to type next."""
    from foundry.cli.live import clock
    from foundry.testing.worker import OWN

    stages = state.tally.stages
    print(
        f"{stages['checked']:,} genomes checked, {stages['built']:,} built, {stages['ran']:,} run, "
        f"{stages['texts']:,} texts in {clock(state.seconds)}"
    )
    if not state.found:
        print("nothing found")
    for found in state.found.values():
        failure = found.failure
        again = " (known)" if found.known else ""
        first = failure.message.splitlines()[0] if failure.message else ""
        print(f"\n{failure.name}{again}: {failure.kind} at {failure.place}\n  {first}")
        if found.path is not None:
            print(f"  {found.path}")
            if found.path.suffix == ".genome" and failure.name not in OWN:
                print(f"  foundry fuzz --time 1min --property {failure.name} --genome {found.path}")
