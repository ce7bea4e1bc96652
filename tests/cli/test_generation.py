"""`foundry generate` and `foundry chat` as people and agents meet them."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout

import pytest
import torch

from foundry.cli.main import main
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES
from foundry.dsl.check import load_program
from foundry.train.checkpoint import weights, write_model

torch.set_num_threads(1)

GENOME = """@foundry(1);

layer(x) = { x = x + attention(rmsnorm(x), heads = 2, pos = rope); x + glu(rmsnorm(x), hidden = 48) };

model = embed(vocab = 256, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 1e-2), batch = 512, transfer = 32);
"""
LEARNED = b"abcdefghijklmnopqrstuvwxyz. " * 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkpoint that has learned the alphabet."""
    module = load(emit(load_program(GENOME)))
    model = module.Model()
    model.initialise(0)
    with redirect_stdout(io.StringIO()):
        module.train(model, torch.frombuffer(bytearray(LEARNED), dtype=torch.uint8), 150)
    place = tmp_path_factory.mktemp("speaker") / "alphabet"
    write_model(place, text=GENOME, weights=weights(model), tokenizer=BYTES, config={})
    return place


def foundry(*arguments, text=""):
    """A command inside this process: exit code, standard output, standard error."""
    out, errors, before = io.StringIO(), io.StringIO(), sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else text.encode()))
    try:
        with redirect_stdout(out), redirect_stderr(errors):
            code = main([str(argument) for argument in arguments])
    finally:
        sys.stdin = before
    return code, out.getvalue(), errors.getvalue()


def completions(*arguments):
    code, out, errors = foundry("generate", *arguments, "--json")
    assert (code, errors) == (0, "")
    return json.loads(out)["completions"]


def test_standard_output_is_the_continuation_and_nothing_else(folder):
    code, out, errors = foundry("generate", folder, "--prompt", "abc", "--temperature", 0, "--max-tokens", 28)
    assert (code, out, errors) == (0, "defghijklmnopqrstuvwxyz. abc", "")


def test_prompts_are_read_from_standard_input_and_from_files(folder, tmp_path):
    (tmp_path / "p.txt").write_text("k\n\nopq\n")
    greedy = ("--temperature", 0, "--max-tokens", 4)
    assert foundry("generate", folder, "--prompt", "-", *greedy, text="abc")[1] == "defg"
    _, out, _ = foundry("generate", folder, "--prompts", tmp_path / "p.txt", "--prompt", "a b c", *greedy)
    assert out == '==> "a b c" <==\ndefg\n==> "k" <==\nlmno\n==> "opq" <==\nrstu\n'


def test_json_says_why_each_text_ended(folder):
    greedy = ("--temperature", 0, "--max-tokens", 9)
    assert completions(folder, "--prompt", "ab", "--prompt", "v", *greedy, "--stop", "yz.", "--stop", "0") == [
        {"prompt": "ab", "text": "cdefghijk", "tokens": 9, "finish": "length"},
        {"prompt": "v", "text": "wx", "tokens": 5, "finish": "stop"},
    ]


def test_a_seed_repeats_and_a_prompt_keeps_its_draws_in_a_batch(folder):
    hot = ("--temperature", 2, "--seed", 7, "--max-tokens", 12)
    (first,) = completions(folder, "--prompt", "o", *hot)
    assert completions(folder, "--prompt", "o", *hot) == [first]
    assert completions(folder, "--prompt", "o", "--prompt", "something longer", *hot)[0] == first
    assert completions(folder, "--prompt", "o", *hot[:2], "--seed", 8, *hot[4:]) != [first]


def test_a_text_that_fails_leaves_the_others_whole(folder, monkeypatch):
    from foundry.decode.decoder import DecodeError, Row

    def fail(self, logits, full):
        raise DecodeError("the logits are not finite")

    choose = Row.choose
    monkeypatch.setattr(Row, "choose", lambda row, *rest: (choose if row.request.row else fail)(row, *rest))
    asked = ("generate", folder, "--prompt", "a", "--prompt", "b", "--max-tokens", 3)
    code, out, errors = foundry(*asked, "--json")
    assert [(row["finish"], row["tokens"]) for row in json.loads(out)["completions"]] == [("error", 0), ("length", 3)]
    assert (code, errors) == (1, "foundry: the logits are not finite\n")
    code, out, errors = foundry(*asked)
    assert '==> "b" <==' in out and (code, errors) == (1, "foundry: the logits are not finite\n")


def test_the_numbers_to_compute_in_may_be_chosen(folder):
    asked = ("--prompt", "abc", "--temperature", 0, "--max-tokens", 4, "--device", "cpu")
    assert foundry("generate", folder, *asked, "--dtype", "bfloat16") == (0, "defg", "")
    assert foundry("chat", folder, "--dtype", "bfloat16", "--max-tokens", 3, text="a\n")[0] == 0


def test_a_grammar_holds_the_text(folder, tmp_path):
    pytest.importorskip("llguidance")
    (tmp_path / "g.regex").write_text("(one|zwei) [0-9]{2}\n")
    code, out, _ = foundry("generate", folder, "--prompt", "", "--grammar", tmp_path / "g.regex")
    assert code == 0 and out[:4] in ("one ", "zwei") and out[-2:].isdigit()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "nothing to continue"), (("--prompt", "a", "--temperature", "-1"), "--temperature is -1.0"),
        (("--prompt", "a", "--top-p", "0"), "--top-p is 0.0"), (("--prompt", "a", "--max-tokens", "0"), "--max-tokens"),
        (("--prompt", "a", "--stop", ""), "--stop"), (("--prompt", "-", "--prompts", "-"), "read once"),
        (("--prompt", "a", "--device", "tpu"), "--device"), (("--prompt", "a", "--seed", "-3"), "--seed"),
        (("--prompt", "a", "--dtype", "int8"), "--dtype"),
    ],
)  # fmt: skip
def test_misuse_is_one_line_and_2(folder, arguments, words):
    code, out, errors = foundry("generate", folder, *arguments)
    assert (code, out) == (2, "") and words in errors and errors.count("\n") == 1


def test_what_cannot_be_used_is_one_line_and_1(folder, tmp_path):
    (tmp_path / "bad.lark").write_text("start: /[/")
    (tmp_path / "latin").write_bytes(b"caf\xe9")
    for arguments, words in (
        ((tmp_path / "nowhere", "--prompt", "a"), "no such folder"),
        ((tmp_path, "--prompt", "a"), "not a checkpoint"),
        ((folder, "--prompts", tmp_path / "none.txt"), "no such file"),
        ((folder, "--prompts", tmp_path / "latin"), "not UTF-8"),
        ((folder, "--prompt", "a", "--grammar", tmp_path / "bad.lark"), "bad.lark"),
        ((folder, "--prompt", "a", "--grammar", tmp_path / "latin"), "ending"),
    ):
        code, out, errors = foundry("generate", *arguments)
        assert (code, out) == (1, "") and words in errors and errors.count("\n") == 1, errors


def test_ctrl_c_keeps_what_was_printed_and_says_130(folder):
    command = [sys.executable, "-m", "foundry", "generate", str(folder), "--prompt", "a", "--max-tokens", "100000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.read(5)  # it has begun
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")


# chat ----------------------------------------------------------------------------------------------------------------


def test_a_conversation_remembers_until_it_is_reset(folder, monkeypatch):
    from foundry.decode.chat import Chat

    asked, tokens = [], Chat.tokens
    monkeypatch.setattr(Chat, "tokens", lambda self, messages: asked.append([*messages]) or tokens(self, messages))
    said = "one two\n\n/again\nthree\n/reset\nfour\n/quit\nnever\n"
    code, out, errors = foundry("chat", folder, "--max-tokens", 5, "--temperature", 0, "--system", "Count.", text=said)
    assert code == 0 and len(out.splitlines()) == 3
    assert errors == "there is no /again: /reset or /quit\n"
    roles = [[m["role"] for m in messages] for messages in asked]
    assert roles == [["system", "user"], ["system", "user", "assistant", "user"], ["system", "user"]]
    assert asked[1][2]["content"] == out.splitlines()[0].rstrip()


def test_a_conversation_is_read_once(folder, tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    from foundry.decode.decoder import Memory

    shutil.copytree(folder, tmp_path / "joined")
    template = "{% for message in messages %}{{ message.content }}{% endfor %}"
    (tmp_path / "joined" / "chat_template.jinja").write_text(template)
    known, take = [], Memory.take
    monkeypatch.setattr(Memory, "take", lambda self, prompt: known.append(len(self.tokens)) or take(self, prompt))
    said = ("--max-tokens", 5, "--temperature", 0)
    _, out, _ = foundry("chat", tmp_path / "joined", *said, text="abc\ni\n/reset\nabc\n")
    assert out.split() == ["defgh", "jklmn", "defgh"]
    assert known == [0, 7, 13]  # of abc defgh i jklmn, all but the last letter made


def test_ctrl_c_ends_the_answer_and_not_the_conversation(folder):
    command = [sys.executable, "-m", "foundry", "chat", str(folder), "--max-tokens", "100000", "--temperature", "0"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for _ in range(2):
        process.stdin.write(b"one\n")
        process.stdin.flush()
        assert os.read(process.stdout.fileno(), 1)  # the answer has begun
        process.send_signal(signal.SIGINT)
        while not os.read(process.stdout.fileno(), 4096).endswith(b"\n"):  # and now it has ended
            pass
    process.stdin.write(b"/quit\n")
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, b"")


def test_a_message_too_long_for_the_model_is_said_and_the_next_may_come(tmp_path):
    short = GENOME.replace("attention(rmsnorm(x), heads = 2, pos = rope)", "attention(rmsnorm(x), heads = 2)").replace(
        "embed(vocab = 256, width = 32)", "positions"
    )
    short = short.replace(
        "model =",
        "positions(tokens) = embed(tokens, vocab = 256, width = 32)"
        " + embed(position(tokens), vocab = 64, width = 32);\n\nmodel =",
    )
    module = load(emit(load_program(short)))
    assert module.LONGEST == 64
    write_model(tmp_path / "c", text=short, weights=weights(module.Model()), tokenizer=BYTES, config={})
    code, out, errors = foundry("chat", tmp_path / "c", text="x" * 100 + "\nhi\n")
    assert code == 0 and "room for 48" in errors and errors.count("\n") == 1
    assert out.endswith("\n")
