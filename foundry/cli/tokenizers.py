"""Verbs on tokenizers: tokenizer train, tokenizer show."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foundry.cli.arguments import Json
from foundry.cli.failures import INTERRUPTED, Failure
from foundry.cli.measuring import bar
from foundry.dsl.render import visible

if TYPE_CHECKING:
    from foundry.data.corpus import Corpus
    from foundry.data.tokenizer import Tokenizer

TRAIN_EXAMPLES = """\b
Examples:
  foundry tokenizer train --vocab 4096 -o tokenizers/library
  foundry tokenizer train --data texts/ --vocab 32768 -o tokenizers/texts
  foundry train llama --set vocab=4096 --tokenizer tokenizers/library --out runs/words

Byte-level BPE on the training documents; any text can be spelled with it. Equal text gives an equal
tokenizer. DIR gets tokenizer.json, which the libraries tokenizers and transformers read too.

Exit code: 0 written, 1 the text or DIR cannot be used, 2 misuse."""

SHOW_EXAMPLES = """\b
Examples:
  foundry tokenizer show tokenizers/library
  foundry tokenizer show model.gguf --data texts/
  foundry tokenizer show bytes --json

Bytes per token are those of validation text: the more, the fewer tokens a text takes.

Exit code: 0 fine, 1 it cannot be read, 2 misuse."""

MEASURED = 1 << 20  # bytes of validation text
LINE = 60  # characters of a text that is shown cut into tokens
LONGEST = 12  # tokens that are shown

Data = Annotated[str, typer.Option("--data", metavar="D", help="A text, folder, .jsonl or .parquet file.")]


def register(app: typer.Typer) -> None:
    group = typer.Typer(rich_markup_mode=None)
    group.callback(invoke_without_command=True)(tokenizer)
    group.command(epilog=TRAIN_EXAMPLES)(train)
    group.command(epilog=SHOW_EXAMPLES)(show)
    app.add_typer(group, name="tokenizer")


def tokenizer(context: typer.Context) -> None:
    """Train a tokenizer, or look at one."""
    if context.invoked_subcommand is None:
        print(context.get_help())


def train(
    vocab: Annotated[
        int, typer.Option(metavar="N", min=257, max=1 << 20, help="How many tokens, the bytes and the end included.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", metavar="DIR", help="Where tokenizer.json goes.")],
    data: Data = "",
    as_json: Json = False,
) -> int:
    """Fit a byte-level BPE tokenizer to the training documents."""
    from pathlib import Path

    from foundry.data.bpe import train_tokenizer

    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise Failure(f"{out}: a file; a tokenizer is written to a folder")
    with _told():
        corpus = _corpus(data)
        with bar("reading") as tell:
            trained = train_tokenizer(_documents(corpus, tell), vocab)
        folder.mkdir(parents=True, exist_ok=True)
        trained.write(folder)
        _print(_about(trained, corpus), as_json)
    return 0


def show(
    place: Annotated[
        str, typer.Argument(metavar="T", help="A folder with tokenizer.json, that file, a GGUF file, or bytes.")
    ],
    data: Data = "",
    as_json: Json = False,
) -> int:
    """What a tokenizer is, and how it cuts a text."""
    from foundry.data.tokenizer import read_tokenizer

    with _told():
        _print(_about(read_tokenizer(place), _corpus(data)), as_json)
    return 0


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with a text or a tokenizer ends the command with one line."""
    from foundry.data.corpus import CorpusError
    from foundry.data.tokenizer import TokenizerError

    try:
        yield
    except (CorpusError, TokenizerError) as error:
        raise Failure(str(error)) from None
    except OSError as error:
        raise Failure(f"{error.filename or 'the tokenizer'}: {(error.strerror or str(error)).lower()}") from None
    except KeyboardInterrupt:
        raise Failure("stopped; nothing is written", INTERRUPTED) from None


def _corpus(data: str) -> Corpus:
    from foundry.data.corpus import load_corpus

    return load_corpus(data or None)


def _documents(corpus: Corpus, tell: Any) -> Iterator[str]:
    """The training documents as text, telling how many are read."""
    from foundry.data.tokens import documents_of

    total = corpus.documents["train"]
    for number, document in enumerate(documents_of(corpus.train), start=1):
        tell(number, total)
        yield document.decode("utf-8", "replace")


def _about(tokenizer: Tokenizer, corpus: Corpus) -> dict[str, Any]:
    """What `--json` prints. `bytes_per_token` is taken on the first validation text; `example` is the first line of
    it that is long enough, in pieces."""
    texts = corpus.validation[:MEASURED].tobytes().decode("utf-8", "replace").split("\0")
    ids = tokenizer.encode_all(texts)
    line = next((line for line in "\n".join(texts).splitlines() if len(line) >= LINE), texts[0])[:LINE]
    words = {piece for piece in tokenizer.table if piece and len(set(piece)) > 2}
    longest = sorted(words, key=lambda piece: (-len(piece), piece))[:LONGEST]
    return {
        "kind": tokenizer.kind,
        "vocab": tokenizer.vocab,
        "hash": tokenizer.hash,
        "begin": _name(tokenizer, tokenizer.begin),
        "end": _name(tokenizer, tokenizer.end),
        "special": len(tokenizer.special),
        "data": corpus.name,
        "bytes_per_token": round(sum(len(text.encode()) for text in texts) / max(1, sum(map(len, ids))), 4),
        "longest": [piece.decode("utf-8", "replace") for piece in longest],
        "example": [(tokenizer.token_bytes(n) or b"").decode("utf-8", "replace") for n in tokenizer.encode(line)],
    }


def _name(tokenizer: Tokenizer, number: int | None) -> str | None:
    """How a special token is written; a byte's number where the tokenizer has no special ones."""
    names = {n: visible(text) for text, n in tokenizer.special.items()}
    return None if number is None else names.get(number, f"byte {number}")


def _print(about: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(about, indent=2))
        return
    print(f"{about['vocab']:,} tokens of {about['kind']}, {about['special']} special; hash {about['hash']}")
    print(f"a document begins with {about['begin'] or 'nothing'} and ends with {about['end'] or 'nothing'}")
    print(f"{about['bytes_per_token']:.3f} bytes per token on {about['data']}")
    if about["kind"] != "bytes":
        print(
            "longest  "
            + " ".join(ascii(piece) if not piece.isprintable() else repr(piece) for piece in about["longest"])
        )
        print("a line   " + "|".join(visible(piece) for piece in about["example"]))
    sys.stdout.flush()
