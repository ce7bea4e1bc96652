"""Cosines and sines of rotary positions: made once for all layers, wherever the rotations stand."""

import ast
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from foundry.compiler import emit_module
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.check import load_program

torch.set_num_threads(1)


def genome(body, layers="2 * layer"):
    return f"@foundry(1);\n{body}\nmodel = embed(vocab = 32, width = 16) >> {layers} >> unembed(tied = 1);\n"


def forward(source, name):
    """The lines of the `forward` of a class."""
    (found,) = [n for n in ast.parse(source).body if isinstance(n, ast.ClassDef) and n.name == name]
    method = next(n for n in found.body if isinstance(n, ast.FunctionDef) and n.name == "forward")
    return [ast.unparse(statement) for statement in method.body]


def calls(source, name):
    """How often a pass through the model calls a function of the file."""
    module, count = load(source), 0
    inner = getattr(module, name)

    def counted(*arguments):
        nonlocal count
        count += 1
        return inner(*arguments)

    setattr(module, name, counted)
    module.Model()(torch.zeros(1, 4, dtype=torch.long))
    return count


ATTENTION = "layer(x) = x + attention(x, heads = 2, pos = rope);"
SHARED = "block(x) = { f = share(attention(heads = 2, pos = rope)); x + f(x) + f(f(x)) };\nlayer = block;"
SLICED = "layer(x) = x + attention(x, heads = 2, pos = partial_rope);"
LATENT = "layer(x) = x + mla(x, heads = 2, rank = 4, pos = rope_pairs);"
IN_PLACE = "layer(x) = x + merge_heads(rotate(split_heads(x, 2), position(x) * 0.3 ** channel_index(x, 4)));"
HEADS = "layer(x) = { h = split_heads(x, 2); x + merge_heads(rotate(h, position(h) * (1 + head_index(h)))) };"
SAME = "same(x) = x;\nlayer(x) = { f = share(same); x + f(f(attention(x, heads = 2, pos = rope))) };"
NAMED = "layer(cos_sin) = cos_sin + attention(cos_sin, heads = 2, pos = rope);"
TWO = "local = attention(heads = 2, pos = rope);\nwide = attention(heads = 2, pos = rope(theta = 1e6));\n"
TWO += "layer(x) = x + local(x) + wide(x);"


@pytest.mark.parametrize("body", [ATTENTION, SHARED, SLICED, LATENT, IN_PLACE, HEADS, SAME, NAMED])
@pytest.mark.parametrize("layers", ["3 * layer", "share(3 * layer)", "2 * (layer >> 2 * layer)"])
def test_an_angle_of_positions_is_made_once_for_all_layers(body, layers):
    source = emit(load_program(genome(body, layers)))
    assert calls(source, "cos_sin_of_pairs" if body is LATENT else "cos_sin_of") == 1


@pytest.mark.parametrize("body", [ATTENTION, SHARED, SLICED, LATENT, IN_PLACE, HEADS, SAME, NAMED, TWO])
@pytest.mark.parametrize("layers", ["3 * layer", "share(3 * layer)", "2 * (layer >> 2 * layer)"])
def test_nothing_else_changes_by_a_bit(body, layers):
    program = load_program(genome(body, layers))
    with patch.object(emit_module, "with_waves_on_top", lambda model: model):
        plain = emit(program)
    assert plain != emit(program)
    results, tokens = [], torch.randint(32, (2, 9), generator=torch.Generator().manual_seed(0))
    for source in (plain, emit(program)):
        module = load(source)
        model, past = module.Model(), module.Past()
        model.initialise(0)
        logits = model(tokens)
        logits.square().mean().backward()
        with torch.no_grad():
            pieces = [model(tokens[:, :4], past), *(model(tokens[:, n : n + 1], past) for n in range(4, 9))]
        results.append(
            {"logits": logits, "cached": torch.cat(pieces, 1)} | {k: p.grad for k, p in model.named_parameters()}
        )
    first, second = results
    assert list(first) == list(second)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_waves_of_several_angles_are_called_after_what_they_are_for():
    source = emit(load_program(genome(TWO)))
    assert forward(source, "Model")[:2] == [
        "local_cos_sin = rope(tokens, 10000.0, past)",
        "wide_cos_sin = rope(tokens, 1000000.0, past)",
    ]
    assert forward(source, "Layer") == [
        "return x + self.local(x, local_cos_sin, past) + self.wide(x, wide_cos_sin, past)"
    ]
    assert source.count("class Attention") == 1


def test_an_angle_that_comes_once_stays_where_it_is():
    source = emit(load_program(genome(HEADS, "layer")))
    assert "return x + merge_heads(rotate(h, cos_sin_of(angle, 8)))" in source
    assert "cos_sin" not in " ".join(forward(source, "Model"))


def test_an_angle_that_depends_on_the_text_stays_where_it_is():
    source = emit(load_program(genome("layer(x) = x + rotate(x, position(x) * mean(x));")))
    assert calls(source, "cos_sin_of") == 2
    assert "cos_sin" not in " ".join(forward(source, "Model"))


def test_a_class_with_rotary_positions_is_told_from_one_without():
    folder = Path(__file__).parents[2] / "genomes" / "positions"
    source = emit(load_program((folder / "rope_some_layers.genome").read_text()))
    assert "class RopeAttention(" in source
    assert "class Attention(" in source
