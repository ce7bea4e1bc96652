"""`foundry serve`, as a program: where it listens, what it says, how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys

import pytest

pytest.importorskip("uvicorn")
import httpx

from foundry.cli.main import main

GENOME = """@foundry(1);

layer(x) = x + attention(rmsnorm(x), heads = 2, pos = rope(theta = 1e4));

model = embed(vocab = 256, width = 16) >> layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 256);
"""
LONG = {"model": "small", "prompt": "x", "max_tokens": 400, "stream": True, "seed": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint with first weights."""
    from foundry.compiler.emit import emit
    from foundry.compiler.load import load
    from foundry.data.tokenizer import BYTES
    from foundry.dsl.check import load_program
    from foundry.train.checkpoint import weights, write_model

    model = load(emit(load_program(GENOME, "small"))).Model()
    model.initialise(0)
    place = tmp_path_factory.mktemp("served") / "small"
    write_model(place, text=GENOME, weights=weights(model), tokenizer=BYTES, config={})
    return place


@pytest.fixture
def ended(monkeypatch):
    """`serve` up to the point where it would wait for clients."""
    monkeypatch.setattr("foundry.serve.server.run", lambda app, opened: signal.SIGTERM)


def said(capsys, *arguments):
    """The exit code of `foundry serve` and what it wrote on standard error."""
    code = main(["serve", *map(str, arguments)])
    return code, capsys.readouterr().err.strip()


def test_a_signal_lets_requests_under_way_end(folder):
    command = [sys.executable, "-m", "foundry", "serve", str(folder), "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        line = process.stderr.readline()
        url = re.fullmatch(r"small at (http://127\.0\.0\.1:\d+/v1) \(Ctrl-C stops\)\n", line)[1]
        with httpx.stream("POST", f"{url}/completions", json=LONG, timeout=60) as answer:
            lines = answer.iter_lines()
            next(lines)
            process.terminate()
            events = [line.removeprefix("data: ") for line in lines if line]
        assert process.wait(60) == 0
        assert process.stderr.read() == ""
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["choices"][0]["finish_reason"] in ("length", "stop")


def test_ctrl_c_is_told_from_a_request_to_end(folder, capsys, monkeypatch):
    monkeypatch.setattr("foundry.serve.server.run", lambda app, opened: signal.SIGINT)
    assert said(capsys, folder, "--port", "0")[0] == 130


def test_it_listens_on_this_machine_alone_unless_told_otherwise(folder, ended, capsys):
    assert said(capsys, folder, "--port", "0")[1].startswith("small at http://127.0.0.1:")
    code, wide = said(capsys, folder, "--port", "0", "--host", "0.0.0.0", "--name", "mine")
    assert code == 0
    assert wide.startswith("mine at http://0.0.0.0:")
    assert "other machines can reach" in wide and "NO API KEY IS ASKED FOR" in wide


def test_a_key_comes_from_a_file_or_from_the_environment(folder, ended, capsys, tmp_path, monkeypatch):
    (tmp_path / "key").write_text("sesame\n")
    wide = (folder, "--port", "0", "--host", "0.0.0.0")
    assert "; a key is asked for" in said(capsys, *wide, "--api-key-file", tmp_path / "key")[1]
    monkeypatch.setenv("FOUNDRY_API_KEY", "sesame")
    assert "; a key is asked for" in said(capsys, *wide)[1]


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["no/such/folder"], 1, "no/such/folder: no such folder"),
        (["FOLDER", "--device", "tpu"], 2, "--device is auto, cpu or cuda, not tpu"),
        (["FOLDER", "--dtype", "int8"], 2, "--dtype is auto, float32 or bfloat16, not int8"),
        (["FOLDER", "--api-key-file", "none"], 2, "cannot read the API key in none: no such file or directory"),
        (["FOLDER", "--api-key-file", os.devnull], 2, f"{os.devnull} holds no API key: one line of letters"),
        (["FOLDER", "--host", "256.0.0.1"], 1, "cannot listen at 256.0.0.1, port 0: "),
    ],
)
def test_what_cannot_be_served_is_said_in_one_line(folder, capsys, arguments, code, line):
    arguments = [str(folder) if argument == "FOLDER" else argument for argument in arguments]
    found = said(capsys, "--port", 0, *arguments)
    assert found[0] == code
    assert found[1].startswith(f"foundry: {line}") and "\n" not in found[1]


def test_a_port_that_is_taken_is_named(folder, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert said(capsys, folder, "--port", port) == (
            1,
            f"foundry: cannot listen at 127.0.0.1, port {port}: address already in use",
        )


def test_a_missing_extra_is_named(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    line = "foundry: foundry serve needs the extra `serve`: pip install 'foundry[serve]'"
    assert said(capsys, folder) == (1, line)
