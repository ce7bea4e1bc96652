"""The `foundry` command: its verbs, and what happens when one fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from foundry import __version__
from foundry.cli import (
    asking,
    comparison,
    confirmation,
    evaluation,
    evolution,
    fuzzing,
    fuzzing_bytes,
    generation,
    genomes,
    language,
    proxies,
    rewriting,
    runs,
    serving,
    structure,
    tokenizers,
    training,
    variation,
    zoo,
)
from foundry.cli.failures import BROKEN_PIPE, INTERRUPTED, MISUSE, Failure

EXAMPLES = """\b
Examples:
  foundry check llama                      is this genome right?
  foundry show llama                       what does it cost, and what is its shape?
  foundry emit llama -o model.py           the PyTorch file that runs
  foundry eval llama gpt2 --seeds 3        which one learns better from equal compute?
  foundry evolve --budget 10min            search for something better

A genome is a path, - for standard input, or the name of one that comes along: gpt2, llama, primer, hybrid."""

app = typer.Typer(
    name="foundry",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


@app.callback(invoke_without_command=True, epilog=EXAMPLES)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Language models whose architectures evolve."""
    if version:
        print(f"foundry {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


for group in (
    genomes,
    structure,
    rewriting,
    language,
    variation,
    evaluation,
    training,
    generation,
    evolution,
    runs,
    asking,
    comparison,
    confirmation,
    fuzzing,
    fuzzing_bytes,
    proxies,
    serving,
    tokenizers,
    zoo,
):
    group.register(app)

# The root of all command-line errors is click's or typer's own, by typer's version.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0 fine, 1 errors, 2 misuse, 130 interrupted, 141 reader gone."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = app(args=list(arguments), prog_name="foundry", standalone_mode=False) or 0
        sys.stdout.flush()
        return code
    except UsageError as error:
        return _misuse(error, arguments)
    except Failure as failure:
        print(f"foundry: {failure.message}", file=sys.stderr)
        return failure.code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except (BrokenPipeError, SystemExit) as end:
        if isinstance(end, SystemExit) and not isinstance(end.__context__, BrokenPipeError):
            raise  # else it is what typer makes of a broken pipe inside a verb
        # Python flushes standard output once more on its way out; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        print(f"foundry: {place}{(error.strerror or str(error)).lower()}", file=sys.stderr)
        return 1


def _misuse(error: Exception, arguments: Sequence[str]) -> int:
    """One line that says what is wrong with the command line and where to read on."""
    message = error.format_message().rstrip(".")  # type: ignore[attr-defined]
    verb = next((a for a in arguments if not a.startswith("-")), "")
    known = {c.name or (c.callback.__name__ if c.callback else "") for c in app.registered_commands}
    known |= {str(group.name) for group in app.registered_groups}
    command = f"foundry {verb}" if verb in known else "foundry"
    print(f"{command}: {message[:1].lower()}{message[1:]} (see {command} --help)", file=sys.stderr)
    return MISUSE
