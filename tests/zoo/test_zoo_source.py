"""Folders of public models are read with distrust."""

import json

import pytest
import torch
from safetensors.torch import save_file
from zoo_folders import folder_of

from foundry.zoo import hub
from foundry.zoo.failure import ZooError
from foundry.zoo.source import INDEX, read_source


@pytest.fixture
def sharded(tmp_path):
    folder_of("llama", tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    return tmp_path


def test_shards(sharded, tmp_path):
    source = read_source(sharded)
    peer = folder_of("llama", tmp_path / "whole").state_dict()
    assert source.shapes.keys() == peer.keys()
    assert all(torch.equal(source.read(name), tensor) for name, tensor in peer.items())


def index(folder, edit):
    content = json.loads((folder / INDEX).read_text())
    edit(content["weight_map"])
    (folder / INDEX).write_text(json.dumps(content))


def test_missing_shard(sharded):
    name = sorted(sharded.glob("model-*.safetensors"))[0]
    name.unlink()
    with pytest.raises(ZooError, match=f"the shard {name.name}, which .* names, is missing; fetch it again"):
        read_source(sharded)


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/x.safetensors", "a/../x.safetensors", "x.bin", "..\\x.safetensors", ".", "a\0b"]
)
def test_tricks_in_shard_names(sharded, name):
    index(sharded, lambda held: held.update({"lm_head.weight": name}))
    with pytest.raises(ZooError, match=r"is no plain name of a .safetensors") as error:
        read_source(sharded)
    assert "\0" not in str(error.value) and "\n" not in str(error.value)


def test_a_tensor_twice(sharded):
    save_file({"lm_head.weight": torch.ones(2)}, sharded / "z.safetensors")
    index(sharded, lambda held: held.update({"more": "z.safetensors"}))
    with pytest.raises(ZooError, match=r"the tensor lm_head.weight stands in model-.* too"):
        read_source(sharded)


def test_a_tensor_in_no_shard(sharded):
    index(sharded, lambda held: held.update({"more": held["lm_head.weight"]}))
    with pytest.raises(ZooError, match="the tensor more is in none of the shards"):
        read_source(sharded)


def test_pickles(tmp_path):
    folder_of("llama", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(ZooError, match=r"pytorch_model.bin is refused: .*safetensors.torch.save_file"):
        read_source(tmp_path)


@pytest.mark.parametrize("claimed", [1 << 42, 1 << 63, 99_999_999])
def test_a_header_that_claims_terabytes(claimed, tmp_path):
    folder_of("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(claimed.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(ZooError, match=f"its header claims {claimed:,} bytes"):
        read_source(tmp_path)


def test_a_tensor_that_claims_terabytes(tmp_path):
    folder_of("llama", tmp_path)
    path = tmp_path / "model.safetensors"
    header = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\0" * 64)
    with pytest.raises(ZooError, match="its tensors take 4,398,046,511,104 bytes, and the file has 64"):
        read_source(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "[" * 100_000, "\xff"])
def test_damaged_config(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ZooError, match=r"config.json"):
        read_source(tmp_path)


def test_no_folder(tmp_path):
    with pytest.raises(ZooError, match="no such folder"):
        read_source(tmp_path / "none")
    with pytest.raises(ZooError, match=r"it has no config.json"):
        read_source(tmp_path)


def test_template_in_the_configuration(tmp_path):
    folder_of("llama", tmp_path)
    several = [{"name": "tool_use", "template": "T"}, {"name": "default", "template": "D"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}))
    assert read_source(tmp_path).template == "D"


def test_ids_of_the_hub():
    assert hub.is_id("HuggingFaceTB/SmolLM2-135M") and hub.is_id("gpt2")
    assert not any(hub.is_id(text) for text in ("../x", "/etc", "a/b/c", "a..b/c", "", "a b"))
