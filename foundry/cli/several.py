"""Options that take several values after them: `--against B1 B2 B3`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typer.core import TyperCommand


def several(*options: str) -> type[TyperCommand]:
    """A command class that reads `--option A B C` as `--option A --option B --option C`, for these options.

    The values end at the next argument that begins with a dash and is more than one.
    """

    class Several(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            return super().parse_args(ctx, repeated(args, options))

    return Several


def repeated(arguments: Sequence[str], options: Sequence[str]) -> list[str]:
    """The arguments with the option said again before each further value of it."""
    out: list[str] = []
    current, values = "", 0  # the option whose values these are, and how many came
    for index, argument in enumerate(arguments):
        if argument == "--":
            return [*out, *arguments[index:]]
        if len(argument) > 1 and argument.startswith("-"):
            name, given, _ = argument.partition("=")
            current, values = (name, int(bool(given))) if name in options else ("", 0)
        elif current:
            if values:
                out.append(current)
            values += 1
        out.append(argument)
    return out
