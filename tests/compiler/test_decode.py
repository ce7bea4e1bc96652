"""Decoding with a past equals the full forward pass, and nobody sees the future, for genomes of every kind."""

from pathlib import Path

import pytest
import torch

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

torch.set_num_threads(1)

HEADER = "@foundry(1);\n"
MODEL = "model = embed(vocab = 61, width = 32) >> 2 * layer >> rmsnorm >> unembed(tied = 1);\n"
LAYERS = {
    "window": "layer(x) = x + attention(rmsnorm(x), heads = 4, kv_heads = 2, pos = rope, mask = window(size = 5));",
    "dilated": "layer(x) = x + attention(rmsnorm(x), heads = 4, mask = dilated(step = 3));",
    "per head": "layer(x) = x + attention(rmsnorm(x), heads = 4, mask = fn(h, i, j) => i - j < 2 * h + 1);",
    "strictly before": "layer(x) = x + attention(rmsnorm(x), heads = 4, mask = fn(i, j) => j < i);",
    "soft cap": "layer(x) = x + attention(rmsnorm(x), heads = 4, kv_heads = 1, score = softcap(cap = 2));",
    "soft cap, window": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = softcap, mask = window(size = 4));",
    "alibi": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = alibi);",
    "alibi, window": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = alibi, mask = window(size = 3));",
    "learned distance": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = log_distance);",
    "learned temperature": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = sharpen);",
    "scaled score": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = fn(s) => 3 * s);",
    "absolute": "layer(x) = x + attention(rmsnorm(x), heads = 4, score = fn(s, i, j) => s + sin(i) * cos(j));",
    "position": "layer(x) = x + attention(rmsnorm(x) + 0.1 * sin(position(x)), heads = 2);",
    "conv": "layer(x) = x + linear(conv(rmsnorm(x), kernel = 4), 32);",
    "conv of one tap": "layer(x) = x + linear(conv(rmsnorm(x), kernel = 1), 32);",
    "conv in heads": "layer(x) = x + attention(rmsnorm(x), heads = 4, short = conv(kernel = 3), pos = rope);",
    "shift": "layer(x) = x + linear(shift(rmsnorm(x), by = 3), 32);",
    "token shift": "layer(x) = x + mlp(token_shift(rmsnorm(x)), hidden = 48);",
    "scan": "layer(x) = x + recurrence(rmsnorm(x));",
    "scan with a number": "layer(x) = x + linear(scan(0.9, rmsnorm(x)), 32);",
    "scan in heads": "layer(x) = x + merge_heads(scan(0.7, split_heads(linear(x, 32), 4)));",
    "shared": "layer(x) = { mix = share(attention(heads = 4, pos = rope)); x = x + mix(rmsnorm(x)); x + mix(x) };",
    "loop": "block(x) = x + attention(rmsnorm(x), heads = 2, pos = rope); layer(x) = x >> share(3 * block);",
}
GENOMES = {name: HEADER + layer + "\n" + MODEL for name, layer in LAYERS.items()}
GENOMES |= {p.stem: p.read_text() for p in sorted(Path(__file__).parents[2].joinpath("genomes").glob("*.genome"))}


def build(text):
    module = load(emit(load_program(text)))
    model = module.Model()
    model.initialise(1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # away from the neutral initial values
        for p in model.parameters():
            p.add_(0.3 * torch.randn(p.shape, generator=generator))
    return module, model.eval()


def sample(module, tokens=23):
    return torch.randint(module.VOCAB, (2, tokens), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("name", GENOMES)
def test_decoding_equals_the_full_pass(name):
    module, model = build(GENOMES[name])
    model.double()
    tokens = sample(module)
    with torch.no_grad():
        full = model(tokens)
        for chunks in ([1] * 23, [9] + [1] * 14, [6, 8, 1, 7, 1]):
            past, parts = module.Past(), []
            for chunk in tokens.split(chunks, 1):
                parts.append(model(chunk, past))
            assert past.position == 23
            torch.testing.assert_close(torch.cat(parts, 1), full, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", GENOMES)
def test_later_tokens_change_no_earlier_logit_by_a_bit(name):
    module, model = build(GENOMES[name])
    tokens = sample(module)
    changed = tokens.clone()
    changed[:, 12:] = (changed[:, 12:] + 17) % module.VOCAB
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.equal(before[:, 12:], after[:, 12:])


@pytest.mark.parametrize("name", GENOMES)
def test_every_weight_gets_a_finite_gradient(name):
    module, model = build(GENOMES[name])
    tokens = sample(module, 33)
    module.loss(model(tokens[:, :-1]), tokens[:, 1:]).mean().backward()
    for key, p in model.named_parameters():
        assert p.grad is not None, key
        assert p.grad.isfinite().all(), key
        assert p.grad.abs().sum() > 0, key


def test_a_window_is_all_that_a_decoder_keeps():
    module, model = build(GENOMES["window"])
    past = module.Past()
    with torch.no_grad():
        for token in sample(module).split(1, 1):
            model(token, past)
    assert {slot["kept"].size(2) for slot in past.slots} == {5}


def test_generation_goes_on_past_the_last_learned_position():
    module, model = build(GENOMES["gpt2"])
    assert module.LONGEST == 128
    start = sample(module, 5)
    out = module.generate(model, start, 160, temperature=0)
    assert out.shape == (2, 165)
    assert torch.equal(out[:, :5], start)
    with torch.no_grad():  # greedy decoding without a past, while there are positions
        expected = start
        for _ in range(20):
            expected = torch.cat((expected, model(expected)[:, -1:].argmax(-1)), 1)
    assert torch.equal(out[:, :25], expected)


def test_layers_that_share_keys_and_values_keep_them_once():
    program = load_program(
        "@foundry(1);\n"
        "layer(x, k, v) = x + linear(merge_heads(attend(split_heads(linear(x, 64), 4), k, v)), 64);\n"
        "model(tokens) = { x = embed(tokens, vocab = 256, width = 64); k = split_heads(linear(x, 64), 4);"
        " v = split_heads(linear(x, 64), 4); x >> 3 * layer(k = k, v = v) >> unembed(tied = 1) };"
    )
    module = load(emit(program))
    model, past = module.Model().eval(), module.Past()
    tokens = torch.randint(256, (1, 24))
    with torch.no_grad():
        steps = torch.cat([model(tokens[:, t : t + 1], past) for t in range(24)], 1)
        assert torch.allclose(steps, model(tokens), atol=1e-5)
    kept = {id(x): x.numel() * 4 for slot in past.slots for x in slot.get("kept", ())}
    assert sum(kept.values()) == 24 * cost(program, context=24).cache_bytes_per_token == 24 * 2 * 64 * 4
