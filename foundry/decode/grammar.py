"""Constrained decoding: only tokens after which the text can still become one that a grammar allows.

llguidance (github.com/guidance-ai/llguidance) does the work: lark grammars, regular expressions and JSON schemas.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from foundry.data.tokenizer import Tokenizer

MOST = 1 << 20  # bytes of a grammar
END = b"\xff[end]"  # llguidance: what begins with the byte 255 is no text


class GrammarError(ValueError):
    """A grammar that cannot be used. One line."""


class Missing(ImportError):
    """llguidance is not installed."""


def _llguidance() -> Any:
    try:
        import llguidance
    except ImportError:
        raise Missing("a grammar needs the extra `text`: pip install 'foundry[text]'") from None
    return llguidance


def read_grammar(file: str | Path) -> str:
    """What `Sampling.grammar` wants, from a file: .lark, .regex or .re, or .json for a JSON schema.

    Raises:
        GrammarError: another ending, or what `from_lark`, `from_regex` and `from_json_schema` raise it for.
        OSError: the file cannot be read.
    """
    path = Path(file)
    makers = {".lark": from_lark, ".regex": from_regex, ".re": from_regex, ".json": from_json_schema}
    maker = makers.get(path.suffix.lower())
    if maker is None:
        raise GrammarError(f"{file}: what it is follows from its ending: {', '.join(makers)}")
    with path.open("rb") as stream:
        data = stream.read(MOST + 1)
    if len(data) > MOST:
        raise GrammarError(f"{file}: larger than {MOST >> 20} MiB")
    try:
        text = data.decode()
        return maker(text.strip("\r\n") if maker is from_regex else text)
    except UnicodeDecodeError:
        raise GrammarError(f"{file}: not UTF-8") from None
    except GrammarError as error:
        raise GrammarError(f"{file}: {error}") from None


def from_lark(text: str) -> str:
    """A lark grammar with a rule `start`; the dialect is llguidance's.

    Raises:
        GrammarError: it is none.
    """
    return _checked(lambda matcher: matcher.grammar_from_lark(text))


def from_regex(pattern: str) -> str:
    """A regular expression, without look-around and references back, that the whole text matches.

    Raises:
        GrammarError: it is none.
    """
    return _checked(lambda matcher: matcher.grammar_from_regex(pattern))


def from_json_schema(schema: str | dict[str, Any]) -> str:
    """A JSON schema (json-schema.org, 2020-12), as text or as a dictionary.

    Raises:
        GrammarError: it is none, or has what llguidance cannot hold a text to.
    """
    if isinstance(schema, str):
        try:
            schema = json.loads(schema)
        except (ValueError, RecursionError) as error:
            raise GrammarError(f"not JSON: {error}") from None
    if not isinstance(schema, dict | bool):
        raise GrammarError("a JSON schema is an object")
    return _checked(lambda matcher: matcher.grammar_from_json_schema(schema))


def any_json() -> str:
    """Any JSON object."""
    return from_json_schema({"type": "object"})


def _checked(make: Any) -> str:
    matcher = _llguidance().LLMatcher
    try:
        grammar = make(matcher)
        reason = matcher.validate_grammar(grammar)
    except Missing:
        raise
    except Exception as error:  # llguidance raises what its parts raise
        reason = str(error) or type(error).__name__
    if reason:
        raise GrammarError(_line(reason))
    return grammar


def _line(reason: str) -> str:
    """What llguidance says, without the state of its parser behind it."""
    line = " ".join(reason.partition("<state>")[0].split())[:300]
    return "it allows no text at all, or none that goes on from here" if line.startswith("NoExtension") else line


class Matcher:
    """Which tokens may come next, for one sequence.

    Raises:
        GrammarError: the grammar does not work with this tokenizer.
    """

    def __init__(self, grammar: str, tokenizer: Tokenizer):
        llguidance = _llguidance()
        self.matcher = llguidance.LLMatcher(_tokens(tokenizer), grammar)
        self._check()

    def allowed(self, count: int) -> np.ndarray:
        """Booleans (count,): the ids that may come next, the end's among them where the text may end here."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), dtype=np.uint8)
        self._check()
        found = np.unpackbits(bits, bitorder="little").astype(bool)[:count]
        return np.pad(found, (0, count - len(found)))

    def take(self, token: int) -> bool:
        """Go on by a token; True where the text is complete and nothing can follow."""
        self.matcher.consume_token(token)
        self._check()
        return self.matcher.is_stopped()

    def _check(self) -> None:
        if self.matcher.is_error():
            raise GrammarError(f"the grammar: {_line(self.matcher.get_error())}")


class _Vocabulary:
    """A tokenizer as llguidance wants it."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        found = [tokenizer.token_bytes(n) for n in range(tokenizer.vocab)]
        self.tokens = [b"\xff[%d]" % n if text is None else text for n, text in enumerate(found)]
        self.special_token_ids = [n for n, text in enumerate(found) if text is None]
        self.bos_token_id = tokenizer.begin
        if tokenizer.end is None:  # an end that no model knows: what may end here then has no other token
            self.tokens.append(END)
        self.eos_token_id = tokenizer.vocab if tokenizer.end is None else tokenizer.end
        self.tokens[self.eos_token_id] = END
        self.special_token_ids.append(self.eos_token_id)

    def __call__(self, text: str | bytes) -> list[int]:
        return self.tokenizer.encode(text if isinstance(text, str) else text.decode(errors="replace"))


@lru_cache(4)
def _tokens(tokenizer: Tokenizer) -> Any:
    """A tokenizer as llguidance has it, which takes a second to make for a large vocabulary."""
    llguidance = _llguidance()
    vocabulary = _Vocabulary(tokenizer)
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary), eos_token=vocabulary.eos_token_id)
