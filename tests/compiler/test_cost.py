"""The cost model against published counts, arithmetic by hand, and what PyTorch counts."""

import math

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from foundry.compiler.cost import compute_per_token, cost, final_context, model_work
from foundry.compiler.emit import emit
from foundry.compiler.graph import build_graph
from foundry.compiler.load import load
from foundry.dsl.check import load_program

GPT2 = """@foundry(1);
layer(x) = {
  x = x + attention(layernorm(x), heads = 12, bias = 1);
  x + mlp(layernorm(x), hidden = 3072, act = gelu_tanh, bias = 1)
};
start(tokens) = embed(tokens, vocab = 50257, width = 768) + embed(position(tokens), vocab = 1024, width = 768);
model = start >> 12 * layer >> layernorm >> unembed(tied = 1);
recipe = train(context = fn(t) => 1024, batch = 8192);
"""
LLAMA_2_7B = """@foundry(1);
layer(x) = {
  x = x + attention(rmsnorm(x, eps = 1e-5), heads = 32, pos = rope);
  x + glu(rmsnorm(x, eps = 1e-5), hidden = 11008)
};
model = embed(vocab = 32000, width = 4096) >> 32 * layer >> rmsnorm(eps = 1e-5) >> unembed;
"""
SMALL = """@foundry(1);
layer(x) = { x = x + MIXER; x + mlp(x, hidden = 64, act = relu) };
model = embed(vocab = 64, width = 32) >> 6 * layer >> unembed(tied = 1);
recipe = train(context = fn(t) => 64, batch = 256);
"""


def small(mixer: str, context: int | None = None):
    return cost(load_program(SMALL.replace("MIXER", mixer)), context)


def test_gpt2_has_the_published_124_439_808_parameters():
    assert cost(load_program(GPT2)).parameters == 124_439_808


def test_llama_2_7b_has_the_published_6_738_415_616_parameters():
    assert cost(load_program(LLAMA_2_7B)).parameters == 6_738_415_616


def test_flops_of_gpt2_by_hand():
    width, layers, context = 768, 12, 1024
    matrices = layers * (4 * width * width + 2 * width * 4 * width) + 50257 * width
    square = layers * 2 * context * width  # queries with keys, weights with values
    by_hand = 2 * (matrices + square)
    assert by_hand < cost(load_program(GPT2)).flops_per_token < 1.01 * by_hand  # the rest is elementwise


def test_flops_grow_linearly_with_the_context():
    at = {context: cost(load_program(GPT2), context).flops_per_token for context in (256, 512, 768)}
    assert at[768] - at[512] == pytest.approx(at[512] - at[256]) == 12 * 4 * 768 * 256


def test_bytes_of_an_elementwise_chain_by_hand():
    text = "@foundry(1);\nmodel = embed(vocab = 64, width = 32) >> BODY >> unembed;\nrecipe = train(batch = 128);"
    plain = cost(load_program(text.replace("BODY", "relu")))
    longer = cost(load_program(text.replace("BODY", "relu >> relu >> (fn(x) => x + 1)")))
    assert longer.bytes_per_token - plain.bytes_per_token == 2 * 2 * 32 * 4  # two more reads and writes of 32 floats
    # embed: rows read and written; relu: read, written; unembed: read, written, and its weights once in 128 tokens
    assert plain.bytes_per_token == 4 * (2 * 32 + 2 * 32 + 32 + 64 + 64 * 32 / 128)


def test_a_recognised_activation_is_one_pass():
    text = "@foundry(1);\nmodel = embed(vocab = 64, width = 32) >> BODY >> unembed(tied = 1);"
    fused, relu = (cost(load_program(text.replace("BODY", body))).bytes_per_token for body in ("gelu", "relu"))
    written = "(fn(x) => 0.5 * x * (1 + tanh(x)))"  # PyTorch has no name for this
    assert fused == relu
    written_cost = cost(load_program(text.replace("BODY", written))).bytes_per_token
    assert written_cost - relu == (9 - 2) * 32 * 4  # three of them read one value and write one; the last reads two


def test_a_score_that_sdpa_cannot_compute_moves_its_square():
    plain = small("attention(x, heads = 4)")
    capped = small("attention(x, heads = 4, score = softcap)")
    square = 6 * 4 * 64 * 4  # layers, heads, keys, bytes: one logit for each
    assert small("attention(x, heads = 4, score = fn(s) => 2 * s)").bytes_per_token == plain.bytes_per_token
    assert capped.bytes_per_token > plain.bytes_per_token + 6 * square


@pytest.mark.parametrize(
    ("mixer", "kept", "bound", "fixed"),
    [
        # six layers of width 32; keys and values of 32 each, but a layer's input of 32 gives both
        ("attention(x, heads = 4)", 6 * 64 * 4, 6 * 32 * 4, 0),
        # grouped: keys and values of 8 each are narrower than the input
        ("attention(x, heads = 4, kv_heads = 1)", 6 * 16 * 4, 6 * 16 * 4, 0),
        # a latent of 6 channels from which keys and values are made (DeepSeek-V2, arXiv:2405.04434)
        (
            "{ c = linear(x, 6); q = split_heads(linear(x, 32), 4); k = split_heads(linear(c, 32), 4);"
            " v = split_heads(linear(c, 32), 4); linear(merge_heads(attend(q, k, v)), 32) }",
            6 * 64 * 4, 6 * 6 * 4, 0,
        ),
        # keys that are the values too are kept once
        ("{ k = split_heads(linear(x, 16), 2); linear(merge_heads(attend(k, k, k)), 32) }", 6 * 16 * 4, 6 * 16 * 4, 0),
        # a window of 16 in a context of 64
        ("attention(x, heads = 4, kv_heads = 1, mask = window(size = 16))", 6 * 16 * 4 / 4, 6 * 16 * 4 / 4, 0),
        ("attention(x, heads = 4, kv_heads = 1, mask = window(size = 999))", 6 * 16 * 4, 6 * 16 * 4, 0),
        # states of a fixed size
        ("conv(x, kernel = 4)", 0, 0, 6 * 3 * 32 * 4),
        ("shift(x, by = 2)", 0, 0, 6 * 2 * 32 * 4),
        ("scan(sigmoid(x), x)", 0, 0, 6 * 32 * 4),
    ],
)  # fmt: skip
def test_the_cache(mixer, kept, bound, fixed):
    found = small(mixer)
    assert found.cache_bytes_per_token == kept
    assert found.cache_bytes_lower_bound == bound
    assert found.cache_bytes_fixed == fixed


def test_keys_and_values_from_outside_a_repeat_are_kept_once():
    text = """@foundry(1);
    shared(x) = {
      k = split_heads(linear(x, 16), 2);
      v = split_heads(linear(x, 16), 2);
      x >> 6 * (fn(y) => y + linear(merge_heads(attend(split_heads(linear(y, 32), 4) >> (fn(q) => slice(q, 0, 8)), k, v)), 32))
    };
    model = embed(vocab = 64, width = 32) >> shared >> unembed(tied = 1);
    """  # noqa: E501
    found = cost(load_program(text))
    assert (found.cache_bytes_per_token, found.cache_bytes_lower_bound) == (32 * 4, 32 * 4)


def test_what_two_attentions_of_a_block_share_is_cut_once():
    text = """@foundry(1);
    layer(x) = x + attention(x, heads = 4) + attention(x, heads = 4);
    model = embed(vocab = 64, width = 32) >> 2 * layer >> unembed(tied = 1);
    """
    found = cost(load_program(text))
    assert found.cache_bytes_per_token == 2 * 2 * 64 * 4
    assert found.cache_bytes_lower_bound == 2 * 32 * 4  # the layer's input gives the keys and values of both


def test_layers_without_a_repeat_cost_the_same_as_with_one():
    one = load_program(SMALL.replace("MIXER", "attention(x, heads = 4)"))
    other = load_program(
        SMALL.replace("MIXER", "attention(x, heads = 4)").replace("6 * layer", " >> ".join(["layer"] * 6))
    )
    assert cost(other) == cost(one)


def test_compute_counts_backward_loss_and_optimizer():
    program = load_program(SMALL.replace("MIXER", "attention(x, heads = 4)"))
    found = cost(program)
    assert found.context == final_context(program) == 64
    assert found.compute_per_token > 3 * found.flops_per_token
    muon = load_program(
        SMALL.replace("MIXER", "attention(x, heads = 4)").replace("train(", "train(optimizer = muon(lr = 0.02), ")
    )
    # five iterations of 4 m m n + 2 m m m, of four 32 × 32 and two 32 × 64 matrices in six layers, in 256 tokens
    work = 6 * 5 * (4 * (4 + 2) * 32**3 + 2 * (4 * 32 * 32 * 64 + 2 * 32**3)) / 256
    assert compute_per_token(muon, 64) - compute_per_token(program, 64) == pytest.approx(work, rel=0.1)


def test_compute_falls_with_the_context_and_is_finite():
    program = load_program(GPT2)
    values = [compute_per_token(program, context) for context in (1, 64, 512, 1024)]
    assert values[1:] == sorted(values[1:]) and all(math.isfinite(v) for v in values)


MATRICES = ("linear", "unembed", "attend", "linear_attend", "delta_attend")
ATTEND = """{{ q = split_heads(linear(x, 32), 4); k = split_heads(linear(x, 16), 2); seen = linear(x, 1);
linear(merge_heads(attend(q, k, k, {})), 32) }}"""
MIXERS = [
    "attention(x, heads = 4, bias = 1)",
    "attention(x, heads = 4, kv_heads = 2, pos = rope, norm = rmsnorm)",
    "attention(x, heads = 4, kv_heads = 2, mask = window(size = 8))",
    "attention(x, heads = 4, kv_heads = 1, score = softcap)",
    "attention(x, heads = 4, score = log_distance)",
    "attention(x, heads = 4, score = sharpen, mask = dilated)",
    "recurrence(x)",
    "gated_conv(x)",
    "token_shift(x)",
    "(x >> share(2 * linear(32)))",
    "{ f = share(linear(32)); f(relu(f(x))) }",
    "{ p = softmax(linear(x, 4)); experts(x, p * top(p, 2), glu(hidden = 16)) }",
    "{ p = sigmoid(linear(x, 3)); experts(x, p, glu(hidden = 16)) }",
    "{ bias = param(0.5, per = channel, learn = 0); linear(x + bias, 32) }",
    ATTEND.format("score = fn(s, i, j) => s + lookup(i - j, size = 8, per = head)"),
    ATTEND.format("sink = 0, top = 4"),
    ATTEND.replace("attend", "linear_attend").format("decay = 0.9"),
    ATTEND.replace("attend", "delta_attend").format("beta = 0.5"),
    ATTEND.format("score = fn(s) => s + query(seen) - key(seen), mask = fn(i, j) => key(seen) > 0"),
]


@pytest.mark.parametrize("mixer", MIXERS)
def test_parameters_and_flops_are_those_that_pytorch_counts(mixer):
    program = load_program(SMALL.replace("MIXER", mixer))
    module = load(emit(program))
    model = module.Model()
    assert cost(program).parameters == sum(p.numel() for p in model.parameters())

    batch, context = 2, 16
    tokens = torch.zeros(batch, context, dtype=torch.long)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(tokens)
    graph = build_graph(program)
    matrices = {v for v, d in graph.nodes(data=True) if d["op"] in MATRICES}
    ours = sum(times * work.flops for vertex, work, times in model_work(program, context) if vertex in matrices)
    layers, groups, channels = 6, 2, 8  # of the matrix recurrences above
    unseen = layers * 2 * groups * channels**2 if "delta_attend" in mixer else 0  # baddbmm_ in place, which it skips
    assert (ours - unseen) * batch * context == counter.get_total_flops()


@pytest.mark.parametrize(
    "mixer", [*MIXERS, "shift(x, by = 3)", "conv(x, kernel = 5)", "attention(x, heads = 4, short = conv(kernel = 3))"]
)
def test_the_decoder_keeps_what_the_model_says(mixer):
    context = 16
    program = load_program(SMALL.replace("MIXER", mixer))
    module = load(emit(program))
    model, past = module.Model(), module.Past()
    with torch.no_grad():
        for tokens in (context - 1, 1):
            model(torch.zeros(1, tokens, dtype=torch.long), past)
    tensors = [t for slot in past.slots for kept in slot.values() for t in (kept if isinstance(kept, list) else [kept])]
    held = 4 * sum(t.numel() for t in tensors)
    found = cost(program, context)
    assert held == found.cache_bytes_per_token * context + found.cache_bytes_fixed


@pytest.mark.parametrize(
    ("curriculum", "context"),
    [
        ("fn(t) => where(t < 0.5, 32, 96)", 96),
        ("fn(t) => 64 * (1 + t)", 128),
        ("fn(t) => -5", 1),
        ("fn(t) => 64 / (1 - t)", 128),  # no value at the end: the default
        ("fn(t) => (0.5 - t) ** 0.5", 128),
    ],
)
def test_the_figures_hold_for_the_context_at_the_end_of_training(curriculum, context):
    text = SMALL.replace("MIXER", "attention(x, heads = 4)").replace("fn(t) => 64", curriculum)
    assert cost(load_program(text)).context == context


def test_tables_of_positions_bound_the_context():
    assert cost(load_program(GPT2.replace("fn(t) => 1024", "fn(t) => 4096"))).context == 1024
