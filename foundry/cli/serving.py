"""The verb that answers over HTTP: serve."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foundry.cli.computing import Device, Dtype, device_and_dtype
from foundry.cli.failures import ERRORS, INTERRUPTED, Failure, Misuse

if TYPE_CHECKING:
    import socket

    from foundry.serve.served import Served
    from foundry.train.checkpoint import Checkpoint

EXAMPLES = """\b
Examples:
  foundry serve runs/llama
  foundry serve runs/llama --port 9000 --name mine
  FOUNDRY_API_KEY=… foundry serve runs/llama --host 0.0.0.0

\b
  curl http://127.0.0.1:8000/v1/completions -H 'Content-Type: application/json' \\
    -d '{"model": "llama", "prompt": "def ", "max_tokens": 50, "stream": true}'

Clients of OpenAI's API find it at base_url http://127.0.0.1:8000/v1; the model's name is the folder's. Requests that
come together are decoded together. Ctrl-C lets requests under way end, for ten seconds; once more ends at once.

Exit code: 0 stopped by SIGTERM, 1 the checkpoint or the address cannot be used, 2 misuse, 130 stopped by Ctrl-C."""

KEY = "FOUNDRY_API_KEY"
LONGEST_CONTEXT = 2048  # tokens of a prompt and its answer, for a model that knows no end


def register(app: typer.Typer) -> None:
    app.command(epilog=EXAMPLES)(serve)


def serve(
    checkpoint: Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint folder.")],
    host: Annotated[str, typer.Option(metavar="H", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="P", min=0, max=65535, help="0 takes a free one.")] = 8000,
    name: Annotated[str, typer.Option(metavar="M", help="What clients call the model; else as the folder.")] = "",
    api_key_file: Annotated[
        str, typer.Option(metavar="FILE", help=f"Clients must present the key in it; as {KEY} does.")
    ] = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    context: Annotated[
        int,
        typer.Option(metavar="N", min=0, show_default=False, help="Tokens of a prompt and its answer, at most: 2048."),
    ] = 0,
    requests: Annotated[int, typer.Option(metavar="N", min=1, help="Requests at a time; more get a 429.")] = 64,
    seconds: Annotated[float, typer.Option(metavar="S", min=1, help="That a request may take.")] = 600,
) -> int:
    """Answer OpenAI's API with a checkpoint, on this machine."""
    import signal

    if seconds != seconds:
        raise Misuse("--seconds is nan, and must be a number from 1 on")
    _refuse_without_extra()
    from foundry.serve.app import create_app
    from foundry.serve.server import listen, names, on_loopback, run

    key = _key(api_key_file)
    try:
        opened = listen(host, port)
    except (OSError, UnicodeError) as error:  # the second for what cannot be a name: a..b
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else "not a host's name"
        raise Failure(f"cannot listen at {host or repr(host)}, port {port}: {why}") from None
    with opened:
        served = _served(checkpoint, name, device, dtype, context, requests, seconds)
        hosts = names(opened, host) if on_loopback(opened) and key is None else ()
        app = create_app(served, key=key, hosts=hosts)
        _announce(served, opened, key is not None)
        caught = run(app, opened)
    if caught is None:
        return ERRORS
    return INTERRUPTED if caught == signal.SIGINT else 0


def _refuse_without_extra() -> None:
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise Failure("foundry serve needs the extra `serve`: pip install 'foundry[serve]'") from None


def _key(file: str) -> str | None:
    """The API key in a file or in the environment, or None.

    Raises:
        Misuse: there is no such file, or no key that a header could carry.
    """
    place, text = (file, "") if file else (KEY, os.environ.get(KEY))
    if file:
        try:
            text = Path(file).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            said = (error.strerror or "").lower() if isinstance(error, OSError) else "no text"
            raise Misuse(f"cannot read the API key in {file}: {said}") from None
    if text is None:
        return None
    key = text.strip()
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Misuse(f"{place} holds no API key: one line of letters, digits and signs")
    return key


def _served(folder: str, name: str, device: str, dtype: str, context: int, requests: int, seconds: float) -> Served:
    """The model in a checkpoint, ready to be served.

    Raises:
        Failure: the checkpoint cannot be used. Misuse: there is no such device, or not so much context.
    """
    from foundry.decode.chat import ChatError
    from foundry.decode.layout import for_decoding
    from foundry.serve.limits import Limits
    from foundry.serve.served import Served
    from foundry.train.checkpoint import CheckpointError, read_checkpoint

    where, kind = device_and_dtype(device, dtype)
    try:
        checkpoint = read_checkpoint(folder)
        model = for_decoding(checkpoint.build(where, kind))
        limits = Limits(context=_context(checkpoint, context), requests=requests, seconds=seconds)
        served = Served(name or Path(folder).resolve().name, checkpoint, model, limits)
        _ = served.chat  # which a bad template stops before anybody asks
    except (CheckpointError, ChatError) as error:
        raise Failure(f"{folder}: {error}" if isinstance(error, ChatError) else str(error)) from None
    return served


def _context(checkpoint: Checkpoint, asked: int) -> int:
    longest = checkpoint.module.LONGEST
    if longest is not None and asked > longest:
        raise Misuse(f"--context {asked}: the model has {longest} positions")
    return asked or longest or LONGEST_CONTEXT


def _announce(served: Served, opened: socket.socket, has_key: bool) -> None:
    """Where the model is to be found; and plainly who can reach it, where that is not this machine alone."""
    from foundry.serve.server import on_loopback, url

    print(f"{served.name} at {url(opened)} (Ctrl-C stops)", file=sys.stderr)
    if not on_loopback(opened):
        asked = "a key is asked for" if has_key else f"NO API KEY IS ASKED FOR; set {KEY}"
        reach = f"other machines can reach {opened.getsockname()[0]}, and nothing is encrypted"
        print(f"foundry: {reach}; {asked}", file=sys.stderr)
    sys.stderr.flush()
