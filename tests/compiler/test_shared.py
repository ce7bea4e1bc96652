"""Weights that are used in more than one place: they stand once, learn once, and are handed to who uses them."""

import pytest
import torch

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program
from foundry.dsl.program import parameter_count

torch.set_num_threads(1)

ZAMBA = """@foundry(1);
whole(x) = { y = x + attention(rmsnorm(x), heads = 4, pos = rope); y + glu(rmsnorm(y), hidden = 48) };
SHARED
layer(x) = x + recurrence(rmsnorm(x));
model = embed(vocab = 256, width = 32) >> 3 * (2 * layer >> again) >> rmsnorm >> unembed(tied = 1);
"""
SHARED = ZAMBA.replace("SHARED", "again = share(whole);")
APART = ZAMBA.replace("SHARED", "again = whole;")
WHOLE = 4 * 32 * 32 + 3 * 32 * 48 + 2 * 32  # attention, gated channels, two norms


def built(text):
    module = load(emit(load_program(text)))
    model = module.Model()
    model.initialise(0)
    return module, model


def tokens(length=21):
    return torch.randint(256, (2, length), generator=torch.Generator().manual_seed(0))


def copies(shared, apart):
    """The weights of the one block, for every block of the other model."""
    state = shared.state_dict()
    return {key: state[key if key in state else "again." + key.split("whole.")[1]] for key in apart.state_dict()}


def test_a_block_shared_by_every_group_is_counted_once():
    assert parameter_count(load_program(APART)) - parameter_count(load_program(SHARED)) == 2 * WHOLE
    _, model = built(SHARED)
    assert sum(p.numel() for p in model.parameters()) == cost(load_program(SHARED)).parameters
    assert len(model.state_dict()) == len(dict(model.named_parameters())), "one key for each weight"


def test_it_costs_as_much_as_if_it_were_not():
    shared, apart = cost(load_program(SHARED)), cost(load_program(APART))
    assert shared.flops_per_token == apart.flops_per_token
    assert shared.cache_bytes_per_token == apart.cache_bytes_per_token == 3 * 2 * 32 * 4


def test_it_computes_what_copies_with_equal_weights_compute():
    (_, shared), (_, apart) = built(SHARED), built(APART)
    apart.load_state_dict(copies(shared, apart))
    assert torch.equal(shared(tokens()), apart(tokens()))


def test_it_decodes_with_a_cache_for_each_use():
    module, model = built(SHARED)
    past, ids = module.Past(), tokens()
    pieces = [model(ids[:, :5], past), *(model(ids[:, t : t + 1], past) for t in range(5, 21))]
    torch.testing.assert_close(torch.cat(pieces, 1), model(ids), atol=1e-5, rtol=1e-5)


def test_its_gradient_is_the_sum_over_its_uses():
    (module, shared), (_, apart) = built(SHARED), built(APART)
    apart.load_state_dict(copies(shared, apart))
    for model in (shared, apart):
        module.loss(model(tokens()), tokens()).mean().backward()
    total = sum(p.grad for name, p in apart.named_parameters() if name.endswith("whole.glu.up.weight"))
    torch.testing.assert_close(shared.again.glu.up.weight.grad, total)


def test_sharing_changes_the_hash_and_its_spelling_does_not():
    named = canonical_hash(load_program(SHARED))
    assert named != canonical_hash(load_program(APART))
    placed = SHARED.replace("again = share(whole);", "").replace(
        "3 * (2 * layer >> again)", "(fn(x) => { a = share(whole); x >> 3 * (2 * layer >> a) })"
    )
    assert canonical_hash(load_program(placed)) == named


def test_where_share_stands_says_what_shares():
    """Inside a block that is repeated, every copy of the block has its own."""
    text = """@foundry(1);
    layer(x) = { f = share(mlp(hidden = 8)); x >> (fn(y) => y + f(y)) >> (fn(y) => y + f(y)) };
    model = embed(vocab = 256, width = 16) >> 3 * layer >> unembed(tied = 1);
    """
    assert parameter_count(load_program(text)) == 256 * 16 + 3 * 2 * 16 * 8


def test_two_blocks_may_use_it_in_different_ways():
    text = """@foundry(1);
    f = share(linear(16));
    a(x) = x + f(x);
    b(x) = x * sigmoid(f(f(x)));
    model = embed(vocab = 256, width = 16) >> 2 * a >> 2 * b >> f >> unembed(tied = 1);
    """
    module, model = built(text)
    assert parameter_count(load_program(text)) == sum(p.numel() for p in model.parameters()) == 256 * 16 + 16 * 16
    module.loss(model(tokens()), tokens()).mean().backward()


@pytest.mark.parametrize(
    "block, code, message",
    [
        ("x + slice(f(concat(x, x)), 0, 16)", "F301", "a shared function first took seq[16] and now takes seq[32]"),
        ("x + f(3)", "F303", "take a tensor"),
    ],
)
def test_misuse(block, code, message):
    text = f"""@foundry(1);
    f = share(linear(16));
    a(x) = x + f(x);
    b(x) = {block};
    model = embed(vocab = 256, width = 16) >> a >> b >> unembed(tied = 1);
    """
    (found,) = check(text).diagnostics
    assert (found.code, message in found.message) == (code, True), found.message
