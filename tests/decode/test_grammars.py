"""What a grammar holds a model to, whatever the model would say."""

import json
import re

import pytest

pytest.importorskip("llguidance")

import torch
from test_decoder import TINY, build

from foundry.data.tokenizer import BYTES
from foundry.decode.decoder import decode
from foundry.decode.grammar import (
    GrammarError,
    Matcher,
    any_json,
    from_json_schema,
    from_lark,
    from_regex,
    read_grammar,
)
from foundry.decode.sampling import Sampling

torch.set_num_threads(1)

SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["Ada", "Zoë"]}, "n": {"type": "integer", "minimum": 0, "maximum": 999}},
    "required": ["name", "n"],
    "additionalProperties": False,
    "x-guidance": {"whitespace_flexible": False},
}
LARK = """start: greeting " " NAME "!"
greeting: "hello" | "good " ("morning" | "night")
NAME: /[A-Z][a-z]{2,5}/
"""


def written(grammar, seeds, **settings):
    """What an untrained model writes under a grammar, a text for each seed, and why each ended."""
    module, model = build(TINY)
    samplings = [Sampling(grammar=grammar, seed=seed, max_tokens=80, **settings) for seed in seeds]
    texts, ends = ["" for _ in seeds], ["" for _ in seeds]
    for event in decode(module, model, [list(b"x = ")] * len(seeds), samplings, BYTES):
        texts[event.row] += event.text
        ends[event.row] = event.finish
    return texts, ends


def test_a_regular_expression_is_matched_whole():
    texts, ends = written(from_regex(r"(ab|c[0-9]é){3}z{1,4}"), range(6))
    assert ends == ["stop"] * 6 and len(set(texts)) > 1
    assert all(re.fullmatch(r"(ab|c[0-9]é){3}z{1,4}", text) for text in texts)


def test_json_is_what_the_schema_says():
    texts, ends = written(from_json_schema(SCHEMA), range(6), temperature=1.5)
    assert ends == ["stop"] * 6
    for text in texts:
        value = json.loads(text)
        assert list(value) == ["name", "n"] and value["name"] in ("Ada", "Zoë") and 0 <= value["n"] <= 999


def test_a_lark_grammar_derives_the_text_greedily_too():
    texts, ends = written(from_lark(LARK), [0], temperature=0)
    assert ends == ["stop"] and re.fullmatch(r"(hello|good (morning|night)) [A-Z][a-z]{2,5}!", texts[0])


def test_a_text_that_may_end_goes_on_or_ends_and_max_tokens_cuts_it():
    texts, ends = written(from_regex("a*"), [0], temperature=0)
    assert set(texts[0]) <= {"a"} and ends[0] in ("stop", "length")
    matcher = Matcher(from_regex("a*"), BYTES)
    assert matcher.allowed(256).nonzero()[0].tolist() == [BYTES.end, ord("a")]


def test_an_empty_language_of_one_empty_text_ends_at_once():
    texts, ends = written(from_regex(""), [0])
    assert (texts, ends) == ([""], ["stop"])


def test_the_ending_of_a_file_says_what_it_is(tmp_path):
    (tmp_path / "a.lark").write_text(LARK)
    (tmp_path / "a.regex").write_text("[ab]+\n")
    (tmp_path / "a.json").write_text(json.dumps(SCHEMA))
    for name in ("a.lark", "a.regex", "a.json"):
        assert Matcher(read_grammar(tmp_path / name), BYTES).allowed(256).any()
    allowed = Matcher(read_grammar(tmp_path / "a.regex"), BYTES).allowed(256)
    assert bytes(allowed.nonzero()[0].tolist()) == b"ab"
    assert Matcher(any_json(), BYTES).allowed(256)[ord("{")]


@pytest.mark.parametrize(
    "name, data, words",
    [
        ("a.lark", b"start: /[/", "invalid regex"), ("b.lark", b"begin: /a/", "start"),
        ("c.regex", b"(?=a)", "look-ahead"),
        ("d.json", b"{", "not JSON"), ("e.json", b'"a"', "object"), ("f.json", b'{"type": "nope"}', "nope"),
        ("g.txt", b"a", "ending"), ("h.lark", b"\xff", "UTF-8"), ("i.json", b"[" * 100_000, "not JSON"),
    ],
)  # fmt: skip
def test_a_bad_grammar_is_one_line_with_its_place(tmp_path, name, data, words):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(GrammarError, match=words) as caught:
        read_grammar(tmp_path / name)
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_a_grammar_that_gives_up_ends_its_own_row_alone(monkeypatch):
    def give_up(self, token):
        raise GrammarError("the grammar: too much for it")

    monkeypatch.setattr(Matcher, "take", give_up)
    module, model = build(TINY)
    samplings = [Sampling(temperature=0, max_tokens=3), Sampling(temperature=0, grammar=from_regex("a+"))]
    ends = {}
    with pytest.raises(GrammarError, match="too much"):
        for event in decode(module, model, [list(b"x = ")] * 2, samplings, BYTES):
            ends[event.row] = event.finish
    assert ends == {0: "length", 1: "error"}


def test_a_bad_grammar_stops_decoding_before_it_begins():
    module, model = build(TINY)
    with pytest.raises(GrammarError):
        decode(module, model, [[1]], [Sampling(grammar="start: /[/")], BYTES)
