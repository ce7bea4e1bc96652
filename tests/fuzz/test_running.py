"""The running properties hold of the genomes that broke them once, and they notice what is wrong."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from foundry.compiler.emit import emit
from foundry.dsl.check import load_program
from foundry.testing.case import Broken, Case
from foundry.testing.felt import weights
from foundry.testing.properties import causality, decoding, gradients, running

torch.set_num_threads(1)

MECHANISMS = sorted(Path(__file__).parents[2].joinpath("genomes").glob("[!f]*/*.genome"))
HEADER = "@foundry(1);\n"
MODEL = "model = embed(vocab = 17, width = 16) >> 2 * layer >> rmsnorm >> unembed(tied = 1);\n"
LAYERS = {
    "attention": "layer(x) = x + attention(rmsnorm(x), heads = 2, pos = rope);",
    "a window": "layer(x) = x + attention(rmsnorm(x), heads = 2, mask = window(size = 3));",
    "a recurrence": "layer(x) = x + recurrence(rmsnorm(x));",
    "experts": "layer(x) = { p = softmax(linear(x, 4)); x + experts(x, p * top(p, 2), glu(hidden = 8)) };",
    "a stopped gradient": "layer(x) = x + linear(stop(linear(x, 16)), 16);",
    "a penalty": "layer(x) = penalty(x, 0.1 * linear(x, 1) ** 2) + linear(x, 16);",
    "a loss of half of it": "layer(x) = concat(slice(x, 0, 8), linear(slice(x, 8, 16), 8));",
}
GENOMES = {name: HEADER + layer + "\n" + MODEL for name, layer in LAYERS.items()}
ALL = [*running.PROPERTIES, *causality.PROPERTIES, *decoding.PROPERTIES, *gradients.PROPERTIES]


@pytest.mark.parametrize("name", GENOMES)
def test_every_running_property_holds(name):
    case = Case(GENOMES[name], 3)
    for found in ALL:
        found.holds(case)


# ---- faults are seen ------------------------------------------------------------------------------------------------


def faulty(name: str, old: str, new: str) -> Case:
    """A case whose emitted file has a fault."""
    case = Case(GENOMES[name], 3)
    assert old in emit(case.program)
    case.source = emit(case.program).replace(old, new)
    return case


@pytest.mark.parametrize(
    ("name", "old", "new", "broken"),
    [
        ("attention", "is_causal=whole", "is_causal=False", causality.causal),
        ("a window", "keep=window)", "keep=window - 2)", decoding.in_pieces),
        ("a recurrence", 'slot["h"] = h[..., -1:, :]', 'slot["h"] = h[..., :1, :]', decoding.in_pieces),
        ("attention", "self.position += tokens", "self.position += 1", decoding.in_pieces),
        ("a recurrence", "grad_b * F.pad", "grad_b * 2 * F.pad", gradients.right),
        ("attention", "v = split_heads(self.v(x)", "v = split_heads(self.v(x).detach()", gradients.everywhere),
        ("a stopped gradient", ".detach()", "", gradients.everywhere),
        ("attention", "generator=generator)", ")", running.seeds_decide),
        ("a penalty", "torch.full_like(term, Penalty.share)", "-torch.full_like(term, Penalty.share)", gradients.right),
    ],
)
def test_a_fault_is_seen(name, old, new, broken):
    case = faulty(name, old, new)
    with pytest.raises(Broken):
        broken(case)


def test_other_sequences_of_a_batch_are_noticed():
    case = faulty("attention", "x = self.embed(tokens)", "x = self.embed(tokens) + 1e-9 * self.embed(tokens).mean(0)")
    with pytest.raises(Broken):
        causality.rows_apart(case)


def test_the_weights_that_the_loss_feels_by_hand():
    found = weights(load_program(GENOMES["a stopped gradient"]))
    # the embedding, then in each layer the linear layer that is stopped and the one that is not, then the norm
    assert [(w.size, w.felt) for w in found] == [
        (17 * 16, True),
        *[(16 * 16, False), (16 * 16, True)] * 2,
        (16, True),
    ]


# ---- in another process --------------------------------------------------------------------------------

ALONE = """
import json, sys
import torch
torch.set_num_threads(1)
found = {}
for name, source in json.load(sys.stdin).items():
    names = {"__name__": name}
    exec(source, names)
    model = names["Model"]()
    model.initialise(7)
    tokens = torch.arange(12).reshape(2, 6) % names["VOCAB"]
    with torch.no_grad():
        found[name] = model.eval()(tokens).flatten().tolist()
assert not any(m.split(".")[0] == "foundry" for m in sys.modules)
print(json.dumps(found))
"""


def test_emitted_files_give_the_same_bits_in_a_process_without_foundry():
    cases = {path.stem: Case(path.read_text()) for path in MECHANISMS[::8]}
    given = json.dumps({name: case.source for name, case in cases.items()})
    done = subprocess.run([sys.executable, "-I", "-c", ALONE], input=given, capture_output=True, text=True, check=True)
    for name, logits in json.loads(done.stdout).items():
        case = cases[name]
        model = case.module.Model()
        model.initialise(7)
        with torch.no_grad():
            expected = copy.deepcopy(model).eval()(torch.arange(12).reshape(2, 6) % case.module.VOCAB)
        assert logits == expected.flatten().tolist(), name
