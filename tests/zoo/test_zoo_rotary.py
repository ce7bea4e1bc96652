"""Rotary positions of every kind turn a head as transformers turns it."""

import math

import pytest
import torch
import transformers
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import rotate_half

from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program
from foundry.zoo.failure import ZooError
from foundry.zoo.rotary import rotary

HEAD, LENGTH = 16, 40
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
YARN = {"rope_type": "yarn", "rope_theta": 1.5e5, "factor": 32.0, "original_max_position_embeddings": 64}
SHORT = [1.0, 1.0, 1.05, 1.1, 1.3, 1.3, 2.0, 2.5]
LONGROPE = {
    "rope_type": "longrope", "rope_theta": 1e4, "short_factor": SHORT, "long_factor": [3.0 * n for n in SHORT],
    "original_max_position_embeddings": LENGTH,
}  # fmt: skip
KINDS = {
    "default": {"rope_type": "default", "rope_theta": 1e6},
    "linear": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
    "dynamic": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0},
    "llama3": LLAMA3,
    "yarn": YARN,
    "yarn-exact": YARN | {"truncate": False, "beta_fast": 16.0, "beta_slow": 2.0},
    "yarn-mscale": YARN | {"mscale": 0.7, "mscale_all_dim": 1.0},
    "yarn-told": YARN | {"attention_factor": 1.5},
    "longrope": LONGROPE,
    "longrope-told": LONGROPE | {"attention_factor": 1.25},
    "longrope-factor": LONGROPE | {"factor": 8.0},
}  # fmt: skip


def config_of(rope):
    return transformers.LlamaConfig(
        hidden_size=2 * HEAD, num_attention_heads=2, max_position_embeddings=4 * LENGTH, rope_parameters=dict(rope)
    )


def turned(found, values):
    """What a genome makes of one head's values at every position, (T, D): its logits through a unit matrix."""
    text = (
        f"@foundry(1);\n{found.definitions}pos = {found.call};\n"
        f"model = embed(vocab = {LENGTH}, width = {HEAD}) >> split_heads(heads = 1) >> pos >> merge_heads >> unembed;\n"
    )
    model = load(emit(load_program(text))).Model()
    with torch.no_grad():
        model.embed.weight.copy_(values)
        model.unembed.weight.zero_()
        model.unembed.weight[:HEAD] = torch.eye(HEAD)
        return model(torch.arange(LENGTH)[None])[0, :, :HEAD] * math.sqrt(found.scale)


def reference(rope, values, dim=HEAD, interleaved=False):
    """The same by transformers' frequencies, on the first `dim` channels."""
    config = config_of(rope | ({"partial_rotary_factor": dim / HEAD} if dim < HEAD else {}))
    kind = rope["rope_type"]
    if kind == "default":
        speeds, factor = 1.0 / rope["rope_theta"] ** (torch.arange(0, dim, 2).float() / dim), 1.0
    else:
        speeds, factor = ROPE_INIT_FUNCTIONS[kind](config, "cpu")
    angle = torch.arange(LENGTH)[:, None] * speeds
    part, rest = values[:, :dim], values[:, dim:]
    if interleaved:
        part = torch.cat([part[:, ::2], part[:, 1::2]], 1)
    cos, sin = (torch.cat([f(angle), f(angle)], 1) for f in (torch.cos, torch.sin))
    out = (part * cos + rotate_half(part) * sin) * factor
    if interleaved:
        out = torch.stack(out.chunk(2, 1), 2).flatten(1)
    return torch.cat([out, rest], 1)


@pytest.fixture
def values():
    return torch.randn(LENGTH, HEAD, generator=torch.Generator().manual_seed(0))


def fields(rope):
    return {"rope_parameters": rope, "max_position_embeddings": 4 * LENGTH}


@pytest.mark.parametrize("name", KINDS)
def test_whole_heads(name, values):
    found = rotary(fields(KINDS[name]), head_dim=HEAD)
    assert found.dim == HEAD
    assert (turned(found, values) - reference(KINDS[name], values)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["default", "linear", "llama3", "yarn", "yarn-told", "longrope"])
def test_a_part_of_each_head(name, values):
    rope = dict(KINDS[name])
    for list_ in ("short_factor", "long_factor"):
        if list_ in rope:
            rope[list_] = rope[list_][:6]
    found = rotary(fields(rope | {"partial_rotary_factor": 0.75}), head_dim=HEAD)
    assert (found.dim, found.scale) == (12, 1.0)
    assert (turned(found, values) - reference(rope, values, dim=12)).abs().max() < 1e-4


@pytest.mark.parametrize("name", ["default", "linear", "yarn", "yarn-mscale"])
def test_neighbours_as_pairs(name, values):
    found = rotary(fields(KINDS[name]), head_dim=HEAD, interleaved=True)
    assert (turned(found, values) - reference(KINDS[name], values, interleaved=True)).abs().max() < 1e-4


def test_what_is_not_exact_for_ever_says_so():
    assert rotary(fields(KINDS["dynamic"]), head_dim=HEAD).context == 4 * LENGTH
    found = rotary(fields(LONGROPE), head_dim=HEAD)
    assert found.context == LENGTH and f"past {LENGTH} tokens" in found.definitions
    assert rotary(fields(LONGROPE | {"long_factor": SHORT}), head_dim=HEAD).context is None
    assert rotary(fields(YARN), head_dim=HEAD).context is None


def test_older_spellings():
    old = {"rope_theta": 1e4, "rope_scaling": {**LONGROPE, "type": "su"}, "max_position_embeddings": 4 * LENGTH}
    del old["rope_scaling"]["rope_type"]
    del old["rope_scaling"]["rope_theta"]
    assert rotary(old, head_dim=HEAD) == rotary(fields(LONGROPE), head_dim=HEAD)
    assert rotary({"rope_theta": 5e5, "rope_scaling": None}, head_dim=HEAD).call == "rope(theta = 500000)"
    outside = {**fields(LLAMA3 | {"original_max_position_embeddings": None}), "original_max_position_embeddings": 16}
    assert rotary(outside, head_dim=HEAD) == rotary(fields(LLAMA3), head_dim=HEAD)


@pytest.mark.parametrize(
    ("rope", "said"),
    [
        ({"rope_type": "spiral"}, "rope_type is 'spiral'; known here: default, linear"),
        ({"rope_type": ["yarn"]}, "rope_type is"),
        ({"rope_type": "linear"}, "factor is missing"),
        ({"rope_type": "linear", "factor": -1}, "factor is -1"),
        (LLAMA3 | {"low_freq_factor": 4.0}, "high_freq_factor is 4"),
        (LONGROPE | {"short_factor": SHORT[1:]}, "short_factor is 7 numbers; it must have one for each of the 8"),
        ({"partial_rotary_factor": 0.2}, "3 of 16 channels"),
        ({"rope_theta": 0}, "rope_theta is 0"),
        ("fast", "rope_parameters is no table"),
    ],
)
def test_refused(rope, said):
    with pytest.raises(ZooError, match=said):
        rotary(fields(rope), head_dim=HEAD)


def test_pairs_that_nobody_has_are_refused():
    with pytest.raises(ZooError, match="llama3 with interleaved pairs"):
        rotary(fields(LLAMA3), head_dim=HEAD, interleaved=True)
