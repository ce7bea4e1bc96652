"""Streaming: the training documents of the files, shuffled, again and again, and exactly on from where it stopped."""

import hashlib
import json

import numpy as np
import pyarrow
import pytest
import torch
from pyarrow import parquet

from foundry.data import stream as stream_module
from foundry.data.documents import CorpusError
from foundry.data.stream import held_out, streamed
from foundry.data.tokenizer import BYTES
from foundry.train.plan import Step

BUFFER = 20_000  # tokens: about thirty stories


def split_of(text):
    share = int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) / 16**16
    return "train" if share < 0.9 else "validation" if share < 0.95 else "test"


def steps_for(tokens, context=40, rows=7):
    return [Step(0.0, context, rows, 1.0, 1.0)] * (tokens // context // rows)


def text_of(batches):
    """All inputs in order, as documents."""
    data = b"".join(batch.x.numpy().astype(np.uint8).tobytes() for (batch,) in batches)
    return [document.decode("utf-8", "ignore") for document in data.split(b"\0")]


def trained(stories):
    return [text for text in stories if split_of(text) == "train"]


def test_an_epoch_has_every_training_document_once_in_another_order(stories, lines):
    wanted = trained(stories)
    size = sum(len(text.encode()) + 1 for text in wanted)
    found = text_of(streamed(str(lines), BYTES, steps_for(2 * size), 0, buffer=BUFFER))
    assert set(found[1:-1]) <= set(wanted), "nothing of the other splits"
    early = found[: len(wanted) // 2]
    assert len(set(early)) == len(early) and early != wanted[: len(early)]
    assert set(found) >= set(wanted), "two epochs have all of them"


def test_targets_are_the_next_tokens_across_rows_and_steps(lines):
    batches = [batch for (batch,) in streamed(str(lines), BYTES, steps_for(3000), 0, buffer=BUFFER)]
    x = torch.cat([batch.x.flatten() for batch in batches])
    y = torch.cat([batch.y.flatten() for batch in batches])
    assert torch.equal(x[1:], y[:-1])
    assert all(batch.valid == batch.y.numel() for batch in batches)


def test_the_seed_decides_the_order(lines):
    one, again, other = (
        text_of(streamed(str(lines), BYTES, steps_for(5000), seed, buffer=BUFFER)) for seed in (1, 1, 2)
    )
    assert one == again != other


@pytest.mark.parametrize("world", [1, 3])
def test_it_goes_on_from_its_state_with_any_number_of_workers(lines, words, world):
    steps = steps_for(30_000)  # more than an epoch in tokens of words
    stream = streamed(str(lines), words, steps, 0, buffer=5000)
    before = [next(stream) for _ in range(40)]
    state = {name: array.copy() for name, array in stream.state().items()}
    rest = list(stream)
    assert len(before) + len(rest) == len(steps)
    shares = [
        list(streamed(str(lines), words, steps, 0, rank=rank, world=world, state=state, buffer=5000))
        for rank in range(world)
    ]
    for (whole,), *parts in zip(rest, *shares, strict=True):
        assert len({part.x.shape for (part,) in parts}) == 1
        for rank, (part,) in enumerate(parts):
            mine = len(whole.x[rank::world])
            assert torch.equal(part.x[:mine], whole.x[rank::world])
            assert torch.equal(part.y[:mine], whole.y[rank::world])
            assert (part.y[mine:] == -1).all() and part.valid == whole.valid


def test_every_kind_of_file_goes_on_in_its_middle(stories, tmp_path, monkeypatch):
    monkeypatch.setattr(stream_module, "BATCH", 3000)
    half = len(stories) // 2
    rows = pyarrow.table({"text": ["", *stories[:half]]})
    parquet.write_table(rows, tmp_path / "a.parquet", row_group_size=40)
    (tmp_path / "b.jsonl").write_text("\n" + "".join(json.dumps({"text": text}) + "\n\n" for text in stories[half:-9]))
    for number, text in enumerate(stories[-9:]):
        (tmp_path / f"c{number}.txt").write_text(text)
    steps = steps_for(300_000, context=64, rows=32)
    stream = streamed(str(tmp_path), BYTES, steps, 0, buffer=3000)
    places = set()
    for number in range(len(steps)):
        if number % 3 == 1:
            state = stream.state()
            places.add(int(state["cursor"][1]))
            ((ours,), (resumed,)) = (
                next(stream),
                next(streamed(str(tmp_path), BYTES, steps, 0, state=state, buffer=3000)),
            )
            assert torch.equal(ours.x, resumed.x) and torch.equal(ours.y, resumed.y)
        else:
            next(stream)
    assert places >= {0, 1} and max(places) > 1, "in the table, the lines and the texts"


def test_files_that_changed_are_not_gone_on_with(stories, tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in stories[:100]))
    state = streamed(str(path), BYTES, steps_for(1000), 0).state()
    path.write_text(path.read_text() + json.dumps({"text": "one more"}) + "\n")
    with pytest.raises(CorpusError, match="not the files"):
        streamed(str(path), BYTES, steps_for(1000), 0, state=state)


@pytest.mark.parametrize(
    "name, harm",
    [
        ("cursor", lambda array: array - 9),
        ("cursor", lambda array: array[:3]),
        ("cursor", lambda array: array + [0, 99, 0, 0]),
        ("lengths", lambda array: array + 1),
        ("lengths", lambda array: -array),
        ("buffer", lambda array: array + 256),
        ("begun", lambda array: array - 256),
    ],
)
def test_a_place_that_cannot_be_is_refused(lines, name, harm):
    stream = streamed(str(lines), BYTES, steps_for(3000), 0, buffer=BUFFER)
    next(stream)
    state = stream.state()
    with pytest.raises(CorpusError, match="the place where this run stands in it is damaged"):
        streamed(str(lines), BYTES, steps_for(3000), 0, state=state | {name: harm(state[name])}, buffer=BUFFER)


def test_files_without_text_are_refused(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_text('{"text": ""}\n')
    with pytest.raises(CorpusError, match="no text to train on"):
        next(streamed(str(path), BYTES, steps_for(1000), 0))
    with pytest.raises(CorpusError, match="none of its documents falls to validation"):
        held_out(str(path), BYTES)


def test_what_is_held_out_is_never_trained_on(stories, lines):
    wanted = [text for text in stories if split_of(text) == "validation"]
    assert held_out(str(lines), BYTES).tobytes().decode().split("\0")[:-1] == wanted
    assert len(held_out(str(lines), BYTES, tokens=10)) == len(wanted[0].encode()) + 1
