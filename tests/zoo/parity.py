"""What every family must hold: a small random model of transformers comes in, says the same, goes back unchanged."""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.train.checkpoint import weights

TOLERANCE = 1e-4
LENGTH = 40  # beyond the windows, and beyond where stretched positions part from plain ones
GREEDY = 12

torch.set_num_threads(1)


def randomise(peer):
    """Weights with which softmax, routers, soft caps and limits do something."""
    generator = torch.Generator().manual_seed(0)
    for key, tensor in peer.state_dict(keep_vars=True).items():
        noise = torch.randn(tensor.shape, generator=generator)
        if tensor.dim() == 1 and key.endswith("weight"):
            tensor.data += 0.3 * noise
        elif tensor.dim() == 1 or "bias" in key:
            tensor.data = 0.3 * noise
        elif "embed" in key or "wte" in key or "wpe" in key:
            tensor.data = noise
        else:
            tensor.data = 1.5 * noise / tensor.shape[-1] ** 0.5


def published(config, folder: Path):
    """A random model of transformers, what it writes: config.json and tensors by name."""
    peer = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    )
    peer = peer.float().eval()
    randomise(peer)
    peer.save_pretrained(folder)
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return peer, json.loads((folder / "config.json").read_text()), tensors


def arrived(family, config, tensors):
    """The emitted module and its model with the weights of a public one; every tensor of both has one place."""
    moves = family.moves(config)
    theirs = [name for move in moves for name in move.theirs]
    ours = [name for move in moves for name in move.ours]
    assert sorted(theirs) == sorted(tensors), sorted(set(theirs) ^ set(tensors))
    module = load(emit(load_program(family.genome(config))))
    model = module.Model().eval()
    expected = weights(model)
    assert sorted(ours) == sorted(expected), sorted(set(ours) ^ set(expected))
    with torch.no_grad():
        for move in moves:
            for name, tensor in zip(move.ours, move.way.there([tensors[n] for n in move.theirs]), strict=True):
                assert expected[name].shape == tensor.shape, f"{name}: {expected[name].shape} and {tensor.shape}"
                expected[name].copy_(tensor)
    return module, model, moves


def assert_comes_back(moves, model, tensors):
    """Every tensor of theirs, bit for bit."""
    held, back = weights(model), {}
    for move in moves:
        given = move.way.back([held[name].detach() for name in move.ours])
        back |= dict(zip(move.theirs, given, strict=True))
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert back[name].shape == tensor.shape and torch.equal(back[name], tensor), name


@torch.no_grad()
def assert_agrees(peer, module, model, vocab, length):
    tokens = torch.randint(vocab, (2, length), generator=torch.Generator().manual_seed(1))
    whole = model(tokens)
    assert whole.std() > 0.5  # a comparison of zeros would show nothing
    for part in sorted({1, min(5, length), length * 3 // 5 + 1 if length > 5 else length, length}):
        there = peer(tokens[:, :part], use_cache=False).logits
        assert (model(tokens[:, :part]) - there).abs().max() < TOLERANCE, part
    steps = min(GREEDY, length - 2)
    start = length - steps
    text, past, new = tokens[:1, :start], module.Past(), []
    step = model(text, past)
    for _ in range(steps):
        new.append(step[:, -1:].argmax(-1))
        step = model(new[-1], past)
    for _ in range(steps):
        text = torch.cat([text, peer(text, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    assert torch.equal(text[:, start:], torch.cat(new, 1))


def parity(family, hf_config, tmp_path, length=LENGTH):
    """Import, compare and export a random model of a transformers configuration; `length` of the longest input.

    Returns config.json as it was written.
    """
    peer, config, tensors = published(hf_config, tmp_path)
    module, model, moves = arrived(family, config, tensors)
    assert_agrees(peer, module, model, config["vocab_size"], length)
    assert_comes_back(moves, model, tensors)
    return config
