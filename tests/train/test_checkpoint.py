"""Checkpoints: what is written is read back to the bit, and what is not one is refused in one line."""

import errno
import json
import os
import pickle
import shutil
import stat
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import read_tokenizer
from foundry.dsl.check import load_program
from foundry.train.checkpoint import (
    CheckpointError,
    read_checkpoint,
    read_state,
    weights,
    write_model,
    write_state,
)
from foundry.train.tensors import TensorsError, read_header, write_tensors

GENOME = """@foundry(1);

layer(x) = x + mlp(rmsnorm(x), hidden = 16);

model = embed(vocab = 256, width = 8) >> 2 * layer >> unembed(tied = 1);
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A model and the folder that it was written to."""
    folder = tmp_path_factory.mktemp("checkpoint") / "whole"
    model = load(emit(load_program(GENOME, "genome"))).Model()
    model.initialise(3)
    trained = {"steps": 7, "tokens": 99, "compute": 1.0, "bits_per_byte": 2.5}
    write_model(
        folder,
        text=GENOME,
        weights=weights(model),
        tokenizer=read_tokenizer("bytes"),
        config={"trained": trained, "data": {"name": "text", "hash": "0"}, "train": {}},
        template="{{ messages }}",
    )
    return model, folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the checkpoint, to be spoilt."""
    return shutil.copytree(made[1], tmp_path / "copy")


def edit(folder, change):
    """Change the tensors of a checkpoint, by safetensors' own hand."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def test_what_is_read_is_what_was_written(made):
    model, folder = made
    checkpoint = read_checkpoint(folder)
    x = torch.randint(256, (2, 9), generator=torch.Generator().manual_seed(0))
    built = checkpoint.build()
    assert torch.equal(built(x), model(x)) and not built.training
    assert checkpoint.text == GENOME and checkpoint.template == "{{ messages }}"
    assert checkpoint.config["trained"]["bits_per_byte"] == 2.5 and checkpoint.config["vocab"] == 256
    assert checkpoint.build(dtype=torch.bfloat16)(x).dtype == torch.bfloat16
    assert (folder / "model.py").read_text() == emit(load_program(GENOME, "genome"))


def test_the_file_is_one_that_safetensors_reads(made):
    model, folder = made
    tensors = load_file(folder / "model.safetensors")
    assert {name: tuple(t.shape) for name, t in tensors.items()} == {
        name: tuple(t.shape) for name, t in model.state_dict().items()
    }
    assert json.loads(read_header(folder / "model.safetensors").metadata["foundry"]) == {
        "steps": 7,
        "tokens": 99,
        "bits_per_byte": 2.5,
    }


def test_tensors_of_every_kind_and_shape_come_back(tmp_path):
    tensors = {
        "scalar": torch.tensor(1.5),
        "half": torch.arange(6).view(2, 3).to(torch.bfloat16),
        "none": torch.zeros(0, 4),
        "one": torch.arange(9)[::3][1:2].expand(1),
        "strideless": torch.from_numpy(np.lib.stride_tricks.as_strided(np.zeros(1, np.int64), (1,), (0,))),
        "turned": torch.arange(6.0).view(2, 3).T,
        "truth": torch.tensor([True, False]),
        "bytes": torch.arange(5, dtype=torch.uint8),
    }
    write_tensors(tmp_path / "file", tensors, {"a": "b"})
    found = load_file(tmp_path / "file")
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


def test_weights_of_half_precision_are_taken_too(folder):
    edit(folder, lambda tensors: tensors.update({n: t.to(torch.bfloat16) for n, t in tensors.items()}))
    assert next(read_checkpoint(folder).build().parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.pop("embed.weight"), "embed.weight is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), "extra is not of this model"),
        (
            lambda t: t.update({"embed.weight": torch.zeros(256, 9)}),
            r"embed.weight has the shape \(256, 9\) instead of \(256, 8\)",
        ),
        (
            lambda t: t.update({"embed.weight": torch.zeros(256, 8, dtype=torch.int32)}),
            "embed.weight is int32 instead of float32",
        ),
        (lambda t: t["embed.weight"].fill_(float("nan")), "embed.weight holds what is not a finite number"),
    ],
)
def test_weights_of_another_model_are_refused_by_name(folder, change, message):
    edit(folder, change)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder).build()


def spoil(folder, name, change):
    path = folder / name
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: data[:-10], "cut off or damaged"),
        (lambda data: data[:5], "cut off or damaged"),
        (
            lambda data: struct.pack("<Q", 10 * 2**30) + data[8:],
            "its header claims 10,737,418,240 bytes, and the file has",
        ),
        (lambda data: struct.pack("<Q", 2**64 - 1) + data[8:], "its header claims"),
        (lambda data: b"", "cut off or damaged"),
        (lambda data: data[:8] + b"[" * 40 + data[48:], "its header is damaged"),
        (lambda data: data.replace(b'"F32"', b'"F99"'), "no such kind of number as 'F99'"),
        (lambda data: data.replace(b"[256, 8]", b"[256,-8]"), "does not take the bytes"),
        (lambda data: data.replace(b"[256, 8]", b"[9999999]"[:8]), "damaged|does not take the bytes"),
    ],
)
def test_a_file_that_claims_what_it_does_not_hold_is_refused_before_anything_is_taken_from_it(folder, change, message):
    spoil(folder, "model.safetensors", change)
    with pytest.raises(CheckpointError, match=f"model.safetensors: .*({message})") as caught:
        read_checkpoint(folder)
    assert "\n" not in str(caught.value)


def test_a_shape_with_more_axes_than_a_tensor_has_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [1] * 65, "data_offsets": [0, 4]}}).encode()
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(TensorsError, match=r"a: shape .* does not take the bytes"):
        read_header(tmp_path / "file")


def test_names_cannot_act_on_the_terminal(folder):
    edit(folder, lambda tensors: tensors.update({"\x1b[2J": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"model.safetensors: \\x1b\[2J is not of this model"):
        read_checkpoint(folder)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_force_names_to_disk_will_do(tmp_path, monkeypatch, number):
    fsync = os.fsync

    def files_alone(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr("foundry.train.tensors.os.fsync", files_alone)
    write_state(tmp_path, {"a": torch.arange(3)}, {})
    assert torch.equal(read_state(tmp_path)[0]["a"], torch.arange(3))


def test_headers_longer_than_the_format_allows_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("foundry.train.tensors.LONGEST_HEADER", 100)
    write_tensors(tmp_path / "file", {"a" * 80: torch.zeros(1)}, {})
    with pytest.raises(TensorsError, match="100 are allowed"):
        read_header(tmp_path / "file")


def test_pickles_are_refused_and_it_is_said_what_to_do(folder):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(folder / "exploded"),)

    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"no model.safetensors, and pytorch_model.bin is refused: .* convert"):
        read_checkpoint(folder)
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "model.genome"])
def test_links_out_of_the_folder_and_missing_files_are_refused(folder, tmp_path, name):
    (folder / name).rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=f"no {name}"):
        read_checkpoint(folder)
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a link out of the checkpoint"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda data: b"{", "not valid JSON"),
        (lambda data: b"[" * 100_000, "not valid JSON"),
        (lambda data: b"[]", "its format is 'None'"),
        (
            lambda data: data.replace(b"checkpoint 1", b"checkpoint 9"),
            "'foundry checkpoint 9' instead of 'foundry checkpoint 1'",
        ),
        (lambda data: data.replace(b'"kind": "bytes"', b'"kind": "runes"'), "which tokenizer"),
        (lambda data: data.replace(b'"hash": "', b'"hash": "f'), "its tokenizer is not the one"),
    ],
)
def test_a_config_that_is_none_is_refused(folder, change, message):
    spoil(folder, "config.json", change)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_a_tokenizer_with_more_tokens_than_the_model_is_refused(folder):
    spoil(folder, "model.genome", lambda data: data.replace(b"vocab = 256", b"vocab = 100"))
    with pytest.raises(CheckpointError, match="the tokenizer does not match the model: it has 256 tokens"):
        read_checkpoint(folder)


def test_a_genome_with_errors_or_of_another_model_is_refused(folder):
    spoil(folder, "model.genome", lambda data: data.replace(b"2 * layer", b"2 * missing"))
    with pytest.raises(CheckpointError, match=r"model.genome: .*missing"):
        read_checkpoint(folder)


def test_a_folder_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"not a checkpoint: it has no config.json"):
        read_checkpoint(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        read_checkpoint(tmp_path / "nowhere")


def test_the_python_file_beside_the_weights_is_never_executed(folder):
    (folder / "model.py").write_text("raise SystemExit('executed')")
    read_checkpoint(folder).build()


def test_a_state_comes_back_with_what_was_said_of_it(tmp_path):
    write_state(tmp_path, {"a": torch.arange(3)}, {"step": 0.1 + 0.2})
    tensors, about = read_state(tmp_path)
    assert torch.equal(tensors["a"], torch.arange(3)) and about["step"] == 0.1 + 0.2
    spoil(tmp_path, "state.safetensors", lambda data: data[:-1])
    with pytest.raises(CheckpointError, match=r"state.safetensors: .*cut off"):
        read_state(tmp_path)
    with pytest.raises(CheckpointError, match="nothing to go on from"):
        read_state(tmp_path / "nowhere")
