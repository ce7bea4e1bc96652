"""The cost properties hold, notice what is wrong, and rest on a measurement that agrees with PyTorch's own."""

import statistics
from pathlib import Path

import pytest
import torch
from torch.distributed._tools.mem_tracker import MemTracker

from foundry.compiler.cost import cost
from foundry.compiler.memory import memory
from foundry.dsl.check import load_program
from foundry.testing import memory as measuring
from foundry.testing.case import Broken, Case
from foundry.testing.properties import costs

torch.set_num_threads(1)

GENOMES = Path(__file__).parents[2] / "genomes"
MECHANISMS = sorted(GENOMES.glob("[!f]*/*.genome"))
HEADER = "@foundry(1);\n"


@pytest.mark.parametrize("path", MECHANISMS[::6], ids=lambda path: path.stem)
def test_the_costs_of_mechanisms_are_those_of_their_models(path):
    case = Case(path.read_text(), 5)
    for found in costs.PROPERTIES:
        found.holds(case)


FOUND = {
    # keys, and what a shift looks back at, that come out of a repeat: once, not once for each pass
    "a shift after a repeat": (
        "layer(x) = x + mlp(x, hidden = 8);\n"
        "model = embed(vocab = 17, width = 8) >> 3 * layer >> shift(by = 2) >> unembed(tied = 1);",
        2 * 8 * 4,
        0,
    ),
    "keys after a repeat": (
        "layer(x) = x + mlp(x, hidden = 8);\n"
        "last(x) = { k = split_heads(x, 2); merge_heads(attend(k, k, k)) };\n"
        "model = embed(vocab = 17, width = 8) >> 3 * layer >> last >> unembed(tied = 1);",
        0,
        8 * 4,
    ),
    "a convolution that an index alone asks for": (
        "layer(x) = x + channel_index(conv(x, kernel = 4), 8);\n"
        "model = embed(vocab = 17, width = 8) >> 2 * layer >> unembed(tied = 1);",
        0,
        0,
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_the_cache_of_what_fuzzing_found(name):
    text, fixed, growing = FOUND[name]
    found = cost(load_program(HEADER + text))
    assert (found.cache_bytes_fixed, found.cache_bytes_per_token) == (fixed, growing)
    costs.cache_is_exact(Case(HEADER + text))
    costs.bound_is_a_bound(Case(HEADER + text))
    costs.operations_are_exact(Case(HEADER + text))


@pytest.mark.parametrize(
    ("figure", "broken"),
    [("parameters", costs.parameters_are_exact), ("cache_bytes_fixed", costs.cache_is_exact)],
)
def test_a_wrong_figure_is_seen(figure, broken, monkeypatch):
    def wrong(program, context=None):
        found = cost(program, context)
        return type(found)(**{**vars(found), figure: getattr(found, figure) + 4})

    monkeypatch.setattr(costs, "cost", wrong)
    with pytest.raises(Broken):
        broken(Case((GENOMES / "llama.genome").read_text()))


def test_wrong_operations_are_seen(monkeypatch):
    monkeypatch.setattr(costs, "MATRICES", costs.MATRICES - {"unembed"})
    with pytest.raises(Broken):
        costs.operations_are_exact(Case((GENOMES / "llama.genome").read_text()))


# ---- memory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["llama", "channels/moe_softmax", "attention/mamba"])
def test_measured_memory_is_what_pytorch_tracks(name):
    case = Case((GENOMES / f"{name}.genome").read_text())
    model, tokens = case.fresh(torch.float32), torch.randint(case.module.VOCAB, (2, 33))
    found = measuring.step_peak(case.module, model, tokens).peak
    optimizers = case.module.optimizers(model)
    measuring._step(case.module, model, optimizers, tokens)
    tracker = MemTracker()
    tracker.track_external(model, tokens, *optimizers)
    with tracker:
        measuring._step(case.module, model, optimizers, tokens)
    ((_, peak),) = tracker.get_tracker_snapshot("peak").items()
    assert found == peak["Total"]


def test_a_storage_counts_once_and_until_its_end():
    with measuring.Live() as live:
        x = torch.zeros(1000)
        y = x[:500].view(10, 50)
        assert live.now == 4000
        z = y + 1
        assert (live.now, live.peak) == (6000, 6000)
        del z
        assert (live.now, live.peak) == (4000, 6000)
        del x
        assert live.now == 4000  # y looks at it
        del y
        assert live.now == 0


def test_memory_by_hand():
    text = HEADER + "model = embed(vocab = 8, width = 4) >> unembed;\nrecipe = train(optimizer = lion(lr = 0.001));"
    found = memory(load_program(text), context=10, rows=3)
    weights, logits = 2 * 8 * 4 * 4, 3 * 10 * 8 * 4
    assert (found.weights, found.optimizer) == (weights, weights)
    assert found.forward == weights + 3 * 10 * 8 + 3 * 10 * 4 * 4 + logits  # tokens, vectors and logits
    # weights and their state; inputs and targets; vectors; logits, their log-softmax and the gradients of both
    assert found.training >= 2 * weights + 2 * 3 * 10 * 8 + 3 * 10 * 4 * 4 + 4 * logits


def test_memory_grows_with_the_passes_of_a_repeat_in_equal_steps():
    def held(layers):
        text = f"layer(x) = x + mlp(rmsnorm(x));\nmodel = embed(vocab = 17, width = 8) >> {layers} * layer >> unembed;"
        return memory(load_program(HEADER + text), context=16, rows=64).training

    assert held(7) - held(6) == held(6) - held(5) == held(4) - held(3) > 0


def test_the_spread_of_measured_over_predicted_memory():
    ratios = [costs.memory_ratios(Case(path.read_text()), 2, 32) for path in MECHANISMS[::8]]
    for what, found in zip(("forward", "training"), zip(*ratios, strict=True), strict=True):
        print(f"{what}: {min(found):.2f} to {max(found):.2f}, median {statistics.median(found):.2f}")
    assert all(0.8 < training < 1.2 for _, training in ratios)
