"""Checkpoints leave for transformers, with their code where it has none for them."""

import json
import sys
from pathlib import Path

import pytest
import torch
import transformers
from zoo_folders import folder_of

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.data.tokenizer import BYTES
from foundry.dsl.check import load_program
from foundry.train.checkpoint import read_checkpoint, weights, write_model
from foundry.zoo.arrive import arrive
from foundry.zoo.depart import to_hf
from foundry.zoo.failure import ZooError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """transformers copies code that comes along."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("name", ["hybrid", "primer"])
def test_code_comes_along(name, tmp_path):
    """A model of no family: the same logits, and the same tokens when it generates."""
    text = Path(f"genomes/{name}.genome").read_text()
    torch.manual_seed(0)
    model = load(emit(load_program(text))).Model().eval()
    write_model(tmp_path / "ckpt", text=text, weights=weights(model), tokenizer=BYTES, config={})
    to_hf(read_checkpoint(tmp_path / "ckpt"), tmp_path / "out")
    peer = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=True)
    tokens = torch.tensor([list(b"The house")])
    with torch.no_grad():
        assert (peer(tokens).logits - model(tokens)).abs().max() < 1e-5
        grown = peer.generate(tokens, max_new_tokens=4, do_sample=False, eos_token_id=None)
        assert grown[0, -4] == model(tokens)[0, -1].argmax()


def test_bytes_as_a_tokenizer(tmp_path):
    folder_of("llama", tmp_path / "hf")
    to_hf(read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt")), tmp_path / "out")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in ("a house", " é\n\0 ", "Āx<|endoftext|>", "日本"):
        assert tokenizer(text).input_ids == list(text.encode())
        assert tokenizer.decode(list(text.encode())) == text


def test_shards(tmp_path):
    peer = folder_of("llama", tmp_path / "hf")
    to_hf(read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt")), tmp_path / "out", shard=40_000)
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05}.safetensors"
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in peer.state_dict().items())
    index = json.loads((tmp_path / "out/model.safetensors.index.json").read_text())
    assert set(index["weight_map"].values()) == set(files)


def test_what_exists_stays(tmp_path):
    folder_of("llama", tmp_path / "hf")
    checkpoint = read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt"))
    with pytest.raises(ZooError, match="there is something already"):
        to_hf(checkpoint, tmp_path / "hf")
