"""Verbs that write a genome in another way, or at another size: expand, scale."""

from __future__ import annotations

import re
import sys
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

SCALE_EXAMPLES = """\b
Examples:
  foundry scale llama --parameters 30M
  foundry scale llama --width 128 --depth 6 > bigger.genome
  foundry scale families/llama3_2_1b --parameters 1M --vocab 256

With --parameters alone width and depth change together. A genome keeps the ratios of its widths and of its heads, the
channels of a head where the number of heads can follow the width, the pattern of its layers, its windows and rotary
bases, its experts, its vocabulary, and its recipe: the learning rate is the one that it had. What it became is told on
standard error."""

UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}


def register(app: typer.Typer) -> None:
    app.command(epilog=EXPAND_EXAMPLES)(expand)
    app.command(epilog=SCALE_EXAMPLES)(scale)


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


def scale(
    file: Genome,
    parameters: Annotated[
        str | None, typer.Option(metavar="N", help="Learned numbers, within a tenth: 300k, 30M, 1.5B.")
    ] = None,
    width: Annotated[int | None, typer.Option(metavar="N", min=1, help="Channels of the residual stream.")] = None,
    depth: Annotated[int | None, typer.Option(metavar="N", min=1, help="Layers.")] = None,
    vocab: Annotated[int | None, typer.Option(metavar="N", min=2, help="Tokens; 256 for bytes.")] = None,
    experts: Annotated[int | None, typer.Option(metavar="N", min=1, help="Experts, where it has any.")] = None,
) -> int:
    """Print a genome at another size, in the proportions that it has."""
    from foundry.compiler.scale.search import Asked, ScaleError
    from foundry.compiler.scale.search import scale as scale_text

    goal = None if parameters is None else _count(parameters)
    asked = Asked(goal, width, depth, vocab, experts)
    if asked == Asked():
        raise Misuse("say a size: --parameters, --width, --depth, --vocab or --experts")
    if None not in (goal, width, depth):
        raise Misuse("--width and --depth say how many parameters there are: leave out one of the three")
    source, _ = load_source(file)
    try:
        scaled = scale_text(source.text, asked)
    except ScaleError as error:
        raise Failure(f"{file}: {error}") from None
    before, after = scaled.before, scaled.after
    words = [f"width {before.width} → {after.width}", f"depth {before.depth} → {after.depth}"]
    words += [f"heads of {old} → {new} channels" for old, new in scaled.heads]
    words.append(f"{before.parameters:,} → {after.parameters:,} parameters")
    if goal is not None:
        words.append(f"{goal:,} asked for ({after.parameters / goal - 1:+.1%})")
    print(", ".join(words), file=sys.stderr)
    print(scaled.text, end="")
    return 0


def _count(text: str) -> int:
    """A number of parameters: `300000`, `300k`, `30M`, `1.5B`.

    Raises:
        Misuse: it is none.
    """
    found = re.fullmatch(r"([0-9]{1,15}(?:\.[0-9]{1,15})?)([kmbt]?)", text.lower(), re.ASCII)
    count = round(float(found[1]) * UNITS[found[2]]) if found else 0
    if count < 1:
        raise Misuse(f"--parameters {text[:40]!r} is no number of parameters: write 300k, 30M or 1.5B")
    return count
