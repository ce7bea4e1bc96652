"""What OpenAI's own client and curl get from a real server."""

import json
import math
import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest
import torch
from conftest import running

from foundry.serve.app import sent
from foundry.serve.served import Served
from foundry.train.checkpoint import read_checkpoint


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.url, api_key="none", max_retries=0) as found:
        yield found


def alone(checkpoint, model, prompt, count):
    """The greedy continuation by the emitted file's own `generate`."""
    ids = checkpoint.tokenizer.encode(prompt)
    made = checkpoint.module.generate(model, torch.tensor([ids]), count, temperature=0)[0, len(ids) :]
    return checkpoint.tokenizer.decode(made.tolist())


def idle(served):
    """Wait until nothing is decoded."""
    for _ in range(1000):
        if not served.batcher.listeners and not served.batcher.cohorts:
            return True
        time.sleep(0.01)
    return False


def test_there_is_one_model(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "foundry"


def test_the_model_is_still_told_of_when_its_folder_has_gone(folder, model, tmp_path):
    shutil.copytree(folder, tmp_path / "tiny")
    with running(Served("tiny", read_checkpoint(tmp_path / "tiny"), model)) as found:
        shutil.rmtree(tmp_path / "tiny")
        assert httpx.get(f"{found.url}/models").json()["data"][0]["id"] == "tiny"


def test_an_event_is_one_line_whatever_a_client_takes_for_the_end_of_one():
    said = {"text": "a\u2028b\u2029c\x85d\r\né"}
    line, empty = sent(said).splitlines()
    assert empty == "" and json.loads(line.removeprefix("data: ")) == said


def test_a_completion_goes_on_from_its_prompt(client, checkpoint, model):
    found = client.completions.create(model="tiny", prompt="pack my b", max_tokens=20, temperature=0)
    assert found.choices[0].text == alone(checkpoint, model, "pack my b", 20)
    assert found.choices[0].finish_reason == "length"
    assert (found.usage.prompt_tokens, found.usage.completion_tokens, found.usage.total_tokens) == (9, 20, 29)


def test_a_conversation_is_streamed(client):
    talk = [{"role": "user", "content": "sphinx of black"}]
    said = []
    for _ in range(2):
        asked = {"model": "tiny", "messages": talk, "max_completion_tokens": 24, "seed": 3}
        whole = client.chat.completions.create(**asked)
        *chunks, last = client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True})
        choices = [chunk.choices[0] for chunk in chunks]
        assert choices[0].delta.role == "assistant"
        said.append("".join(choice.delta.content or "" for choice in choices))
        assert said[-1] == whole.choices[0].message.content
        assert choices[-1].finish_reason == whole.choices[0].finish_reason == "length"
        assert last.usage == whole.usage and not last.choices
        assert {chunk.id for chunk in chunks} == {last.id} and len(chunks) > 10
        talk += [{"role": "assistant", "content": said[-1]}, {"role": "user", "content": "and then?"}]
    assert said[0] != said[1]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_holds_a_streamed_conversation(server):
    body = {"model": "tiny", "messages": [{"role": "user", "content": "é"}], "max_tokens": 8, "stream": True}
    header = "Content-Type: application/json"
    command = ["curl", "-sSN", f"{server.url}/chat/completions", "-H", header, "-d", json.dumps(body)]
    events = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"


def test_32_at_a_time_get_what_each_gets_alone(client, checkpoint, model):
    prompts = ["é " * (n % 5) + "pack my box with five dozen liquor jugs"[n : 2 * n + 4] for n in range(32)]
    counts = [8 + n % 13 for n in range(32)]

    def ask(n):
        if n % 2:
            pieces = client.completions.create(
                model="tiny", prompt=prompts[n], max_tokens=counts[n], temperature=0, stream=True
            )
            return "".join(piece.choices[0].text for piece in pieces)
        return (
            client.completions.create(model="tiny", prompt=prompts[n], max_tokens=counts[n], temperature=0)
            .choices[0]
            .text
        )

    with ThreadPoolExecutor(32) as pool:
        found = list(pool.map(ask, range(32)))
    assert len(set(found)) > 16
    assert found == [alone(checkpoint, model, prompt, count) for prompt, count in zip(prompts, counts, strict=True)]


def test_several_prompts_have_n_choices_each_and_a_seed_repeats_them(client):
    asked = {"model": "tiny", "prompt": ["if ", [119, 104, 105, 108, 101]], "n": 2, "seed": -5, "max_tokens": 12}
    first, second = (client.completions.create(**asked) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert [choice.index for choice in first.choices] == [0, 1, 2, 3]
    assert texts == [choice.text for choice in second.choices]
    assert texts[0] != texts[1] and texts[2] != texts[3]
    assert first.usage.prompt_tokens == 3 + 5
    assert texts[0] == client.completions.create(**{**asked, "prompt": "if ", "n": 1}).choices[0].text


def test_a_stop_string_ends_the_text_before_it(client, checkpoint, model):
    text = alone(checkpoint, model, "class ", 40)
    stop = text[10:13]
    pieces = list(
        client.completions.create(
            model="tiny", prompt="class ", max_tokens=40, temperature=0, stop=[stop, "\x01"], stream=True
        )
    )
    assert "".join(piece.choices[0].text for piece in pieces) == text[: text.index(stop)]
    assert pieces[-1].choices[0].finish_reason == "stop"


def test_log_probabilities_are_those_of_the_model(client, checkpoint, model):
    asked = {"model": "tiny", "prompt": "sphinx ", "max_tokens": 5, "temperature": 0}
    told = client.completions.create(**asked, logprobs=2).choices[0].logprobs
    ids = [*b"sphinx ", *(ord(token) for token in told.tokens)]
    with torch.no_grad():
        expected = model(torch.tensor([ids]))[0, 6:-1].double().log_softmax(-1)
    for k, token in enumerate(told.tokens):
        assert math.isclose(told.token_logprobs[k], expected[k, ord(token)], abs_tol=1e-4)
        assert max(told.top_logprobs[k], key=told.top_logprobs[k].get) == token and len(told.top_logprobs[k]) == 2
    assert told.text_offset == [0, 1, 2, 3, 4]


def test_a_chat_tells_its_log_probabilities(client):
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 3, "temperature": 0}
    told = client.chat.completions.create(**asked, logprobs=True, top_logprobs=3).choices[0].logprobs.content
    assert len(told) == 3
    for token in told:
        assert token.top_logprobs[0].token == token.token and len(token.top_logprobs) == 3
        assert bytes(token.bytes).decode(errors="replace") == token.token


def test_an_answer_is_held_to_a_json_schema(client):
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {"kind": {"enum": ["class", "function"]}, "lines": {"type": "integer", "maximum": 99}},
        "required": ["kind", "lines"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False},  # or a model that knows nothing writes spaces for ever
    }
    wish = {"type": "json_schema", "json_schema": {"name": "thing", "strict": True, "schema": schema}}
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "max_tokens": 200, "seed": 1}
    found = client.chat.completions.create(**asked, response_format=wish).choices[0]
    assert found.finish_reason == "stop"
    assert json.loads(found.message.content)["kind"] in ("class", "function")
    found = client.chat.completions.create(**asked, response_format={"type": "json_object"}).choices[0]
    assert found.message.content.lstrip().startswith("{")


@pytest.mark.parametrize("stream", [True, False])
def test_what_a_client_leaves_is_dropped(narrow, stream):
    assert idle(narrow.served)
    with openai.OpenAI(base_url=narrow.url, api_key="sesame", max_retries=0, timeout=0.2) as client:
        asked = {"model": "tiny", "prompt": "for ", "max_tokens": 90_000}
        if stream:
            pieces = client.completions.create(**asked, stream=True, timeout=5)
            next(iter(pieces))
            assert narrow.served.batcher.listeners
            pieces.close()
        else:
            with pytest.raises(openai.APITimeoutError):
                client.completions.create(**asked)
    assert idle(narrow.served)
