"""The verb train, end to end with a tiny genome: what it says, what it leaves, and what bad input gets."""

import contextlib
import errno
import io
import json

import pytest

from foundry.cli.main import main
from foundry.train.checkpoint import read_checkpoint, read_state
from foundry.train.terms import RunError

GENOME = """@foundry(1);

model = embed(vocab = 256, width = 16) >> mlp(hidden = 16) >> unembed(tied = 1);

recipe = train(optimizer = adamw(lr = 5e-3), batch = 128, context = 32);
"""


@pytest.fixture(autouse=True, scope="module")
def words(tmp_path_factory):
    """Three hundred small documents, and a cache for them."""
    patch = pytest.MonkeyPatch()
    patch.setenv("FOUNDRY_CACHE", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path_factory.mktemp("words")
    for number in range(300):
        (folder / f"{number}.txt").write_text(" ".join(f"word{(number * k) % 97}" for k in range(1, 200)))
    yield folder
    patch.undo()


@pytest.fixture
def genome(tmp_path):
    path = tmp_path / "tiny.genome"
    path.write_text(GENOME)
    return path


def foundry(*arguments):
    out, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        code = main([str(argument) for argument in arguments])
    return code, out.getvalue(), errors.getvalue()


def test_it_trains_and_says_what_came_of_it(genome, words, tmp_path):
    out = tmp_path / "run"
    code, said, told = foundry("train", genome, "--data", words, "--out", out, "--tokens", "2.56k", "--validations", 2)
    assert code == 0
    assert said.startswith(f"{out}: ") and "after 20 steps and 2,560 tokens (complete)" in said
    assert told.count("validation") == 2 and "  | " in told, "samples are shown with the validations"
    trained = read_checkpoint(out).config["trained"]
    assert (trained["steps"], trained["tokens"]) == (20, 2560)
    assert {path.name for path in (out / "log").iterdir()} >= {"metrics.csv", "metrics.parquet", "samples.jsonl"}


def test_set_changes_the_recipe_and_the_checkpoint_has_the_changed_genome(genome, words, tmp_path):
    out = tmp_path / "run"
    options = (
        "--data",
        words,
        "--out",
        out,
        "--steps",
        8,
        "--sample",
        0,
        "--set",
        "batch=64",
        "--set",
        "lr=1e-3",
        "--json",
    )
    code, said, _ = foundry("train", genome, *options)
    assert code == 0 and json.loads(said)["tokens"] == 8 * 64
    text = (out / "model.genome").read_text()
    assert "batch = 64" in text and "lr = 1e-3" in text
    again = ("train", out, "--data", words, "--out", tmp_path / "more", "--steps", 8, "--sample", 0, "--json")
    assert json.loads(foundry(*again)[1])["tokens"] == 8 * 64, "a checkpoint brings its recipe"
    assert read_state(tmp_path / "more")[1]["terms"]["weights"] == str(out)


def test_resume_of_what_is_complete_says_so_and_of_nothing_begins(genome, words, tmp_path):
    out = tmp_path / "run"
    command = ("train", genome, "--data", words, "--out", out, "--steps", 8, "--sample", 0, "--resume")
    first, again = foundry(*command), foundry(*command)
    assert first[:2] == again[:2] and first[0] == 0
    assert foundry("train", "--out", out, "--resume")[:2] == first[:2]


@pytest.mark.parametrize(
    "options, code, message",
    [
        (["--steps", 8], 2, "name the folder of the run: --out CKPT"),
        (["--out", "OUT", "--steps", 8, "--tokens", "9k"], 2, "--tokens and --steps both say how long to train"),
        (["--out", "OUT", "--tokens", "many"], 2, "--tokens many: write a number such as 20M"),
        (["--out", "OUT", "--time", "3 parsecs"], 2, "--time 3 parsecs: write a number such as 10min"),
        (["--out", "OUT", "--time", "0s"], 2, "--time 0s: write a number"),
        (["--out", "OUT", "--device", "tpu"], 2, "--device tpu: there are auto, cpu, cuda"),
        (["--out", "OUT", "--set", "lr"], 2, "write key=value"),
        (["--out", "OUT", "--set", "rate=1"], 2, "no such setting"),
        (["--out", "OUT", "--tokens", "300"], 1, "a length of 300 tokens allows 2 steps, and training needs 8"),
        (["--out", "OUT", "--shard", "fsdp"], 1, "start them with torchrun"),
        (["--out", "OUT", "--tokenizer", "nowhere.json"], 1, "nowhere.json"),
        (["--out", "OUT", "--log", "paper"], 1, "no log is called 'paper'"),
        (["--out", "FILE"], 1, "a file; a checkpoint is a folder"),
        (["--out", "OUT", "--steps", 8, "--set", "context=1e6"], 1, "too few for a context"),
    ],
)
def test_bad_input_gets_one_line(genome, words, tmp_path, options, code, message):
    (tmp_path / "FILE").write_text("")
    places = {"OUT": tmp_path / "run", "FILE": tmp_path / "FILE"}
    found, _, told = foundry("train", genome, "--data", words, *[places.get(o, o) for o in options])
    assert found == code and message in told and told.count("\n") == 1


def test_a_row_is_no_longer_than_the_positions_and_that_is_said(words, tmp_path):
    genome = tmp_path / "positions.genome"
    positions = "(fn(x) => embed(x, vocab = 256, width = 16) + embed(position(x), vocab = 24, width = 16))"
    genome.write_text(
        GENOME.replace("embed(vocab = 256, width = 16)", positions).replace("(tied = 1)", "(vocab = 256)")
    )
    command = ("train", genome, "--data", words, "--out", tmp_path / "run", "--steps", 8, "--sample", 0)
    code, _, told = foundry(*command)
    assert code == 0 and "rows have at most 24 tokens, as many as the model has positions, and not 32\n" in told
    code, _, told = foundry(*command, "--set", "context=32")
    assert code == 2 and "--set context=32: the model has 24 positions" in told and told.count("\n") == 1


def test_a_log_that_cannot_be_is_found_out_before_the_text_is_read(genome, words, tmp_path, monkeypatch):
    monkeypatch.setattr("foundry.train.build.load_tokens", None)
    code, _, told = foundry("train", genome, "--data", words, "--out", tmp_path / "run", "--log", "paper")
    assert code == 1 and "no log is called 'paper'" in told


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_says_what_befalls_it_alone_and_the_first_what_befalls_all(genome, tmp_path, monkeypatch, rank):
    def ends(error):
        def run(*_):
            raise error

        monkeypatch.setattr("foundry.train.run.run", run)
        return foundry("train", genome, "--out", tmp_path / "run")

    monkeypatch.setenv("RANK", str(rank))
    assert ends(RunError("no such text")) == (1, "", "" if rank else "foundry: no such text\n")
    assert ends(MemoryError())[2].startswith("foundry: the device has too little memory")
    full = ends(OSError(errno.ENOSPC, "No space left on device"))[2]
    assert full == f"foundry: {tmp_path / 'run'}: no space left on device; make room and --resume\n"
    denied = ends(PermissionError(errno.EACCES, "Permission denied", "there"))[2]
    assert denied == "foundry: there: permission denied\n"


def test_what_cannot_be_trained_is_named(words, tmp_path):
    out = tmp_path / "run"
    assert foundry("train", "--out", out)[0] == 1
    assert foundry("train", tmp_path / "nothing.genome", "--out", out)[0] == 2
    (tmp_path / "wrong.genome").write_text(GENOME.replace("mlp(hidden = 16)", "missing"))
    assert foundry("train", tmp_path / "wrong.genome", "--out", out)[0] == 1
    (tmp_path / "folder").mkdir()
    code, _, told = foundry("train", tmp_path / "folder", "--out", out)
    assert code == 1 and "folder: not a checkpoint: it has no config.json" in told


def test_a_checkpoint_whose_sizes_were_changed_cannot_bring_its_weights(genome, words, tmp_path):
    out = tmp_path / "run"
    assert foundry("train", genome, "--data", words, "--out", out, "--steps", 8, "--sample", 0)[0] == 0
    options = ("--data", words, "--out", tmp_path / "other", "--set", "vocab=300")
    code, _, told = foundry("train", out, *options)
    assert code == 1 and "has the shape (256, 16) instead of (300, 16)" in told and told.count("\n") == 1
