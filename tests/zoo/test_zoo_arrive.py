"""Public models become checkpoints that work at once, and go back as they came."""

import json
import subprocess
import sys

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from zoo_folders import SMALL, folder_of, tokenizer_into

from foundry.train.checkpoint import read_checkpoint
from foundry.zoo.arrive import arrive
from foundry.zoo.depart import to_hf
from foundry.zoo.failure import ZooError


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "olmo2"])
def test_there_and_back(kind, tmp_path):
    """Logits are those of transformers, and so are those of what is exported; tensors come back bit for bit."""
    peer = folder_of(kind, tmp_path / "hf")
    tokenizer_into(tmp_path / "hf")
    checkpoint = read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt"))
    tokens = torch.randint(300, (2, 20), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        there = peer(tokens).logits
        assert (checkpoint.build()(tokens) - there).abs().max() < 1e-4
        to_hf(checkpoint, tmp_path / "back")
        again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "back")
        assert (again(tokens).logits - there).abs().max() < 1e-4
    before, after = (load_file(tmp_path / name / "model.safetensors") for name in ("hf", "back"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert type(again) is type(peer)
    first, second = (transformers.AutoTokenizer.from_pretrained(tmp_path / name) for name in ("hf", "back"))
    assert first("a house").input_ids == second("a house").input_ids == checkpoint.tokenizer.encode("a house")
    assert second.chat_template == first.chat_template == checkpoint.template


def test_kept_files_come_back(tmp_path):
    folder_of("llama", tmp_path / "hf")
    tokenizer_into(tmp_path / "hf")
    settings = {"temperature": 0.3, "eos_token_id": [1, 2], "do_sample": True}
    (tmp_path / "hf/generation_config.json").write_text(json.dumps(settings))
    to_hf(read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt")), tmp_path / "back")
    assert json.loads((tmp_path / "back/generation_config.json").read_text()) == settings


def test_dtype(tmp_path):
    folder_of("llama", tmp_path / "hf")
    arrive(tmp_path / "hf", tmp_path / "ckpt", torch.bfloat16)
    assert {t.dtype for t in load_file(tmp_path / "ckpt/model.safetensors").values()} == {torch.bfloat16}


def test_a_body_saved_alone(tmp_path):
    """GPT-2 as it was published has no "transformer." before its names."""
    peer = folder_of("gpt2", tmp_path / "hf")
    tensors = load_file(tmp_path / "hf/model.safetensors")
    save_file({n.removeprefix("transformer."): t for n, t in tensors.items()}, tmp_path / "hf/model.safetensors")
    checkpoint = read_checkpoint(arrive(tmp_path / "hf", tmp_path / "ckpt"))
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert (checkpoint.build()(tokens) - peer(tokens).logits).abs().max() < 1e-4


def changed(**fields):
    def change(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))

    return change


def tensors(edit):
    def change(folder):
        held = load_file(folder / "model.safetensors")
        edit(held)
        save_file(held, folder / "model.safetensors")

    return change


Q = "model.layers.0.self_attn.q_proj.weight"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changed(model_type="bert"), "model_type 'bert' is not known; known: .*llama"),
        (changed(num_key_value_heads=3), "num_key_value_heads, 3, does not divide"),
        (changed(num_hidden_layers=3), "model.layers.2.* is missing .and 8 more"),
        (changed(num_hidden_layers=1), "model.layers.1.* is not of a Llama model"),
        (changed(intermediate_size=50), r"mlp.gate_proj.weight comes as \(48, 32\).* asks for \(50, 32\)"),
        (tensors(lambda held: held.pop(Q)), f"the tensor {Q} is missing"),
        (tensors(lambda held: held.update({Q: held[Q].int()})), f"{Q} is int32; weights may be float32"),
        (tensors(lambda held: held.update({Q: held[Q] * torch.inf})), f"{Q} holds what is not a finite number"),
        (tensors(lambda held: held.update(more=torch.ones(2))), "the tensor more is not of a Llama model"),
    ],
)
def test_refused(change, said, tmp_path):
    folder_of("llama", tmp_path / "hf")
    change(tmp_path / "hf")
    with pytest.raises(ZooError, match=said) as error:
        arrive(tmp_path / "hf", tmp_path / "ckpt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ckpt").exists()


def test_what_exists_stays(tmp_path):
    folder_of("llama", tmp_path / "hf")
    (tmp_path / "ckpt").mkdir()
    (tmp_path / "ckpt/mine").write_text("x")
    with pytest.raises(ZooError, match="there is something already"):
        arrive(tmp_path / "hf", tmp_path / "ckpt")
    assert (tmp_path / "ckpt/mine").read_text() == "x"


PEAK = """
import resource, sys
from foundry.zoo.arrive import arrive
import foundry.zoo.families.llama
from foundry.zoo.known import known
known()
small, large, out = sys.argv[1:]
arrive(small, out + "/small")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
arrive(large, out + "/large")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory(tmp_path):
    """No more than a few of the largest tensor are in memory, however many there are."""
    folder_of("llama", tmp_path / "small")
    sizes = SMALL | {"hidden_size": 512, "intermediate_size": 2048, "num_hidden_layers": 24}
    folder_of("llama", tmp_path / "large", sizes)
    whole = (tmp_path / "large/model.safetensors").stat().st_size
    arguments = [str(tmp_path / "small"), str(tmp_path / "large"), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", PEAK, *arguments], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    largest = 2048 * 512 * 4
    assert whole > 350e6
    assert int(done.stdout) * 1024 < 8 * largest + 30e6
