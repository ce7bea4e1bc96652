"""Scores and masks that read a value per token, learned tables of relative positions, sinks, and sparse attention."""

import pytest
import torch

from foundry.compiler.cost import cost
from foundry.compiler.emit import emit
from foundry.compiler.load import load
from foundry.dsl.canonical import canonical_hash
from foundry.dsl.check import check, load_program

torch.set_num_threads(1)


def genome(attend, before="", extra=""):
    return f"""@foundry(1);
{extra}
model(tokens) = {{
  x = embed(tokens, vocab = 256, width = 32);
  {before}
  q = split_heads(linear(x, 32), 4);
  k = split_heads(linear(x, 16), 2);
  v = split_heads(linear(x, 16), 2);
  unembed(merge_heads({attend}), vocab = 256)
}};
"""


def built(text):
    """The module, a model of it with visible weights, and hooks that catch what enters and leaves its output layer."""
    module = load(emit(load_program(text)))
    model = module.Model()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.3)
    return module, model


def mixed(model, tokens):
    """What attention makes of the tokens: (B, H, T, D), with its queries, keys and values."""
    caught = {}
    model.unembed.register_forward_pre_hook(lambda _, args: caught.update(out=args[0]))
    model(tokens)
    x = model.embed(tokens)
    q, k, v = (
        layer(x).unflatten(-1, (n, 8)).transpose(1, 2) for layer, n in ((model.q, 4), (model.k, 2), (model.v, 2))
    )
    return caught["out"].unflatten(-1, (4, 8)).transpose(1, 2), q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1)


def tokens(seed=0, length=23):
    return torch.randint(256, (2, length), generator=torch.Generator().manual_seed(seed))


def causal(logits):
    return logits.masked_fill(~torch.ones(logits.shape[-2:], dtype=torch.bool).tril(), -torch.inf)


def decodes(module, model, ids):
    """Token by token, and in two uneven pieces, against the whole."""
    whole = model(ids)
    past, single = module.Past(), []
    for t in range(ids.size(1)):
        single.append(model(ids[:, t : t + 1], past))
    past = module.Past()
    pieces = [model(ids[:, :9], past), model(ids[:, 9:], past)]
    torch.testing.assert_close(torch.cat(single, 1), whole, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(torch.cat(pieces, 1), whole, atol=1e-5, rtol=1e-5)


def test_forgetting_attention_adds_the_logarithms_of_the_gates_between_two_positions():
    """Lin et al. 2025, arXiv:2503.02130: the logit of (i, j) gets the sum of log f over j + 1 … i."""
    before = "fade = scan(1, -softplus(split_heads(linear(x, 4), 4)));"
    module, model = built(genome("attend(q, k, v, score = fn(s) => s + query(fade) - key(fade))", before))
    ids = tokens()
    out, q, k, v = mixed(model, ids)
    log_f = -torch.nn.functional.softplus(model.fade(model.embed(ids))).transpose(1, 2)  # (B, H, T)
    bias = torch.stack([
        torch.stack([log_f[..., j + 1 : i + 1].sum(-1) for j in range(ids.size(1))], -1) for i in range(ids.size(1))
    ], -2)  # fmt: skip
    expected = torch.softmax(causal(q @ k.mT / 8**0.5 + bias), -1) @ v
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    decodes(module, model, ids)


def test_a_mask_keeps_documents_apart():
    """Every document attends as if it stood alone."""
    text = genome(
        "attend(q, k, v, mask = fn(i, j) => query(document) == key(document))",
        "document = scan(1, where(starts(tokens) > 0, 1, 0));",
        "starts(tokens) = where(embed(tokens, vocab = 256, width = 1) > 0, 1, 0);",
    )
    module, model = built(text)
    table = next(p for name, p in model.named_parameters() if p.shape == (256, 1))
    with torch.no_grad():
        table.fill_(-1.0)
        table[7] = 1.0  # token 7 begins a document
    ids = tokens().clamp(min=8)
    ids[:, [5, 14]] = 7
    whole = model(ids)
    for a, b in ((0, 5), (5, 14), (14, 23)):
        torch.testing.assert_close(whole[:, a:b], model(ids[:, a:b]), atol=1e-5, rtol=1e-5)
    decodes(module, model, ids)


def test_what_a_score_reads_per_token_is_in_the_cache_and_in_the_cost():
    plain = cost(load_program(genome("attend(q, k, v)")))
    seeing = cost(load_program(genome("attend(q, k, v, score = fn(s) => s + key(z))", "z = linear(x, 1);")))
    assert seeing.cache_bytes_per_token - plain.cache_bytes_per_token == 4


@pytest.mark.parametrize(
    "score, message",
    [
        ("fn(s) => s + query(x)", "query takes one number per token, or per token and head, but this is seq[32]"),
        ("fn(s) => s + key(3)", "but this is the number 3"),
        ("fn(s) => s + x", "from outside"),
    ],
)
def test_a_score_reads_only_one_number_per_token(score, message):
    (found,) = check(genome(f"attend(q, k, v, score = {score})")).diagnostics
    assert message in found.message


def test_query_outside_a_score_is_an_error():
    (found,) = check(genome("attend(query(q), k, v)")).diagnostics
    assert (found.code, found.message) == ("F308", "query outside a score or a mask")


def test_the_hash_tells_queries_from_keys():
    hashes = [
        canonical_hash(load_program(genome(f"attend(q, k, v, score = fn(s) => s + {kind}(z))", "z = linear(x, 1);")))
        for kind in ("query", "key")
    ]
    assert hashes[0] != hashes[1]


def test_a_lookup_learns_a_bias_for_each_head_and_distance():
    """Raffel et al. 2019, arXiv:1910.10683, without the logarithmic buckets."""
    text = genome("attend(q, k, v, score = fn(s, i, j) => s + lookup(i - j, size = 6, per = head))")
    module, model = built(text)
    (table,) = [p for p in model.parameters() if p.shape == (4, 6)]
    ids = tokens()
    out, q, k, v = mixed(model, ids)
    i = torch.arange(23)
    bias = table[:, (i[:, None] - i).clamp(0, 5)]
    torch.testing.assert_close(out, torch.softmax(causal(q @ k.mT / 8**0.5 + bias), -1) @ v, atol=1e-5, rtol=1e-5)
    decodes(module, model, ids)


def test_a_sink_is_one_more_logit_whose_value_is_zero():
    module, model = built(genome("attend(q, k, v, sink = 0.7)"))
    ids = tokens()
    out, q, k, v = mixed(model, ids)
    logits = torch.cat((causal(q @ k.mT / 8**0.5), torch.full((2, 4, 23, 1), 0.7)), -1)
    torch.testing.assert_close(out, torch.softmax(logits, -1)[..., :-1] @ v, atol=1e-5, rtol=1e-5)
    decodes(module, model, ids)


def test_a_learned_sink_per_head_gets_a_gradient():
    text = genome("sunk(q, k, v)", extra="sunk(q, k, v) = attend(q, k, v, sink = param(0, per = head));")
    module, model = built(text)
    module.loss(model(tokens()), tokens(1)).mean().backward()
    (sink,) = [p for p in model.parameters() if p.numel() == 4]
    assert sink.grad.abs().min() > 0
    decodes(module, model, tokens())


def test_top_keeps_the_largest_logits_of_each_query():
    module, model = built(genome("attend(q, k, v, top = 3)"))
    ids = torch.randperm(256, generator=torch.Generator().manual_seed(0))[:46].view(2, 23)  # no two logits are equal
    out, q, k, v = mixed(model, ids)
    logits = causal(q @ k.mT / 8**0.5)
    kept = torch.full_like(logits, -torch.inf)
    for t in range(23):
        best = logits[..., t, : t + 1].topk(min(3, t + 1)).indices
        kept[..., t, :].scatter_(-1, best, logits[..., t, :].gather(-1, best))
    torch.testing.assert_close(out, torch.softmax(kept, -1) @ v, atol=1e-5, rtol=1e-5)
    decodes(module, model, ids)
