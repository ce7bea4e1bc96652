"""tokenizer train and tokenizer show through the command line."""

import errno
import json
import os
import random
import subprocess
import sys

import pytest

os.environ.setdefault("RAYON_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from foundry.cli.main import main

WORDS = [one + two for one in ("ka", "lo", "mi", "Zoë", "tu", "re") for two in ("sen", "dor", "bal", "fip", "")]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for number in range(200):
        (folder / f"{number}.txt").write_text(" ".join(random.Random(number).choices(WORDS, k=250)))
    return folder


@pytest.fixture
def foundry(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("FOUNDRY_CACHE", str(tmp_path / "cache"))

    def run(*arguments):
        code = main(["tokenizer", *map(str, arguments)])
        out, errors = capsys.readouterr()
        return subprocess.CompletedProcess(arguments, code, out, errors)

    return run


def one_line(done, code):
    assert done.returncode == code and done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_train_writes_what_the_library_reads_and_show_describes_it(foundry, data, tmp_path):
    from tokenizers import Tokenizer

    done = foundry("train", "--data", data, "--vocab", 320, "-o", tmp_path / "words")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("320 tokens of tokenizers, 1 special")
    peer = Tokenizer.from_file(str(tmp_path / "words" / "tokenizer.json"))
    assert peer.get_vocab_size() == 320
    shown = foundry("show", tmp_path / "words", "--data", data)
    assert (shown.returncode, shown.stdout) == (0, done.stdout)
    about = json.loads(foundry("show", tmp_path / "words", "--data", data, "--json").stdout)
    assert (about["vocab"], about["begin"], about["end"]) == (320, None, "<|endoftext|>")
    assert about["bytes_per_token"] > 3 and "|".join(about["example"]) in done.stdout


def test_the_training_documents_alone_are_learned_from(foundry, data, tmp_path):
    """The rest may change as it likes: a text of the test split that is full of one word teaches nothing."""
    from foundry.data.corpus import load_corpus

    foundry("train", "--data", data, "--vocab", 300, "-o", tmp_path / "one")
    held = [p for p in data.iterdir() if p.read_bytes() in load_corpus(str(data)).test.tobytes().split(b"\0")]
    assert held
    smaller = tmp_path / "smaller"
    smaller.mkdir()
    for path in data.iterdir():
        if path != held[0]:
            (smaller / path.name).write_bytes(path.read_bytes())
    foundry("train", "--data", smaller, "--vocab", 300, "-o", tmp_path / "other")
    read = [(tmp_path / name / "tokenizer.json").read_text() for name in ("one", "other")]
    assert read[0] == read[1]


def test_bytes_are_shown_too(foundry, data):
    done = foundry("show", "bytes", "--data", data)
    assert "256 tokens of bytes" in done.stdout and "1.000 bytes per token" in done.stdout


def test_help_without_a_verb(foundry):
    done = foundry()
    assert done.returncode == 0 and "train" in done.stdout and "show" in done.stdout


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (["train", "-o", "x"], 2, "missing option '--vocab'"),
        (["train", "--vocab", "300"], 2, "missing option '--out'"),
        (["train", "--vocab", "256", "-o", "x"], 2, "256 is not in the range 257"),
        (["train", "--vocab", "300", "-o", "x", "--data", "/nowhere"], 1, "/nowhere: no such file or folder"),
        (["show", "/nowhere"], 1, "/nowhere: cannot be read"),
        (["shwo"], 2, "no such command 'shwo'"),
    ],
)
def test_what_cannot_be_done_gets_one_line(foundry, arguments, code, said):
    line = one_line(foundry(*arguments), code)
    assert said in line and line.startswith("foundry")


def test_text_that_is_too_little_for_the_vocabulary(foundry, data, tmp_path):
    line = one_line(foundry("train", "--data", data, "--vocab", 60_000, "-o", tmp_path / "x"), 1)
    assert "give more text, or --vocab" in line and not (tmp_path / "x").exists()


def test_a_folder_that_cannot_be_written(foundry, data, tmp_path):
    (tmp_path / "file").write_text("in the way")
    line = one_line(foundry("train", "--data", data, "--vocab", 300, "-o", tmp_path / "file"), 1)
    assert f"{tmp_path / 'file'}: a file; a tokenizer is written to a folder" in line


def test_a_full_disk_gets_one_line(foundry, data, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("foundry.data.tokenizer.os.fsync", full)
    line = one_line(foundry("train", "--data", data, "--vocab", 300, "-o", tmp_path / "x"), 1)
    assert line == "foundry: the tokenizer: no space left on device" and list((tmp_path / "x").iterdir()) == []


def test_without_the_library_one_line_says_what_to_install(data, tmp_path):
    code = (
        "import sys; sys.modules['tokenizers'] = None\nfrom foundry.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    arguments = ["tokenizer", "train", "--data", str(data), "--vocab", "300", "-o", str(tmp_path / "x")]
    environment = os.environ | {"FOUNDRY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment)
    assert "pip install 'foundry[text]'" in one_line(done, 1)
