"""Evaluating from the command line: the texts, the progress bar, and what Ctrl-C leaves."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from foundry.cli.failures import INTERRUPTED, Failure

if TYPE_CHECKING:
    from foundry.data.corpus import Corpus
    from foundry.search.panel import Panel

Tell = Callable[[int, int], None]


@contextlib.contextmanager
def panel(corpora: Sequence[Corpus], folder: str | Path | None = None, workers: int = 0) -> Iterator[Panel]:
    """A panel of workers. What ends it ends the command with one line; what is done is kept in `folder`.

    Raises:
        Failure: the folder cannot be used, or Ctrl-C was pressed.
    """
    from foundry.search.archive import ArchiveError
    from foundry.search.panel import Panel

    try:
        with Panel(corpora, folder, workers) as open_panel:
            for warning in open_panel.warnings:
                print(f"foundry: {warning}", file=sys.stderr)
            yield open_panel
    except ArchiveError as error:
        raise Failure(str(error)) from None
    except KeyboardInterrupt:
        kept = f"; what is done is kept in {folder}: the same command goes on" if folder else ""
        raise Failure(f"stopped{kept}", INTERRUPTED) from None


@contextlib.contextmanager
def bar(title: str = "evaluating") -> Iterator[Tell]:
    """A function that is told how many evaluations are done, and shows it for as long as the context lasts."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def corpora(paths: Sequence[str]) -> list[Corpus]:
    """The texts at some paths; Python's library where there is none.

    Raises:
        Failure: one of them cannot be used.
    """
    from foundry.data.corpus import CorpusError, load_corpus

    try:
        return [load_corpus(path) for path in paths or (None,)]
    except CorpusError as error:
        raise Failure(str(error)) from None
