"""The verbs that let a checkpoint speak: generate and chat."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from foundry.cli.arguments import Json
from foundry.cli.computing import Device, Dtype, device_and_dtype
from foundry.cli.failures import Failure, Misuse

if TYPE_CHECKING:
    from torch import nn

    from foundry.decode.chat import Chat
    from foundry.decode.decoder import Event, Memory
    from foundry.decode.sampling import Sampling
    from foundry.train.checkpoint import Checkpoint

GENERATE = """\b
Examples:
  foundry generate runs/llama --prompt "def "
  foundry generate runs/llama --prompt "import " --prompt "class " --max-tokens 40 --seed 1
  foundry generate runs/llama --prompt - --temperature 0 < beginning.py
  foundry generate runs/llama --prompts beginnings.txt --json
  foundry generate runs/llama --prompt "" --grammar answer.json

Standard output gets the continuation alone, as it is made. Several prompts are decoded together, and each
continuation is printed once it is complete, below a line with its prompt. With --json: {"completions": [{"prompt",
"text", "tokens", "finish"}, ...]}, where finish is "stop", "length" or "error"; one that fails leaves the others alone.

A grammar's ending says what it is: .lark, .regex, or .json for a JSON schema. Text ends where max-tokens, a stop
string, the end of a document, or the model's last position comes first.

Exit code: 0 fine, 1 the checkpoint, a prompt or the grammar cannot be used, 2 misuse, 130 interrupted."""

CHAT = """\b
Examples:
  foundry chat runs/assistant
  foundry chat runs/assistant --system "Answer in one sentence." --temperature 0.3

/reset forgets the conversation, /quit or Ctrl-D ends it. Ctrl-C stops an answer. The checkpoint's own chat template
is used, or plain lines "User: ..." where it has none. When a conversation is too long for the model, its oldest turns
are left out.

Exit code: 0 the conversation ended, 1 the checkpoint cannot be used, 2 misuse."""

MOST = 1 << 24  # bytes of a prompt that is read from somewhere
ROOM = 4096  # tokens of a conversation, for a model whose positions have no end

Folder = Annotated[str, typer.Argument(metavar="CKPT", help="A checkpoint folder.")]
MaxTokens = Annotated[int, typer.Option(metavar="N", help="New tokens, at most.")]
Temperature = Annotated[float, typer.Option(metavar="T", help="Divides the logits; 0 takes the likeliest token.")]
TopK = Annotated[int, typer.Option(metavar="K", help="Only the K likeliest tokens; 0 for all.")]
TopP = Annotated[float, typer.Option(metavar="P", help="Only the likeliest that together reach this probability.")]
MinP = Annotated[float, typer.Option(metavar="P", help="Only what has this share of the likeliest's probability.")]
Repetition = Annotated[float, typer.Option(metavar="R", help="Above 1: against what was there before.")]
Seed = Annotated[int | None, typer.Option(metavar="S", show_default=False, help="Repeats the same draws.")]
Stops = Annotated[list[str] | None, typer.Option(metavar="S", help="End before this text; may be repeated.")]


def register(app: typer.Typer) -> None:
    app.command(epilog=GENERATE)(generate)
    app.command(epilog=CHAT)(chat)


def generate(
    checkpoint: Folder,
    prompt: Annotated[list[str] | None, typer.Option(metavar="P", help="What to continue; - reads it.")] = None,
    prompts: Annotated[str, typer.Option(metavar="FILE", help="A prompt on each line; - for standard input.")] = "",
    max_tokens: MaxTokens = 128,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: TopP = 1.0,
    min_p: MinP = 0.0,
    repetition_penalty: Repetition = 1.0,
    seed: Seed = None,
    stop: Stops = None,
    grammar: Annotated[str, typer.Option(metavar="FILE", help="The text is one that this grammar allows.")] = "",
    device: Device = "auto",
    dtype: Dtype = "auto",
    as_json: Json = False,
) -> int:
    """Continue a text with a checkpoint."""
    _take_any_text()
    texts = _prompts(prompt or [], prompts)
    settings = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "max_tokens": max_tokens, "stop": tuple(stop or ()),
        "grammar": _grammar(grammar),
    }  # fmt: skip
    # Each prompt has draws of its own, and the first one those that it would have alone.
    samplings = [_sampling(settings | {"seed": None if seed is None else seed + n}) for n in range(len(texts))]
    speaker = _open(checkpoint, device, dtype)
    with _clear_errors():
        from foundry.decode.decoder import decode
        from foundry.decode.prompt import prompt_tokens

        tokenizer = speaker.checkpoint.tokenizer
        ids = [prompt_tokens(tokenizer, text) for text in texts]
        events = decode(speaker.checkpoint.module, speaker.model, ids, samplings, tokenizer)
        if as_json:
            _print_json(texts, events)
        elif len(texts) == 1:
            _stream(events)
        else:
            _print_in_order(texts, events)
    return 0


def chat(
    checkpoint: Folder,
    system: Annotated[str, typer.Option(metavar="TEXT", help="What the model is told before everything else.")] = "",
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.7,
    top_k: TopK = 0,
    top_p: TopP = 0.95,
    min_p: MinP = 0.0,
    repetition_penalty: Repetition = 1.0,
    seed: Seed = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> int:
    """Talk with a checkpoint."""
    _take_any_text()
    settings = {
        "temperature": temperature, "top_k": top_k, "top_p": top_p, "min_p": min_p,
        "repetition_penalty": repetition_penalty, "max_tokens": max_tokens, "seed": seed,
    }  # fmt: skip
    _sampling(settings)
    speaker = _open(checkpoint, device, dtype)
    with _clear_errors():
        from foundry.decode.chat import Chat

        talk = Chat(speaker.checkpoint.template, speaker.checkpoint.tokenizer)
        sampling = _sampling(settings | {"ends": talk.ends, "stop": talk.stop})
    first = [{"role": "system", "content": system}] if system else []
    if sys.stdin.isatty():
        print("/reset forgets the conversation, /quit ends it, Ctrl-C stops an answer.", file=sys.stderr)
    _converse(speaker, talk, sampling, first)
    return 0


# ---- checkpoints and settings -----------------------------------------------------------------------------------


class _Speaker(NamedTuple):
    checkpoint: Checkpoint
    model: nn.Module


def _open(folder: str, device: str, dtype: str) -> _Speaker:
    """The checkpoint in a folder, with its model on a device.

    Raises:
        Failure: it cannot be used. Misuse: there is no such device, or no such kind of numbers.
    """
    from foundry.decode.layout import for_decoding
    from foundry.train.checkpoint import CheckpointError, read_checkpoint

    where, kind = device_and_dtype(device, dtype)
    try:
        checkpoint = read_checkpoint(folder)
        return _Speaker(checkpoint, for_decoding(checkpoint.build(where, kind)))
    except CheckpointError as error:
        raise Failure(str(error)) from None


def _sampling(settings: dict[str, Any]) -> Sampling:
    from foundry.decode.sampling import Sampling, SamplingError

    try:
        return Sampling(**settings)
    except SamplingError as error:
        flag = "--" + error.field.replace("_", "-")
        raise Misuse(f"{flag}{str(error).removeprefix(error.field)}") from None


def _grammar(file: str) -> str | None:
    if not file:
        return None
    with _clear_errors():
        from foundry.decode.grammar import read_grammar

        return read_grammar(file)


def _prompts(given: Sequence[str], file: str) -> list[str]:
    """The prompts of a command line, those of a file last.

    Raises:
        Misuse: there is none, or standard input is wanted twice. Failure: what is read is too long or no UTF-8.
    """
    if [*given, file].count("-") > 1:
        raise Misuse("standard input can be read once")
    texts = [_read("-") if text == "-" else text for text in given]
    if file:
        texts += [line for line in _read(file).replace("\r\n", "\n").split("\n") if line]
    if not texts:
        raise Misuse("there is nothing to continue: --prompt P, --prompt - or --prompts FILE")
    return texts


def _read(file: str) -> str:
    if file == "-":
        data = sys.stdin.buffer.read(MOST + 1)
    else:
        with open(file, "rb") as stream:
            data = stream.read(MOST + 1)
    place = "standard input" if file == "-" else file
    if len(data) > MOST:
        raise Failure(f"{place}: longer than {MOST >> 20} MiB")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Failure(f"{place}: not UTF-8") from None


def _take_any_text() -> None:
    """A model and its users write anything: what a terminal cannot show is a question mark, on the way in U+FFFD."""
    for stream in (sys.stdin, sys.stdout):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


@contextlib.contextmanager
def _clear_errors() -> Iterator[None]:
    """One line for each thing that a prompt, a grammar or a template can be wrong in."""
    from foundry.data.tokenizer import TokenizerError
    from foundry.decode.chat import ChatError
    from foundry.decode.decoder import DecodeError
    from foundry.decode.grammar import GrammarError, Missing

    try:
        yield
    except (ChatError, DecodeError, GrammarError, Missing, TokenizerError) as error:
        raise Failure(str(error)) from None


# ---- what is printed --------------------------------------------------------------------------------------------


def _stream(events: Iterator[Event]) -> None:
    """The text of a single row as it comes; on a terminal the line is ended."""
    try:
        for event in events:
            sys.stdout.write(event.text)
            sys.stdout.flush()
    finally:
        if sys.stdout.isatty():
            print()


def _print_in_order(texts: list[str], events: Iterator[Event]) -> None:
    """Each continuation below a line with its prompt, as soon as it and all before it are complete."""
    made, done, printed = ["" for _ in texts], [False for _ in texts], 0
    for event in events:
        made[event.row] += event.text
        done[event.row] = bool(event.finish)
        while printed < len(texts) and done[printed]:
            print(f"==> {json.dumps(texts[printed], ensure_ascii=False)} <==\n{made[printed]}", flush=True)
            printed += 1


def _print_json(texts: list[str], events: Iterator[Event]) -> None:
    """All continuations at the end; those that are complete also where one failed."""
    from foundry.decode.decoder import DecodeError
    from foundry.decode.grammar import GrammarError

    found: list[dict[str, Any]] = [{"prompt": text, "text": "", "tokens": 0, "finish": ""} for text in texts]
    failure: Exception | None = None
    try:
        for event in events:
            row = found[event.row]
            row["text"] += event.text
            row["tokens"] += event.id is not None
            row["finish"] = event.finish
    except (DecodeError, GrammarError) as error:
        failure = error
    print(json.dumps({"completions": found}, indent=2, ensure_ascii=False))
    if failure is not None:
        raise failure


# ---- a conversation ---------------------------------------------------------------------------------------------


def _converse(speaker: _Speaker, talk: Chat, sampling: Sampling, first: list[dict[str, str]]) -> None:
    """Turns until the end of input or /quit. What is wrong with one turn is said, and the next may come."""
    from foundry.decode.decoder import Memory

    messages, memory = list(first), Memory()
    while True:
        try:
            said = _line()
        except KeyboardInterrupt:
            print("\n/quit or Ctrl-D ends the conversation", file=sys.stderr)
            continue
        if said is None or said.strip() == "/quit":
            return
        if said.strip() == "/reset":
            messages = list(first)
        elif said.startswith("/"):
            print(f"there is no {said.split()[0]}: /reset or /quit", file=sys.stderr)
        elif said.strip():
            messages.append({"role": "user", "content": said})
            try:
                messages.append({"role": "assistant", "content": _answer(speaker, talk, sampling, messages, memory)})
            except Failure as failure:
                messages.pop()
                print(f"foundry: {failure.message}", file=sys.stderr)


def _line() -> str | None:
    """What somebody types next; None at the end."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  lets `input` edit the line
    try:
        return input("> ")
    except EOFError:
        print()
        return None


def _answer(speaker: _Speaker, talk: Chat, sampling: Sampling, messages: list[dict[str, str]], memory: Memory) -> str:
    """Print an answer as it comes, and give it; Ctrl-C ends it where it is."""
    from foundry.decode.chat import fitting
    from foundry.decode.decoder import answer

    checkpoint, text = speaker.checkpoint, ""
    room = checkpoint.module.LONGEST or ROOM
    with _clear_errors(), contextlib.suppress(KeyboardInterrupt):
        # A quarter of a short context is for the answer; one that needs more ends where the positions do.
        tokens = fitting(talk, messages, max(1, room - min(sampling.max_tokens, room // 4)))
        events = answer(checkpoint.module, speaker.model, tokens, sampling, checkpoint.tokenizer, memory)
        try:
            for event in events:
                new = event.text if text else event.text.lstrip()
                text += new
                sys.stdout.write(new)
                sys.stdout.flush()
        finally:
            print(flush=True)
    return text.rstrip()
