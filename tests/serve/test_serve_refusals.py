"""What a server refuses, and how it says so."""

import json
from dataclasses import replace

import httpx
import openai
import pytest

from foundry.data.tokenizer import tokenizer_from_json
from foundry.serve.errors import Refused
from foundry.serve.schema import Chat, Completion
from foundry.serve.served import Served
from foundry.serve.wanted import wanted

BEARER = {"Authorization": "Bearer sesame"}
HELLO = {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
TEXT = {"model": "tiny", "prompt": "hello", "max_tokens": 2}


def refusal(response):
    """An error's status and content, whose shape is OpenAI's."""
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"] and "\n" not in error["message"]
    return response.status_code, error["param"], error["message"]


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        (HELLO | {"temperature": 3}, "temperature", "less than or equal to 2"),
        (HELLO | {"temperature": float("nan")}, "temperature", "finite"),
        (HELLO | {"top_p": 0}, "top_p", "greater than 0"),
        (HELLO | {"n": 1000}, "n", "32 sequences"),
        (HELLO | {"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        (HELLO | {"max_tokens": 5000}, "messages", "together they may have 2048"),
        (HELLO | {"messages": []}, "messages", "at least 1"),
        (HELLO | {"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role", "'system'"),
        (
            HELLO | {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages.0.content",
            "text only",
        ),
        (HELLO | {"stop": [""]}, "stop", "not empty"),
        (HELLO | {"stop": ["x"] * 17}, "stop", "at most 16"),
        (HELLO | {"tools": [{"type": "function"}]}, "tools", "not supported"),
        (HELLO | {"top_logprobs": 2}, "top_logprobs", "needs logprobs"),
        (HELLO | {"temprature": 1}, "temprature", "not known"),
        (HELLO | {"response_format": {"type": "json_schema"}}, "response_format", "needs the field"),
        (
            HELLO | {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "robot"}}}},
            "response_format",
            "response_format",
        ),
        ({"messages": HELLO["messages"]}, "model", "missing"),
        (TEXT | {"prompt": [256]}, "prompt", "0 to 255"),
        (TEXT | {"prompt": [[]]}, "prompt", "none of the lists empty"),
        (TEXT | {"prompt": {"a": 1}}, "prompt", "a text"),
        (TEXT | {"prompt": "x" * 3000}, "prompt", "3000 tokens"),
        (TEXT | {"echo": True}, "echo", "not supported"),
        (TEXT | {"logit_bias": {"5": 100}}, "logit_bias", "not supported"),
        (TEXT | {"two\nlines": 1}, "two lines", "not known"),
        ([], None, "JSON object"),
    ],
)
def test_a_bad_field_is_named(server, body, param, said):
    path = "completions" if "prompt" in body else "chat/completions"
    content = json.dumps(body)
    answer = httpx.post(f"{server.url}/{path}", content=content, headers={"Content-Type": "application/json"})
    status, found, message = refusal(answer)
    assert (status, found) == (400, param)
    assert said in message


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"[" * 100_000, b'"x"', b"", b'{"model": "tiny", "\\ud800": 1}']
)
def test_a_body_that_is_no_request_is_refused(server, content):
    answer = httpx.post(f"{server.url}/completions", content=content, headers={"Content-Type": "application/json"})
    assert refusal(answer)[0] in (400, 413)


def test_fields_that_change_nothing_may_be_there(server):
    body = HELLO | {"user": "me", "tools": [], "logit_bias": None, "store": False, "stop": None, "tool_choice": "none"}
    assert httpx.post(f"{server.url}/chat/completions", json=body).status_code == 200


def test_another_model_path_or_method_is_not_there(server):
    assert refusal(httpx.post(f"{server.url}/completions", json=TEXT | {"model": "gpt-4"}))[:2] == (404, "model")
    assert refusal(httpx.get(f"{server.url}/models/gpt-4"))[0] == 404
    assert refusal(httpx.get(f"{server.url}/nothing"))[0] == 404
    assert refusal(httpx.get(f"{server.url}/completions"))[0] == 405


def test_a_page_from_elsewhere_cannot_ask(server):
    assert refusal(httpx.get(f"{server.url}/models", headers={"Host": "evil.example:80"}))[0] == 403
    plain = httpx.post(f"{server.url}/completions", content=json.dumps(TEXT), headers={"Content-Type": "text/plain"})
    assert refusal(plain)[0] == 400
    assert refusal(httpx.post(f"{server.url}/completions", content=json.dumps(TEXT)))[0] == 400  # of no type at all


def test_a_text_that_the_tokenizer_has_nothing_for_is_refused(checkpoint, model):
    library = pytest.importorskip("tokenizers")
    words = library.Tokenizer(library.models.WordLevel({"a": 0, "b": 1}))  # and no token for what is unknown
    lacking = replace(checkpoint, tokenizer=tokenizer_from_json(words.to_str(), "words"))
    for body in (Completion(model="tiny", prompt="x"), Chat(model="tiny", messages=HELLO["messages"])):
        with pytest.raises(Refused, match="cannot encode") as caught:
            wanted(body, Served("tiny", lacking, model))
        assert caught.value.status_code == 400


def test_the_key_is_asked_for(narrow):
    assert refusal(httpx.get(f"{narrow.url}/models"))[0] == 401
    assert httpx.get(f"{narrow.url}/models", headers=BEARER).status_code == 200
    assert httpx.get(narrow.url.replace("/v1", "/health")).json() == {"status": "ok"}
    with openai.OpenAI(base_url=narrow.url, api_key="sesam") as client, pytest.raises(openai.AuthenticationError):
        client.models.list()


def test_a_body_may_not_be_large(narrow):
    body = json.dumps(TEXT | {"prompt": "x" * 2000}).encode()
    headers = {"Content-Type": "application/json"} | BEARER
    assert refusal(httpx.post(f"{narrow.url}/completions", content=body, headers=headers))[0] == 413
    parts = (body[k : k + 100] for k in range(0, len(body), 100))  # of a length that no header tells
    assert refusal(httpx.post(f"{narrow.url}/completions", content=parts, headers=headers))[0] == 413


def test_too_many_at_a_time_are_told_to_come_again(narrow):
    def ask(**changes):
        return httpx.stream("POST", f"{narrow.url}/completions", json=TEXT | changes, headers=BEARER)

    with ask(max_tokens=90_000, stream=True) as first, ask(max_tokens=90_000, stream=True) as second:
        assert first.status_code == second.status_code == 200
        with ask() as third:
            third.read()
            assert refusal(third)[0] == 429 and third.headers["Retry-After"] == "1"
    with openai.OpenAI(base_url=narrow.url, api_key="sesame", max_retries=9) as client:  # which comes again
        assert client.completions.create(**TEXT).choices[0].finish_reason == "length"


def test_an_answer_that_takes_too_long_is_given_up(hasty):
    long = TEXT | {"max_tokens": 90_000}
    assert refusal(httpx.post(f"{hasty.url}/completions", json=long))[0] == 504
    events = httpx.post(f"{hasty.url}/completions", json=long | {"stream": True}).text.split("\n\n")
    assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "timeout"
