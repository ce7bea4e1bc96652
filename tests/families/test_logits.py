"""Small versions of the published models compute what transformers computes, with the same weights.

The genome is the published one with other numbers; the peer is transformers' own class.
"""

import pytest
import torch
import transformers
from small import SMALL, small_config, small_genome
from weights import translate

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

torch.set_num_threads(1)

TOLERANCE = 1e-4
LENGTH = 40  # beyond the windows, and beyond where stretched positions part from plain ones
PREFIXES = (1, 5, 23, LENGTH)


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


@pytest.fixture(scope="module", params=SMALL)
def pair(request):
    """The loaded module of a family's emitted file, its model, and the peer with the same weights."""
    config = small_config(request.param)
    peer = transformers.AutoModelForCausalLM.from_config(
        config, attn_implementation="eager", experts_implementation="eager"
    ).eval()
    randomise(peer)
    module = load(emit(load_program(small_genome(request.param))))
    model = module.Model().eval()
    weights = translate(request.param, peer.state_dict(), config)
    state = model.state_dict()
    assert {k: v.shape for k, v in weights.items()} == {k: v.shape for k, v in state.items()}
    model.load_state_dict(weights)
    return module, model, peer


@pytest.fixture
def tokens():
    return torch.randint(97, (2, LENGTH), generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_logits(pair, tokens):
    _, model, peer = pair
    whole = model(tokens)
    assert whole.std() > 0.5  # a comparison of zeros would show nothing
    for length in PREFIXES:
        ours = model(tokens[:, :length])
        assert (ours - peer(tokens[:, :length], use_cache=False).logits).abs().max() < TOLERANCE
        assert (ours - whole[:, :length]).abs().max() < TOLERANCE


@torch.no_grad()
def test_token_by_token(pair, tokens):
    module, model, _ = pair
    past = module.Past()
    steps = torch.cat([model(tokens[:, t : t + 1], past) for t in range(LENGTH)], 1)
    assert (steps - model(tokens)).abs().max() < TOLERANCE
