"""The reference is right where arithmetic by hand, a loop or another library says so, and notices what it should."""

import math
import random
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from foundry.dsl.check import load_program
from foundry.dsl.program import parameter_count
from foundry.dsl.registry import PRIMITIVES
from foundry.generate.genomes import random_genome
from foundry.testing import definitions as mean
from foundry.testing import reference
from foundry.testing.case import Broken, Case, Skipped
from foundry.testing.properties import BY_NAME
from foundry.testing.reference import Reference, per_token
from foundry.testing.weights import weights_of

torch.set_num_threads(1)

GENOME = """@foundry(1);
layer(x) = x + attention(x, heads = 4, kv_heads = 2, mask = window(size = 3), score = bent) + kept(x);
bent(s, i, j) = s - softplus(param(0.5, per = head)) * log(1 + i - j);
kept(x) = scan(sigmoid(x), conv(shift(x), kernel = 3));
model = embed(vocab = 61, width = 16) >> 2 * layer >> rmsnorm >> unembed(tied = 1);
"""


def heads(*shape):
    """Values (B, H, T, 1, C)."""
    b, h, t, c = shape
    return torch.randn(b, h, t, 1, c, generator=torch.Generator().manual_seed(sum(shape)), dtype=torch.float64)


def test_every_primitive_has_a_meaning():
    source = "".join(Path(module.__file__).read_text() for module in (mean, reference))
    assert [name for name in PRIMITIVES if f'"{name}"' not in source] == []


def test_an_unknown_primitive_is_not_judged():
    program = load_program(GENOME)
    node = program.model.nodes[0]
    node.op = "tremble"
    with pytest.raises(Skipped, match="does not know what tremble means"):
        Reference({}).run(program.model, [per_token(torch.zeros(1, 2))])


@pytest.mark.parametrize("op", ["log", "sqrt", "rsqrt", "sigmoid", "softplus", "relu", "erf", "tanh", "floor"])
def test_a_function_is_that_of_the_checker(op):
    for x in (0.3, 1.0, 2.5):
        assert mean.ELEMENTWISE[op](mean.constant(x)).item() == pytest.approx(PRIMITIVES[op].fold(x), rel=1e-14)


def test_a_remainder_has_the_sign_of_the_divisor():
    found = [mean.ELEMENTWISE["remainder"](mean.constant(a), mean.constant(b)).item() for a, b in ((-1, 3), (1, -3))]
    assert found == [2, -2]


def test_softmax_attention_is_that_of_pytorch():
    q, k, v = heads(2, 4, 7, 6), heads(2, 2, 7, 6), heads(2, 2, 7, 5)
    counts = torch.ones(7, 7).tril()[None, None, :, :, None].bool().expand(2, 4, 7, 7, 1)
    found = mean.attend_values(mean.attend_logits(q, k, None), counts, None, v)
    expected = F.scaled_dot_product_attention(*(x.squeeze(3) for x in (q, k, v)), is_causal=True, enable_gqa=True)
    torch.testing.assert_close(found.squeeze(3), expected, rtol=1e-13, atol=1e-13)


def test_a_sink_takes_its_share():
    v = torch.ones(1, 1, 2, 1, 3, dtype=torch.float64)
    counts = torch.ones(2, 2).tril()[None, None, :, :, None].bool()
    found = mean.attend_values(torch.zeros(1, 1, 2, 2, 1), counts, mean.constant(math.log(2)), v)
    assert found[0, 0, :, 0, 0].tolist() == pytest.approx([1 / 3, 2 / 4])


def test_a_query_that_sees_nothing_gives_nothing():
    v = torch.ones(1, 1, 2, 1, 3, dtype=torch.float64)
    logits = torch.zeros(1, 1, 2, 2, 1, dtype=torch.float64)
    found = mean.attend_values(logits, logits.bool(), None, v)
    assert found.tolist() == torch.zeros(1, 1, 2, 1, 3).tolist()


def test_the_first_query_heads_share_the_first_key_head():
    assert [mean.key_head(h, 6, 2) for h in range(6)] == [0, 0, 0, 1, 1, 1]


def test_linear_attention_sums_keys_times_values():
    q, k, v = heads(1, 1, 3, 2), heads(1, 1, 3, 2), heads(1, 1, 3, 4)
    found = mean.linear_attend(q, k, v, mean.constant(0.5))[0, 0, :, 0]
    q, k, v = q[0, 0, :, 0], k[0, 0, :, 0], v[0, 0, :, 0]
    expected = (q[2] @ k[0]) * v[0] / 4 + (q[2] @ k[1]) * v[1] / 2 + (q[2] @ k[2]) * v[2]
    torch.testing.assert_close(found[2], expected)


def test_the_delta_rule_replaces_what_is_held_for_a_key():
    k = torch.tensor([1.0, 0.0], dtype=torch.float64).expand(1, 1, 3, 1, 2)
    v = torch.tensor([3.0, 5.0, 7.0], dtype=torch.float64).view(1, 1, 3, 1, 1)
    replaced = mean.delta_attend(k, k, v, mean.constant(1), mean.constant(1))
    halfway = mean.delta_attend(k, k, v, mean.constant(0.5), mean.constant(1))
    faded = mean.delta_attend(k, k, v, mean.constant(0.5), mean.constant(0.5))
    assert replaced.flatten().tolist() == [3, 5, 7]
    assert halfway.flatten().tolist() == [1.5, 3.25, 5.125]
    assert faded.flatten().tolist() == [1.5, 0.5 * 0.75 + 2.5, 0.5 * 0.5 * 2.875 + 3.5]


def test_scan_shift_and_conv_look_back():
    x = torch.tensor([1.0, 2, 3], dtype=torch.float64).view(1, 1, 3, 1, 1)
    taps = torch.tensor([[[10.0, 1.0]]], dtype=torch.float64)
    assert mean.scan(mean.constant(0.5), x).flatten().tolist() == [1, 2.5, 4.25]
    assert mean.shift(x, 2).flatten().tolist() == [0, 0, 1]
    assert mean.conv(x, taps).flatten().tolist() == [1, 12, 23]


def test_pairs_turn_by_halves_or_by_neighbours():
    x = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64).view(1, 1, 1, 1, 4)
    quarter = torch.tensor([math.pi / 2, 0], dtype=torch.float64).view(1, 1, 1, 1, 2)
    assert mean.rotate(x, quarter, False).flatten().tolist() == pytest.approx([-3, 2, 1, 4])
    assert mean.rotate(x, quarter, True).flatten().tolist() == pytest.approx([-2, 1, 3, 4])


def test_the_largest_of_equals_are_the_first():
    x = torch.tensor([2.0, 3, 2, 1, 3], dtype=torch.float64).view(1, 1, 1, 1, 5)
    assert mean.top(x, 3).flatten().tolist() == [1, 1, 0, 0, 1]


def test_an_index_outside_a_table_counts_as_the_nearest():
    index = torch.tensor([-1.0, 0, 2, 9], dtype=torch.float64).view(1, 1, 4, 1, 1)
    found = mean.lookup(index, torch.tensor([[5.0, 6, 7], [8, 9, 10]], dtype=torch.float64))
    assert found.flatten().tolist() == [5, 5, 7, 7, 8, 8, 10, 10]


@pytest.mark.parametrize("seed", range(20))
def test_the_weights_are_all_there(seed):
    program = load_program(random_genome(random.Random(seed)))
    assert sum(math.prod(w.shape) for w in weights_of(program) if w.learned) == parameter_count(program)


# Faults in the emitted file: what it says, what it says instead, and the promise that is broken.
FAULTS = {
    "a mask off by one": ("j <= i\n", "j < i + 2\n", "meaning"),
    "a window off by one": ("i - j < window", "i - j <= window", "meaning"),
    "a bias of another sign": ("return -(F.softplus", "return (F.softplus", "meaning"),
    "a tie that is missing": (
        "self.layers = nn.ModuleList",
        "self.other = nn.Embedding(61, 16)\n        self.layers = nn.ModuleList",
        "meaning",
    ),
    "two weights that are swapped": ("split_heads(self.k(x), 2)", "split_heads(self.v(x), 2)", "meaning"),
    "two weights made in another order": (
        "self.k = nn.Linear(16, 8, bias=False)\n        self.v = nn.Linear(16, 8, bias=False)",
        "self.v = nn.Linear(16, 8, bias=False)\n        self.k = nn.Linear(16, 8, bias=False)",
        "meaning",
    ),
    "layers that are one": ("nn.ModuleList(Layer() for _ in range(2))", "nn.ModuleList([Layer()] * 2)", "meaning"),
    "heads that share the wrong keys": ("enable_gqa=gqa)", "enable_gqa=gqa).flip(1)", "meaning"),
    "a gradient that is cut": ("self.conv(shift(x,", "self.conv(shift(x.detach(),", "gradient-meaning"),
    "a backward pass that is wrong": ("grad_b = recur(later.flip(-2)", "grad_b = recur(a.flip(-2)", "gradient-meaning"),
    "a wrong first value": ("torch.full((4, 1, 1), 0.5)", "torch.full((4, 1, 1), 0.25)", "initial-values"),
    "a loss of another sign": ("return F.cross_entropy", "return -F.cross_entropy", "loss-meaning"),
    "a schedule that is late": ("min(t / ", "min(0.9 * t / ", "recipe"),
    "a bias that is forgotten": ("bias(h, i, j), -torch.inf", "0.0, -torch.inf", "attention-forms"),
    "a norm with another constant": ("eps=1e-6)\n", "eps=1e-3)\n", "recognised"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_emitted_file_is_noticed(fault):
    right, wrong, promise = FAULTS[fault]
    BY_NAME[promise].holds(Case(GENOME))
    case = Case(GENOME)
    assert case.source.count(right) >= 1
    case.source = case.source.replace(right, wrong)
    with pytest.raises(Broken):
        BY_NAME[promise].holds(case)


def test_rounding_decides_between_equals():
    genome = "@foundry(1); model = embed(vocab = 9, width = 4) >> (fn(x) => x * top(relu(x), 1)) >> unembed(tied = 1);"
    case = Case(genome)
    case.source = case.source.replace("top(F.relu(x), 1)", "top(F.relu(x).flip(-1), 1).flip(-1)")
    with pytest.raises(Skipped, match="rounding decides top"):
        BY_NAME["meaning"].holds(case)
