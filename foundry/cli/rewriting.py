"""Verbs that write a genome in another way, or at another size: expand, scale."""

from __future__ import annotations

from typing import Annotated

import typer

from foundry.cli.arguments import Genome, load_source
from foundry.cli.failures import Failure, Misuse

EXPAND_EXAMPLES = """\b
Examples:
  foundry expand llama                     down to primitives
  foundry expand llama attention           the calls of attention, and no others
  foundry expand llama layer glu silu > flat.genome

The hash of the genome stays: each weight is what it was."""


def register(app: typer.Typer) -> None:
    app.command(epilog=EXPAND_EXAMPLES)(expand)


def expand(
    file: Genome,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME…]", help="Functions of the prelude, or the genome's own.")
    ] = None,
) -> int:
    """Print a genome with calls replaced by the bodies of what they call.

    Without a NAME every call of the prelude is, so that primitives and the genome's own definitions are left.
    """
    from foundry.dsl.expand import ExpandError, NotCalled
    from foundry.dsl.expand import expand as expand_text

    source, _ = load_source(file)
    try:
        print(expand_text(source.text, names or ()), end="")
    except NotCalled as error:
        raise Misuse(f"{file}: {error}") from None
    except ExpandError as error:
        raise Failure(f"{file}: {error}") from None
    return 0
