"""Tokenizers: text to numbers and back, as plain bytes or by a Hugging Face `tokenizer.json`.

Whatever the kind, a tokenizer is a table of the bytes that each id stands for, and a way to cut text into ids. Decoding
is then to join the bytes, which works the same for all of them, token by token too.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foundry.dsl.render import visible

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Inner

__all__ = ["BYTES", "TextStream", "Tokenizer", "TokenizerError", "read_tokenizer", "tokenizer_from_json"]

FILE = "tokenizer.json"
NAMES_FILE = "tokenizer_config.json"  # where transformers looks for the names of begin and end
LARGEST_FILE = 1 << 28  # bytes; the largest in use have 40 MB
LARGEST_VOCAB = 1 << 22  # ids; the largest in use have 2¹⁸
USUAL_ENDS = ("<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>", "<｜end▁of▁sentence｜>", "<|im_end|>", "[EOS]")


class TokenizerError(ValueError):
    """A tokenizer that cannot be used. The message is one line: what, where, and what to do."""


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text to ids and back.

    kind: "bytes", or "tokenizers" for what the library of that name runs. vocab: ids are below it. hash: 16 hex
    digits; equal ones cut all text alike. end, begin: the ids that end and begin a document, where there are such.
    table: for each id the bytes it stands for, None for special tokens and ids that are not in use. special: the ids
    of special tokens by their text. source: the content of `tokenizer.json`, "" for bytes. drops_space: whether the
    first space of a text is the tokenizer's own.
    """

    kind: str
    vocab: int
    hash: str
    end: int | None
    begin: int | None
    table: tuple[bytes | None, ...] = field(repr=False)
    special: Mapping[str, int] = field(default_factory=dict, repr=False)
    source: str = field(default="", repr=False)
    drops_space: bool = False

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The ids of a text; nothing is put before or after them.

        special: whether the text of a special token in it means that token. Leave it False for text that a user wrote,
        or that was found somewhere: then it is cut up like any other text.
        """
        return self.encode_all([text], special)[0]

    def encode_all(self, texts: Sequence[str], special: bool = False) -> list[list[int]]:
        """The ids of several texts, on as many cores as `RAYON_NUM_THREADS` says.

        Raises:
            TokenizerError: the vocabulary has nothing for a part of the text.
        """
        if not self.source:
            return [list(text.encode("utf-8", "replace")) for text in texts]
        inner = self._trusting if special else self._plain
        clean = [text.encode("utf-8", "replace").decode() for text in texts]  # lone surrogates become question marks
        try:
            return [found.ids for found in inner.encode_batch_fast(clean, add_special_tokens=False)]
        except Exception as error:  # a vocabulary without the letter, and without a token for what it lacks
            raise TokenizerError(f"the tokenizer cannot encode this text ({_first_line(error)})") from None

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a whole document; special tokens have none, and bytes that are not UTF-8 become U+FFFD.

        For a continuation of other text use `stream`, which keeps a first space.
        """
        data = b"".join(self.table[number] or b"" for number in ids)
        return (data[1:] if self.drops_space and data[:1] == b" " else data).decode("utf-8", "replace")

    def token_bytes(self, number: int) -> bytes | None:
        """The bytes that an id stands for, None for a special token or an id that is not in use."""
        return self.table[number]

    def byte_lengths(self) -> np.ndarray:
        """How many bytes of UTF-8 each id stands for, 0 for special tokens: `(vocab,)` int32."""
        return np.array([len(piece or b"") for piece in self.table], np.int32)

    def stream(self) -> TextStream:
        """For text that comes token by token."""
        return TextStream(self)

    def write(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which names the begin and the end; nothing for bytes."""
        if not self.source:
            return
        texts = {number: text for text, number in self.special.items()}
        names = {"tokenizer_class": "PreTrainedTokenizerFast"}
        names |= {} if self.begin is None else {"bos_token": texts[self.begin]}
        names |= {} if self.end is None else {"eos_token": texts[self.end]}
        _write_whole(Path(folder, FILE), self.source)
        _write_whole(Path(folder, NAMES_FILE), json.dumps(names, ensure_ascii=False, indent=1) + "\n")

    @cached_property
    def _plain(self) -> Inner:
        """Cuts text in which nothing is special: the special tokens are renamed to what nobody can write.

        `encode_special_tokens` of the library is not enough: a unigram model finds "</s>" among its words all the same,
        and BPE merges it together where it has the merges. A sign that is special and a letter too stays as it is.
        """
        content = json.loads(self.source)
        model = content["model"]
        hidden = {text: f"\0{n} {secrets.token_hex(16)}" for text, n in self.special.items() if len(text) > 1}
        hidden.pop(model.get("unk_token") or "", None)
        if isinstance(model["vocab"], dict):
            model["vocab"] = {hidden.get(text, text): number for text, number in model["vocab"].items()}
        else:
            model["vocab"] = [[hidden.get(text, text), score] for text, score in model["vocab"]]
        if "merges" in model:
            model["merges"] = [pair for pair in model["merges"] if _merged(pair) not in hidden]
        for added in content.get("added_tokens", ()):
            added["content"] = hidden.get(added["content"], added["content"])
        content["post_processor"] = None  # which would ask for the special tokens by name
        inner = _inner(content)
        inner.encode_special_tokens = True
        return inner

    @cached_property
    def _trusting(self) -> Inner:
        return _inner(json.loads(self.source))

    def __reduce__(self) -> tuple[Any, ...]:
        """A tokenizer travels to another process as its source."""
        return _again, (self.source, self.end)


class TextStream:
    """Text that becomes certain token by token: a character is given once all of its bytes have come."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, number: int) -> str:
        """The characters that this token completes; often none."""
        return self.decoder.decode(self.tokenizer.table[number] or b"")

    def rest(self) -> str:
        """What is left at the end: U+FFFD for a character that never became whole, else nothing."""
        return self.decoder.decode(b"", final=True)


BYTES = Tokenizer(
    kind="bytes",
    vocab=256,
    hash=hashlib.sha256(b"foundry bytes 1: an id is a byte, 0 ends a document").hexdigest()[:16],
    end=0,
    begin=None,
    table=tuple(bytes([byte]) for byte in range(256)),
)


def read_tokenizer(place: str | Path) -> Tokenizer:
    """The tokenizer at a place: "bytes", a `tokenizer.json`, a folder that holds one (a checkpoint, ours or from
    elsewhere), or a GGUF file.

    Documents begin with the special token that the tokenizer itself would put before a text, if any. They end with
    what `tokenizer_config.json` beside it names, else with what it would put after a text, else with a usual name.

    Raises:
        TokenizerError: there is none, it is malformed, too large, or needs what is not installed.
    """
    if str(place) == "bytes":
        return BYTES
    path = Path(place)
    if path.is_dir():
        if not (path / FILE).exists():
            return _of_bytes(path)
        path = path / FILE
    try:
        with path.open("rb") as file:
            first = file.read(4)
        if first == b"GGUF":
            from foundry.data.gguf_vocabulary import read_gguf_tokenizer

            return read_gguf_tokenizer(path)
        text = _content(path).decode("utf-8")
        end = _named_end(path.with_name(NAMES_FILE))
    except OSError as error:
        raise TokenizerError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise TokenizerError(f"{path}: neither a tokenizer.json nor a GGUF file: it is no UTF-8 text") from None
    return tokenizer_from_json(text, str(path), end=end)


def tokenizer_from_json(text: str, name: str, *, end: str | None = None) -> Tokenizer:
    """The tokenizer that the content of a `tokenizer.json` describes; `name` stands in its errors.

    end: the text of the special token that ends a document, where that is known.

    Raises:
        TokenizerError: see `read_tokenizer`.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{name}: not valid JSON ({_first_line(error)})") from None
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise TokenizerError(f"{name}: JSON, but not a tokenizer.json of the `tokenizers` library (no `model` in it)")
    try:
        from foundry.data.pieces import pieces
    except ImportError:
        raise TokenizerError(f"{name} needs the extra `text`: pip install 'foundry[text]'") from None
    try:
        inner = _inner(content)
        vocabulary = inner.get_vocab(with_added_tokens=True)
        vocab = max(vocabulary.values(), default=-1) + 1
        if not 0 < vocab <= LARGEST_VOCAB:
            raise TokenizerError(f"{name}: {vocab:,} ids; it may have from 1 to {LARGEST_VOCAB:,}")
        table, drops_space = pieces(inner, content.get("decoder"), vocab)
    except TokenizerError:
        raise
    except BaseException as error:  # the library panics, outside Exception, on some of what is malformed
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        raise TokenizerError(f"{name}: not a tokenizer that can be used ({_first_line(error)})") from None
    special = {added.content: n for n, added in inner.get_added_tokens_decoder().items() if added.special}
    before, after = _around(content.get("post_processor"))
    first = next((special[text] for text in before if text in special), None)
    last = next((special[text] for text in (end, *after, *USUAL_ENDS) if text in special), None)
    digest = hashlib.sha256(f"{last} {first} {text}".encode("utf-8", "replace")).hexdigest()[:16]
    return Tokenizer("tokenizers", vocab, digest, last, first, table, special, text, drops_space)


def _inner(content: dict[str, Any]) -> Inner:
    """The library's tokenizer, without what would cut, pad or roll dice."""
    from tokenizers import Tokenizer as Inner

    model = content["model"] | ({"dropout": None} if "dropout" in content["model"] else {})
    return Inner.from_str(json.dumps(content | {"truncation": None, "padding": None, "model": model}))


def _merged(pair: str | list[str]) -> str:
    """What a merge gives; older files have the two with a space between them."""
    return "".join(pair.split(" ", 1) if isinstance(pair, str) else pair)


def _again(source: str, end: int | None) -> Tokenizer:
    if not source:
        return BYTES
    texts = {number: text for text, number in tokenizer_from_json(source, FILE).special.items()}
    return tokenizer_from_json(source, FILE, end=None if end is None else texts[end])


def _of_bytes(folder: Path) -> Tokenizer:
    """A checkpoint of a model of bytes holds no tokenizer.json, and its config.json says so."""
    try:
        config = json.loads(_content(folder / "config.json"))
        if config["tokenizer"]["kind"] == "bytes":
            return BYTES
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    raise TokenizerError(f"{folder}: the folder holds no {FILE}")


def _content(path: Path) -> bytes:
    """The bytes of a file, which may be a link to what never ends.

    Raises:
        TokenizerError: there are too many. OSError: it cannot be read, or is no file.
    """
    if not path.is_file() and path.exists():
        raise OSError(errno.EINVAL, "not a file")
    with path.open("rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise TokenizerError(f"{path}: too large for a tokenizer, which has {LARGEST_FILE:,} bytes at most")
    return data


def _named_end(path: Path) -> str | None:
    """The text of `eos_token` in a tokenizer_config.json; None where it does not say."""
    try:
        token = json.loads(_content(path))["eos_token"]
        token = token["content"] if isinstance(token, dict) else token
    except (OSError, ValueError, RecursionError, KeyError, TypeError):
        return None
    return token if isinstance(token, str) else None


def _around(processor: Any) -> tuple[list[str], list[str]]:
    """The special tokens that a tokenizer itself would put before and after a text."""
    before: list[str] = []
    after: list[str] = []
    if not isinstance(processor, dict):
        return before, after
    for step in processor.get("processors") or [processor]:
        side = before
        for part in step.get("single") or () if isinstance(step, dict) else ():
            if "Sequence" in part:
                side = after
            elif "SpecialToken" in part:
                side.append(part["SpecialToken"]["id"])
    return before, after


def _write_whole(path: Path, text: str) -> None:
    """Under another name, forced to disk, renamed: a reader never sees half a file."""
    building = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with building.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        building.replace(path)
    except BaseException:
        building.unlink(missing_ok=True)
        raise


def _first_line(error: BaseException) -> str:
    return visible((str(error).splitlines() or [type(error).__name__])[0][:160])
